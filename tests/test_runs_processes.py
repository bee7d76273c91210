"""Jobs side by side: the longest first, nothing begun after a failure, and when the last would end."""

from __future__ import annotations

import math
import time
from functools import partial

import pytest

from vaejax.runs.processes import makespan, run_all


def marked(folder, n):
    (folder / str(n)).touch()
    if n == 0:
        raise OSError("no space left")
    time.sleep(0.2)


def test_the_longest_begins_first():
    begun = []
    ended = run_all(begun.append, [3, 1, 2], [3, 1, 2], 1)
    assert next(ended) == (0, None)
    assert begun == [3]
    assert list(ended) == [(2, None), (1, None)]
    assert begun == [3, 2, 1]


def test_results_come_with_their_places():
    assert dict(run_all(math.sqrt, [1.0, 4.0, 9.0], [0.0] * 3, 2)) == {0: 1.0, 1: 2.0, 2: 3.0}


def test_after_a_failure_no_waiting_job_begins(tmp_path):
    with pytest.raises(OSError, match="no space left"):
        list(run_all(partial(marked, tmp_path), range(12), range(12, 0, -1), 2))
    # two ran, and as many as workers and one more were handed out already
    assert len(list(tmp_path.iterdir())) <= 6


def test_jobs_wait_for_whoever_is_free():
    assert makespan([(1, 3.0), (2, 4.0), (3, 5.0)], 2) == 4 + 3  # 5 | 4, then 3 behind the 4
    assert makespan([(1, 3.0)] * 3, 1) == 9.0
    assert makespan([(1, 3.0)] * 3, 9) == 3.0
