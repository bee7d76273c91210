"""Jobs side by side: processes that have a core each, and when they would end."""

from __future__ import annotations

import heapq
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import jax

from vaejax.machine import cores

__all__ = ["default_workers", "makespan", "run_all"]


def default_workers() -> int:
    """The number of CPU cores this process may use; 1 on an accelerator."""
    if jax.default_backend() != "cpu":
        return 1
    return cores()


def run_all(
    job: Callable[[Any], Any], jobs: Sequence[Any], work: Sequence[float], workers: int
) -> Iterator[tuple[int, Any]]:
    """(i, `job(jobs[i])`) of every i as they end, those of the most work begun first.

    With one worker everything runs here; else `job` is a module's function, and every process has a core.
    After a failure no other begins. Nothing runs that is not asked for: the iterator is to be gone through.
    """
    order = sorted(range(len(jobs)), key=lambda i: -work[i])
    if workers == 1:
        yield from ((i, job(jobs[i])) for i in order)
        return
    context = multiprocessing.get_context("spawn")
    places = context.SimpleQueue()
    for i in range(workers):
        places.put(i)
    with ProcessPoolExecutor(workers, context, _pin, (places, jax.default_backend())) as pool:
        futures = {pool.submit(job, jobs[i]): i for i in order}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            # each by itself: `with` shuts down once more, and takes back what a shutdown cancels
            for future in futures:
                future.cancel()
            raise


def _pin(places: Any, platform: str) -> None:
    """Give this process one core, where the system can, before jax makes its threads."""
    if platform == "cpu" and hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[places.get() % len(mine)]})


def makespan(jobs: Sequence[tuple[float, float]], workers: int) -> float:
    """When the last of the jobs, (work, seconds), ends, if `run_all` begins them at 0."""
    free = [0.0] * workers
    for _, seconds in sorted(jobs, key=lambda job: -job[0]):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)
