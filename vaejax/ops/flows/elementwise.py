"""Maps of each z_j by itself, with parameters that a conditioner gives: gates, affine maps, splines."""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp

from vaejax.types import Array

__all__ = ["affine", "affine_inverse", "gated", "gated_inverse", "spline", "spline_inverse"]

_FLOOR = 1e-3  # the least width and height of a bin, as a share of the interval, and the least slope
_SHIFT = math.log(math.expm1(1 - _FLOOR))  # softplus(_SHIFT) + _FLOOR = 1


def gated(z: Array, m: Array, s: Array) -> tuple[Array, Array]:
    """f(z) = g z + (1 - g) m, g = sigmoid(s), the step of an inverse autoregressive flow.

    log|det| = sum_j log g_j, where m_j and s_j depend on z_1 .. z_{j-1} alone.

    Args:
      z: [..., d].
      m: [..., d], what z is moved towards.
      s: [..., d], logits of the share of z that stays.

    Returns:
      f(z), [..., d], and log|det|, [...] nats.

    Raises:
      AssertionError: if the last axes differ.

    Source: Kingma et al. 2016, arXiv 1606.04934, eq. 13-14.
    """
    chex.assert_equal_shape_suffix([z, m, s], 1)
    return jax.nn.sigmoid(s) * z + jax.nn.sigmoid(-s) * m, _summed(jax.nn.log_sigmoid(s), z)


def gated_inverse(y: Array, m: Array, s: Array) -> tuple[Array, Array]:
    """The z of y = gated(z, m, s).

    Args:
      y: [..., d].
      m: [..., d].
      s: [..., d].

    Returns:
      z, [..., d], and log|det dz/dy|, [...] nats.

    Raises:
      AssertionError: if the last axes differ.
    """
    chex.assert_equal_shape_suffix([y, m, s], 1)
    # 1 / sigmoid(s) = 1 + exp(-s), so that z = y + (y - m) exp(-s)
    return y + (y - m) * jnp.exp(-s), -_summed(jax.nn.log_sigmoid(s), y)


def affine(z: Array, shift: Array, log_scale: Array) -> tuple[Array, Array]:
    """f(z) = z exp(log_scale) + shift, the step of RealNVP and MAF; log|det| = sum_j log_scale_j.

    Args:
      z: [..., d].
      shift: [..., d].
      log_scale: [..., d].

    Returns:
      f(z), [..., d], and log|det|, [...] nats.

    Raises:
      AssertionError: if the last axes differ.

    Source: Dinh, Sohl-Dickstein & Bengio 2016, arXiv 1605.08803, eq. 7; Papamakarios et al. 2017, arXiv
    1705.07057, eq. 4.
    """
    chex.assert_equal_shape_suffix([z, shift, log_scale], 1)
    return z * jnp.exp(log_scale) + shift, _summed(log_scale, z)


def affine_inverse(y: Array, shift: Array, log_scale: Array) -> tuple[Array, Array]:
    """The z of y = affine(z, shift, log_scale).

    Args:
      y: [..., d].
      shift: [..., d].
      log_scale: [..., d].

    Returns:
      z, [..., d], and log|det dz/dy|, [...] nats.

    Raises:
      AssertionError: if the last axes differ.
    """
    chex.assert_equal_shape_suffix([y, shift, log_scale], 1)
    return (y - shift) * jnp.exp(-log_scale), -_summed(log_scale, y)


def _summed(log_slope: Array, z: Array) -> Array:
    """The sum over the coordinates, once for each z."""
    return jnp.sum(jnp.broadcast_to(log_slope, jnp.broadcast_shapes(log_slope.shape, z.shape)), -1)


