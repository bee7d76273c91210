"""Randomness: typed keys, derived by name and by example."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp

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

    Names that vaejax gives itself start with a slash: they cannot meet the names of terms and updates.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: Array, batch: Batch) -> Array:
    """One key per example, [B], from its place in the whole batch.

    The place is `batch["index"]` ([B] integers) where the batch is a slice of a larger one, else
    0..B-1: so slices, shards and microbatches draw what the whole batch would.
    """
    index = batch.get("index")
    if index is None:
        index = jnp.arange(jax.tree.leaves(batch["x"])[0].shape[0])
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
