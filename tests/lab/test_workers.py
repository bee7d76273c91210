"""Trainings side by side: results in their places, nothing begun after a failure, few lines in a log."""

from __future__ import annotations

import time
from functools import partial

import pytest

from vaejax.lab import workers


def marked(folder, n):
    (folder / str(n)).touch()
    workers.report(n)
    if n == 0:
        raise OSError("no space left")
    time.sleep(0.2)
    return n * n


def test_results_come_in_the_order_of_the_jobs_and_the_longest_begins_first(tmp_path):
    begun = []

    def job(n):
        begun.append(n)
        return marked(tmp_path, n)

    assert workers.run_all(job, [3, 1, 2], [3, 1, 2], 6, 1) == [9, 1, 4]
    assert begun == [3, 2, 1]


def test_after_a_failure_no_waiting_job_begins(tmp_path):
    with pytest.raises(OSError, match="no space left"):
        workers.run_all(partial(marked, tmp_path), range(12), range(12, 0, -1), 66, 2)
    # two ran, and as many as workers and one more were handed out already
    assert len(list(tmp_path.iterdir())) <= 6


def test_a_log_file_gets_a_line_every_half_minute(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(workers.time, "monotonic", lambda: now[0])
    bar = workers.Bar(200, "2 trainings")
    for _ in range(100):  # a second and a step each
        now[0] += 1
        bar.advance(1)
    bar.show(end="\n")
    assert capsys.readouterr().err.splitlines() == [
        "2 trainings: 30 of 200 steps in 0:00:30, 0:02:50 left",
        "2 trainings: 60 of 200 steps in 0:01:00, 0:02:20 left",
        "2 trainings: 90 of 200 steps in 0:01:30, 0:01:50 left",
        "2 trainings: 100 of 200 steps in 0:01:40, 0:01:40 left",
    ]