def spline(x: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """A rational-quadratic spline of each x_j through n + 1 knots on [-bound, bound]; the identity outside.

    In the bin from (x0, y0) to (x1, y1), with w = x1 - x0, h = y1 - y0, s = h / w, xi = (x - x0) / w and the
    slopes d0, d1 at its ends:

        y = y0 + h (s xi^2 + d0 xi (1 - xi)) / (s + (d1 + d0 - 2 s) xi (1 - xi))

    Widths and heights are softmaxes, slopes softplus, each with a floor of 1e-3 (Durkan et al. take the
    same); at both ends of the interval the slope is 1, so that y and its slope have no jump.

    Args:
      x: [..., d].
      raw: [..., d, 3 n - 1], any real numbers for n bins: n of widths, n of heights, n - 1 of inner slopes.
        Zeros are the identity.
      bound: > 0.

    Returns:
      y, [..., d], and log|det|, [...] nats.

    Raises:
      ValueError: if the last axis of raw is no 3 n - 1, or n so many that the floors fill the interval.
      AssertionError: if raw is not of d coordinates.

    Source: Durkan et al. 2019, arXiv 1906.04032, eq. 4-5.
    """
    xs, ys, slopes = _knots(x, raw, bound)
    inside = jnp.abs(x) < bound
    a = jnp.where(inside, x, 0.0)
    x0, w, y0, h, d0, d1 = _bin(a, xs, xs, ys, slopes)
    xi = (a - x0) / w
    s = h / w
    y = y0 + h * (s * xi**2 + d0 * xi * (1 - xi)) / (s + (d1 + d0 - 2 * s) * xi * (1 - xi))
    return jnp.where(inside, y, x), _total(inside, _log_slope(xi, s, d0, d1))


def spline_inverse(y: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """The x of y = spline(x, raw, bound), by the root of a quadratic equation.

    Args:
      y: [..., d].
      raw: [..., d, 3 n - 1].
      bound: > 0.

    Returns:
      x, [..., d], and log|det dx/dy|, [...] nats.

    Raises:
      ValueError, AssertionError: as `spline`.

    Source: Durkan et al. 2019, arXiv 1906.04032, eq. 6-8, in the form that does not subtract.
    """
    xs, ys, slopes = _knots(y, raw, bound)
    inside = jnp.abs(y) < bound
    v = jnp.where(inside, y, 0.0)
    x0, w, y0, h, d0, d1 = _bin(v, ys, xs, ys, slopes)
    s, t = h / w, v - y0
    e = t * (d1 + d0 - 2 * s)
    a, b, c = h * (s - d0) + e, h * d0 - e, -s * t
    tiny = jnp.finfo(y.dtype).tiny  # positive but for rounding; a root of 0 would have no gradient
    xi = 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, tiny)))
    return jnp.where(inside, x0 + w * xi, y), -_total(inside, _log_slope(xi, s, d0, d1))


def _knots(x: Array, raw: Array, bound: float) -> tuple[Array, Array, Array]:
    """Where the knots are and the slopes there, each [..., d, n + 1]."""
    size = raw.shape[-1]
    if size % 3 != 2:
        raise ValueError(f"raw: expected a last axis of 3 n - 1 numbers for n bins, got {size}")
    n = (size + 1) // 3
    if n * _FLOOR >= 1:
        raise ValueError(f"raw: expected fewer than {1 / _FLOOR:.0f} bins, got {n}")
    chex.assert_equal(raw.shape[-2], x.shape[-1])
    widths, heights, slopes = jnp.split(raw, (n, 2 * n), -1)

    def edges(logits: Array) -> Array:
        sizes = 2 * bound * (_FLOOR + (1 - n * _FLOOR) * jax.nn.softmax(logits, -1))
        inner = jnp.cumsum(sizes[..., :-1], -1) - bound
        ends = jnp.full_like(logits[..., :1], bound)
        return jnp.concatenate([-ends, inner, ends], -1)

    ones = jnp.ones_like(raw[..., :1])
    slopes = jnp.concatenate([ones, jax.nn.softplus(slopes + _SHIFT) + _FLOOR, ones], -1)
    return edges(widths), edges(heights), slopes


def _bin(a: Array, edges: Array, xs: Array, ys: Array, slopes: Array) -> tuple[Array, ...]:
    """What the bin is that holds a: its left end, width, lower end, height and both slopes, each [..., d]."""
    k = jnp.sum(a[..., None] >= edges[..., 1:-1], -1, keepdims=True)
    xs, ys, slopes = (jnp.broadcast_to(knots, (*k.shape[:-1], knots.shape[-1])) for knots in (xs, ys, slopes))
    x0, y0, d0 = (jnp.take_along_axis(knots, k, -1)[..., 0] for knots in (xs, ys, slopes))
    x1, y1, d1 = (jnp.take_along_axis(knots, k + 1, -1)[..., 0] for knots in (xs, ys, slopes))
    return x0, x1 - x0, y0, y1 - y0, d0, d1


def _log_slope(xi: Array, s: Array, d0: Array, d1: Array) -> Array:
    """log dy/dx of each coordinate."""
    q = xi * (1 - xi)
    up = d1 * xi**2 + 2 * s * q + d0 * (1 - xi) ** 2
    return 2 * jnp.log(s) + jnp.log(up) - 2 * jnp.log(s + (d1 + d0 - 2 * s) * q)


def _total(inside: Array, log_slope: Array) -> Array:
    """The sum over the coordinates of the log-slopes, 0 outside of the interval."""
    return jnp.sum(jnp.where(inside, log_slope, 0.0), -1)
