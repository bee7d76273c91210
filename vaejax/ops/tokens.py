"""Which tokens of a sentence count."""

from __future__ import annotations

import jax.numpy as jnp

from vaejax.types import END, Array

__all__ = ["counted"]


def counted(x: Array) -> Array:
    """Which tokens [..., T] belong to their sentence: those up to the first `END`, and that itself."""
    ends = x == END
    return jnp.cumsum(ends, axis=-1) - ends == 0
