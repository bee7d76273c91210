"""Figures of what trained models, {label: VAE}, make of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vaejax import evaluation, plots
from vaejax.disentanglement import LinearModel
from vaejax.types import VAE

__all__ = ["columns", "gallery", "interpolations", "levels", "reconstructions", "samples"]

KEY = 3  # of prior samples


def reconstructions(
    vaes: Mapping[str, VAE], x: np.ndarray, beside: Mapping[str, LinearModel] = {}, **options: Any
) -> Any:
    """What models make of images x [n, H, W, C].

    Args:
      vaes: {label: model}.
      x: the images.
      beside: linear models, shown before the others.
      **options: of `plots.reconstructions`.
    """
    seen = {label: model.reconstruct(x) for label, model in beside.items()}
    seen |= {label: evaluation.reconstruct(vae, x) for label, vae in vaes.items()}
    return plots.reconstructions(x, seen, **options)


def columns(
    vaes: Mapping[str, VAE], x: np.ndarray, beside: Mapping[str, LinearModel] = {}, **options: Any
) -> Any:
    """Columns of the decoders' Jacobians at images x [n, H, W, C], by their norms.

    Args:
      vaes: {label: model}.
      x: the images.
      beside: linear models, shown before the others.
      **options: of `plots.jacobian_columns`.
    """
    shown = {label: np.stack([model.columns] * len(x)) for label, model in beside.items()}
    shown |= {label: evaluation.jacobian_images(vae, x) for label, vae in vaes.items()}
    return plots.jacobian_columns(shown, **{"images": x, "order_by_norm": True, **options})


def samples(vaes: Mapping[str, VAE], n: int = 32) -> Any:
    """Decoder means at n prior draws of each model, {label: model}."""
    key = jax.random.key(KEY)
    return plots.samples({label: evaluation.prior_samples(key, vae, n) for label, vae in vaes.items()})


def interpolations(vaes: Mapping[str, VAE], a: np.ndarray, b: np.ndarray, n: int = 9) -> Any:
    """Decoder means on the straight and on the spherical path of n codes from image a to image b."""
    kinds = [(label, vae, kind) for label, vae in vaes.items() for kind in ("lerp", "slerp")]
    return plots.interpolations(
        {f"{k}, {kind}": evaluation.interpolate(v, a, b, n, kind) for k, v, kind in kinds}
    )


def levels(vae: VAE, x: np.ndarray, **options: Any) -> Any:
    """What the top k levels of a hierarchy make of images x [n, H, W, C], a row for each k.

    Args:
      vae: a model whose latents are levels.
      x: the images.
      **options: of `plots.reconstructions`.
    """
    rows = np.asarray(evaluation.level_reconstructions(vae, x))
    names = ["top level", *(f"top {k} levels" for k in range(2, len(rows)))][: len(rows) - 1]
    names = [*names, "all levels"]
    return plots.reconstructions(x, dict(zip(names, rows, strict=True)), **options)


def gallery(vaes: Mapping[str, VAE], x: np.ndarray, brightest: Mapping[str, float] = {}) -> Any:
    """Reconstructions of the first half of images x, and as many decoder means at prior draws, a line each.

    Args:
      vaes: {label: model}.
      x: images [n, H, W, C] in [0, 1].
      brightest: {label: what white is to that model, where it is not 1}.
    """
    n, key, lines = len(x) // 2, jax.random.key(KEY), {}
    for label, vae in vaes.items():
        top = brightest.get(label, 1)
        seen = np.asarray(evaluation.reconstruct(vae, x[:n] * np.float32(top), key=key)) / top
        lines[label] = np.concatenate([seen, np.asarray(evaluation.prior_samples(key, vae, n)) / top])
    groups = (("reconstructions", n), ("samples (data: other test images)", n))
    return plots.reconstructions(x, lines, limits=(0.0, 1.0), groups=groups)
