"""What trainings would take: steps, sizes, memory and an estimated time, from a few measured steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from vaejax import data, runs, train
from vaejax.lab.tables import short
from vaejax.lab.trainings import Training
from vaejax.types import SUPPORTS, Split

if TYPE_CHECKING:
    from vaejax.lab.run import Run


def estimate(cells: Sequence[Run], workers: int) -> dict[str, Any]:
    """Measure a few steps of each kind of training; print and return {label: StepCost, "hours": in all}.

    Trainings of one row are of one kind if their cells differ in floats alone and their parameters have the
    same shapes. The hours are of the steps, `workers` trainings at a time; trainings side by side slow each
    other down.
    """
    seen, kinds = set(), {}
    for cell in cells:
        for name, jobs in cell.jobs.items():
            new = {job.folder for job in jobs} - seen
            if not new:
                continue
            seen |= new
            unread = ("seeds", "first_seed", *cell.rows[name].unread)
            named = [k for k, v in cell.values.items() if not isinstance(v, float) and k not in unread]
            label = ", ".join([cell.rows[name].label, *(f"{k}={short(cell.values[k])}" for k in named)])
            made = jobs[0].training(jobs[0].config, jobs[0].name)
            few = _few(made, jobs[0].config.batch_size)
            batch = few.transform(jax.random.key(0), {k: a[:1] for k, a in few.arrays.items()})
            params = jax.eval_shape(made.model.init, jax.random.key(0), batch)[0]
            shapes = str(jax.tree.map(lambda a: a.shape, params))
            kinds.setdefault((label, shapes), [label, made, few, jobs[0].config, 0])[-1] += len(new)
    costs, rows, hours = {}, [], 0.0
    for label, made, few, config, count in kinds.values():
        cost = train.measure_step(
            jax.random.key(0), made.model, made.update, few, batch_size=config.batch_size
        )
        label = label if label not in costs else f"{label}, {cost.parameters} parameters"
        each = cost.seconds * made.total(config) / 3600
        costs[label], hours = cost, hours + each * count / workers
        told = {"parameters": cost.parameters, "steps": made.total(config), "trainings": count}
        times = {"ms a step": 1000 * cost.seconds, "compile, s": cost.compile_seconds}
        sizes = {"state, MiB": cost.state_mib, "temporaries, MiB": cost.temporaries_mib}
        rows.append({"": label, **told, **times, **sizes, "hours a training": each})
    print(runs.table(rows))
    print(f"about {hours:.2g} hours of training, {workers} at a time; scores come on top")
    return {**costs, "hours": hours}


def _few(made: Training, n: int) -> Split:
    """Examples to measure a step on; of a set that draws its images, without preparing it."""
    if hasattr(made.data, "sample_images"):
        x = made.data.sample_images(np.zeros((n, len(made.data.num_values)), np.int64))
        return Split({"x": x}, SUPPORTS[made.model.support][0])
    return data.first(made.data.train, n)
