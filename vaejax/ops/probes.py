"""What is measured of a network's derivatives without the dense Jacobian, or beyond first order.

A quadratic form v^T A v with random signs v has the mean tr A and the variance 2 sum_{i != j} A_ij^2
(A symmetric): Hutchinson's estimators. They are unbiased for quadratic penalties only; of ||J||_{1,1}
there is no such estimate (see `jacobian.row_group_l1`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import chex
import jax
import jax.numpy as jnp

from vaejax.ops.jacobian import Decode, each, over_directions
from vaejax.ops.slopes import safe_norm
from vaejax.types import Array

__all__ = ["decoder_hessian", "encoder_jacobian", "off_diagonal", "quadratic_forms", "spectral_norm"]


def off_diagonal(forms: Array) -> Array:
    """1/2 the sample variance of v^T A v over sign probes v: unbiased for sum_{i != j} A_ij^2.

    Args:
      forms: [..., k], k >= 2 independent probes with random signs, A symmetric.

    Returns:
      [...].

    Source: Peebles et al. 2020, arXiv 2008.10599.
    """
    return 0.5 * jnp.var(forms, axis=-1, ddof=1)


def quadratic_forms(decode: Decode, z: Array, v: Array) -> Array:
    """v^T H_i v for the Hessian H_i of every output i, forward over forward mode.

    Args:
      decode: one latent [d] -> one array, twice differentiable.
      z: [B, d].
      v: [B, k, d].

    Returns:
      [B, D, k].
    """
    chex.assert_rank(v, z.ndim + 1)

    def form(z_i: Array, v_ik: Array) -> Array:
        def slope(z_i: Array) -> Array:
            return jax.jvp(decode, (z_i,), (v_ik,))[1]

        return jax.jvp(slope, (z_i,), (v_ik,))[1].ravel()

    return each(partial(over_directions, form), z, v)


def decoder_hessian(decode: Decode, z: Array) -> Array:
    """The Hessian of every output, dense: d^2 tangents, for few latents.

    Args:
      decode: one latent [d] -> one array, twice differentiable.
      z: [B, d].

    Returns:
      [B, D, d, d].
    """

    def flat(z_i: Array) -> Array:
        return decode(z_i).ravel()

    return each(jax.jacfwd(jax.jacfwd(flat)), z)


def spectral_norm(decode: Decode, z: Array, iterations: int) -> Array:
    """||J v|| with v <- J^T J v / ||J^T J v||, power iteration from a fixed start: sigma_max(J) from below.

    After n iterations the relative error is of order (s_2 / s_1)^(4 n). The iterations see neither
    parameters nor z; the gradient is that of ||J v|| at the last v, which at the singular vector is
    the gradient of sigma_max.

    Args:
      decode: one latent [d] -> one array.
      z: [B, d].
      iterations: n, one product with J and one with J^T each.

    Returns:
      [B].
    """
    # no two entries alike: a start of ones would be orthogonal to (1, -1)
    start = jnp.cos(jnp.square(jnp.arange(1, z.shape[-1] + 1, dtype=z.dtype)))

    def per_example(z_i: Array) -> Array:
        _, product = jax.linearize(lambda z_i: decode(z_i).ravel(), z_i)  # v -> J v
        stopped = jax.lax.stop_gradient(product)
        transposed = jax.linear_transpose(stopped, z_i)  # u -> J^T u

        def step(_: int, v: Array) -> Array:
            (w,) = transposed(stopped(v))
            top = jnp.max(jnp.abs(w))  # first, so that squares neither overflow nor vanish
            w = w / jnp.where(top > 0, top, 1.0)
            return jnp.where(top > 0, w / jnp.where(top > 0, jnp.linalg.norm(w), 1.0), v)

        v = jax.lax.fori_loop(0, iterations, step, start / jnp.linalg.norm(start))
        return safe_norm(product(v), 0)

    return each(per_example, z)


def encoder_jacobian(encode: Callable[[Array], Array], x: Array) -> Array:
    """d mu_z / d x of every example, exact, by reverse mode (d cotangents an example).

    Args:
      encode: one x -> one array [d].
      x: [B, *event].

    Returns:
      [B, d, D].
    """
    jac = jax.vmap(jax.jacrev(encode))(x)  # [B, d, *event]
    return jac.reshape(*jac.shape[:2], -1)
