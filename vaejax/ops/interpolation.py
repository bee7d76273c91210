"""Paths between two latents."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaejax.ops.slopes import safe_norm
from vaejax.types import Array

__all__ = ["lerp", "slerp"]


def lerp(a: Array, b: Array, t: Array) -> Array:
    """The straight line (1 - t) a + t b.

    Between two draws of N(0, I) it leaves the shell |z| ~ sqrt(d): compare `slerp`.

    Args:
      a: [d], where the path starts.
      b: [d], where it ends.
      t: [n], 0 at a and 1 at b.

    Returns:
      [n, d].
    """
    chex.assert_rank([a, b, t], [1, 1, 1])
    return (1 - t)[:, None] * a + t[:, None] * b


def slerp(a: Array, b: Array, t: Array) -> Array:
    """Spherical interpolation [sin((1-t) w) a + sin(t w) b] / sin w, w the angle between a and b.

    It is `lerp`, the straight line, where that formula has no value or runs away: for a code of exactly 0,
    which has no direction; for w < 1e-4, of which the line is the limit; for opposite codes, w > pi - 1e-3,
    between which no arc is the shortest; and before that where codes of unlike length would throw the arc
    out, | |a| - |b| |/2 tan(w/2) > max(|a|, |b|). So no point is longer than 1.62 times the longer code.
    With one latent all pairs are parallel or opposite, and every path is straight.

    Args:
      a: [d], where the path starts.
      b: [d], where it ends.
      t: [n], 0 at a and 1 at b.

    Returns:
      [n, d]; its gradient is finite too.

    Source: Shoemake 1985, doi 10.1145/325165.325242; White 2016, arXiv 1609.04468, for latents.
    """
    chex.assert_rank([a, b, t], [1, 1, 1])
    (length_a, unit_a), (length_b, unit_b) = _length_and_direction(a), _length_and_direction(b)
    sin_half, cos_half = safe_norm(unit_a - unit_b, 0) / 2, safe_norm(unit_a + unit_b, 0) / 2
    # the arc cosine of a product would lose half of the digits at both ends
    w = 2 * jnp.arctan2(sin_half, jnp.where(sin_half + cos_half > 0, cos_half, 1.0))
    longer = jnp.maximum(length_a, length_b)
    thrown = jnp.abs(length_a - length_b) / 2 * sin_half > longer * cos_half
    no_direction = jnp.minimum(length_a, length_b) == 0
    straight = no_direction | (w < 1e-4) | (w > jnp.pi - 1e-3) | thrown
    w = jnp.where(straight, 1.0, w)  # double where: no gradient from the unused branch
    curved = (jnp.sin((1 - t) * w)[:, None] * a + jnp.sin(t * w)[:, None] * b) / jnp.sin(w)
    return jnp.where(straight, lerp(a, b, t), curved)


def _length_and_direction(v: Array) -> tuple[Array, Array]:
    """|v| and v / |v|, which is 0 for v = 0; no square overflows or vanishes."""
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(v)))
    v = v / jnp.where(top > 0, top, 1.0)
    length = safe_norm(v, 0)
    return top * length, v / jnp.where(length > 0, length, 1.0)
