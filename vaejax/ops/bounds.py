"""Bounds on log p(x) from log importance weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vaejax.types import Array

__all__ = ["importance_bound", "log_mean_exp"]


def log_mean_exp(a: Array, axis: int = 0) -> Array:
    """log (1/K) sum_k exp(a_k) over `axis` of length K, stable."""
    return jax.nn.logsumexp(a, axis=axis) - jnp.log(a.shape[axis])


def importance_bound(log_w: Array, axis: int = 0) -> Array:
    """The importance-weighted bound on log p(x).

    L_K = log (1/K) sum_k w_k,  w_k = p(x, z_k) / q(z_k|x),  z_k ~ q(.|x) independent.

    E[L_1] is the ELBO, E[L_K] rises with K towards log p(x). One draw may exceed log p(x).

    Args:
      log_w: [..., K, ...] log-weights in nats, K along `axis`; pointwise, never with an analytic KL.
      axis: the axis of the K samples.

    Returns:
      L_K in nats, `log_w.shape` without `axis`; higher is better.

    Source: Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519, eq. 8.
    """
    return log_mean_exp(log_w, axis)
