"""Seconds to trace and compile a training step of VDVAE by its number of levels: equal ones compile like one.

    python -m benchmarks.hierarchy --output hierarchy.json

CIFAR-10's model of Child 2020 (43 levels), and fewer levels at the same sides; all narrow, since the width
changes the time of a step and hardly the program. What grows is the number of equal blocks alone. Beside
it stand the seconds of CPU time, the milliseconds of a step and the temporaries of its program. Nothing comes
from a cache; run it where nothing else runs, since the bar is in seconds.

On two quiet cores (AMD EPYC, AVX2), seconds: a level more takes .12 s, 3 in a thousand. The KL and the
densities of equal levels are taken for all of them at once; what there is to compile, before and with that:

    levels | trace | compile | together | lines of StableHLO, before | now
    11     |  7.6  |  33.8   |   41.4   | 32353                      | 31789
    23     |  6.9  |  36.8   |   43.7   | 35313                      | 33192
    43     |  7.1  |  38.2   |   45.3   | 39511                      | 34833

A level more is 82 lines, the slices that make a tuple of it, where it was 210. With 11 levels some sides have
one block alone and no scan; the loops that they become are what else is added.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import tyro

from benchmarks.steps import judged, use_cores
from vaejax import distributions, models, objectives, runs, train
from vaejax.train.loop import initialiser
from vaejax.train.step import chunk_indices, make_chunk
from vaejax.types import Model, Split

SIZES = {  # levels: (layers of the hierarchy, of its encoder)
    11: ("1x1,4m1,4x1,8m4,8x1,16m8,16x2,32m16,32x2", "32x2,32d2,16x2,16d2,8x2,8d2,4x1,4d4,1x1"),
    23: ("1x1,4m1,4x1,8m4,8x2,16m8,16x5,32m16,32x10", "32x6,32d2,16x3,16d2,8x3,8d2,4x2,4d4,1x2"),
    43: ("1x1,4m1,4x2,8m4,8x5,16m8,16x10,32m16,32x21", "32x11,32d2,16x6,16d2,8x6,8d2,4x3,4d4,1x3"),
}
BAR, AIM = 60.0, 30.0  # seconds to trace and compile the step of 43 levels on 2 quiet cores


@dataclass(frozen=True)
class Config:
    """The compile time of deep hierarchies."""

    threads: int = 2
    """CPU cores of this process; an accelerator does not mind."""
    width: int = 16
    """Channels of the maps."""
    batch_size: int = 4
    """Images per step."""
    levels: tuple[int, ...] = tuple(SIZES)
    """Which of the sizes."""
    check: bool = False
    """Exit with 1 when the bar is missed."""
    output: Path | None = None
    """A JSON file for every figure."""


def build(levels: int, width: int) -> Model:
    """The hierarchy of so many levels, on bytes of 32 x 32 x 3."""
    likelihood = distributions.discretised_logistic_mixture(10)
    return models.vdvae((32, 32, 3), *SIZES[levels], width=width, channels=16, likelihood=likelihood)


def measured(levels: int, config: Config) -> dict[str, Any]:
    """Seconds to initialise, trace and compile; the milliseconds of a step, the least of three."""
    x = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    split, key = Split({"x": x}, "bytes"), jax.random.key(0)
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    model = build(levels, config.width)
    update = train.gradient_update(objective, model, optax.adam(1e-3))
    times, cpu = [time.perf_counter()], [time.process_time()]  # of the step: the last two
    state = jax.block_until_ready(jax.jit(initialiser(model, update, split))(key))
    times.append(time.perf_counter())
    rows = chunk_indices(key, 0, 1, split.size, config.batch_size)
    arguments = [key, jax.device_put(dict(split.arrays)), rows, 1]
    run = jax.jit(make_chunk(update, split.transform, config.batch_size), donate_argnums=0)
    cpu.append(time.process_time())
    lowered = run.lower(state, *arguments)
    times.append(time.perf_counter())
    compiled = lowered.compile()
    times.append(time.perf_counter())
    cpu.append(time.process_time())
    steps = []
    for _ in range(4):
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, *arguments[:-1], 1))
        steps.append(time.perf_counter() - start)
    del metrics
    init, trace, compiling = np.diff(times).tolist()
    analysis = compiled.memory_analysis()
    return {
        "levels": levels, "init, s": init, "trace, s": trace, "compile, s": compiling,
        "trace + compile, s": trace + compiling, "of CPU time, s": cpu[2] - cpu[1],
        "ms a step": 1000 * min(steps[1:]),
        "temporaries, MiB": analysis.temp_size_in_bytes / 2**20 if analysis else float("nan"),
        "parameters": sum(a.size for a in jax.tree.leaves(state.params)),
    }  # fmt: skip


def main(config: Config) -> dict[str, Any]:
    """Measure, print, and write."""
    use_cores(config.threads)
    jax.config.update("jax_enable_compilation_cache", False)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    rows = [measured(levels, config) for levels in config.levels]
    print(f"load before: {load:.1f}\n\n{runs.table(rows)}")
    seconds = {str(row["levels"]): row["trace + compile, s"] for row in rows}
    result = {
        "rows": rows, "seconds": seconds, "bar": BAR, "aim": AIM, "load": load, "threads": config.threads,
        "passed": {name: value <= BAR for name, value in seconds.items()},
        "manifest": runs.manifest(seconds=0.0),
    }  # fmt: skip
    return judged(result, config.output, config.check)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
