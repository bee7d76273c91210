"""Trainings and their scores, each in a folder of its own: done once, and resumed after a kill."""

from __future__ import annotations

import dataclasses
import math
import re
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vaejax import models, runs, train
from vaejax.lab.settings import SHOWN_ONLY, Settings, digest
from vaejax.types import Model, TrainState, Update

LOGGED = 10_000  # a training keeps the metrics of about this many steps, evenly spaced


class Row(NamedTuple):
    """A row of a table."""

    label: str
    same_as: str | None = None  # the name of the training that it shares, where that is not its own
    unread: tuple[str, ...] = ()  # fields that it does not depend on: cells that differ in these share it


Rows = Mapping[str, Row | str] | Callable[[Any], Mapping[str, Row | str]]


def rows_of(rows: Rows, config: Settings) -> dict[str, Row]:
    """The rows of a config."""
    named = (rows(config) if callable(rows) else rows).items()
    return {name: row if isinstance(row, Row) else Row(row) for name, row in named}


class Training:
    """What `training(config, name)` returns: a model, how it is trained, and on what.

    Args:
      model, update: as `train.fit` takes them.
      data: an object with a Split `train`; `score` gets it too.
      steps: the number of steps; None: `config.steps`.
      work: of a step beside those of other rows, so that the longest trainings begin first.
      before: (name, training, groups): done first, in a folder of that name within this one's; this one
        starts from its parameters of those groups, and with "encoder" among them from its variables.
      **options: of `train.fit`, such as `validate` or `save_every`.
    """

    def __init__(
        self, model: Model, update: Update, data: Any, *, steps: int | None = None, work: float = 1.0,
        before: tuple[str, Training, tuple[str, ...]] | None = None, **options: Any,
    ):  # fmt: skip
        self.model, self.update, self.data, self.before = model, update, data, before
        self.steps, self.work, self.options = steps, work, options

    def parts(self, config: Settings) -> dict[str, tuple[Training, int]]:
        """{name: the training before it, "": this one}, with the steps of each."""
        each = {"": self} if self.before is None else {self.before[0]: self.before[1], "": self}
        return {name: (made, made.steps or config.steps) for name, made in each.items()}


class Job(NamedTuple):
    """A training of one row with one seed, in a folder of its own; the two functions are the script's."""

    config: Settings
    name: str
    seed: int
    folder: Path
    training: Callable[[Any, str], Training]
    score: Callable[[Any, str, Any, Any], dict[str, Any]] | None

    @property
    def finished(self) -> bool:
        """Whether it has its scores."""
        return (self.folder / "report.json").exists()

    @property
    def done(self) -> int:
        """The steps that are done, those of a training before it included; deeper, folders are renamed."""
        return sum(max(train.read_seconds(place)) for place in (self.folder, *self.folder.glob("*/")))

    @property
    def stopped(self) -> dict[str, Any]:
        """Why it has none: {"diverged": step, "error": text} or {"failed": text}; else empty."""
        path = self.folder / "stopped.json"
        return runs.read_json(path) if path.exists() else {}

    @property
    def why(self) -> str:
        """The same for a table."""
        if "failed" in self.stopped:
            return f"failed: {self.stopped['failed'].splitlines()[0][:60]}"
        step = self.stopped["diverged"]
        return "diverged" if step is None else f"diverged at step {step}"


def jobs(
    config: Any, default: Any, rows: Mapping[str, Row], folder: Path, functions: tuple, shared: bool
) -> dict[str, list[Job]]:
    """The trainings of a cell, {row: one per seed}; where shared, named by all that one depends on."""
    each: dict[str, list[Job]] = {}
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    for row, (_, same_as, unread) in rows.items():
        own, place = config, folder / (name := same_as or row)
        if shared:
            free = {field: getattr(default, field) for field in ("seeds", "first_seed", *unread)}
            own = dataclasses.replace(config, **free)
            place = folder / "trainings" / f"{name}-{digest(own, (*SHOWN_ONLY, 'preset', 'sweep'))}"
        each[row] = [Job(own, name, s, place.with_name(f"{place.name}-seed{s}"), *functions) for s in seeds]
    return each


def do(job: Job) -> None:
    """Train and score; what stops it is kept, so that the others go on, but for OSError and a bad start."""
    (job.folder / "stopped.json").unlink(missing_ok=True)
    try:
        _train_and_score(job)
    except Exception as error:
        error.add_note(f"in the training {job.folder}")
        if isinstance(error, FloatingPointError):
            step = re.search(r"step (\d+)", str(error))
            stopped = {"diverged": int(step[1]) if step else None, "error": str(error)}
        elif isinstance(error, OSError) or not (job.folder / "metrics.jsonl").exists():
            raise
        else:
            traceback.print_exc()
            stopped = {"failed": f"{type(error).__name__}: {error}"}
        runs.write_json(job.folder / "stopped.json", stopped)


def _train_and_score(job: Job) -> None:
    """Fill the folder of a training; what `score` returns under "arrays", {name: array}, becomes name.npy."""
    start = time.perf_counter()
    made = job.training(job.config, job.name)
    model = made.model
    if made.before is not None:
        name, first, groups = made.before
        state = _fit(job, first, first.model, job.folder / name, start)
        variables = state.variables if "encoder" in groups else None  # state is the encoder's
        model = models.starting_from(model, {group: state.params[group] for group in groups}, variables)
    own = {"model": job.name, "seed": job.seed}
    with runs.created(job.folder, {**dataclasses.asdict(job.config), **own}, model, SHOWN_ONLY):
        state = _fit(job, made, model, job.folder, start)
    trained = time.perf_counter()
    vae = model.bind(state.params, state.variables)
    scores = dict(job.score(job.config, job.name, vae, made.data)) if job.score else {}
    for name, array in scores.pop("arrays", {}).items():
        np.save(job.folder / f"{name}.npy", array)
    scored = time.perf_counter()
    more = {"params": state.params, "score_seconds": round(scored - trained, 1)}
    runs.write_json(job.folder / "manifest.json", runs.manifest(seconds=scored - start, **more))
    seconds = train.read_seconds(job.folder).get(int(state.step))  # over all processes; None: not known
    runs.write_json(job.folder / "report.json", {**scores, "train_seconds": seconds})


def _fit(job: Job, made: Training, model: Model, folder: Path, start: float) -> TrainState:
    """The last state."""
    steps, clock = made.steps or job.config.steps, train.Clock(folder, start)
    state = train.fit(
        jax.random.key(job.seed), model, made.update, made.data.train, steps,
        batch_size=job.config.batch_size, chunk=min(job.config.chunk, steps), folder=folder, resume=True,
        tensorboard=job.config.tensorboard, progress=clock,
        **{"log_every": math.ceil(steps / LOGGED), **made.options},
    ).state  # fmt: skip
    clock.end()
    return state
