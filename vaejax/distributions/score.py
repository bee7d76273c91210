"""The one way in which x is scored."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vaejax.keys import threefry_key
from vaejax.types import Array, Distribution

__all__ = ["score"]


def score(key: Array, px: Distribution, x: Array, *, times: Array | None = None) -> Array:
    """log p(x|z), with the shapes checked: densities broadcast in silence, this does not.

    Args:
      key: used by likelihoods that are themselves bounds (those with `is_bound`): a key for every example,
        of the batch shape of px, so that slices of a batch score as the whole does; or one, from which come
        as many. Their `log_prob_bound(keys, x)` takes the former.
      px: batch shape [B], events of the shape of one example.
      x: [B, ...].
      times: [B] in [0, 1), spread over a batch, for likelihoods that estimate a mean over a time
        (`spreads_times`); None: they draw their own. Others do not look at it.

    Returns:
      [B] nats, summed over event dimensions.

    Raises:
      ValueError: if x has another shape than a sample of px, or there are other numbers of keys.
    """
    expected = tuple(px.batch_shape) + tuple(px.event_shape)
    if x.shape != expected:
        raise ValueError(f"x: expected the shape of p(x|z), {expected}; got {x.shape}")
    if getattr(px, "is_bound", False):
        keys = _one_each(key, tuple(px.batch_shape))
        if times is not None and getattr(px, "spreads_times", False):
            return px.log_prob_bound(keys, x, times)
        return px.log_prob_bound(keys, x)
    return px.log_prob(x)


def _one_each(key: Array, batch: tuple[int, ...]) -> Array:
    """Keys of the shape `batch`."""
    if key.shape == batch:
        return key
    if key.shape != ():
        raise ValueError(f"key: expected one, or one for each example, {batch}; got {key.shape}")
    return jnp.reshape(jax.random.split(threefry_key(key), math.prod(batch)), batch)
