"""The runs that one program advances: one, or one for each seed."""

from __future__ import annotations

import contextlib
import logging
import numbers
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaejax.train.folder import Description
from vaejax.train.step import Placement, chunk_indices
from vaejax.train.store import Store, is_of_a_job
from vaejax.types import Array, Device, Split, TrainState

Records = list[dict[str, Any]]


@dataclass
class Run:
    """A run and how far it is."""

    key: Array
    store: Store
    seed: int | None  # None: the only run
    done: int  # steps
    ended: bool = False  # by the caller's `stop`
    error: str | None = None  # what froze it

    def left(self, steps: int, chunk: int) -> int:
        """The steps of its next chunk; a resumed run comes back on the grid of chunks."""
        idle = self.ended or self.error is not None
        return 0 if idle else min(chunk - self.done % chunk, steps - self.done)


def check_seeds(seeds: Iterable[Any]) -> tuple[int, ...]:
    """The seeds as Python's ints; raise unless they are different ones that a key can be folded with."""
    if not isinstance(seeds, Iterable) or isinstance(seeds, str | bytes) or getattr(seeds, "ndim", 1) == 0:
        got = f"{type(seeds).__name__} ({seeds!r})"
        raise TypeError(f"seeds: expected several ints, as range(3) or (0, 1, 2); got {got}")
    found = tuple(seed.item() if getattr(seed, "ndim", None) == 0 else seed for seed in seeds)
    for seed in found:
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
            raise TypeError(f"seeds: expected ints, got {type(seed).__name__} ({seed!r})")
    if not found or len(set(found)) < len(found) or not all(0 <= seed < 2**32 for seed in found):
        got = f"got {', '.join(map(str, found)) or 'none'}"
        raise ValueError(f"seeds: expected one or more different ints of at least 0 and below 2^32; {got}")
    return tuple(int(seed) for seed in found)


def place(seeds: Sequence[int] | None, devices: Sequence[Device] | None, batch_size: int) -> Placement:
    """Check `devices` of `fit`, and share the work out."""
    if devices is None:
        return Placement()
    if not isinstance(devices, Sequence):
        got = type(devices).__name__
        raise TypeError(f"devices: expected a sequence of them, as jax.devices(); got {got}")
    what, count = ("batch_size", batch_size) if seeds is None else ("seeds", len(seeds))
    if not devices or count % len(devices):
        raise ValueError(
            f"devices: expected a number of them that divides {what}={count}, got {len(devices)}"
        )
    if seeds is not None and jax.process_count() > 1:
        raise ValueError(
            "seeds: expected None in a job of several processes; give each process its own seeds"
        )
    return Placement.over(devices, seeds is not None)


def open_runs(
    stack: contextlib.ExitStack,
    key: Array,
    seeds: Sequence[int] | None,
    folder: Path | None,
    meta: dict[str, Any],
    description: Description,
    resume: bool,
    tensorboard: bool,
) -> list[Run]:
    """The run of the key, or one for each seed; the stack closes their stores."""
    runs = []
    for seed in [None] if seeds is None else seeds:
        root = key if seed is None else jax.random.fold_in(key, seed)
        where = folder if folder is None or seed is None else folder / f"seed-{seed}"
        key_data = np.asarray(jax.random.key_data(root)).tolist()
        store = Store(where, {"key": key_data, **meta}, description, resume, tensorboard)
        stack.callback(store.close)
        runs.append(Run(root, store, seed, store.step))
    return runs


def train(
    advance: Callable,
    placement: Placement,
    runs: list[Run],
    states: Sequence[TrainState],
    data: Split,
    steps: int,
    shape: tuple[int, int],
    settle: Callable[[Run, Records, Callable[[], TrainState]], TrainState | None],
) -> list[TrainState]:
    """Advance the runs by chunks until none has steps left, and return their last states.

    `advance` is the program over a leading axis of runs, `shape` (chunk, B); `settle(run, records, state)`
    keeps what a chunk gave, raises FloatingPointError where that is not finite, and returns another state to
    go on from, or None.
    """
    chunk, batch_size = shape
    advance = jax.jit(advance, donate_argnums=0, out_shardings=(placement.runs, placement.copied))
    key_data = np.stack([jax.random.key_data(run.key) for run in runs])
    impl = jax.random.key_impl(runs[0].key)
    keys = jax.random.wrap_key_data(jax.device_put(key_data, placement.runs), impl=impl)
    arrays = jax.device_put(dict(data.arrays), placement.copied)

    def placed(states: Sequence[TrainState]) -> TrainState:
        # from host arrays: of what comes from a device, donation would eat the caller's copy
        return jax.device_put(jax.tree.map(lambda *a: np.stack(a), *states), placement.runs)

    state = placed(states)

    def state_of(i: int) -> TrainState:
        mine = jax.tree.map(lambda a: a[i], state)
        return mine if placement.mesh is None else jax.device_get(mine)

    while any(counts := [run.left(steps, chunk) for run in runs]):
        rows = np.zeros((len(runs), *shape), np.int32)
        for i, run in enumerate(runs):
            if counts[i]:
                rows[i] = chunk_indices(run.key, run.done, chunk, data.size, batch_size)
        others: dict[int, TrainState] = {}
        with _together(runs):
            state, metrics = advance(state, keys, arrays, rows, np.asarray(counts, np.int32))
            metrics, reached = jax.device_get((metrics, state.step))
            for i, run in enumerate(runs):
                if counts[i]:
                    records = _records(metrics, i, run.done, counts[i])
                    other = _settle(settle, run, records, reached[i], partial(state_of, i))
                    others |= {} if other is None else {i: other}
        if others:
            state = placed([others.get(i) or state_of(i) for i in range(len(runs))])
    if all(run.error is not None for run in runs):
        raise FloatingPointError("; ".join(f"seed {run.seed}: {run.error}" for run in runs))
    return [state_of(i) for i in range(len(runs))]


def _settle(
    settle: Callable, run: Run, records: Records, reached: int, state: Callable[[], TrainState]
) -> TrainState | None:
    """Settle a chunk; among several runs one that is not finite stays where it was."""
    try:
        if run.seed is not None and reached != run.done + len(records):
            run.store.write(records)
            raise FloatingPointError(f"the parameters are not finite by step {run.done + len(records)}")
        return settle(run, records, state)
    except FloatingPointError as error:
        if run.seed is None:
            raise
        run.error = f"{error}; frozen at step {reached}"
        warnings.warn(f"seed {run.seed}: {run.error}; the other seeds go on", RuntimeWarning, stacklevel=2)
        return None


@contextlib.contextmanager
def _together(runs: list[Run]) -> Iterator[None]:
    """Say so where another process of the job is lost, in a step or while the checkpoint is written."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not is_of_a_job(error):
            raise
        raise _lost(runs) from error


def _lost(runs: list[Run]) -> ConnectionError:
    """The error of a process that the others of its job have left."""
    done = f"{jax.process_index()} of {jax.process_count()} at step {max(run.done for run in runs)}"
    message = (
        f"process {done} lost another process of the job; {runs[0].store.kept()}; "
        "start all processes again with resume=True"
    )
    # at once: jax may end this process before the error has come to the top
    logging.getLogger("vaejax").error(message)
    return ConnectionError(message)


def _records(metrics: dict[str, np.ndarray], i: int, done: int, n: int) -> Records:
    """The metrics of run i, [S, chunk], as one record for each of its n steps."""
    return [{"step": done + t + 1, **{name: float(v[i, t]) for name, v in metrics.items()}} for t in range(n)]
