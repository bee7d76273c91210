"""What a training step takes, measured."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import numpy as np

from vaejax.checks import check_positive_int, check_split, check_support
from vaejax.keys import check_key
from vaejax.rows import gather
from vaejax.train.loop import initialiser
from vaejax.train.step import chunk_indices, make_chunk
from vaejax.types import Array, Model, Split, Update

__all__ = ["StepCost", "measure_step"]

_MIB = 2**20
_EXAMPLES = 4096


class StepCost(NamedTuple):
    """The cost of a step on this device: seconds, MiB, counts."""

    seconds: float  # the median of the measured rounds, per step
    compile_seconds: float
    parameters: int
    state_mib: float  # parameters, optimiser and other state
    temporaries_mib: float  # what the compiled step allocates beside its arguments


def measure_step(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    *,
    batch_size: int,
    steps: int = 10,
    rounds: int = 3,
) -> StepCost:
    """Compile the program that `fit` runs, and time it on a few steps.

    Args:
      key: as for `fit`.
      model: as for `fit`.
      update: as for `fit`.
      data: as for `fit`; a few examples are enough, and no more than the first 4096 are held on the device.
      batch_size: B.
      steps: steps per round.
      rounds: timed rounds, after one that warms up.

    Raises:
      TypeError, ValueError: for bad arguments, before anything compiles.
    """
    check_key(key)
    for name, value in (("batch_size", batch_size), ("steps", steps), ("rounds", rounds)):
        check_positive_int(value, name)
    batch_size, steps, rounds = int(batch_size), int(steps), int(rounds)
    check_split(data, "data")
    check_support(model.support, data.support)
    if batch_size > data.size:
        raise ValueError(
            f"batch_size: expected at most the {data.size} examples of the data, got {batch_size}"
        )
    state = jax.jit(initialiser(model, update, data))(key)
    run = jax.jit(make_chunk(update, data.transform, batch_size), donate_argnums=0)
    size = min(data.size, max(batch_size, _EXAMPLES))
    arrays = jax.device_put(gather(dict(data.arrays), np.arange(size)))
    rows = chunk_indices(key, 0, steps, size, batch_size)
    parameters = sum(a.size for a in jax.tree.leaves(state.params))
    state_bytes = sum(a.nbytes for a in jax.tree.leaves(state))
    start = time.perf_counter()
    compiled = run.lower(state, key, arrays, rows, steps).compile()
    compile_seconds = time.perf_counter() - start
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        state, metrics = compiled(state, key, arrays, rows, steps)
        jax.block_until_ready(metrics)
        seconds.append((time.perf_counter() - start) / steps)
    analysis = compiled.memory_analysis()  # None where the backend does not say
    temporaries = float("nan") if analysis is None else analysis.temp_size_in_bytes / _MIB
    median = float(np.median(seconds[1:]))
    return StepCost(median, compile_seconds, parameters, state_bytes / _MIB, temporaries)
