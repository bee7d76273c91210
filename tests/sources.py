"""Arrays that are read by rows and say what was read of them."""

from __future__ import annotations

import threading

import numpy as np

from vaejax.rows import RowSource


class Read(RowSource):
    """An array in memory as a source, with the rows of every reading on record."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.readings, self._lock = [], threading.Lock()

    def read(self, rows):
        with self._lock:
            self.readings.append(np.array(rows))
        return self.array[rows]

    @property
    def rows(self):
        """All rows that were read, in order of the readings."""
        return np.concatenate(self.readings) if self.readings else np.zeros(0, np.int64)


def mapped(array, path):
    """The array as a map of a file."""
    np.save(path, array)
    return np.load(path, mmap_mode="r")
