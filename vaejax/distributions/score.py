"""The one way in which x is scored."""

from __future__ import annotations

import math
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from vaejax.checks import observed_mask
from vaejax.keys import threefry_key
from vaejax.types import Array, Distribution

__all__ = ["score"]


def score(
    key: Array, px: Distribution, x: Array, observed: Array | None = None, *, times: Array | None = None
) -> Array:
    """log p(x|z), with the shapes checked: densities broadcast in silence, this does not.

    Of data with holes, log p(x_obs|z) = sum over what was observed of log p(x_i|z): where the values of x are
    independent given z, leaving out a term integrates over it. What stands in x at a hole, nan too, is
    neither seen nor does it touch a gradient.

    Args:
      key: used by likelihoods that are themselves bounds (those with `is_bound`): a key for every example,
        of the batch shape of px, so that slices of a batch score as the whole does; or one, from which come
        as many. Their `log_prob_bound(keys, x)` takes the former.
      px: batch shape [B], events of the shape of one example.
      x: [B, ...].
      observed: where x was observed, booleans or 0 and 1 of the shape of x; None: everywhere.
      times: [B] in [0, 1), spread over a batch, for likelihoods that estimate a mean over a time
        (`spreads_times`); None: they draw their own. Others do not look at it.

    Returns:
      [B] nats, summed over event dimensions.

    Raises:
      ValueError: if x has another shape than a sample of px, `observed` another than x, or there are other
        numbers of keys.
      TypeError: if `observed` is given and px does not say log p of each value of x by itself, or the mask
        holds real numbers.
    """
    expected = tuple(px.batch_shape) + tuple(px.event_shape)
    if x.shape != expected:
        raise ValueError(f"x: expected the shape of p(x|z), {expected}; got {x.shape}")
    if observed is not None:
        return _of_observed(px, x, observed)
    if getattr(px, "is_bound", False):
        keys = _one_each(key, tuple(px.batch_shape))
        if times is not None and getattr(px, "spreads_times", False):
            return px.log_prob_bound(keys, x, times)
        return px.log_prob_bound(keys, x)
    return px.log_prob(x)


def _of_observed(px: Distribution, x: Array, observed: Array) -> Array:
    """The sum of log p(x_i|z) over the i that were observed, [B] nats."""
    mask = observed_mask(observed, x)
    # another value than the hole's before the density, since `where` does not stop the gradient of a nan
    # behind it; 0 lies in every support
    each = _each(px, jnp.where(mask, x, jnp.zeros((), x.dtype)))
    if each is None or each.shape != x.shape:
        raise TypeError(
            "observed: expected None for a p(x|z) under which the values of x are not independent given z "
            f"({px.name}): it has no log-density of what was observed alone; got a mask"
        )
    each = jnp.where(mask, each, 0.0)
    return jnp.sum(each.reshape(*px.batch_shape, -1), axis=-1)


def _each(px: Distribution, x: Array) -> Array | None:
    """log p of each value of x, of the shape of x; None where px does not say."""
    if getattr(px, "is_bound", False):
        return None
    if hasattr(px, "log_prob_each"):
        return px.log_prob_each(x)
    base: Any = px.distribution if isinstance(px, distrax.Independent) else None
    return None if base is None else base.log_prob(x)


def _one_each(key: Array, batch: tuple[int, ...]) -> Array:
    """Keys of the shape `batch`."""
    if key.shape == batch:
        return key
    if key.shape != ():
        raise ValueError(f"key: expected one, or one for each example, {batch}; got {key.shape}")
    return jnp.reshape(jax.random.split(threefry_key(key), math.prod(batch)), batch)
