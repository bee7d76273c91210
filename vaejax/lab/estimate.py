"""What an experiment would take: a training of each kind, measured under the load of the run itself."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import math
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
import numpy as np

from vaejax import data, runs, train
from vaejax.lab import trainings
from vaejax.lab.results import Run
from vaejax.lab.settings import short
from vaejax.lab.trainings import Job, Training
from vaejax.progress import watching
from vaejax.train.loop import initialiser

WAIT = 20.0  # seconds for scores, where the training takes so long that they hardly count
LONG = 1200.0  # seconds of such a training
IMAGES, FEW = 50_000, 2_000  # of a larger training set that is drawn, the scores get FEW images


class _Late(BaseException):
    """The scores take too long; no error, which they might catch."""


class Kind(NamedTuple):
    """Trainings that take the same: one of them, and their number."""

    label: str
    job: Job
    count: int
    work: float  # of one, as `trainings.run_all` orders them
    pieces: int  # that are measured one by one


class Part(NamedTuple):
    """A training, or the one before it, in seconds."""

    step: train.StepCost
    steps: int
    checks: float  # all validations

    @property
    def first(self) -> float:
        """Until the first step."""
        return self.step.trace_seconds + self.step.compile_seconds

    @property
    def seconds(self) -> float:
        """In all."""
        return self.first + self.step.seconds * self.steps + self.checks


class Cost(NamedTuple):
    """What a training and its scores take, in seconds."""

    begun: float  # from the call until its process was ready
    prepared: float  # until the first part
    parts: dict[str, Part]  # "": itself
    scores: float = 0.0
    again: float = 0.0  # of a second model, whose programs are known
    why: str = ""  # the scores may take longer

    @property
    def seconds(self) -> float:
        """Of all but the start of the process."""
        return self.prepared + sum(part.seconds for part in self.parts.values()) + self.scores

    @property
    def later(self) -> float:
        """Of one more, whose scores' programs are known, and those of steps where jax keeps them on disk."""
        kept = jax.config.jax_compilation_cache_dir is not None  # pyright: ignore
        compiled = sum(part.step.compile_seconds for part in self.parts.values()) if kept else 0.0
        return self.seconds - compiled - (self.scores - self.again)


