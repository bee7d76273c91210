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
from typing import Any, NamedTuple

import jax
import numpy as np

from vaejax.checks import check_positive_int, check_split
from vaejax.train.feed import Resident, Streamed
from vaejax.train.folder import Description
from vaejax.train.step import Order, Placement, alone, jitted, over_runs
from vaejax.train.store import Fit, Store, digest, is_of_a_job
from vaejax.types import Array, Device, Split, TrainState

Records = list[dict[str, Any]]


class Counts(NamedTuple):
    """How long runs are and where they pause: the numbers of that name in `fit`."""

    steps: int
    batch_size: int
    chunk: int
    save_every: int
    log_every: int

    @classmethod
    def checked(cls, *counts: Any) -> Counts:
        """The counts as Python's ints; raise unless they are positive ints."""
        for name, value in zip(cls._fields, counts, strict=True):
            check_positive_int(value, name)
        return cls(*map(int, counts))

    @property
    def shape(self) -> tuple[int, int]:
        """[chunk, B]: the rows that a chunk reads, of a run that may be shorter than one."""
        return min(self.chunk, self.steps), self.batch_size

    def pauses(self, done: int) -> bool:
        """Whether a run that has done this many steps is saved and validated now."""
        return done == self.steps or done % (self.chunk * self.save_every) == 0


def steps_of(steps: Any, epochs: Any, data: Split, batch_size: Any) -> Any:
    """The number of steps, `steps` itself or those of the epochs; raise unless one of the two is given."""
    if (steps is None) == (epochs is None):
        got = "none" if steps is None else f"steps={steps!r} and epochs={epochs!r}"
        raise TypeError(f"steps, epochs: expected one of the two; got {got}")
    if epochs is None:
        return steps
    check_positive_int(epochs, "epochs")
    check_positive_int(batch_size, "batch_size")
    check_split(data, "data")
    return int(epochs) * max(data.size // int(batch_size), 1)  # a batch that is too large is refused later


@dataclass
class Run:
    """A run and how far it is."""

    key: Array
    store: Store
    seed: int | None  # None: the only run
    done: int  # steps
    ended: bool = False  # by the caller's `stop`
    error: str | None = None  # what froze it

    def left(self, counts: Counts, after: int = 0) -> int:
        """The steps of its next chunk, `after` so many more; a resumed run comes back on the grid."""
        done, idle = self.done + after, self.ended or self.error is not None
        return 0 if idle else min(counts.chunk - done % counts.chunk, counts.steps - done)


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


@contextlib.contextmanager
def open_runs(
    key: Array,
    seeds: Sequence[int] | None,
    folder: Path | None,
    data: Split,
    counts: Counts,
    description: Description,
    resume: bool,
    tensorboard: bool,
) -> Iterator[list[Run]]:
    """The run of the key, or one for each seed; their stores are closed at the end."""
    meta = {"batch_size": counts.batch_size, "examples": data.size, "data": folder and digest(data)}
    with contextlib.ExitStack() as stack:
        runs = []
        for seed in [None] if seeds is None else seeds:
            root = key if seed is None else jax.random.fold_in(key, seed)
            where = folder if folder is None or seed is None else folder / f"seed-{seed}"
            key_data = np.asarray(jax.random.key_data(root)).tolist()
            store = Store(where, {"key": key_data, **meta}, description, resume, tensorboard)
            stack.callback(store.close)
            store.check_steps(counts.steps)
            runs.append(Run(root, store, seed, store.step))
        yield runs


def train(
    program: Callable,
    placement: Placement,
    runs: list[Run],
    states: Sequence[TrainState],
    data: Split,
    resident: bool,
    counts: Counts,
    settle: Callable[[Run, Records, Callable[[], TrainState]], TrainState | None],
    asked: Callable[[], bool],
) -> list[TrainState]:
    """Advance the runs by chunks until none has steps left or they are asked to end; return their states.

    `program` is a chunk of one run (`make_chunk`); `settle(run, records, state)` keeps what a chunk gave,
    raises FloatingPointError where that is not finite, and returns another state to go on from, or None.
    """
    apart, streamed = runs[0].seed is None, not resident
    advance = alone(program, streamed) if apart else over_runs(program, placement.mesh, streamed)
    advance = jitted(advance, out_shardings=(placement.runs, placement.copied))
    keys = _stacked_keys(runs, placement)
    state = _stacked(states, placement)
    orders = [Order(run.key, data.size, counts.batch_size) for run in runs]
    feed = (Resident if resident else Streamed)(data, orders, counts.shape, placement)

    def state_of(i: int) -> TrainState:
        mine = jax.tree.map(lambda a: a[i], state)
        return mine if placement.mesh is None else jax.device_get(mine)

    with contextlib.closing(feed):
        while any(lengths := [run.left(counts) for run in runs]) and not asked():
            then = [run.left(counts, n) for run, n in zip(runs, lengths, strict=True)]
            arrays, rows = feed.chunk([run.done for run in runs], lengths, then)
            others: dict[int, TrainState] = {}
            with _together(runs):
                state, metrics = advance(state, keys, arrays, rows, np.asarray(lengths, np.int32))
                metrics, reached = jax.device_get((metrics, state.step))
                for i, run in enumerate(runs):
                    if lengths[i]:
                        records = _records(metrics, i, run.done, lengths[i])
                        other = _settle(settle, run, records, reached[i], partial(state_of, i))
                        others |= {} if other is None else {i: other}
            if others:
                state = _stacked([others.get(i) or state_of(i) for i in range(len(runs))], placement)
    return [state_of(i) for i in range(len(runs))]


def results(runs: list[Run], states: list[TrainState]) -> Fit | dict[int, Fit]:
    """What the runs leave; raise if all of them were frozen."""
    if all(run.error is not None for run in runs):
        raise FloatingPointError("; ".join(f"seed {run.seed}: {run.error}" for run in runs))
    fits = [run.store.result(state, run.error) for run, state in zip(runs, states, strict=True)]
    seeds = [run.seed for run in runs if run.seed is not None]
    return dict(zip(seeds, fits, strict=True)) if seeds else fits[0]


def _stacked(states: Sequence[TrainState], placement: Placement) -> TrainState:
    """The states of the runs on a leading axis, on their devices."""
    # from host arrays: of what comes from a device, donation would eat the caller's copy
    return jax.device_put(jax.tree.map(lambda *a: np.stack(a), *states), placement.runs)


def _stacked_keys(runs: list[Run], placement: Placement) -> Array:
    """The root keys of the runs, [S], on their devices."""
    key_data = np.stack([jax.random.key_data(run.key) for run in runs])
    impl = jax.random.key_impl(runs[0].key)
    return jax.random.wrap_key_data(jax.device_put(key_data, placement.runs), impl=impl)


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
        done = f"{jax.process_index()} of {jax.process_count()} at step {max(run.done for run in runs)}"
        message = (
            f"process {done} lost another process of the job; {runs[0].store.kept()}; "
            "start all processes again with resume=True"
        )
        # at once: jax may end this process before the error has come to the top
        logging.getLogger("vaejax").error(message)
        raise ConnectionError(message) from error


def _records(metrics: dict[str, np.ndarray], i: int, done: int, n: int) -> Records:
    """The metrics of run i, [S, chunk], as one record for each of its n steps."""
    return [{"step": done + t + 1, **{name: float(v[i, t]) for name, v in metrics.items()}} for t in range(n)]
