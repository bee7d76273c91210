"""Transforms `(key, batch) -> batch` that bring stored values into their support; they draw nothing."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from vaejax.types import Array, Batch

# Products, not quotients: XLA compiles division by a constant to this product, which differs from
# NumPy's quotient in the last bit. So NumPy, eager and compiled agree; 255 and 100 still become 1.
BYTE = np.float32(1 / 255)
PERCENT = np.float32(1 / 100)


def cast(key: Array, batch: Batch) -> Batch:
    """x as float32."""
    del key
    return {**batch, "x": jnp.asarray(batch["x"], jnp.float32)}


def unit_from_bytes(key: Array, batch: Batch) -> Batch:
    """x / 255 as float32: 0..255 to [0, 1]."""
    del key
    return {**batch, "x": jnp.asarray(batch["x"], jnp.float32) * BYTE}


def unit_from_percent(key: Array, batch: Batch) -> Batch:
    """x / 100 as float32: 0..100 to [0, 1]."""
    del key
    return {**batch, "x": jnp.asarray(batch["x"], jnp.float32) * PERCENT}
