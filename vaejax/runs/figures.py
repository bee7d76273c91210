"""Figures of trainings, {label: their run folders, one per seed}, and of models, {label: VAE}, on images.

Models with a condition take it as `c`, that of each image or sample; all models of a figure have one or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaejax import evaluation, plots, train
from vaejax.disentanglement import LinearModel
from vaejax.runs.tables import Column, entry
from vaejax.types import VAE, AnyArray

__all__ = [
    "along",
    "classes",
    "columns",
    "curves",
    "gallery",
    "interpolations",
    "levels",
    "reconstructions",
    "samples",
    "scores",
    "swaps",
    "traversals",
]

KEY = 3  # of prior samples


def curves(
    folders: Mapping[str, Sequence[Path]], names: Sequence[str] | Mapping[str, str], *,
    yscale: str = "linear", **options: Any,
) -> Any:  # fmt: skip
    """Metrics over training, every seed a line; on a log scale 0 is a gap.

    What the validations of all trainings have by such a name is shown in its place, with straight lines
    between.

    Args:
      folders: {label: folders of `train.fit`, one per seed}.
      names: of metrics, or {title: name}.
      yscale: "linear" or "log".
      **options: of `plots.training_curves`.
    """
    named = names if isinstance(names, Mapping) else {name: name for name in names}
    checks = {label: [train.read_validations(f) for f in seeds] for label, seeds in folders.items()}
    checked = {m for m in named.values() if all(m in c for seeds in checks.values() for c in seeds)}
    lines: dict[str, dict[str, Any]] = {}
    for label, seeds in folders.items():
        logs = [train.read_metrics(folder)[0] for folder in seeds]
        lines[label] = {"step": (step := logs[0]["step"])}
        for title, m in named.items():
            if m in checked:
                each = [np.interp(step, c["steps"], c[m], left=np.nan) for c in checks[label]]
            elif m in logs[0]:
                each = [c[m] for c in logs]
            else:
                continue
            curve = np.stack(each)
            lines[label][title] = np.where(curve > 0, curve, np.nan) if yscale == "log" else curve
    shown = [title for title in named if any(title in of for of in lines.values())]
    return plots.training_curves(lines, metrics=shown, yscale=yscale, **options)


def along(
    folders: Mapping[str, Sequence[Path]], names: Mapping[str, str], axis: str = "steps", **options: Any
) -> Any:
    """Scores of validations against steps or seconds of training, every seed a line.

    Args:
      folders: {label: folders of `train.fit` whose `progress` was a `train.Clock`, one per seed}.
      names: {name of a score: title}.
      axis: "steps" or "seconds".
      **options: of `plots.band_curves`.
    """
    each = {label: [train.read_validations(f) for f in seeds] for label, seeds in folders.items()}
    lines = {t: {label: [c[k] for c in seeds] for label, seeds in each.items()} for k, t in names.items()}
    at = {label: np.mean([c[axis] for c in seeds], axis=0) for label, seeds in each.items()}
    title = {"steps": "step", "seconds": "seconds of training"}[axis]
    return plots.band_curves(lines, at, title, **options)


def scores(
    reports: Mapping[str, Sequence[Mapping[str, Any]]], columns: Mapping[str, Column], **options: Any
) -> Any:
    """Scores of those that have them, every seed a point.

    Args:
      reports: {label: the scores of each seed}.
      columns: {title: column}, as `entry` takes them.
      **options: of `plots.score_comparison`.
    """
    values: dict[str, dict[str, Any]] = {}
    for title, column in columns.items():
        for label, seeds in reports.items():
            found = entry(seeds, column)
            if not isinstance(found, str):
                values.setdefault(title, {})[label] = found
    return plots.score_comparison(values, **options)


def reconstructions(
    vaes: Mapping[str, VAE], x: np.ndarray, beside: Mapping[str, LinearModel] = {}, *,
    c: AnyArray | None = None, **options: Any,
) -> Any:  # fmt: skip
    """What models make of images x [n, H, W, C].

    Args:
      vaes: {label: model}.
      x: the images.
      beside: linear models, shown before the others.
      c: [n, ...], the conditions of models that have one.
      **options: of `plots.reconstructions`.
    """
    seen = {label: model.reconstruct(x) for label, model in beside.items()}
    seen |= {label: evaluation.reconstruct(vae, x, c=c) for label, vae in vaes.items()}
    return plots.reconstructions(x, seen, **options)


def columns(
    vaes: Mapping[str, VAE], x: np.ndarray, beside: Mapping[str, LinearModel] = {}, *,
    c: AnyArray | None = None, **options: Any,
) -> Any:  # fmt: skip
    """Columns of the decoders' Jacobians at images x [n, H, W, C], by their norms.

    Args:
      vaes: {label: model}.
      x: the images.
      beside: linear models, shown before the others.
      c: [n, ...], the conditions of models that have one.
      **options: of `plots.jacobian_columns`.
    """
    shown = {label: np.stack([model.columns] * len(x)) for label, model in beside.items()}
    shown |= {label: evaluation.jacobian_images(vae, x, c=c) for label, vae in vaes.items()}
    return plots.jacobian_columns(shown, **{"images": x, "order_by_norm": True, **options})


def samples(vaes: Mapping[str, VAE], n: int = 32, *, c: AnyArray | None = None) -> Any:
    """Decoder means at n prior draws of each model, {label: model}; c: [n, ...], their conditions."""
    key = jax.random.key(KEY)
    return plots.image_grid(
        {label: evaluation.prior_samples(key, vae, n, c=c) for label, vae in vaes.items()}
    )


def classes(vae: VAE, conditions: Mapping[str, AnyArray], n: int = 10, **options: Any) -> Any:
    """Decoder means at n draws of p(z|c) under every condition, a row for each.

    All rows have the same noise: under a prior that does not depend on c a column is one z.

    Args:
      vae: a model with a condition.
      conditions: {label: c}, one condition each, as {str(v): data.one_hot(v, V)} of classes.
      n: images in a row.
      **options: of `plots.image_rows`.
    """
    key = jax.random.key(KEY)
    rows = {
        label: evaluation.prior_samples(key, vae, n, c=np.broadcast_to(c, (n, *np.shape(c))))
        for label, c in conditions.items()
    }
    return plots.image_rows(rows, **options)


def swaps(
    vae: VAE, x: np.ndarray, c: AnyArray, conditions: Mapping[str, AnyArray], **options: Any
) -> Any:  # fmt: skip
    """Images x [n, H, W, C], and below what they are decoded to under every condition, a row for each.

    Args:
      vae: a model with a condition.
      x: the images.
      c: [n, ...], their own conditions, with which they are encoded.
      conditions: {label: c}, one condition each.
      **options: of `plots.reconstructions`.
    """
    images = evaluation.swap_condition(vae, x, c, np.stack([np.asarray(one) for one in conditions.values()]))
    return plots.reconstructions(x, dict(zip(conditions, np.asarray(images), strict=True)), **options)


def interpolations(
    vaes: Mapping[str, VAE], a: np.ndarray, b: np.ndarray, n: int = 9, *, c: AnyArray | None = None
) -> Any:
    """Decoder means on the straight and on the spherical path of n codes from image a to image b.

    Args:
      vaes: {label: model}.
      a: [H, W, C].
      b: [H, W, C].
      n: images on a path.
      c: the one condition of both images and of the path.
    """
    kinds = [(label, vae, kind) for label, vae in vaes.items() for kind in ("lerp", "slerp")]
    return plots.interpolations(
        {f"{k}, {kind}": evaluation.interpolate(v, a, b, n, kind, c=c) for k, v, kind in kinds}
    )


def traversals(
    vaes: Mapping[str, VAE], x: np.ndarray, kl: Mapping[str, AnyArray], widest: float = 2.0, *,
    top: int | None = 6,
) -> Any:  # fmt: skip
    """Every latent of an image in turn goes from -widest to widest, a panel for each model.

    Args:
      vaes: {label: model}.
      x: the image, [H, W, C].
      kl: {label: the KL of each latent}, by which they are ordered.
      widest: the farthest value.
      top: how many latents of each are shown; None: all.
    """
    values = np.linspace(-widest, widest, 9)
    images = {label: evaluation.traverse(vae, x, values) for label, vae in vaes.items()}
    return plots.traversals(images, values=values, base=x, kl=kl, order_by_kl=True, top=top)


def levels(vae: VAE, x: np.ndarray, *, c: AnyArray | None = None, **options: Any) -> Any:
    """What the top k levels of a hierarchy make of images x [n, H, W, C], a row for each k.

    Args:
      vae: a model whose latents are levels.
      x: the images.
      c: [n, ...], the conditions of a model that has one.
      **options: of `plots.reconstructions`.
    """
    rows = np.asarray(evaluation.level_reconstructions(vae, x, c=c))
    names = ["top level", *(f"top {k} levels" for k in range(2, len(rows)))][: len(rows) - 1]
    names = [*names, "all levels"]
    return plots.reconstructions(x, dict(zip(names, rows, strict=True)), **options)


def gallery(
    vaes: Mapping[str, VAE], x: np.ndarray, brightest: Mapping[str, float] = {}, *,
    c: AnyArray | None = None,
) -> Any:  # fmt: skip
    """Reconstructions of the first half of images x, and as many decoder means at prior draws, a line each.

    Args:
      vaes: {label: model}.
      x: images [n, H, W, C] in [0, 1].
      brightest: {label: what white is to that model, where it is not 1}.
      c: [n, ...], the conditions of models that have one: the first half those of the images that are
        reconstructed, the others those of the draws.
    """
    n, key, lines = len(x) // 2, jax.random.key(KEY), {}
    for label, vae in vaes.items():
        top = brightest.get(label, 1)
        own, drawn = (None, None) if c is None else (c[:n], c[n : 2 * n])
        seen = np.asarray(evaluation.reconstruct(vae, x[:n] * np.float32(top), c=own, key=key)) / top
        lines[label] = np.concatenate(
            [seen, np.asarray(evaluation.prior_samples(key, vae, n, c=drawn)) / top]
        )
    groups = (("reconstructions", n), ("samples (data: other test images)", n))
    return plots.reconstructions(x, lines, limits=(0.0, 1.0), groups=groups)
