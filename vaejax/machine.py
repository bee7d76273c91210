"""What the machine at hand is: what is fast on one is slow on another."""

from __future__ import annotations

import functools
import os
from pathlib import Path


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def wide_products() -> bool:
    """Whether a core multiplies 512 bits at once: then it is moving data that takes time; False off Linux."""
    path = Path("/proc/cpuinfo")
    return path.exists() and "avx512f" in path.read_text(encoding="utf-8", errors="replace")
