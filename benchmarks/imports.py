"""What importing vaejax costs beside jax alone, in fresh processes.

    python -m benchmarks.imports --output imports.json

`import vaejax`, which brings no sub-package, and each of these with what it needs. Seconds by the clock, and
of CPU time; every process has its turn in every round, after one that fills the disk's cache.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

import vaejax
from benchmarks.steps import below, judged, reported
from vaejax.progress import Bar

BARS = {"vaejax": (1.3, 0.8)}  # seconds
CHILD = """
import time
clock, cpu = time.perf_counter(), time.process_time()
import {}
print(time.perf_counter() - clock, time.process_time() - cpu)
"""


@dataclass(frozen=True)
class Config:
    """The cost of importing."""

    rounds: int = 5
    """Timed processes of each."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure."""


def modules() -> list[str]:
    """What is imported."""
    parts = [name for name in vaejax.__all__ if (Path(vaejax.__path__[0]) / name).is_dir()]
    return ["jax", "vaejax", *(f"vaejax.{name}" for name in parts), "vaejax.lab"]


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    told: dict[str, list[list[float]]] = {module: [] for module in modules()}
    for _ in Bar(range(config.rounds + 1), desc="rounds"):
        for module, of in told.items():
            command = [sys.executable, "-c", CHILD.format(module)]
            of.append([float(part) for part in subprocess.check_output(command, text=True).split()])
    return judged(report({module: of[1:] for module, of in told.items()}), config.output, config.check)


def report(told: dict[str, list[list[float]]]) -> dict[str, Any]:
    """The tables, printed, and everything as plain data; told: {module: [[seconds, CPU seconds]]}."""
    middle = {module: np.median(of, axis=0).tolist() for module, of in told.items()}
    rows = [
        {"import": m, "median": clock, "min": min(told[m])[0], "of CPU": cpu}
        for m, (clock, cpu) in middle.items()
    ]
    bars = {module: below(middle[module][0], *bar) for module, bar in BARS.items()}
    return reported("seconds", rows, bars, seconds=told)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
