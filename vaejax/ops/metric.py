"""The pull-back metric g = J^T J, and g weighted by the curvature of a likelihood.

With J: [D, d] the Jacobian of the decoder, sqrt(z'^T g z') is the length in data space of a step z' in
latent space. From the singular values s_1 >= ... >= s_d of J.
"""

from __future__ import annotations

import chex
import jax.numpy as jnp

from vaejax.types import Array

__all__ = ["condition_number", "log_det_diagonal", "log_det_full", "log_volume", "singular_values"]


def singular_values(jac: Array) -> Array:
    """s_1 >= ... >= s_d of J; zeros past the D-th where D < d, and where they are s_1's rounding.

    Args:
      jac: [B, D, d].

    Returns:
      [B, d].
    """
    chex.assert_rank(jac, 3)
    s = jnp.linalg.svd(jac, compute_uv=False)
    rounding = jnp.finfo(s.dtype).eps * max(jac.shape[1:]) * s[:, :1]
    s = jnp.where(s <= rounding, 0.0, s)  # nan stays nan
    return jnp.pad(s, ((0, 0), (0, jac.shape[2] - s.shape[1])))


def condition_number(jac: Array) -> Array:
    """lambda_max / lambda_min of J^T J = (s_1 / s_d)^2; infinite where a direction of z does nothing.

    Args:
      jac: [B, D, d].

    Returns:
      [B], >= 1.
    """
    s = singular_values(jac)
    largest, smallest = s[:, 0], s[:, -1]
    singular = smallest == 0
    return jnp.where(singular, jnp.inf, jnp.square(largest / jnp.where(singular, 1.0, smallest)))


def log_volume(jac: Array) -> Array:
    """1/2 log det(J^T J) = sum_j log s_j; -inf where a direction of z does nothing.

    Args:
      jac: [B, D, d].

    Returns:
      [B], the logarithm of the volume that a unit cube of latents takes in data space.
    """
    s = singular_values(jac)
    none = s == 0  # double where: the slope of the logarithm is infinite at 0
    return jnp.sum(jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1.0, s))), axis=-1)


def log_det_full(jac: Array, h: Array, beta: float) -> Array:
    """log det(I + J^T diag(h) J / beta) = 2 sum_j log |R_jj|, Q R = [diag(h / beta)^1/2 J; I].

    The product J^T diag(h) J itself would have the square of its condition number.

    Args:
      jac: [B, D, d].
      h: [B, D], >= 0.
      beta: > 0.

    Returns:
      [B].
    """
    chex.assert_rank([jac, h], [3, 2])
    positive = h > 0  # double where: the slope of a root is infinite at 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, h, 1.0) / beta), 0.0)
    unit = jnp.broadcast_to(jnp.eye(jac.shape[2], dtype=jac.dtype), (len(jac), *jac.shape[2:] * 2))
    R = jnp.linalg.qr(jnp.concatenate([root[..., None] * jac, unit], axis=1), mode="r")
    return 2 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(R, axis1=1, axis2=2))), axis=-1)


def log_det_diagonal(jac: Array, h: Array, beta: float) -> Array:
    """sum_j log(1 + J_:j^T diag(h) J_:j / beta).

    At least `log_det_full` (Hadamard), and equal just where the columns are orthogonal under diag(h).

    Args:
      jac: [B, D, d].
      h: [B, D], >= 0.
      beta: > 0.

    Returns:
      [B].
    """
    chex.assert_rank([jac, h], [3, 2])
    weighted = jnp.einsum("bij,bi->bj", jnp.square(jac), h, precision="highest")
    return jnp.sum(jnp.log1p(weighted / beta), axis=-1)
