"""Posteriors of two examples that have some of their factors in common."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from vaejax.ops import kl
from vaejax.types import Array

__all__ = ["mean_average", "precision_average", "shared_latents"]


def shared_latents(
    loc_1: Array, scale_1: Array, loc_2: Array, scale_2: Array, count: int | None = None
) -> Array:
    """Which latents of two diagonal Gaussians count as shared, by how little they differ.

    delta_j = KL(q_j(z|x_1) || q_j(z|x_2)). Latent j is shared where delta_j < (max_i delta_i + min_i delta_i)
    / 2, so that their number is the pair's own; or the `count` latents of the least delta are.

    Args:
      loc_1: [..., d].
      scale_1: standard deviations > 0, [..., d].
      loc_2: [..., d].
      scale_2: [..., d].
      count: how many are shared, 0..d; None: as many as are below the threshold.

    Returns:
      [..., d] booleans. Where all delta are equal none is below.

    Source: Locatello et al. 2020, arXiv 2002.02886.
    """
    chex.assert_equal_shape([loc_1, scale_1, loc_2, scale_2])
    delta = kl.diagonal_gaussian(loc_1, scale_1, loc_2, scale_2)
    if count is None:
        top, bottom = (f(delta, axis=-1, keepdims=True) for f in (jnp.max, jnp.min))
        return delta < (top + bottom) / 2
    rank = jnp.argsort(jnp.argsort(delta, axis=-1), axis=-1)
    return rank < count


def mean_average(loc_1: Array, scale_1: Array, loc_2: Array, scale_2: Array) -> tuple[Array, Array]:
    """GroupVAE's average of two Gaussians: the mean of their means and the mean of their variances.

    N(0, 1) and N(2, 3) make N(1, 2).

    Args:
      loc_1: [..., d].
      scale_1: standard deviations, [..., d].
      loc_2: [..., d].
      scale_2: [..., d].

    Returns:
      (loc, scale), each [..., d].

    Source: Hosoya 2019, arXiv 1809.02383; Locatello et al. 2020, arXiv 2002.02886.
    """
    chex.assert_equal_shape([loc_1, scale_1, loc_2, scale_2])
    return (loc_1 + loc_2) / 2, jnp.sqrt((jnp.square(scale_1) + jnp.square(scale_2)) / 2)


def precision_average(loc_1: Array, scale_1: Array, loc_2: Array, scale_2: Array) -> tuple[Array, Array]:
    """ML-VAE's: their product, with the mean of their precisions for its precision.

    v = 2 v_1 v_2 / (v_1 + v_2), loc = (loc_1 / v_1 + loc_2 / v_2) v / 2. N(0, 1) and N(2, 3) make N(1/2,
    3/2).

    Args:
      loc_1: [..., d].
      scale_1: standard deviations > 0, [..., d].
      loc_2: [..., d].
      scale_2: [..., d].

    Returns:
      (loc, scale), each [..., d].

    Source: Bouchacourt, Tomioka & Nowozin 2018, arXiv 1705.08841; Locatello et al. 2020, arXiv 2002.02886.
    """
    chex.assert_equal_shape([loc_1, scale_1, loc_2, scale_2])
    v_1, v_2 = jnp.square(scale_1), jnp.square(scale_2)
    share = v_2 / (v_1 + v_2)  # of the first, in the precision
    return share * loc_1 + (1 - share) * loc_2, jnp.sqrt(2 * share * v_1)
