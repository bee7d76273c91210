"""Where half precision ends."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def as_floats(array: Any) -> Any:
    """Numbers as floats of 32 bits at least; integers as float32, where float64 is enabled too."""
    array = jnp.asarray(array)
    return at_least_float32(array) if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.float32)


def at_least_float32(array: Any) -> Any:
    """Floating point arrays of fewer than 32 bits as float32; whatever else as it is.

    Networks may run in half precision; noise, samples and densities may not: bfloat16 has 8 bits, so that
    its normals end at 2.9 sigma and an event of probability .001 comes with .008.
    """
    dtype = getattr(array, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
        return array.astype(jnp.float32)
    return array


def float_dtype(tree: Any) -> Any:
    """The dtype that the floating point arrays of a tree have in common, float32 at least."""
    dtypes = [jnp.result_type(a) for a in jax.tree.leaves(tree)]
    return jnp.result_type(jnp.float32, *(d for d in dtypes if jnp.issubdtype(d, jnp.floating)))
