"""Kullback-Leibler divergences in closed form, in nats.

KL(q||p) = E_q[log q - log p]: the extra nats of coding samples of q with a code built for p.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaejax.types import Array

__all__ = [
    "bernoulli",
    "categorical",
    "diagonal_gaussian",
    "full_gaussian",
    "full_to_diagonal_gaussian",
    "standard_gaussian",
]


def standard_gaussian(loc: Array, logvar: Array) -> Array:
    """KL(N(mu, exp(s)) || N(0, 1)) = 1/2 (mu^2 + exp(s) - 1 - s) per dimension.

    Args:
      loc: mu, [..., d].
      logvar: s, [..., d].

    Returns:
      [..., d] nats.
    """
    chex.assert_equal_shape([loc, logvar])
    # expm1 keeps the digits of exp(s) - 1 near s = 0
    return 0.5 * (jnp.square(loc) + jnp.expm1(logvar) - logvar)


def diagonal_gaussian(loc_q: Array, scale_q: Array, loc_p: Array, scale_p: Array) -> Array:
    """KL(N(m1, s1^2) || N(m2, s2^2)) = log s2/s1 + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2 per dimension.

    Args:
      loc_q: m1, [..., d].
      scale_q: s1 > 0, [..., d].
      loc_p: m2, [..., d].
      scale_p: s2 > 0, [..., d].

    Returns:
      [..., d] nats.
    """
    chex.assert_equal_shape([loc_q, scale_q, loc_p, scale_p])
    log_ratio = jnp.log(scale_q) - jnp.log(scale_p)
    return 0.5 * (jnp.expm1(2 * log_ratio) + jnp.square((loc_q - loc_p) / scale_p)) - log_ratio


def full_gaussian(loc_q: Array, tril_q: Array, loc_p: Array, tril_p: Array) -> Array:
    """KL between Gaussians with covariances L L^T, through their Cholesky factors.

    1/2 [ |L2^-1 L1|_F^2 + |L2^-1 (m2 - m1)|^2 - d ] + log det L2 - log det L1.

    Args:
      loc_q: m1, [..., d].
      tril_q: L1, [..., d, d], lower triangular with positive diagonals.
      loc_p: m2, [..., d].
      tril_p: L2, like L1.

    Returns:
      [...] nats.
    """
    chex.assert_equal_shape([loc_q, loc_p])
    d = jnp.shape(loc_q)[-1]
    chex.assert_shape([tril_q, tril_p], (*jnp.shape(loc_q), d))
    columns = jnp.concatenate([tril_q, (loc_p - loc_q)[..., None]], axis=-1)
    a = jax.scipy.linalg.solve_triangular(tril_p, columns, lower=True)  # L2^-1 [L1, m2 - m1]
    log_diagonals = (jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)) for tril in (tril_p, tril_q))
    log_det_p, log_det_q = (jnp.sum(log_diagonal, axis=-1) for log_diagonal in log_diagonals)
    return 0.5 * (jnp.sum(jnp.square(a), axis=(-2, -1)) - d) + log_det_p - log_det_q


def full_to_diagonal_gaussian(loc_q: Array, tril_q: Array, loc_p: Array, scale_p: Array) -> Array:
    """KL(N(m1, L1 L1^T) || N(m2, diag(s2^2))), without a triangular system.

    1/2 [ |L1 / s2|_F^2 + |(m2 - m1) / s2|^2 - d ] + sum_j log s2_j - log det L1, rows divided.

    Args:
      loc_q: m1, [..., d].
      tril_q: L1, [..., d, d], lower triangular with positive diagonals.
      loc_p: m2, [..., d].
      scale_p: s2 > 0, [..., d].

    Returns:
      [...] nats.
    """
    chex.assert_equal_shape([loc_q, loc_p, scale_p])
    chex.assert_shape(tril_q, (*jnp.shape(loc_q), jnp.shape(loc_q)[-1]))
    # log of the ratio, and expm1 of it: their sum keeps its digits near KL = 0
    log_ratio = jnp.log(jnp.diagonal(tril_q, axis1=-2, axis2=-1)) - jnp.log(scale_p)
    below = jnp.sum(jnp.square(jnp.tril(tril_q, -1) / scale_p[..., None]), axis=-1)
    shift = jnp.square((loc_q - loc_p) / scale_p)
    return jnp.sum(0.5 * (jnp.expm1(2 * log_ratio) + below + shift) - log_ratio, axis=-1)


def categorical(logits_q: Array, logits_p: Array) -> Array:
    """KL(q||p) = sum_v q_v (log q_v - log p_v), with 0 log 0 = 0.

    Args:
      logits_q: [..., V], normalised or not.
      logits_p: [..., V], normalised or not.

    Returns:
      [...] nats.
    """
    chex.assert_equal_shape([logits_q, logits_p])
    log_q, log_p = jax.nn.log_softmax(logits_q), jax.nn.log_softmax(logits_p)
    q = jnp.exp(log_q)
    # double where: an unused branch that is not finite would still make the gradient nan
    difference = jnp.where(q > 0, log_q, 0.0) - jnp.where(q > 0, log_p, 0.0)
    return jnp.sum(q * difference, axis=-1)


def bernoulli(logits_q: Array, logits_p: Array) -> Array:
    """KL(Bernoulli(a) || Bernoulli(b)) = sigmoid(a) (a - b) + softplus(b) - softplus(a), elementwise.

    Args:
      logits_q: a, [...].
      logits_p: b, [...].

    Returns:
      [...] nats.
    """
    chex.assert_equal_shape([logits_q, logits_p])
    q = jax.nn.sigmoid(logits_q)
    return q * (logits_q - logits_p) + jax.nn.softplus(logits_p) - jax.nn.softplus(logits_q)
