"""Transforms `(key, batch) -> batch` that bring stored values into their support.

What they draw comes from the key and the example's place in the whole batch, so slices draw the same.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.keys import example_keys
from vaejax.types import Array, Batch

# Products, not quotients: XLA compiles division by a constant to this product, which differs from
# NumPy's quotient in the last bit. So NumPy, eager and compiled agree; 255 and 100 still become 1.
BYTE = np.float32(1 / 255)
PERCENT = np.float32(1 / 100)
SIXTEENTH = np.float32(1 / 16)


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


def unit_from_sixteenths(key: Array, batch: Batch) -> Batch:
    """x / 16 as float32: 0..16 to [0, 1], exactly."""
    del key
    return {**batch, "x": jnp.asarray(batch["x"], jnp.float32) * SIXTEENTH}


def half_of_sixteenths(key: Array, batch: Batch) -> Batch:
    """1 where x / 16 >= 1/2, else 0."""
    del key
    return {**batch, "x": (jnp.asarray(batch["x"]) >= 8).astype(jnp.float32)}


def binarise(key: Array, batch: Batch) -> Batch:
    """x ~ Bernoulli(x / 255): bytes to 0 and 1, drawn anew for every key."""
    p = jnp.asarray(batch["x"], jnp.float32) * BYTE
    u = jax.vmap(lambda k: jax.random.uniform(k, p.shape[1:], p.dtype))(example_keys(key, batch))  # [0, 1)
    return {**batch, "x": (u < p).astype(jnp.float32)}


def threshold(key: Array, batch: Batch) -> Batch:
    """1 where x / 255 > 1/2, else 0."""
    del key
    return {**batch, "x": (jnp.asarray(batch["x"], jnp.float32) > 127.5).astype(jnp.float32)}


def dequantise(key: Array, batch: Batch) -> Batch:
    """(x + u) / 256, u ~ U(0, 1): bytes to densities on (0, 1), drawn anew for every key.

    -log P(byte) <= E_u[-log p((x + u) / 256)] + log 256 a value, in nats (Theis et al. 2015, 1511.01844).
    """
    x = jnp.asarray(batch["x"], jnp.float32)
    bits = jax.vmap(lambda k: jax.random.bits(k, x.shape[1:], jnp.uint16))(example_keys(key, batch))
    # odd multiples of 2^-16: x + u is exact in float32 (a finer u would round 255 + u up to 256)
    u = (bits | 1).astype(jnp.float32) * 2.0**-16
    return {**batch, "x": (x + u) * 2.0**-8}
