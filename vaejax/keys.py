"""Randomness: typed keys, derived by name and by example.

What is derived here is a key of jax's default generator, Threefry, whatever the generator of the key given.
Under `vmap` the others (`rbg`, `unsafe_rbg`) draw all from the first key: an example's noise would not be
that of its key, and another in a slice than in the whole batch.
"""

from __future__ import annotations

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.types import Array, Batch

THREEFRY = "threefry2x32"


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


def threefry_key(key: Array) -> Array:
    """The key itself if Threefry's, else the key of Threefry that all its words are folded into."""
    if str(jax.random.key_impl(key)) == THREEFRY:
        return key
    words = jax.random.key_data(key).ravel()
    zero = jax.random.wrap_key_data(jnp.zeros(2, jnp.uint32), impl=THREEFRY)
    return functools.reduce(jax.random.fold_in, words, zero)


def named_key(key: Array, name: str) -> Array:
    """`fold_in(key, crc32(name))`: a key of its own for every name, whatever other names exist.

    Beside the names of terms and updates, those that vaejax gives itself start with a slash.
    """
    return jax.random.fold_in(threefry_key(key), zlib.crc32(name.encode()))


def numpy_generator(key: Array) -> np.random.Generator:
    """NumPy's generator, seeded with the words of the key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def example_keys(key: Array, batch: Batch) -> Array:
    """One key per example, [B], from its place in the whole batch: a slice draws what the whole draws."""
    key = threefry_key(key)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(example_index(batch))


def example_index(batch: Batch) -> Array:
    """The places of the examples in the whole batch, [B]: `batch["index"]` in a slice, else 0..B-1."""
    index = batch.get("index")
    return jnp.arange(jax.tree.leaves(batch["x"])[0].shape[0]) if index is None else index
