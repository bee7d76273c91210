"""The sliced Wasserstein distance between two samples."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp

from vaejax.types import Array

__all__ = ["random_directions", "sliced_wasserstein"]


def sliced_wasserstein(x: Array, y: Array, directions: Array) -> Array:
    """The mean over directions u of W_2^2 between the projections u.x and u.y.

    W_2^2 = (1/n) sum_i (a_(i) - b_(i))^2 in one dimension: the sorted projections in order. Between
    finite samples of one distribution it is positive, of order 1/n.

    Args:
      x: [n, d].
      y: [n, d], as many as x has.
      directions: [P, d] unit vectors.

    Returns:
      Scalar >= 0, in squared units of the data.

    Source: Kolouri, Pope, Martin & Rohde 2018, arXiv 1804.01947.
    """
    chex.assert_rank([x, y, directions], 2)
    chex.assert_equal_shape([x, y])
    a, b = (jnp.sort(jnp.matmul(v, directions.T, precision="highest"), axis=0) for v in (x, y))  # [n, P]
    return jnp.mean(jnp.square(a - b))


def random_directions(key: Array, n: int, d: int, dtype: Any = float) -> Array:
    """n unit vectors, uniform on the sphere in d dimensions: [n, d] of a floating point dtype."""
    v = jax.random.normal(key, (n, d), dtype)
    return v / jnp.linalg.norm(v, axis=-1, keepdims=True)
