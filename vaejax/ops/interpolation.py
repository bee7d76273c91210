"""Paths between two latents."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from vaejax.types import Array

__all__ = ["lerp", "slerp"]


def lerp(a: Array, b: Array, t: Array) -> Array:
    """The straight line (1 - t) a + t b.

    Between two draws of N(0, I) it leaves the shell |z| ~ sqrt(d): compare `slerp`.

    Args:
      a, b: [d].
      t: [n], 0 at a and 1 at b.

    Returns:
      [n, d].
    """
    chex.assert_rank([a, b, t], [1, 1, 1])
    return (1 - t)[:, None] * a + t[:, None] * b


def slerp(a: Array, b: Array, t: Array) -> Array:
    """Spherical interpolation [sin((1-t) w) a + sin(t w) b] / sin w, w the angle between a and b.

    Tends to `lerp` as w -> 0.

    Args:
      a, b: [d], not zero and not opposite.
      t: [n], 0 at a and 1 at b.

    Returns:
      [n, d].

    Source: Shoemake 1985, doi 10.1145/325165.325242; White 2016, arXiv 1609.04468, for latents.
    """
    chex.assert_rank([a, b, t], [1, 1, 1])
    cos = jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
    w = jnp.arccos(jnp.clip(cos, -1.0, 1.0))
    parallel = w < 1e-4  # sin w / w is 1 in float32 there
    w_safe = jnp.where(parallel, 1.0, w)
    curved = (jnp.sin((1 - t) * w_safe)[:, None] * a + jnp.sin(t * w_safe)[:, None] * b) / jnp.sin(w_safe)
    return jnp.where(parallel, lerp(a, b, t), curved)
