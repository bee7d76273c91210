"""Trainings side by side: every result in its place, and nothing begun after a failure."""

from __future__ import annotations

import time
from functools import partial

import pytest

from experiments import parallel


def square(n):
    parallel.report(n)
    return n * n


def marked(folder, n):
    (folder / str(n)).touch()
    if n == 0:
        raise FloatingPointError("the loss is not finite")
    time.sleep(1)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    assert parallel.run_all(square, [3, 1, 2], [3, 1, 2], workers, "squares") == [9, 1, 4]


def test_after_a_failure_no_waiting_job_begins(tmp_path):
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        parallel.run_all(partial(marked, tmp_path), range(12), range(12, 0, -1), 2, "trainings")
    # two ran, and as many as workers and one more were handed out already
    assert len(list(tmp_path.iterdir())) <= 6
