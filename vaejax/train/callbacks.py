"""The caller's functions, which meet a run between its chunks of steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vaejax.keys import named_key
from vaejax.progress import Bar
from vaejax.train.runs import Counts, Records, Run
from vaejax.types import VAE, Array, Model, TrainState

Validate = Callable[[Array, VAE], dict[str, Any]]
Stop = Callable[[list[dict[str, Any]]], bool]
Adjust = Callable[[list[dict[str, Any]], TrainState], TrainState]
Progress = Callable[[int, dict[str, Any]], None]
Report = Callable[[Run, Records], None]


class Callbacks(NamedTuple):
    """Functions of the caller, or None: `fit` says what each does."""

    model: Model  # which binds the parameters for `validate`
    validate: Validate | None
    stop: Stop | None
    after_validation: Adjust | None

    def check(self) -> None:
        """Raise for what is no function, or reads the records of a `validate` that is not there."""
        for name in ("validate", "stop", "after_validation"):
            value = getattr(self, name)
            if value is None:
                continue
            if not callable(value):
                got = f"{type(value).__name__} ({value!r})"
                raise TypeError(f"{name}: expected a function or None, got {got}")
            if self.validate is None:
                raise ValueError(f"{name}: expected with validate, whose records it reads; got validate=None")

    def start(self, counts: Counts, run: Run, state: TrainState) -> TrainState:
        """The state from which a run starts, or goes on when it is resumed from this one."""
        if run.store.interrupted and not counts.pauses(run.done):
            return state  # saved after what followed from its records
        if run.store.lacks_validation():  # killed between a checkpoint and its validation
            self._validated(run, state)
        return self._followed(run, state)

    def settle(
        self, counts: Counts, report: Report, run: Run, records: Records, state: Callable[[], TrainState]
    ) -> TrainState | None:
        """Keep the records of a chunk; where it is time, save and validate the state.

        Returns:
          Another state to go on from, or None.

        Raises:
          FloatingPointError: for a loss or a state that is not finite.
        """
        run.store.write(records, counts.log_every)
        report(run, records)
        run.done += len(records)
        if not counts.pauses(run.done):
            return None
        before = state()
        run.store.save(before)
        self._validated(run, before)
        after = self._followed(run, before)
        return None if after is before else after

    def _validated(self, run: Run, state: TrainState) -> None:
        """Record the scores of a state."""
        if self.validate is not None:
            key = named_key(jax.random.fold_in(run.key, int(state.step)), "/validate")
            run.store.validated(state, self.validate(key, self.model.bind(state.params, state.variables)))

    def _followed(self, run: Run, state: TrainState) -> TrainState:
        """What follows from the records so far: whether the run ends, and the state to go on from."""
        run.ended = run.store.ended(self.stop)  # also when resumed: a run that ended early stays ended
        if self.after_validation is None or not run.store.validation:
            return state
        after = self.after_validation(run.store.validation, state)
        if jax.tree.map(_kind, after) != jax.tree.map(_kind, state):
            raise ValueError("after_validation: expected a state of the same structure, shapes and dtypes")
        return after


def _kind(array: Any) -> tuple:
    return jnp.shape(array), jnp.asarray(array).dtype


@contextlib.contextmanager
def reporting(progress: bool | Progress, steps: int, runs: list[Run]) -> Iterator[Report]:
    """A bar over the steps of all runs with loss and steps/s, or the caller's own function."""
    own = progress if callable(progress) else None
    hidden = own is not None or not progress or jax.process_index() > 0
    total, done = steps * len(runs), sum(run.done for run in runs)
    with Bar(total=total, initial=done, unit="step", disable=hidden) as bar:

        def report(run: Run, records: Records) -> None:
            record = records[-1] if run.seed is None else {"seed": run.seed, **records[-1]}
            shown = {k: f"{v:.4g}" for k, v in record.items() if k == "seed" or k.endswith("loss")}
            bar.set_postfix(shown, refresh=False)
            bar.update(len(records))
            if own is not None:
                own(len(records), record)

        yield report
