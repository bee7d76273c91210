"""Figures that several experiments show: curves, scores, traversals, views of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vaejax import evaluation, plots, train
from vaejax.lab.results import Run
from vaejax.runs import entry, figures
from vaejax.runs.tables import Column
from vaejax.types import VAE

UNITS = {"reconstruction": "nats", "kl": "nats", "KL": "nats", "jacobian_l1": "sum of |J|"}


def curves(run: Run, names: Sequence[str] | Mapping[str, str], *, yscale: str = "linear") -> Any:
    """Metrics, names or {title: name}, over training, every seed a line; on a log scale 0 is a gap.

    What the validations of all rows have by such a name is shown in its place, with straight lines between.
    """
    named = names if isinstance(names, Mapping) else {name: name for name in names}
    logs = {label: [c for c, _ in run.read(name, train.read_metrics)] for name, label in run.labels.items()}
    checks = {label: run.read(name, train.read_validations) for name, label in run.labels.items()}
    checked = {m for m in named.values() if all(m in c for seeds in checks.values() for c in seeds)}
    lines: dict[str, dict[str, Any]] = {}
    for label, seeds in logs.items():
        lines[label] = {"step": (step := seeds[0]["step"])}
        for title, m in named.items():
            if m in checked:
                each = [np.interp(step, c["steps"], c[m], left=np.nan) for c in checks[label]]
            elif m in seeds[0]:
                each = [c[m] for c in seeds]
            else:
                continue
            curve = np.stack(each)
            lines[label][title] = np.where(curve > 0, curve, np.nan) if yscale == "log" else curve
    shown = [title for title in named if any(title in of for of in lines.values())]
    return plots.training_curves(lines, metrics=shown, units=UNITS, yscale=yscale)


def jacobian_norm(x: np.ndarray) -> Callable[[Any, VAE], dict[str, float]]:
    """A `validate` for `Training`: the mean of ||J||_{1,1} at images x, which is a curve of every model."""

    def validate(_: Any, vae: VAE) -> dict[str, float]:
        return {"jacobian_l1": float(np.abs(evaluation.jacobian_images(vae, x)).sum()) / len(x)}

    return validate


def along(run: Run, names: Mapping[str, str], axis: str = "steps", xscale: str = "linear") -> Any:
    """Scores of validations, {name: title}, against "steps" or "seconds" of training, every seed a line."""
    each = {label: run.read(name, train.read_validations) for name, label in run.labels.items()}
    lines = {t: {label: [c[k] for c in seeds] for label, seeds in each.items()} for k, t in names.items()}
    at = {label: np.mean([c[axis] for c in seeds], axis=0) for label, seeds in each.items()}
    title = {"steps": "step", "seconds": "seconds of training"}[axis]
    return plots.band_curves(lines, at, title, xscale=xscale)


def scores(run: Run, columns: Mapping[str, Column], names: Sequence[str] = (), **options: Any) -> Any:
    """Scores of the rows that have them, every seed a point; options of `plots.score_comparison`."""
    values: dict[str, dict[str, Any]] = {}
    for title, column in columns.items():
        for name in names or run.rows:
            found = entry(run.reports[name], column)
            if not isinstance(found, str):
                values.setdefault(title, {})[run.rows[name].label] = found
    return plots.score_comparison(values, **{"units": UNITS, **options})


def traversals(
    run: Run, names: Sequence[str], x: np.ndarray, widest: float = 2.0, *, top: int | None = 6
) -> Any:
    """Every latent of image x in turn goes from -widest to widest, a panel for each row that has scores.

    Latents are in order of their KL; of each row the first `top`, None: all.
    """
    values, of = np.linspace(-widest, widest, 9), {run.labels[n]: n for n in names if n in run.labels}
    kl = {label: run.scores(n)["kl_per_dimension"] for label, n in of.items()}
    images = {label: evaluation.traverse(run.vae(n), x, values) for label, n in of.items()}
    return plots.traversals(images, values=values, base=x, kl=kl, order_by_kl=True, top=top)


def views(x: np.ndarray) -> dict[str, Callable[[Run], Any]]:
    """Figures of what the models make of images x, of prior samples and of paths, and of Jacobian columns."""
    return {
        "reconstructions": lambda run: figures.reconstructions(run.vaes, x),
        "samples": lambda run: figures.samples(run.vaes),
        "interpolations": lambda run: figures.interpolations(run.vaes, x[0], x[1]),
        "jacobian_columns": lambda run: figures.columns(run.vaes, x[:4]),
    }
