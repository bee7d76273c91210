"""Bounds on log p(x) from log importance weights."""

from __future__ import annotations

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

from vaejax.checks import check_real, plain
from vaejax.types import Array

__all__ = ["importance_bound", "log_mean_exp", "renyi_bound", "siwae", "stratified_elbo"]


def log_mean_exp(a: Array, axis: int = 0) -> Array:
    """log (1/K) sum_k exp(a_k) over `axis` of length K, stable."""
    chex.assert_axis_dimension_gt(a, axis, 0)
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

    Raises:
      AssertionError: without a sample.

    Source: Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519, eq. 8.
    """
    return log_mean_exp(log_w, axis)


def renyi_bound(log_w: Array, alpha: float, axis: int = 0) -> Array:
    """The variational Renyi bound on log p(x).

    L_alpha = 1/(1 - alpha) log (1/K) sum_k w_k^(1 - alpha),  z_k ~ q(.|x) independent.

    It falls as alpha rises: alpha = 0 is L_K, alpha -> 1 the mean of log w (the ELBO), and alpha -> -inf
    the largest log w (VR-max). For alpha < 0 it is no lower bound on log p(x), not even on average.

    Args:
      log_w: [..., K, ...] log-weights in nats, K along `axis`.
      alpha: the order, finite or -inf; 1 is the limit.
      axis: the axis of the K samples.

    Returns:
      L_alpha in nats, `log_w.shape` without `axis`.

    Raises:
      TypeError, ValueError: if alpha is not a number, or is nan or +inf.
      AssertionError: without a sample.

    Source: Li & Turner 2016, arXiv 1602.02311.
    """
    check_alpha(alpha)
    alpha = plain(alpha)
    chex.assert_axis_dimension_gt(log_w, axis, 0)
    if alpha == 1:
        return jnp.mean(log_w, axis)
    if alpha == -math.inf:
        return jnp.max(log_w, axis)
    powers = (1 - alpha) * log_w
    if abs(1 - alpha) > 0.01:
        return log_mean_exp(powers, axis) / (1 - alpha)
    # so near the limit, the digits that the logarithm of a sum near K loses are all there are
    top = jax.lax.stop_gradient(jnp.max(powers, axis, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0.0)  # weights of 0
    return (top.squeeze(axis) + jnp.log1p(jnp.mean(jnp.expm1(powers - top), axis))) / (1 - alpha)


def stratified_elbo(log_w: Array, log_pi: Array) -> Array:
    """The ELBO of a mixture posterior, its weights summed over instead of sampled.

    (1/T) sum_t sum_r pi_r log w_tr,  w_tr = p(x, z_tr) / q(z_tr|x),  z_tr drawn from the r-th component.

    The whole mixture q stands below. It is unbiased for the ELBO, exact in r, and differentiable in pi, of
    which one sample from the mixture shows nothing.

    Args:
      log_w: [T, R, B] log-weights in nats, T samples of each of R components.
      log_pi: [R, B], the normalised log-weights of the components; log w is finite where it is -inf.

    Returns:
      [B] nats; higher is better.

    Source: Morningstar et al. 2021, arXiv 2003.01687, section 3.
    """
    _check_strata(log_w, log_pi)
    return jnp.sum(jnp.exp(log_pi) * jnp.mean(log_w, axis=0), axis=0)


def siwae(log_w: Array, log_pi: Array) -> Array:
    """The stratified importance-weighted bound on log p(x) of a mixture posterior.

    log (1/T) sum_t sum_r pi_r w_tr,  w_tr = p(x, z_tr) / q(z_tr|x),  z_tr drawn from the r-th component.

    Args and Returns: as `stratified_elbo`.

    Source: Morningstar et al. 2021, arXiv 2003.01687, section 3.
    """
    _check_strata(log_w, log_pi)
    return log_mean_exp(jax.nn.logsumexp(log_pi + log_w, axis=1))


def _check_strata(log_w: Array, log_pi: Array) -> None:
    chex.assert_rank([log_w, log_pi], [3, 2])
    chex.assert_equal_shape_suffix([log_w, log_pi], 2)


def check_alpha(alpha: Any) -> None:
    """Raise unless `alpha` is an order of `renyi_bound`: a number, finite or -inf."""
    check_real(alpha, "alpha")
    if math.isnan(alpha) or alpha == math.inf:
        raise ValueError(f"alpha: expected a finite number, or -inf for the largest weight; got {alpha!r}")