def estimate(cells: Sequence[Run], workers: int) -> dict[str, Any]:
    """Measure a training of each kind; print what they take and return {label: Cost, "seconds": of the run}.

    Trainings of one row and model are of one kind if their cells differ in floats alone. They are measured by
    as many processes as the run would have, at the same time. Figures and tables are not counted.
    """
    kinds = _kinds(cells)
    # every process has something to do: else the others would be measured on a machine that is less busy
    count = min(workers, sum(kind.count for kind in kinds))
    asked = [kinds[i % len(kinds)] for i in range(math.ceil(len(kinds) / count) * count)]
    with tempfile.TemporaryDirectory() as folder:
        (done := Path(folder) / "done").mkdir()
        measure, pieces = partial(measured, done, time.time()), sum(kind.pieces for kind in asked)
        with watching("measuring", pieces, lambda: len([*done.iterdir()]), unit="piece"):
            jobs = [kind.job for kind in asked]
            found = trainings.run_all(measure, jobs, [0.0] * len(jobs), count)
    costs, begun, each = {}, min(cost.begun for cost in found), []
    for i, kind in enumerate(kinds):
        same = sorted(found[i :: len(kinds)], key=lambda cost: cost.seconds)
        costs[kind.label] = cost = same[len(same) // 2]
        # those that begin side by side find no programs yet
        times = [cost.seconds] * min(count, kind.count) + [cost.later] * (kind.count - count)
        each += [(kind.work, seconds) for seconds in times]
    seconds = begun + makespan(each, count, begun)
    print(runs.table([row for kind in kinds for row in _rows(kind, costs[kind.label])]))
    print("".join(f"{label}: {cost.why}\n" for label, cost in costs.items() if cost.why), end="")
    print(f"about {readable(seconds)}, {count} at a time, scores included; figures come on top")
    return {**costs, "seconds": seconds}


def _kinds(cells: Sequence[Run]) -> list[Kind]:
    seen, kinds = set(), {}
    for cell in cells:
        for name, jobs in cell.jobs.items():
            new = {job.folder for job in jobs} - seen
            if not new:
                continue
            seen |= new
            unread = ("seeds", "first_seed", *cell.rows[name].unread)
            told = [k for k, v in cell.values.items() if not isinstance(v, float) and k not in unread]
            label = ", ".join([cell.rows[name].label, *(f"{k}={short(cell.values[k])}" for k in told)])
            made = jobs[0].training(jobs[0].config, jobs[0].name)
            specs = tuple(str(part.model.spec) for part, _ in made.parts(jobs[0].config).values())
            steps = sum(steps for _, steps in made.parts(jobs[0].config).values())
            kinds.setdefault((label, specs), [jobs[0], 0, made.work * steps, len(specs) + 1])[1] += len(new)
    labels = [label for label, _ in kinds]
    names = [f"{n}, model {i}" if labels.count(n) > 1 else n for i, n in enumerate(labels, 1)]
    return [Kind(name, *kind) for name, kind in zip(names, kinds.values(), strict=True)]


def measured(done: Path, called: float, job: Job) -> Cost:
    """Measure one training in this process; a folder in `done` for each of its pieces that is over."""
    begun, start = max(0.0, time.time() - called), time.perf_counter()
    made = job.training(job.config, job.name)
    prepared, parts = time.perf_counter() - start, {}
    for name, (part, steps) in made.parts(job.config).items():
        parts[name] = _part(part, steps, job.config)
        tempfile.mkdtemp(dir=done)
    cost = Cost(begun, prepared, parts)
    limit = WAIT if cost.seconds > LONG else None
    with tempfile.TemporaryDirectory() as folder:
        scores, again, why = _scores(made, job, Path(folder), limit)
    tempfile.mkdtemp(dir=done)
    return cost._replace(scores=scores, again=again, why=why)


def _part(made: Training, steps: int, config: Any) -> Part:
    """A step, and the validations: the first compiles."""
    some, chunk = data.sample(made.data, config.batch_size), min(config.chunk, steps)
    size: dict[str, Any] = {"batch_size": config.batch_size, "steps": chunk, "seconds": 6.0}
    cost = train.measure_step(jax.random.key(0), made.model, made.update, some, **size)
    validate = made.options.get("validate")
    if validate is None:
        return Part(cost, steps, 0.0)
    vae = _untrained(made, some)
    first, other = (_seconds(validate, jax.random.key(seed), vae) for seed in (0, 1))
    others = math.ceil(steps / (chunk * made.options.get("save_every", 10))) - 1
    return Part(cost, steps, first + other * others)


def _seconds(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _untrained(made: Training, some: Any) -> Any:
    """The model at its first parameters."""
    state = jax.jit(initialiser(made.model, made.update, some))(jax.random.key(0))
    return made.model.bind(state.params, state.variables)


def _scores(made: Training, job: Job, folder: Path, limit: float | None) -> tuple[float, float, str]:
    """Seconds of the scores, of those of a second model, and why they may be more."""
    if job.score is None:
        return 0.0, 0.0, ""
    vae, images = _untrained(made, data.sample(made.data, job.config.batch_size)), made.data
    if getattr(images, "num_train", 0) > IMAGES:
        images = dataclasses.replace(images, num_train=FEW, folder=folder)
    scored = partial(_seconds, job.score, job.config, job.name, vae, images)
    start = time.perf_counter()
    try:
        with _limited(limit), np.errstate(all="ignore"):
            first = scored()
            return first, scored() if first < WAIT / 2 else first, ""
    except _Late:
        why = f"its scores take more than {readable(limit or 0.0)}, and are counted as that"
    except Exception as error:  # of a model that is not trained, or without its data
        why = f"its scores are not counted whole: {type(error).__name__}: {error}"
    return (spent := time.perf_counter() - start), spent, why


@contextlib.contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise _Late in what takes longer, where a signal can: in a main thread, not on Windows."""
    usable = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not usable:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def makespan(jobs: Sequence[tuple[float, float]], workers: int, begun: float) -> float:
    """When the last of the jobs, (work, seconds), ends: those of the most work first, each by who is free."""
    free = [begun] * workers
    for _, seconds in sorted(jobs, key=lambda job: -job[0]):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _rows(kind: Kind, cost: Cost) -> Iterator[dict[str, Any]]:
    """Rows of the table: one for each training before it, and its own."""
    for name, part in cost.parts.items():
        own, step = name == "", part.step
        yield {
            "": ", ".join(filter(None, [kind.label, name])), "parameters": step.parameters,
            "steps": part.steps, "trainings": kind.count, "ms a step": 1000 * step.seconds,
            "until the first": readable(part.first), "validations": readable(part.checks),
            "scores": readable(cost.scores) if own else "", "state, MiB": step.state_mib,
            "temporaries, MiB": step.temporaries_mib,
            "each": readable(part.seconds + (cost.scores + cost.prepared if own else 0.0)),
        }  # fmt: skip


def readable(seconds: float) -> str:
    """A time in its two largest units, as 4 min 50 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size, below, parts in (("d", 86400, "h", 24), ("h", 3600, "min", 60), ("min", 60, "s", 60)):
        if seconds >= size:
            whole = round(seconds / size * parts)
            return (
                f"{whole // parts} {unit} {whole % parts} {below}"
                if whole % parts
                else f"{whole // parts} {unit}"
            )
    return f"{seconds:.0f} s"
