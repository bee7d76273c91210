"""The spike-and-slab lasso of a matrix of weights, and the closed steps of its EM.

    p(w | eta) = eta psi_1(w) + (1 - eta) psi_0(w),   psi_s(w) = (lam_s / 2) exp(-lam_s |w|),   lam_0 >> lam_1

The spike psi_0 holds a weight near 0, the slab psi_1 lets it be. eta_k ~ Beta(a, b) is the share of slabs
among the D weights of latent k.
"""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp

from vaejax.ops.slopes import absolute
from vaejax.types import Array

__all__ = ["eta_mode", "log_prob", "slab_probability", "variance_mode"]


def slab_probability(w: Array, eta: Array, lam0: float, lam1: float) -> Array:
    """p_jk = eta_k psi_1(w_jk) / (eta_k psi_1(w_jk) + (1 - eta_k) psi_0(w_jk)), the E step.

    Args:
      w: [D, d].
      eta: [d] in [0, 1]; where it is 0 or 1 so is p.
      lam0: of the spike, > 0.
      lam1: of the slab, > 0.

    Returns:
      [D, d] in [0, 1].
    """
    chex.assert_rank([w, eta], [2, 1])
    # in logits: both densities are 0 in floating point where |w| is large
    odds = jnp.log(eta) - jnp.log1p(-eta) + math.log(lam1 / lam0)
    return jax.nn.sigmoid(odds + (lam0 - lam1) * jnp.abs(w))


def log_prob(w: Array, eta: Array, lam0: float, lam1: float) -> Array:
    """sum_jk log p(w_jk | eta_k), nats; its slope at w = 0 is 0.

    Its gradient in w is that of -sum_jk (p_jk lam1 + (1 - p_jk) lam0) |w_jk| with p held: the M step of an EM
    by a gradient on this needs no p (Fisher's identity).

    Args:
      w: [D, d].
      eta: [d] in [0, 1].
      lam0: of the spike, > 0.
      lam1: of the slab, > 0.

    Returns:
      A number.
    """
    chex.assert_rank([w, eta], [2, 1])
    size = absolute(w)
    slab = jnp.log(eta) + math.log(lam1 / 2) - lam1 * size
    spike = jnp.log1p(-eta) + math.log(lam0 / 2) - lam0 * size
    return jnp.sum(jnp.logaddexp(slab, spike))


def eta_mode(p: Array, a: float, b: float) -> Array:
    """eta_k = (a - 1 + sum_j p_jk) / (a + b + D - 2), no less than 0 and no more than 1: the M step of eta.

    The mode of Beta(a + sum_j p_jk, b + D - sum_j p_jk); with a < 1 and few slabs it is at 0.

    Args:
      p: [D, d], as `slab_probability` gives it.
      a: of the prior Beta(a, b), > 0.
      b: of the prior, >= 1.

    Returns:
      [d].
    """
    chex.assert_rank(p, 2)
    return jnp.clip((a - 1 + jnp.sum(p, axis=0)) / (a + b + len(p) - 2), 0, 1)


def variance_mode(square: Array, examples: int, nu: float, xi: float) -> Array:
    """sigma_j^2 = (N r_j + nu xi) / (N + nu + 2), the M step of sigma^2 ~ inverse-gamma(nu / 2, nu xi / 2).

    Args:
      square: [...], r_j, the mean over examples of (x_ij - mu_ij)^2.
      examples: N.
      nu: how many examples the prior is worth, >= 0.
      xi: the variance that it expects, >= 0.

    Returns:
      [...], in squared units of the data.
    """
    return (examples * square + nu * xi) / (examples + nu + 2)
