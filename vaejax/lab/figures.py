"""Figures that several experiments show: curves, scores, images, traversals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vaejax import evaluation, plots
from vaejax.lab.run import Run
from vaejax.lab.tables import Column, entry

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
    """Reconstructions of the first half of x, and as many decoder means at prior draws, a line per row.

    A decoder that has no mean is shown by draws.

    Args:
      run: the experiment.
      x: test images [2n, H, W, C] in [0, 1].
      brightest: {name of a row: what white is to its model}, where that is not 1.
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


def views(run: Run, x: np.ndarray) -> None:
    """Figures of what the models make of images x, of prior samples and of paths, and of Jacobian columns."""

    def each(show: Any) -> Any:
        return lambda run: {label: show(run.vae(name)) for name, label in run.labels.items()}

    seen = each(lambda vae: evaluation.reconstruct(vae, x))
    drawn = each(lambda vae: evaluation.prior_samples(jax.random.key(3), vae, 32))
    columns = each(lambda vae: evaluation.jacobian_images(vae, x[:4]))
    paths = [
        (kind, each(lambda vae, kind=kind: evaluation.interpolate(vae, x[0], x[1], 9, kind)))
        for kind in ("lerp", "slerp")
    ]
    run.figure("reconstructions", lambda run: plots.reconstructions(x, seen(run)))
    run.figure("samples", lambda run: plots.samples(drawn(run)))
    run.figure(
        "interpolations",
        lambda run: plots.interpolations(
            {f"{label}, {kind}": path for kind, of in paths for label, path in of(run).items()}
        ),
    )
    run.figure(
        "jacobian_columns",
        lambda run: plots.jacobian_columns(columns(run), images=x[:4], order_by_norm=True),
    )
