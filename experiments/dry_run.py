"""What trainings would take: steps, sizes, memory and an estimated time, from a few measured steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from vaejax import runs, train
from vaejax.types import Model, Split, Update


def estimate(
    model: Model,
    updates: Mapping[str, Update],
    split: Split,
    batch_size: int,
    steps: int,
    seeds: int,
    workers: int,
) -> dict[str, Any]:
    """Measure a few steps of each update and print a table.

    The time is that of the steps alone, `workers` trainings at a time; scores, compilation and figures
    come on top, and trainings side by side slow each other down.

    Args:
      model: the model of all updates.
      updates: label -> update.
      split: a few examples of the data's shape.
      batch_size, steps, seeds: of every training.
      workers: trainings side by side.

    Returns:
      {label: StepCost, "hours": in all}.
    """
    costs: dict[str, Any] = {}
    rows, hours = [], 0.0
    for label, update in updates.items():
        cost = train.measure_step(jax.random.key(0), model, update, split, batch_size=batch_size)
        each = cost.seconds * steps / 3600
        costs[label], hours = cost, hours + each * seeds / workers
        rows.append(
            {
                "": label,
                "parameters": cost.parameters,
                "steps": steps,
                "seeds": seeds,
                "ms a step": 1000 * cost.seconds,
                "compile, s": cost.compile_seconds,
                "state, MiB": cost.state_mib,
                "temporaries, MiB": cost.temporaries_mib,
                "hours a seed": each,
            }
        )
    print(runs.table(rows))
    print(f"about {hours:.2g} hours of training, {workers} at a time")
    return {**costs, "hours": hours}
