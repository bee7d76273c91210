"""Trainings side by side: results in their places, nothing begun after a failure, few lines in a log."""

from __future__ import annotations

import re
import threading
import time
from functools import partial

import pytest
import tqdm.std

from vaejax.lab import workers


def marked(folder, n):
    (folder / str(n)).touch()
    if n == 0:
        raise OSError("no space left")
    time.sleep(0.2)


def test_the_longest_begins_first():
    begun = []
    workers.run_all(begun.append, [3, 1, 2], [3, 1, 2], 1)
    assert begun == [3, 2, 1]


def test_after_a_failure_no_waiting_job_begins(tmp_path):
    with pytest.raises(OSError, match="no space left"):
        workers.run_all(partial(marked, tmp_path), range(12), range(12, 0, -1), 2)
    # two ran, and as many as workers and one more were handed out already
    assert len(list(tmp_path.iterdir())) <= 6


def test_a_log_file_gets_a_line_every_half_minute(monkeypatch, capsys):
    now, waited = [100.0], []

    class Event(threading.Event):
        """Time passes while it is waited for; after a minute and a half the trainings end."""

        def wait(self, timeout=None):
            if timeout is None or self.is_set():
                return super().wait(timeout)
            waited.append(timeout)
            now[0] += 10.0
            return len(waited) == 10 and super().wait()

    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    monkeypatch.setattr(workers.threading, "Event", Event)
    with workers.bar("2 trainings", 200, lambda: round(now[0]) - 90):  # ten steps were done before
        while len(waited) < 10:
            time.sleep(0.01)
    told = [
        re.search(r"2 trainings: .* (\d+)/200 \[(.+), ", line)
        for line in capsys.readouterr().err.splitlines()
    ]
    assert [line.groups() for line in told] == [
        ("10", "00:00<?"), ("40", "00:30<02:40"), ("70", "01:00<02:10"), ("100", "01:30<01:40"),
        ("110", "01:40<01:30"),
    ]  # fmt: skip
