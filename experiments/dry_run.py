"""What trainings would take: steps, sizes, memory and an estimated time, from a few measured steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from vaejax import runs, train
from vaejax.types import Model, Split, Update


class Kind(NamedTuple):
    """Trainings of one cost: a few examples of the data's shape are enough; `trainings` is their number."""

    model: Model
    update: Update
    split: Split
    batch_size: int
    steps: int
    trainings: int


def estimate(kinds: Mapping[str, Kind], workers: int) -> dict[str, Any]:
    """Measure a few steps of each kind and print a table.

    The time is that of the steps alone, `workers` trainings at a time; scores, compilation and figures
    come on top, and trainings side by side slow each other down.

    Args:
      kinds: label -> trainings that cost the same.
      workers: trainings side by side.

    Returns:
      {label: StepCost, "hours": in all}.
    """
    costs: dict[str, Any] = {}
    rows, hours = [], 0.0
    for label, kind in kinds.items():
        cost = train.measure_step(
            jax.random.key(0), kind.model, kind.update, kind.split, batch_size=kind.batch_size
        )
        each = cost.seconds * kind.steps / 3600
        costs[label], hours = cost, hours + each * kind.trainings / workers
        rows.append(
            {
                "": label,
                "parameters": cost.parameters,
                "steps": kind.steps,
                "trainings": kind.trainings,
                "ms a step": 1000 * cost.seconds,
                "compile, s": cost.compile_seconds,
                "state, MiB": cost.state_mib,
                "temporaries, MiB": cost.temporaries_mib,
                "hours a training": each,
            }
        )
    print(runs.table(rows))
    print(f"about {hours:.2g} hours of training, {workers} at a time")
    return {**costs, "hours": hours}
