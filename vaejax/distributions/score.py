"""The one way in which x is scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial, reduce
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from vaejax.checks import observed_mask
from vaejax.distributions.joint import Joint, check_modalities
from vaejax.keys import named_key, threefry_key
from vaejax.types import Array, Distribution

__all__ = ["score", "score_each"]


def score(key: Array, px: Distribution, x: Any, observed: Any = None, *, times: Array | None = None) -> Array:
    """log p(x|z), with the shapes checked: densities broadcast in silence, this does not.

    Of data with holes, log p(x_obs|z) = sum over what was observed of log p(x_i|z): where the values of x are
    independent given z, leaving out a term integrates over it. What stands in x at a hole, nan too, is
    neither seen nor does it touch a gradient.

    Args:
      key: used by likelihoods that are themselves bounds (those with `is_bound`): a key for every example,
        of the batch shape of px, so that slices of a batch score as the whole does; or one, from which come
        as many. Their `log_prob_bound(keys, x)` takes the former.
      px: batch shape [B], events of the shape of one example.
      x: [B, ...]; of several modalities a mapping {name: [B, ...]}, without those that nobody observed.
      observed: where x was observed, booleans or 0 and 1 of the shape of x; of several modalities {name:
        [B]}, who has which, where a name that is not there is observed for all. None: everywhere.
      times: [B] in [0, 1), spread over a batch, for likelihoods that estimate a mean over a time
        (`spreads_times`); None: they draw their own. Others do not look at it.

    Returns:
      [B] nats, summed over event dimensions and over the modalities that were observed.

    Raises:
      ValueError: if x has another shape than a sample of px, `observed` another than x or other names, a
        modality has no likelihood, or there are other numbers of keys.
      TypeError: if `observed` is given and px does not say log p of each value of x by itself, or the mask
        holds real numbers.
    """
    if isinstance(px, Joint) or isinstance(x, Mapping):
        return reduce(jnp.add, score_each(key, px, x, observed).values())
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


def score_each(key: Array, px: Distribution, x: Any, observed: Any = None) -> dict[str, Array]:
    """log p(x_m|z) of every modality of x by itself, {name: [B] nats}, 0 where it was not observed.

    Args and Raises: as `score`, of several modalities.
    """
    if not (isinstance(px, Joint) and isinstance(x, Mapping)):
        got = f"p(x|z) {px.name} and x as {type(x).__name__}"
        raise TypeError(
            f"x: expected a mapping {{name: array}} and a p(x|z) of distributions.joint; got {got}"
        )
    check_modalities(px.parts, x, all_of=False)
    masks = check_observed(observed, x, tuple(px.batch_shape))
    each = {}
    for name in sorted(x):
        part, value, mask = px.parts[name], x[name], masks.get(name)
        own = _named(key, name) if getattr(part, "is_bound", False) else key
        if mask is None:
            each[name] = score(own, part, value)
            continue
        # what stands in the place of an absent x may be nan: another value before the density, or the
        # gradient is nan in spite of the second `where`
        there = jnp.reshape(mask, (*mask.shape, *[1] * (value.ndim - mask.ndim)))
        each[name] = jnp.where(mask, score(own, part, jnp.where(there, value, jnp.zeros_like(value))), 0.0)
    return each


def check_observed(observed: Any, x: Mapping[str, Array], lead: tuple[int, ...]) -> dict[str, Array]:
    """{name: mask of the leading axes, as booleans}; raise for anything but a mapping of such."""
    if observed is None:
        return {}
    if not isinstance(observed, Mapping):
        raise TypeError(
            f"observed: expected a mapping {{name: [B]}} beside x as a mapping, got {type(observed).__name__}"
        )
    for name, mask in observed.items():
        if jnp.shape(mask) != lead or not (mask.dtype == bool or jnp.issubdtype(mask.dtype, jnp.integer)):
            expected = f"observed[{name!r}]: expected booleans or 0 and 1, one for each example, {lead}"
            raise ValueError(f"{expected}; got {mask.dtype} {jnp.shape(mask)}")
    return {name: jnp.asarray(observed[name]) != 0 for name in x if name in observed}


def _named(key: Array, name: str) -> Array:
    """A key of the name, or one of each of several."""
    one = partial(named_key, name=name)
    return one(key) if key.shape == () else jax.vmap(one)(key.ravel()).reshape(key.shape)
