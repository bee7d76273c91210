"""Figures that several experiments show: curves, scores, images, traversals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from vaejax import evaluation, plots
from vaejax.disentanglement import LinearModel
from vaejax.lab.run import Run
from vaejax.runs import entry
from vaejax.runs.tables import Column

UNITS = {"reconstruction": "nats", "kl": "nats", "KL": "nats", "jacobian_l1": "sum of |J|"}


def curves(run: Run, names: Sequence[str] | Mapping[str, str], *, yscale: str = "linear") -> Any:
    """Metrics, names or {title: name}, over training, every seed a line; on a log scale 0 is a gap."""
    named = names if isinstance(names, Mapping) else {name: name for name in names}
    lines, records = {}, 0
    for name, label in run.labels.items():
        seeds = [metrics for metrics, _ in run.metrics(name)]
        terms = {t: np.stack([c[m] for c in seeds]) for t, m in named.items() if m in seeds[0]}
        if yscale == "log":
            terms = {t: np.where(c > 0, c, np.nan) for t, c in terms.items()}
        lines[label] = {"step": seeds[0]["step"], **terms}
        records = max(records, len(seeds[0]["step"]))
    return plots.training_curves(lines, smooth=max(1, records // 50), units=UNITS, yscale=yscale)


def along(run: Run, names: Mapping[str, str], axis: str = "steps", xscale: str = "linear") -> Any:
    """Scores of validations, {name: title}, against "steps" or "seconds" of training, every seed a line."""
    each = {label: run.along(name) for name, label in run.labels.items()}
    lines = {t: {label: [c[k] for c in seeds] for label, seeds in each.items()} for k, t in names.items()}
    at = {label: np.mean([c[axis] for c in seeds], axis=0) for label, seeds in each.items()}
    title = {"steps": "step", "seconds": "seconds of training"}[axis]
    return plots.band_curves(lines, at, title, xscale=xscale)


def scores(
    run: Run, columns: Mapping[str, Column], names: Sequence[str] | None = None, **options: Any
) -> Any:
    """Scores of the rows that have them, every seed a point; options of `plots.score_comparison`."""
    values: dict[str, dict[str, Any]] = {}
    for title, column in columns.items():
        for name in run.rows if names is None else names:
            found = entry(run.reports[name], column)
            if not isinstance(found, str):
                values.setdefault(title, {})[run.rows[name].label] = found
    return plots.score_comparison(values, **{"units": UNITS, **options})


def gallery(run: Run, x: np.ndarray, brightest: Mapping[str, float] | None = None) -> Any:
    """Reconstructions of the first half of images x, and as many decoder means at prior draws, a line a row.

    `brightest`, {name of a row: number}, is what white is to its model, where that is not 1.
    """
    n, key, lines = len(x) // 2, jax.random.key(3), {}
    for name, label in run.labels.items():
        vae, top = run.vae(name), (brightest or {}).get(name, 1)
        seen = np.asarray(evaluation.reconstruct(vae, x[:n] * np.float32(top), key=key)) / top
        lines[label] = np.concatenate([seen, np.asarray(evaluation.prior_samples(key, vae, n)) / top])
    groups = (("reconstructions", n), ("samples (data: other test images)", n))
    return plots.reconstructions(x, lines, limits=(0.0, 1.0), groups=groups)


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


# the config's models beside those of the rows: {label: its columns [d, ...] and what it makes of images}
Beside = Callable[[Any], Mapping[str, LinearModel]]


def reconstructions(run: Run, x: np.ndarray, beside: Beside | None = None, **options: Any) -> Any:
    """What the models make of images x; options of `plots.reconstructions`."""
    others = beside(run.config) if beside else {}
    seen = {label: model.reconstruct(x) for label, model in others.items()}
    seen |= run.of_each(lambda vae: evaluation.reconstruct(vae, x))
    return plots.reconstructions(x, seen, **options)


def columns(run: Run, x: np.ndarray, beside: Beside | None = None, **options: Any) -> Any:
    """Jacobian columns at images x, by their norms; options of `plots.jacobian_columns`."""
    others = beside(run.config) if beside else {}
    shown = {label: np.stack([model.columns] * len(x)) for label, model in others.items()}
    shown |= run.of_each(lambda vae: evaluation.jacobian_images(vae, x))
    return plots.jacobian_columns(shown, **{"images": x, "order_by_norm": True, **options})


def views(run: Run, x: np.ndarray) -> None:
    """Figures of what the models make of images x, of prior samples and of paths, and of Jacobian columns."""

    def samples(run: Run) -> Any:
        return plots.samples(run.of_each(lambda vae: evaluation.prior_samples(jax.random.key(3), vae, 32)))

    def interpolations(run: Run) -> Any:
        paths = {}
        for name, label in run.labels.items():
            for kind in ("lerp", "slerp"):
                paths[f"{label}, {kind}"] = evaluation.interpolate(run.vae(name), x[0], x[1], 9, kind)
        return plots.interpolations(paths)

    run.figure("reconstructions", partial(reconstructions, x=x))
    run.figure("samples", samples)
    run.figure("interpolations", interpolations)
    run.figure("jacobian_columns", partial(columns, x=x[:4]))
