"""What has a corner or an infinite slope at 0, with the slope 0 there.

Zeros are met exactly: a layer that starts at 0, a dead unit, two points that coincide. There `jnp.abs` has
the slope 1, as if x were positive, and a square root an infinite one. A length is least at 0, and of its
subgradients there 0 is the one that stays.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vaejax.types import Array

__all__ = ["absolute", "safe_norm"]


@jax.custom_jvp
def absolute(x: Array) -> Array:
    """|x| of every entry; its derivative is sign(x), with sign(0) = 0 and the second derivative 0.

    Args:
      x: [...] real numbers.

    Returns:
      [...], bit for bit `jnp.abs(x)`.
    """
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    sign = (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)  # XLA on a CPU is slower at jnp.sign
    return jnp.abs(x), sign * dx


def safe_norm(array: Array, axis: int) -> Array:
    """The Euclidean norm along an axis, with gradient 0 at 0.

    Args:
      array: [...] real numbers.
      axis: the one that is summed over.

    Returns:
      [...] without that axis.
    """
    square = jnp.sum(jnp.square(array), axis=axis)
    zero = square == 0  # double where: no nan from the unused branch; one that is there stays
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))
