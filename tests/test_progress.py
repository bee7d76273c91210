"""The bar, by a clock of our own: in a file a line each 30 seconds, on a terminal redrawn as tqdm does."""

import io
import re
import threading
import time

import pytest
import tqdm.std
from tensorflow_datasets.core.utils import tqdm_utils

from tests.train.toy import toy_fit
from vaejax import progress
from vaejax.data import records
from vaejax.progress import Bar, watching


class Terminal(io.StringIO):
    def isatty(self):
        return True


class OutStream(io.StringIO):
    """A notebook's stream is no terminal and shows bars all the same."""


OutStream.__module__ = "ipykernel.iostream"


@pytest.fixture
def clock(monkeypatch):
    """[now], read by tqdm."""
    now = [1000.0]
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    return now


def counts(text, total):
    """The numbers of a bar's lines, each on a line of its own."""
    assert "\r" not in text
    return [int(re.search(rf"(\d+)/{total}", line)[1]) for line in text.splitlines()]


def test_a_log_file_gets_a_line_every_30_seconds(clock):
    file = io.StringIO()
    with Bar(total=400, file=file, unit="step") as bar:
        for i in range(400):  # 100 seconds in steps that a terminal would all show
            clock[0] += 0.25
            bar.update()
            bar.set_postfix(loss=i)
            bar.refresh()
    assert counts(file.getvalue(), 400) == [0, 120, 240, 360, 400]
    assert "loss=118" in file.getvalue().splitlines()[1]


def test_an_iteration_is_counted_too_and_a_slow_one_has_a_line_each(clock):
    file = io.StringIO()
    for _ in Bar(range(4), file=file):
        clock[0] += 31
    assert counts(file.getvalue(), 4) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("stream", [Terminal, OutStream])
def test_what_is_looked_at_is_redrawn(clock, stream):
    file = stream()
    with Bar(total=10, file=file) as bar:
        for _ in range(10):
            clock[0] += 1
            bar.update()
    assert file.getvalue().count("\r") >= 10


def test_a_hidden_bar_writes_nothing(clock):
    file = io.StringIO()
    with Bar(total=2, file=file, disable=True) as bar:
        bar.update()
        bar.set_postfix(loss=1)
    assert file.getvalue() == ""


def test_fit_writes_a_line_every_30_seconds_whatever_its_chunks(capsys, monkeypatch):
    now = [0.0]

    def clock():  # a tenth of a second passes at each look at it
        now[0] += 0.1
        return now[0]

    monkeypatch.setattr(tqdm.std, "time", clock)
    toy_fit(1000, chunk=1, progress=True)
    shown = counts(capsys.readouterr().err, 1000)
    assert 2 <= len(shown) <= 2 + now[0] / 30
    assert (shown[0], shown[-1]) == (0, 1000)


def test_what_others_do_is_watched_a_line_every_30_seconds(monkeypatch, capsys):
    now, waited = [100.0], []

    class Event(threading.Event):
        """Time passes while it is waited for; after a minute and a half all ends."""

        def wait(self, timeout=None):
            if timeout is None or self.is_set():
                return super().wait(timeout)
            waited.append(timeout)
            now[0] += 10.0
            return len(waited) == 10 and super().wait()

    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    monkeypatch.setattr(progress.threading, "Event", Event)
    with watching("2 trainings", 200, lambda: round(now[0]) - 90):  # ten steps were done before
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


@pytest.mark.parametrize("name", ["tqdm", "async_tqdm"])
def test_the_bars_of_tensorflow_datasets_do_so_too(clock, capsys, name):
    with records.quiet(True), getattr(tqdm_utils, name)(total=60) as bar:
        for _ in range(60):
            clock[0] += 1
            bar.update()
    assert counts(capsys.readouterr().err, 60) == [0, 30, 60]
    with records.quiet(False), getattr(tqdm_utils, name)(total=60) as bar:
        bar.update()
    assert capsys.readouterr().err == ""
