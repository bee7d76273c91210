"""Figures that several experiments show: curves, scores, traversals, views of the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaejax import evaluation, plots, train
from vaejax.lab.results import Run
from vaejax.runs import entry, figures
from vaejax.runs.tables import Column

UNITS = {"reconstruction": "nats", "kl": "nats", "KL": "nats", "jacobian_l1": "sum of |J|"}


def curves(run: Run, names: Sequence[str] | Mapping[str, str], *, yscale: str = "linear") -> Any:
    """Metrics, names or {title: name}, over training, every seed a line; on a log scale 0 is a gap."""
    named = names if isinstance(names, Mapping) else {name: name for name in names}
    lines, records = {}, 0
    for name, label in run.labels.items():
        seeds = [metrics for metrics, _ in run.read(name, train.read_metrics)]
        terms = {t: np.stack([c[m] for c in seeds]) for t, m in named.items() if m in seeds[0]}
        if yscale == "log":
            terms = {t: np.where(c > 0, c, np.nan) for t, c in terms.items()}
        lines[label] = {"step": seeds[0]["step"], **terms}
        records = max(records, len(seeds[0]["step"]))
    return plots.training_curves(lines, smooth=max(1, records // 50), units=UNITS, yscale=yscale)


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


def traversals(run: Run, name: str | Sequence[str], x: np.ndarray, widest: float = 2.0) -> Any:
    """Every latent of image x in turn goes from -widest to widest; latents in order of their KL.

    Of several rows, a panel for each that has scores, with the six latents of the largest KL.
    """
    values = np.linspace(-widest, widest, 9)
    of = {run.labels[n]: n for n in ([name] if isinstance(name, str) else name) if n in run.labels}
    kl = {label: run.reports[n][0]["kl_per_dimension"] for label, n in of.items()}
    images = {label: evaluation.traverse(run.vae(n), x, values) for label, n in of.items()}
    if not isinstance(name, str):
        return plots.traversal_panels(images, kl, rows=6)
    ((label, seen),) = images.items()
    return plots.traversals(seen, values=values, kl=kl[label], order_by_kl=True, label=label)


def views(run: Run, x: np.ndarray) -> None:
    """Figures of what the models make of images x, of prior samples and of paths, and of Jacobian columns."""
    run.figure("reconstructions", lambda run: figures.reconstructions(run.vaes, x))
    run.figure("samples", lambda run: figures.samples(run.vaes))
    run.figure("interpolations", lambda run: figures.interpolations(run.vaes, x[0], x[1]))
    run.figure("jacobian_columns", lambda run: figures.columns(run.vaes, x[:4]))
