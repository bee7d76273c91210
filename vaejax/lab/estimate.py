"""What an experiment would take: a training of each kind, measured under the load of the run itself."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import jax
import numpy as np

from vaejax import data, runs, train
from vaejax.lab.results import Run
from vaejax.lab.trainings import Job
from vaejax.progress import watching
from vaejax.runs.processes import makespan, run_all
from vaejax.runs.texts import duration, short
from vaejax.train.measure import twice, untrained

LONG = 1200.0  # seconds of a training beside which scores hardly count


class Cost(NamedTuple):
    """What a training and its scores take, in seconds."""

    begun: float  # from the call until its process was ready
    prepared: float  # until the first part
    parts: dict[str, train.FitCost]  # {the name of the training before it, "": itself}
    scores: tuple[float, float] = (0.0, 0.0)  # and those of one more, whose programs are known
    why: str = ""  # the scores are not counted

    @property
    def seconds(self) -> float:
        """Of all but the start of the process."""
        return self.prepared + sum(part.seconds for part in self.parts.values()) + self.scores[0]

    @property
    def later(self) -> float:
        """Of one more: programs are kept."""
        compiled = sum(part.step.compile_seconds for part in self.parts.values())
        return self.seconds - compiled - (self.scores[0] - self.scores[1])


def estimate(cells: Sequence[Run], workers: int) -> dict[str, Any]:
    """Measure a training of each kind; print what they take and return {label: Cost, "seconds": of the run}.

    Trainings of one row and model are of one kind if their cells differ in floats alone. They are measured by
    as many processes as the run would have, at the same time. Figures and tables are not counted.
    """
    kinds, found = _kinds(cells), {}
    count = min(workers, sum(n for _, n, _ in kinds.values()))
    # every process has something to do: else the others would be measured on a machine that is less busy
    asked = list(islice(cycle(job for job, _, _ in kinds.values()), math.ceil(len(kinds) / count) * count))
    with watching("measuring", len(asked), lambda: len(found), unit="training"):
        for i, cost in run_all(partial(measured, time.time()), asked, [0.0] * len(asked), count):
            found[i] = cost
    costs: dict[str, Any] = {label: found[i] for i, label in enumerate(kinds)}
    rows, each = [], []
    for cost, (label, (_, n, work)) in zip(costs.values(), kinds.items(), strict=True):
        rows += _rows(label, n, cost)
        # those that begin side by side find no programs yet
        each += [(work, cost.seconds if i < count else cost.later) for i in range(n)]
    seconds = min(cost.begun for cost in costs.values()) + makespan(each, count)
    print(runs.table(rows))
    print("".join(f"{label}: {cost.why}\n" for label, cost in costs.items() if cost.why), end="")
    print(f"about {duration(seconds)}, {count} at a time, with these scores; figures come on top")
    return {**costs, "seconds": seconds}


def _kinds(cells: Sequence[Run]) -> dict[str, tuple[Job, int, float]]:
    """{label: a training, how many take the same, and the work of one, by which they begin}."""
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
            parts = made.parts(jobs[0].config).values()
            models = tuple(str(part.model.spec) for part, _ in parts)
            work = made.work * sum(steps for _, steps in parts)
            kinds.setdefault((label, models), [jobs[0], 0, work])[1] += len(new)
    labels = [label for label, _ in kinds]
    names = [f"{n}, model {i}" if labels.count(n) > 1 else n for i, n in enumerate(labels, 1)]
    return {name: tuple(kind) for name, kind in zip(names, kinds.values(), strict=True)}


def measured(called: float, job: Job) -> Cost:
    """Measure one training and its scores in this process."""
    begun, start, key = max(0.0, time.time() - called), time.perf_counter(), jax.random.key(0)
    config, made = job.config, job.training(job.config, job.name)
    prepared, parts = time.perf_counter() - start, {}
    for name, (part, steps) in made.parts(config).items():
        some = data.sample(part.data, config.batch_size)
        sizes = {"batch_size": config.batch_size, "chunk": config.chunk, "seconds": 6.0}
        own = {k: part.options[k] for k in ("validate", "save_every") if k in part.options}
        parts[name] = train.measure_fit(key, part.model, part.update, some, steps, **sizes, **own)
    cost = Cost(begun, prepared, parts)
    if job.score is None or cost.seconds > LONG:
        return cost._replace(why="its scores hardly count, and are not counted" if job.score else "")
    try:
        vae = untrained(key, made.model, made.update, data.sample(made.data, config.batch_size))
        with np.errstate(all="ignore"):
            return cost._replace(scores=twice(job.score, config, job.name, vae, made.data))
    except Exception as error:  # of a model that is not trained, or without its data
        return cost._replace(why=f"its scores are not counted: {type(error).__name__}: {error}")


def _rows(label: str, count: int, cost: Cost) -> Iterator[dict[str, Any]]:
    """Rows of the table: one for each training before it, and its own."""
    for name, part in cost.parts.items():
        step, (scores, _), own = part.step, cost.scores, name == ""
        yield {
            "": ", ".join(filter(None, [label, name])), "parameters": step.parameters,
            "steps": part.steps, "trainings": count, "ms a step": 1000 * step.seconds,
            "until the first": duration(part.first), "validations": duration(part.validations),
            "scores": "" if not own else "-" if cost.why else duration(scores), "state, MiB": step.state_mib,
            "temporaries, MiB": step.temporaries_mib,
            "each": duration(part.seconds + (scores + cost.prepared if own else 0.0)),
        }  # fmt: skip
