"""What the machine at hand is: what is fast on one is slow on another."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import jax


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def wide_products() -> bool:
    """Whether a core multiplies 512 bits at once: then it is moving data that takes time; False off Linux."""
    path = Path("/proc/cpuinfo")
    return path.exists() and "avx512f" in path.read_text(encoding="utf-8", errors="replace")


def compiler_options() -> dict[str, int] | None:
    """What `jax.jit` is told of a long program, None where there is nothing to say.

    On a CPU LLVM's second level instead of its third: training steps are compiled in four fifths of the time,
    what starts a model's parameters in a third, and all that were measured are as fast. A level that the
    environment gives stands.
    """
    level = "xla_backend_optimization_level"
    told = jax.config.read("jax_disable_most_optimizations") or level in os.environ.get("XLA_FLAGS", "")
    return None if told or jax.default_backend() != "cpu" else {level: 2}
