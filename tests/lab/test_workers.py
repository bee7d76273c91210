"""Trainings side by side: the longest first, and nothing begun after a failure."""

from __future__ import annotations

import time
from functools import partial

import pytest

from vaejax.lab import trainings


def marked(folder, n):
    (folder / str(n)).touch()
    if n == 0:
        raise OSError("no space left")
    time.sleep(0.2)


def test_the_longest_begins_first():
    begun = []
    trainings.run_all(begun.append, [3, 1, 2], [3, 1, 2], 1)
    assert begun == [3, 2, 1]


def test_after_a_failure_no_waiting_job_begins(tmp_path):
    with pytest.raises(OSError, match="no space left"):
        trainings.run_all(partial(marked, tmp_path), range(12), range(12, 0, -1), 2)
    # two ran, and as many as workers and one more were handed out already
    assert len(list(tmp_path.iterdir())) <= 6
