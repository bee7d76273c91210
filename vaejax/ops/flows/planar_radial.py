"""Planar and radial flows, which have an inverse whatever real numbers their parameters are."""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp

from vaejax.ops.slopes import safe_norm
from vaejax.types import Array

__all__ = ["planar", "planar_inverse", "radial", "radial_inverse"]

_SHIFT = math.log(math.expm1(1))  # softplus(_SHIFT) = 1


def planar(z: Array, u: Array, w: Array, b: Array) -> tuple[Array, Array]:
    """f(z) = z + uh tanh(w.z + b), along one direction by what another one says.

    uh = u + (m - w.u) w / |w|^2 with m = softplus(w.u + log(e - 1)) - 1, so that w.uh = m > -1 and f has an
    inverse whatever u and w are. The shift by log(e - 1) is not the paper's: with it u = 0 is the identity.
    log|det| = log(1 + (1 - tanh^2) m).

    Args:
      z: [..., d].
      u: [..., d], 0 for the identity.
      w: [..., d]; where it is 0, f moves z by u tanh(b).
      b: [...].

    Returns:
      f(z), [..., d], and log|det|, [...] nats.

    Raises:
      AssertionError: if the last axes of z, u and w differ.

    Source: Rezende & Mohamed 2015, arXiv 1505.05770, eq. 10-12 and appendix A.1.
    """
    uh, slope = _planar_parameters(z, u, w)
    t = jnp.tanh(jnp.sum(w * z, -1) + b)
    return z + uh * t[..., None], _planar_log_det(t, slope)


def planar_inverse(y: Array, u: Array, w: Array, b: Array) -> tuple[Array, Array]:
    """The z of y = planar(z, u, w, b), for which one number is sought: a = w.z with w.y = a + m tanh(a + b).

    It rises in a, so that halving an interval finds it; derivatives are those of the equation.

    Args:
      y: [..., d].
      u: [..., d].
      w: [..., d].
      b: [...].

    Returns:
      z, [..., d], and log|det dz/dy|, [...] nats.

    Raises:
      AssertionError: if the last axes of y, u and w differ.
    """
    uh, slope = _planar_parameters(y, u, w)
    target = jnp.sum(w * y, -1)
    a = rising_root(target, slope - 1, jnp.ones_like(slope), b)
    for _ in range(2):  # each doubles the order of the derivatives that are right, from one on
        t = jnp.tanh(a + b)
        correction = (a + (slope - 1) * t - target) / (t**2 + (1 - t**2) * slope)
        a = a - (correction - jax.lax.stop_gradient(correction))  # its value is rounding: left out
    t = jnp.tanh(a + b)
    return y - uh * t[..., None], -_planar_log_det(t, slope)


def _planar_parameters(z: Array, u: Array, w: Array) -> tuple[Array, Array]:
    """The uh [..., d] and 1 + w.uh [...] > 0."""
    chex.assert_equal_shape_suffix([z, u, w], 1)
    wu, square = jnp.sum(w * u, -1, keepdims=True), jnp.sum(w * w, -1, keepdims=True)
    slope = jax.nn.softplus(wu + _SHIFT)
    uh = u + (slope - 1 - wu) * w / jnp.where(square == 0, 1.0, square)
    return uh, slope[..., 0]


def _planar_log_det(t: Array, slope: Array) -> Array:
    """log(1 + (1 - t^2) (slope - 1)) as a sum of what is positive: it stays finite where slope is tiny."""
    return jnp.log(t**2 + (1 - t**2) * slope)


def rising_root(target: Array, p: Array, q: Array, c: Array) -> Array:
    """The a of target = a + p tanh(q a + c), which rises in a for p q > -1, to the last digit; no gradient.

    Args:
      target: [...].
      p: [...]; the root is no further than |p| from the target.
      q: [...].
      c: [...].

    Returns:
      [...].
    """
    target, p, q, c = jax.lax.stop_gradient(jnp.broadcast_arrays(target, p, q, c))

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        below = middle + p * jnp.tanh(q * middle + c) < target
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    halvings = jnp.finfo(target.dtype).nmant + 10
    low, high = jax.lax.fori_loop(0, halvings, halve, (target - jnp.abs(p), target + jnp.abs(p)))
    return (low + high) / 2


def radial(z: Array, z0: Array, alpha: Array, beta: Array) -> tuple[Array, Array]:
    """f(z) = z + bh g (z - z0), towards a centre or away from it: g = 1 / (a + r), r = |z - z0|.

    a = softplus(alpha) > 0 and bh = softplus(beta) - a > -a, so that f has an inverse whatever alpha and beta
    are, and is the identity where they are equal.
    log|det| = (d - 1) log(1 + bh g) + log(1 + bh g - bh g^2 r).

    Args:
      z: [..., d].
      z0: [..., d], the centre.
      alpha: [...], any real numbers.
      beta: [...], any real numbers.

    Returns:
      f(z), [..., d], and log|det|, [...] nats.

    Raises:
      AssertionError: if the last axes of z and z0 differ.

    Source: Rezende & Mohamed 2015, arXiv 1505.05770, eq. 14 and appendix A.2.
    """
    chex.assert_equal_shape_suffix([z, z0], 1)
    a, s = jax.nn.softplus(alpha), jax.nn.softplus(beta)
    r = safe_norm(z - z0, -1)
    stretch = (s - a) / (a + r)
    return z + stretch[..., None] * (z - z0), _radial_log_det(r, a, s, z.shape[-1])


def radial_inverse(y: Array, z0: Array, alpha: Array, beta: Array) -> tuple[Array, Array]:
    """The z of y = radial(z, z0, alpha, beta): r is the positive root of r^2 + (s - R) r - a R, R = |y - z0|.

    Args:
      y: [..., d].
      z0: [..., d].
      alpha: [...].
      beta: [...].

    Returns:
      z, [..., d], and log|det dz/dy|, [...] nats.

    Raises:
      AssertionError: if the last axes of y and z0 differ.
    """
    chex.assert_equal_shape_suffix([y, z0], 1)
    a, s = jax.nn.softplus(alpha), jax.nn.softplus(beta)
    R = safe_norm(y - z0, -1)
    h = s - R
    root = jnp.sqrt(h**2 + 4 * a * R)
    near = h > 0  # of the two forms of the root, the one that does not subtract
    r = jnp.where(near, 2 * a * R / jnp.where(near, h + root, 1.0), (root - h) / 2)
    shrink = (a + r) / (s + r)
    return z0 + shrink[..., None] * (y - z0), -_radial_log_det(r, a, s, y.shape[-1])


def _radial_log_det(r: Array, a: Array, s: Array, d: int) -> Array:
    """The formula of `radial` with a + bh = s put in: nothing is subtracted within a logarithm."""
    return (d - 1) * jnp.log(s + r) + jnp.log(r**2 + 2 * a * r + a * s) - (d + 1) * jnp.log(a + r)
