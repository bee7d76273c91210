"""What an encoder gets of data with holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vaejax.checks import observed_mask
from vaejax.hints import check_batch
from vaejax.types import Array, Batch


def seen(encoder: nn.Module, batch: Batch) -> tuple[Any, ...]:
    """x, 0 where it has a hole; and the mask, 1 where it has none, for a net that says `sees_observed`.

    Without a mask in the batch all was observed.

    Raises:
      TypeError, ValueError: if the mask is of another kind or shape than x needs.
    """
    x, observed = batch["x"], batch.get("observed")
    if isinstance(x, Mapping):
        return (x,)
    mask = None if observed is None else observed_mask(observed, x)
    filled = x if mask is None else jnp.where(mask, x, jnp.zeros((), x.dtype))
    return (filled, _numbers(mask, x)) if getattr(encoder, "sees_observed", False) else (filled,)


def seen_whole(encoder: nn.Module, x: Any) -> tuple[Any, ...]:
    """The same of an x without holes, such as the pseudo-inputs of a prior."""
    return seen(encoder, {"x": x})


def _numbers(mask: Array | None, x: Array) -> Array:
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32
    return jnp.ones(x.shape, dtype) if mask is None else mask.astype(dtype)


def first_example(batch: Batch) -> dict[str, Any]:
    """The first example of a batch, as what initialises a model sees it: x, its condition and its holes."""
    check_batch(batch)
    names = [name for name in ("x", "c", "observed") if batch.get(name) is not None]
    return {name: jax.tree.map(lambda a: a[:1], batch[name]) for name in names}
