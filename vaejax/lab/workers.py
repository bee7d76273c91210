"""Independent trainings side by side: one process per CPU core, or one after the other on an accelerator."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import timedelta
from typing import Any

import jax


def default_workers() -> int:
    """The number of CPU cores this process may use; 1 on an accelerator."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(job: Callable[[Any], Any], jobs: Sequence[Any], work: Sequence[float], workers: int) -> None:
    """Run `job(x)` for every x, those of the most work first; after a failure no other begins.

    Args:
      job: a module-level function.
      jobs: its arguments, picklable.
      work: of each, in one unit.
      workers: processes, each on a core of its own; 1 runs everything here.
    """
    order = sorted(range(len(jobs)), key=lambda i: -work[i])
    if workers == 1:
        for i in order:
            job(jobs[i])
        return
    context = multiprocessing.get_context("spawn")
    cores = context.SimpleQueue()
    for i in range(workers):
        cores.put(i)
    pin = jax.default_backend() == "cpu" and hasattr(os, "sched_setaffinity")
    with ProcessPoolExecutor(workers, context, _pin if pin else None, (cores,) if pin else ()) as pool:
        futures = [pool.submit(job, jobs[i]) for i in order]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            # each by itself: `with` shuts down once more, and takes back what a shutdown cancels
            for future in futures:
                future.cancel()
            raise


def _pin(cores: Any) -> None:
    """Give this process one core, before jax makes its threads."""
    mine = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {mine[cores.get() % len(mine)]})


@contextlib.contextmanager
def bar(title: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Show `done()` of `total` steps and the time left; where there is no terminal, a line every 30 s."""
    terminal, start, first = sys.stderr.isatty(), time.monotonic(), done()
    ended = threading.Event()

    def show(end: str) -> None:
        now, elapsed = done(), time.monotonic() - start
        left = elapsed * (total - now) / (now - first) if now > first else None
        spent, rest = ("?" if s is None else str(timedelta(seconds=round(s))) for s in (elapsed, left))
        text = f"{title}: {now} of {total} steps in {spent}, {rest} left"
        sys.stderr.write(f"\r{text:79}{end}" if terminal else f"{text}\n")
        sys.stderr.flush()

    def watch() -> None:
        while not ended.wait(0.5 if terminal else 30.0):
            show("")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        show("\n")
