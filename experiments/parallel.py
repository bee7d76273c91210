"""Independent trainings side by side: one process per CPU core, or one after the other on an accelerator."""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import jax
from tqdm import tqdm

_progress: Any = None  # in a worker: where it reports the work done


def default_workers() -> int:
    """The number of CPU cores this process may use; 1 on an accelerator."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    job: Callable[[Any], Any], jobs: Sequence[Any], work: Sequence[float], workers: int, title: str
) -> list:
    """Run `job(x)` for every x, the longest first, under one bar that shows the time left.

    Args:
      job: a module-level function; inside, `report(amount)` adds to the bar.
      jobs: its arguments, picklable.
      work: the amount of work of each, in one unit.
      workers: processes, each on a core of its own; 1 runs everything here.
      title: the bar's.

    Returns:
      The results in the order of `jobs`.
    """
    global _progress
    order = sorted(range(len(jobs)), key=lambda i: -work[i])
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
    seldom = 0.5 if sys.stderr.isatty() else 30.0  # a log file is no terminal
    with tqdm(total=sum(work), desc=title, bar_format=form, mininterval=seldom) as bar:
        if workers == 1:
            _progress = partial(_advance, bar)
            done = {i: job(jobs[i]) for i in order}
            return [done[i] for i in range(len(jobs))]
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager:
            amounts, cores = manager.Queue(), manager.Queue()
            for i in range(workers):
                cores.put(i)
            pin = jax.default_backend() == "cpu" and hasattr(os, "sched_setaffinity")
            with ProcessPoolExecutor(workers, context, _start_worker, (amounts, cores, pin)) as pool:
                futures = {i: pool.submit(job, jobs[i]) for i in order}
                try:
                    _follow(bar, amounts, list(futures.values()))
                except BaseException:
                    # each by itself: `with` shuts down once more, and takes back what a shutdown cancels
                    for future in futures.values():
                        future.cancel()
                    raise
                while not amounts.empty():
                    _advance(bar, amounts.get())
                return [futures[i].result() for i in range(len(jobs))]


def report(amount: float) -> None:
    """Add to the bar, from inside a job."""
    if _progress is not None:
        _progress(amount)


def _advance(bar: tqdm, amount: float) -> None:
    """Move the bar, to its end at most: rounded shares may sum to a little more."""
    bar.update(min(amount, bar.total - bar.n))


def _follow(bar: tqdm, amounts: Any, futures: list) -> None:
    """Move the bar until every job is done; the first failure stops the wait."""
    while not all(f.done() for f in futures):
        try:
            _advance(bar, amounts.get(timeout=0.5))
        except queue.Empty:
            if sys.stderr.isatty():
                bar.refresh()  # the clock goes on
        for future in futures:
            if future.done():
                future.result()


def _start_worker(amounts: Any, cores: Any, pin: bool) -> None:
    """Give this process one core, before jax makes its threads."""
    global _progress
    _progress = amounts.put
    if pin:
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[cores.get() % len(mine)]})
