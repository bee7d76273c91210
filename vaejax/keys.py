"""Randomness: typed keys, derived by name and by example."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.types import Array, Batch


def check_key(key: Array, name: str = "key") -> None:
    """Raise TypeError unless `key` is one typed PRNG key (`jax.random.key`)."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"{name}: expected a typed PRNG key, as jax.random.key(seed) makes it; "
            f"got {type(key).__name__}{'' if dtype is None else f' of dtype {dtype}'}"
        )
    if key.shape != ():
        raise TypeError(f"{name}: expected one key, got an array of keys of shape {key.shape}")


def named_key(key: Array, name: str) -> Array:
    """`fold_in(key, crc32(name))`: a key of its own for every name, whatever other names exist.

    Beside the names of terms and updates, those that vaejax gives itself start with a slash.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def numpy_generator(key: Array) -> np.random.Generator:
    """NumPy's generator, seeded with the words of the key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def example_keys(key: Array, batch: Batch) -> Array:
    """One key per example, [B], from its place in the whole batch: a slice draws what the whole draws."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(example_index(batch))


def example_index(batch: Batch) -> Array:
    """The places of the examples in the whole batch, [B]: `batch["index"]` in a slice, else 0..B-1."""
    index = batch.get("index")
    return jnp.arange(jax.tree.leaves(batch["x"])[0].shape[0]) if index is None else index
