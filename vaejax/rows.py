"""Rows of arrays that may be larger than the memory: mapped from files, or read by a source of their own."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

__all__ = ["Chosen", "RowSource", "forget", "gather", "num_bytes", "read_at_random", "read_into", "some_rows"]

WHOLE = 2**30  # bytes of an array up to which all of its values are looked at
_PLACES, _AT_EACH = 64, 2**18  # of a larger one: so many places, and bytes at each of them
_LARGE = 2**28  # bytes of a mapped file from which on its pages are let go of


class RowSource:
    """An array [N, ...] that is read by rows and never as a whole: it may stand in the arrays of a `Split`.

    A subclass has `shape`, `dtype` and `read(rows)`, which several threads may call at once. Sources with the
    same `origin` share what `fetch(rows)` of it gives, such as records of which each takes its part.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    origin: Any = None  # None: `read` does all; else it has `fetch(rows)`, and the source `pick(fetched)`

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these places, integers [n] in 0..N-1: [n, ...]."""
        if self.origin is None:
            raise NotImplementedError(f"{type(self).__name__}: expected a method read(rows)")
        return self.pick(self.origin.fetch(rows))

    def pick(self, fetched: Any) -> np.ndarray:
        """The part of this source, [n, ...], of what the origin fetched."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method pick(fetched)")

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """The bytes that the whole array would take."""
        return self.size * np.dtype(self.dtype).itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, slice):
            return self.read(np.arange(*index.indices(len(self))))
        rows = np.asarray(index)
        if rows.dtype.kind not in "iu" or rows.ndim > 1:
            raise TypeError(f"{type(self).__name__}: expected a slice or integers [n], got {index!r}")
        if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{type(self).__name__}: expected rows of {len(self)}, got {index!r}")
        read = self.read(np.atleast_1d(rows) % len(self))
        return read if rows.ndim else read[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read(np.arange(len(self))).astype(self.dtype if dtype is None else dtype)


def read_into(arrays: Sequence[Any], rows: np.ndarray, outs: Sequence[np.ndarray]) -> None:
    """Write the same rows, integers [n], of every array to the array [n, ...] in its place of `outs`."""
    fetched: dict[int, Any] = {}
    for array, out in zip(arrays, outs, strict=True):
        if not isinstance(array, RowSource):
            host = np.asarray(array)
            if host.flags.c_contiguous:
                # "clip" writes to `out` itself; "raise" would fill a copy of it
                np.take(host, rows, axis=0, out=out, mode="clip")
            else:  # which `take` would copy as a whole
                out[...] = host[rows]
        elif array.origin is None:
            out[...] = array.read(rows)
        else:
            if id(array.origin) not in fetched:
                fetched[id(array.origin)] = array.origin.fetch(rows)
            out[...] = array.pick(fetched[id(array.origin)])


def gather(arrays: Any, rows: np.ndarray) -> Any:
    """The rows of every array of a tree, on the host: [n, ...] each."""
    leaves, tree = jax.tree.flatten(arrays)
    outs = [np.empty((len(rows), *array.shape[1:]), array.dtype) for array in leaves]
    read_into(leaves, rows, outs)
    return tree.unflatten(outs)


def num_bytes(arrays: Any) -> int:
    """The bytes that the arrays of a tree take on a device."""
    return sum(a.size * jax.dtypes.canonicalize_dtype(a.dtype).itemsize for a in jax.tree.leaves(arrays))


def some_rows(array: Any) -> np.ndarray:
    """What of an array is looked at where all of it may be too much.

    All of an array of up to 1 GiB; else, and of every `RowSource`, 256 KiB (one row at least) at each of 64
    places that are evenly spaced, the first and the last row among them.
    """
    if not isinstance(array, RowSource) and array.nbytes <= WHOLE:
        return np.asarray(array)
    n = len(array)
    each = max(1, _AT_EACH // max(1, array.nbytes // n))
    starts = np.linspace(0, max(0, n - each), _PLACES).astype(np.int64)
    rows = np.unique((starts[:, None] + np.arange(min(each, n))).ravel())
    return np.asarray(array[rows])


def forget(arrays: Any) -> None:
    """Let the system have the pages of large mapped files that were read; they stay in its cache.

    Without it a process seems to hold all that it ever read of them.
    """
    _advise(arrays, "MADV_DONTNEED")


def read_at_random(arrays: Any, at_random: bool) -> None:
    """Say whether rows of large mapped files are read at random: if not, the system reads on behind each."""
    _advise(arrays, "MADV_RANDOM" if at_random else "MADV_NORMAL")


def _advise(arrays: Any, advice: str) -> None:
    """Advise the system on the large mapped files among the arrays of a tree, where it takes advice."""
    for mapping in {id(m): m for m in map(_mapping, jax.tree.leaves(arrays)) if m is not None}.values():
        if len(mapping) >= _LARGE and hasattr(mmap, advice):
            mapping.madvise(getattr(mmap, advice))


def _mapping(array: Any) -> mmap.mmap | None:
    """The map of a file that an array is a view of; not one with changes of its own, which would be lost."""
    of_file = False
    while array is not None and not isinstance(array, mmap.mmap):
        of_file = of_file or (isinstance(array, np.memmap) and array.mode in ("r", "r+", "w+"))
        array = getattr(array, "base", None)
    return array if of_file else None


class Chosen(RowSource):
    """Some rows of an array, in an order of their own, each read when it is asked for."""

    def __init__(self, array: Any, rows: np.ndarray):
        self._array, self._rows = array, rows
        self.shape, self.dtype = (len(rows), *array.shape[1:]), array.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        return gather(self._array, self._rows[rows])
