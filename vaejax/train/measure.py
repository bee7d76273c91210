"""What a training step, and a whole training, would take: measured on a few steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vaejax.checks import check_positive, check_positive_int, check_split, check_support
from vaejax.keys import check_key
from vaejax.machine import compiler_options
from vaejax.rows import gather
from vaejax.train.callbacks import Validate
from vaejax.train.loop import initialiser
from vaejax.train.step import chunk_indices, jitted, make_chunk
from vaejax.types import VAE, Array, Model, Split, TrainState, Update

__all__ = ["FitCost", "StepCost", "measure_fit", "measure_step"]

_MIB = 2**20
_EXAMPLES = 4096
_SLOW = 10.0  # seconds


class StepCost(NamedTuple):
    """The cost of a step on this device: seconds, MiB, counts."""

    seconds: float  # the median of the measured rounds, per step
    trace_seconds: float  # until that: the state a run starts from, traces
    compile_seconds: float
    parameters: int
    state_mib: float  # parameters, optimiser and other state
    temporaries_mib: float  # what the compiled step allocates beside its arguments


class FitCost(NamedTuple):
    """The cost of a whole `fit` on this device."""

    step: StepCost
    steps: int
    validations: float  # seconds of all

    @property
    def first(self) -> float:
        """Seconds until the first step."""
        return self.step.trace_seconds + self.step.compile_seconds

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return self.first + self.step.seconds * self.steps + self.validations


def measure_step(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    *,
    batch_size: int,
    steps: int = 10,
    rounds: int = 3,
    seconds: float = 10.0,
) -> StepCost:
    """Compile the program that `fit` runs, and time it on a few steps.

    Args:
      key: as for `fit`.
      model: as for `fit`.
      update: as for `fit`.
      data: as for `fit`; a few examples are enough, and no more than the first 4096 are held on the device.
      batch_size: B.
      steps: the most steps per round, as the `chunk` of `fit`.
      rounds: timed rounds, after one step that warms up.
      seconds: about what all rounds may take: steps that are slow are fewer in a round, at least one.

    Raises:
      TypeError, ValueError: for bad arguments, before anything compiles.
    """
    check_key(key)
    for name, value in (("batch_size", batch_size), ("steps", steps), ("rounds", rounds)):
        check_positive_int(value, name)
    check_positive(seconds, "seconds")
    batch_size, steps, rounds = int(batch_size), int(steps), int(rounds)
    check_split(data, "data")
    check_support(model.support, data.support)
    if batch_size > data.size:
        raise ValueError(
            f"batch_size: expected at most the {data.size} examples of the data, got {batch_size}"
        )
    start = time.perf_counter()
    run, initial = make_chunk(update, data.transform, batch_size), initialiser(model, update, data)
    size = min(data.size, max(batch_size, _EXAMPLES))
    arrays = jax.device_put(gather(dict(data.arrays), np.arange(size)))
    rows = chunk_indices(key, 0, steps, size, batch_size)
    # `fit` traces the chunk before it makes anything, to refuse what cannot run
    jax.eval_shape(run, jax.eval_shape(initial, key), key, arrays, rows, 1)
    state = jax.jit(initial, compiler_options=compiler_options())(key)
    parameters = sum(a.size for a in jax.tree.leaves(state.params))
    state_bytes = sum(a.nbytes for a in jax.tree.leaves(state))
    lowered = jitted(run).lower(state, key, arrays, rows, steps)
    traced = time.perf_counter()
    compiled = lowered.compile()
    before = traced - start, time.perf_counter() - traced
    seconds_each = _timed(compiled, state, (key, arrays, rows), rounds, steps, seconds)
    analysis = compiled.memory_analysis()  # None where the backend does not say
    temporaries = float("nan") if analysis is None else analysis.temp_size_in_bytes / _MIB
    return StepCost(seconds_each, *before, parameters, state_bytes / _MIB, temporaries)


def measure_fit(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    steps: int,
    *,
    batch_size: int,
    chunk: int = 100,
    validate: Validate | None = None,
    save_every: int = 10,
    seconds: float = 10.0,
) -> FitCost:
    """What `fit` with the same arguments would take: a step is measured, and two validations.

    The first validation compiles, the others are counted as the second. Checkpoints are not counted.

    Args:
      key: as for `fit`.
      model: as for `fit`.
      update: as for `fit`.
      data: as for `measure_step`.
      steps: the number of steps.
      batch_size: B.
      chunk: as for `fit`.
      validate: as for `fit`; it sees the model at its first parameters.
      save_every: as for `fit`.
      seconds: as for `measure_step`.

    Raises:
      TypeError, ValueError: for bad arguments, before anything compiles.
    """
    for name, value in (("steps", steps), ("chunk", chunk), ("save_every", save_every)):
        check_positive_int(value, name)
    chunk = min(chunk, steps)
    step = measure_step(key, model, update, data, batch_size=batch_size, steps=chunk, seconds=seconds)
    if validate is None:
        return FitCost(step, steps, 0.0)
    first, other = twice(validate, key, untrained(key, model, update, data))
    return FitCost(step, steps, first + other * (math.ceil(steps / (chunk * save_every)) - 1))


def untrained(key: Array, model: Model, update: Update, data: Split) -> VAE:
    """The model at the parameters from which `fit` starts."""
    state = jax.jit(initialiser(model, update, data), compiler_options=compiler_options())(key)
    return model.bind(state.params, state.variables)


def twice(function: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Seconds of a first call, which may compile, and of one more; a slow one is not made again."""
    start = time.perf_counter()
    function(*arguments)
    first = time.perf_counter() - start
    if first > _SLOW:
        return first, first
    function(*arguments)
    return first, time.perf_counter() - start - first


def _timed(
    compiled: Callable, state: TrainState, rest: tuple[Any, ...], rounds: int, most: int, seconds: float
) -> float:
    """Seconds of a step: the median of the rounds after one step, which says how many a round has."""
    spent, n = [], 1
    for _ in range(rounds + 1):
        start = time.perf_counter()
        state, metrics = compiled(state, *rest, n)
        jax.block_until_ready(metrics)
        spent.append((time.perf_counter() - start) / n)
        n = max(1, min(most, int(seconds / rounds / spent[0])))
    return float(np.median(spent[1:]))
