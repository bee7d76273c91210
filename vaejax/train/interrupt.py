"""Ctrl-C while a run trains: it ends where a chunk of steps ends, and nothing of it is lost."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax

from vaejax.train.runs import Run
from vaejax.types import TrainState

__all__ = ["Interrupted", "deferred", "interrupted"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a training at the end of a chunk; with a folder its state is saved by then.

    It is a KeyboardInterrupt, so that scripts stop, and what catches an Exception does not catch it. In a
    notebook it is `sys.last_value` afterwards.

    Attributes:
      fit: what the run has so far, as `train.fit` returns it: a Fit; of several seeds {seed: Fit}.
    """

    def __init__(self, message: str, fit: Any):
        super().__init__(message)
        self.fit = fit

    def __reduce__(self) -> tuple[Any, ...]:
        return KeyboardInterrupt, self.args  # what another process gets of it: arrays stay where they are


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed: once it waits to be asked, twice raises as ever.

    Where another handler of the signal is set, in other threads than the main one and in a job of several
    processes, which stop together or not at all, Ctrl-C does what it does without this.
    """
    mine = threading.current_thread() is threading.main_thread() and jax.process_count() == 1
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    asked: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if asked:
            signal.default_int_handler(number, frame)
        asked.append(number)
        with contextlib.suppress(RuntimeError):  # where the signal came while something else was written
            sys.stderr.write("\nCtrl-C: the run ends after this chunk of steps; once more ends it at once\n")

    signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted(runs: list[Run], states: list[TrainState], steps: int) -> Interrupted:
    """Save what the runs have, and return what says so."""
    for run, state in zip(runs, states, strict=True):
        if run.error is None and run.done:
            run.store.save(state, interrupted=True)
    fits = [run.store.result(state, run.error) for run, state in zip(runs, states, strict=True)]
    first, done = runs[0], max(run.done for run in runs)
    fit = fits[0] if first.seed is None else {run.seed: one for run, one in zip(runs, fits, strict=True)}
    then = "the same call with resume=True goes on" if first.store.has_folder else "the run has no folder"
    return Interrupted(
        f"Ctrl-C at step {done} of {steps}; {first.store.kept()}; {then}. What it has so far is the `fit` of "
        "this exception: `except train.Interrupted as stop: fitted = stop.fit`; in a notebook "
        "`sys.last_value.fit`",
        fit,
    )
