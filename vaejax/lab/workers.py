"""Independent trainings side by side: one process per CPU core, or one after the other on an accelerator."""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from datetime import timedelta
from typing import Any

import jax

_report: Callable[[int], Any] | None = None  # where the steps of this process's trainings are counted


def default_workers() -> int:
    """The number of CPU cores this process may use; 1 on an accelerator."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def report(steps: int) -> None:
    """Count steps, from inside a job."""
    if _report is not None:
        _report(steps)


class Bar:
    """Steps done and the time left: one line that changes on a terminal, elsewhere a line every 30 s."""

    def __init__(self, total: int, title: str):
        self._total, self._title, self._done = total, title, 0
        self._terminal = sys.stderr.isatty()
        self._start = self._shown = time.monotonic()

    def advance(self, steps: int = 0) -> None:
        """Count steps, and show them if it is time."""
        self._done += steps
        if time.monotonic() - self._shown >= (0.5 if self._terminal else 30.0):
            self.show()

    def show(self, end: str = "") -> None:
        """Show how far it is."""
        self._shown = time.monotonic()
        elapsed = self._shown - self._start
        left = elapsed * (self._total - self._done) / self._done if self._done else None
        spent, rest = ("?" if s is None else str(timedelta(seconds=round(s))) for s in (elapsed, left))
        text = f"{self._title}: {self._done} of {self._total} steps in {spent}, {rest} left"
        print(*(("\r" + text.ljust(79), end) if self._terminal else (text, "\n")), sep="", end="",
              file=sys.stderr, flush=True)  # fmt: skip


def run_all(
    job: Callable[[Any], Any], jobs: Sequence[Any], work: Sequence[float], steps: int, workers: int
) -> list[Any]:
    """Run `job(x)` for every x, the longest first, under one bar that counts steps.

    Args:
      job: a module-level function; inside, `report(n)` counts n steps.
      jobs: its arguments, picklable.
      work: the amount of work of each, in one unit.
      steps: of all jobs together.
      workers: processes, each on a core of its own; 1 runs everything here.

    Returns:
      The results in the order of `jobs`; the first failure ends the wait, and what has not begun is dropped.
    """
    global _report
    order = sorted(range(len(jobs)), key=lambda i: -work[i])
    bar = Bar(steps, f"{len(jobs)} trainings")
    try:
        if workers > 1:
            return _side_by_side(job, jobs, order, bar, workers)
        _report = bar.advance
        done = {i: job(jobs[i]) for i in order}
        return [done[i] for i in range(len(jobs))]
    finally:
        _report = None
        bar.show(end="\n")


def _side_by_side(job: Callable, jobs: Sequence, order: list[int], bar: Bar, workers: int) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        counts, cores = manager.Queue(), manager.Queue()
        for i in range(workers):
            cores.put(i)
        pin = jax.default_backend() == "cpu" and hasattr(os, "sched_setaffinity")
        with ProcessPoolExecutor(workers, context, _start_worker, (counts, cores, pin)) as pool:
            futures = {i: pool.submit(job, jobs[i]) for i in order}
            try:
                _follow(bar, counts, list(futures.values()))
            except BaseException:
                # each by itself: `with` shuts down once more, and takes back what a shutdown cancels
                for future in futures.values():
                    future.cancel()
                raise
            while not counts.empty():
                bar.advance(counts.get())
            return [futures[i].result() for i in range(len(jobs))]


def _follow(bar: Bar, counts: Any, futures: list[Future]) -> None:
    """Move the bar until every job is done; the first failure stops the wait."""
    while not all(f.done() for f in futures):
        try:
            bar.advance(counts.get(timeout=0.5))
        except queue.Empty:
            bar.advance()  # the clock goes on
        for future in futures:
            if future.done():
                future.result()


def _start_worker(counts: Any, cores: Any, pin: bool) -> None:
    """Give this process one core, before jax makes its threads."""
    global _report
    _report = counts.put
    if pin:
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[cores.get() % len(mine)]})
