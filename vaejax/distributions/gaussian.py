"""Gaussian latents."""

from __future__ import annotations

import distrax

from vaejax.precision import at_least_float32
from vaejax.types import Array, Distribution

__all__ = ["diagonal_gaussian"]


def diagonal_gaussian(loc: Array, scale: Array, event_ndims: int = 1) -> Distribution:
    """N(loc, diag(scale^2)); the one convention for diagonal Gaussians in vaejax.

    Args:
      loc: [..., d]; half precision becomes float32, in all distributions of vaejax.
      scale: [..., d], standard deviations > 0.
      event_ndims: how many of the last axes make up one event; 1 for vectors.

    Returns:
      A distrax distribution with events [d] and batch shape [...].

    Raises:
      ValueError: if the shapes differ (distrax would broadcast them in silence).
    """
    if loc.shape != scale.shape:
        raise ValueError(f"scale: expected the shape of loc, {loc.shape}; got {scale.shape}")
    return distrax.Independent(distrax.Normal(at_least_float32(loc), at_least_float32(scale)), event_ndims)
