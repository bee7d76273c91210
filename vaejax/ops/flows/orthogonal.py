"""Sylvester flows: planar flows along several orthonormal directions at once."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaejax.ops.flows.planar_radial import rising_root
from vaejax.types import Array

__all__ = ["orthonormal_columns", "sylvester", "sylvester_inverse"]

_EXACT = jax.lax.Precision.HIGHEST


def orthonormal_columns(v: Array) -> Array:
    """The first m columns of a product of m reflections, H_1 ... H_m, with H_k = I - 2 v_k v_k^T / |v_k|^2.

    Every d x m matrix of orthonormal columns is such a product, but for the signs of its columns.

    Args:
      v: [..., m, d], m <= d; the reflection of a v_k = 0 is the identity.

    Returns:
      Q, [..., d, m], with Q^T Q = I.

    Raises:
      AssertionError: if there are more columns than d.

    Source: Tomczak & Welling 2016, arXiv 1611.09630, eq. 7; van den Berg et al. 2018, arXiv 1803.05649,
    section 3.3.
    """
    m, d = v.shape[-2:]
    chex.assert_scalar_non_negative(d - m)
    Q = jnp.broadcast_to(jnp.eye(d, m, dtype=v.dtype), (*v.shape[:-2], d, m))
    for k in reversed(range(m)):
        row = v[..., k, :]
        square = jnp.sum(row**2, -1)[..., None, None]
        along = jnp.sum(row[..., :, None] * Q, -2)  # v^T Q
        Q = Q - 2 * row[..., :, None] * along[..., None, :] / jnp.where(square == 0, 1.0, square)
    return Q


def sylvester(z: Array, Q: Array, R: Array, R_tilde: Array, b: Array) -> tuple[Array, Array]:
    """f(z) = z + Q R tanh(Rt Q^T z + b), with m orthonormal directions Q and upper triangular R and Rt.

    log|det| = sum_i log(1 + h'_i R_ii Rt_ii), h' = 1 - tanh^2. Where every R_ii Rt_ii > -1, f has an inverse;
    diagonals that are tanh of any numbers are so. R = 0 is the identity. m = 1 is a planar flow.

    Args:
      z: [..., d].
      Q: [..., d, m], with Q^T Q = I, as `orthonormal_columns` makes it.
      R: [..., m, m], upper triangular.
      R_tilde: [..., m, m], upper triangular.
      b: [..., m].

    Returns:
      f(z), [..., d], and log|det|, [...] nats.

    Raises:
      AssertionError: if the last axes do not fit together.

    Source: van den Berg et al. 2018, arXiv 1803.05649, eq. 11-13.
    """
    _check(z, Q, R, R_tilde, b)
    t = jnp.tanh(_matvec(R_tilde, _matvec(jnp.swapaxes(Q, -1, -2), z)) + b)
    return z + _matvec(Q, _matvec(R, t)), _log_det(t, R, R_tilde)


def sylvester_inverse(y: Array, Q: Array, R: Array, R_tilde: Array, b: Array) -> tuple[Array, Array]:
    """The z of y = sylvester(z, Q, R, R_tilde, b), for which a = Q^T z is sought.

    It solves Q^T y = a + R tanh(Rt a + b), whose row i holds a_i .. a_m alone and rises in a_i: from
    the last row upwards, halving an interval finds each. Derivatives are those of the equations.

    Args:
      y: [..., d].
      Q: [..., d, m].
      R: [..., m, m].
      R_tilde: [..., m, m].
      b: [..., m].

    Returns:
      z, [..., d], and log|det dz/dy|, [...] nats.

    Raises:
      AssertionError: if the last axes do not fit together.
    """
    _check(y, Q, R, R_tilde, b)
    target = _matvec(jnp.swapaxes(Q, -1, -2), y)
    lead = jnp.broadcast_shapes(target.shape[:-1], R.shape[:-2], R_tilde.shape[:-2], b.shape[:-1])
    target, b = (jnp.broadcast_to(a, (*lead, a.shape[-1])) for a in (target, b))
    R, R_tilde = (jnp.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (R, R_tilde))
    a = _rows(target, R, R_tilde, b)
    for _ in range(2):  # each doubles the order of the derivatives that are right, from one on
        t = jnp.tanh(_matvec(R_tilde, a) + b)
        slope = jnp.eye(R.shape[-1], dtype=R.dtype) + _matmul(R * (1 - t**2)[..., None, :], R_tilde)
        residual = (a + _matvec(R, t) - target)[..., None]
        correction = jax.scipy.linalg.solve_triangular(slope, residual)[..., 0]
        a = a - (correction - jax.lax.stop_gradient(correction))  # its value is rounding: left out
    t = jnp.tanh(_matvec(R_tilde, a) + b)
    return y - _matvec(Q, _matvec(R, t)), -_log_det(t, R, R_tilde)


def _rows(target: Array, R: Array, R_tilde: Array, b: Array) -> Array:
    """The root a, [..., m], one row after the other; no gradient."""
    target, R, R_tilde, b = jax.lax.stop_gradient((target, R, R_tilde, b))

    def row(found: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        a, t = found  # 0 in the rows up to i
        of_row, of_tilde = (jnp.take(matrix, i, -2) for matrix in (R, R_tilde))
        shift = jnp.sum(of_tilde * a, -1) + jnp.take(b, i, -1)
        rest = jnp.take(target, i, -1) - jnp.sum(of_row * t, -1)
        p, q = (jnp.take(of, i, -1) for of in (of_row, of_tilde))
        a_i = rising_root(rest, p, q, shift)
        return (a.at[..., i].set(a_i), t.at[..., i].set(jnp.tanh(q * a_i + shift))), None

    zeros = jnp.zeros_like(target)
    return jax.lax.scan(row, (zeros, zeros), jnp.arange(target.shape[-1]), reverse=True)[0][0]


def _check(z: Array, Q: Array, R: Array, R_tilde: Array, b: Array) -> None:
    d, m = z.shape[-1], b.shape[-1]
    chex.assert_equal((Q.shape[-2:], R.shape[-2:], R_tilde.shape[-2:]), ((d, m), (m, m), (m, m)))


def _matvec(matrix: Array, vector: Array) -> Array:
    return jnp.einsum("...ij,...j->...i", matrix, vector, precision=_EXACT)


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=_EXACT)


def _log_det(t: Array, R: Array, R_tilde: Array) -> Array:
    of_R, of_tilde = (jnp.diagonal(matrix, axis1=-2, axis2=-1) for matrix in (R, R_tilde))
    return jnp.sum(jnp.log1p((1 - t**2) * of_R * of_tilde), -1)
