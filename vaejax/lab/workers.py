"""Independent trainings side by side: one process per CPU core, or one after the other on an accelerator."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import jax


def default_workers() -> int:
    """The number of CPU cores this process may use; 1 on an accelerator."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(job: Callable[[Any], Any], jobs: Sequence[Any], work: Sequence[float], workers: int) -> None:
    """Run `job(x)` for every x of `jobs`, those of the most work first; after a failure no other begins.

    With one worker everything runs here; else `job` is a module's function, and every process has a core.
    """
    ordered = [jobs[i] for i in sorted(range(len(jobs)), key=lambda i: -work[i])]
    if workers == 1:
        for x in ordered:
            job(x)
        return
    context = multiprocessing.get_context("spawn")
    cores = context.SimpleQueue()
    for i in range(workers):
        cores.put(i)
    with ProcessPoolExecutor(workers, context, _pin, (cores, jax.default_backend())) as pool:
        futures = [pool.submit(job, x) for x in ordered]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            # each by itself: `with` shuts down once more, and takes back what a shutdown cancels
            for future in futures:
                future.cancel()
            raise


def _pin(cores: Any, platform: str) -> None:
    """Give this process one core, where the system can, before jax makes its threads."""
    if platform == "cpu" and hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[cores.get() % len(mine)]})
