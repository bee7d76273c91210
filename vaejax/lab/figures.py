"""Figures that several experiments show: curves, scores, traversals, views of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaejax import evaluation
from vaejax.lab.results import Run
from vaejax.runs import figures
from vaejax.runs.tables import Column
from vaejax.types import VAE

UNITS = {"reconstruction": "nats", "kl": "nats", "KL": "nats", "jacobian_l1": "sum of |J|"}


def curves(run: Run, names: Sequence[str] | Mapping[str, str], *, yscale: str = "linear") -> Any:
    """Metrics, names or {title: name}, over training: `runs.figures.curves` of the rows that have scores."""
    return figures.curves(run.each(run.read, Path), names, yscale=yscale, units=UNITS)


def jacobian_norm(x: np.ndarray) -> Callable[[Any, VAE], dict[str, float]]:
    """A `validate` for `Training`: the mean of ||J||_{1,1} at images x, which is a curve of every model."""
    return lambda _, vae: {"jacobian_l1": float(np.abs(evaluation.jacobian_images(vae, x)).sum()) / len(x)}


def along(run: Run, names: Mapping[str, str], axis: str = "steps", xscale: str = "linear") -> Any:
    """Scores of validations, {name: title}: `runs.figures.along` of the rows that have scores."""
    return figures.along(run.each(run.read, Path), names, axis, xscale=xscale)


def scores(run: Run, columns: Mapping[str, Column], names: Sequence[str] = (), **options: Any) -> Any:
    """Scores of the rows that have them, of all or of `names`, every seed a point: `runs.figures.scores`."""
    reports = {run.rows[name].label: run.reports[name] for name in names or run.rows}
    return figures.scores(reports, columns, **{"units": UNITS, **options})


def traversals(
    run: Run, names: Sequence[str], x: np.ndarray, widest: float = 2.0, *, top: int | None = 6
) -> Any:
    """Traversals of image x, a panel for each row that has scores, by the KL: `runs.figures.traversals`."""
    of = {run.labels[name]: name for name in names if name in run.labels}
    kl = {label: run.scores(name)["kl_per_dimension"] for label, name in of.items()}
    return figures.traversals({label: run.vae(name) for label, name in of.items()}, x, kl, widest, top=top)


def views(x: np.ndarray) -> dict[str, Callable[[Run], Any]]:
    """Figures of what the models make of images x, of prior samples and of paths, and of Jacobian columns."""
    return {
        "reconstructions": lambda run: figures.reconstructions(run.vaes, x),
        "samples": lambda run: figures.samples(run.vaes),
        "interpolations": lambda run: figures.interpolations(run.vaes, x[0], x[1]),
        "jacobian_columns": lambda run: figures.columns(run.vaes, x[:4]),
    }
