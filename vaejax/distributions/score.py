"""The one way in which x is scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.distributions.joint import Joint, check_modalities
from vaejax.keys import named_key, threefry_key
from vaejax.types import Array, Distribution

__all__ = ["score", "score_each"]


def score(key: Array, px: Distribution, x: Any, observed: Any = None) -> Array:
    """log p(x|z), with the shapes checked: densities broadcast in silence, this does not.

    Args:
      key: used by likelihoods that are themselves bounds (those with `is_bound`): a key for every example,
        of the batch shape of px, so that slices of a batch score as the whole does; or one, from which come
        as many. Their `log_prob_bound(keys, x)` takes the former.
      px: batch shape [B], events of the shape of one example.
      x: [B, ...]; of several modalities a mapping {name: [B, ...]}, without those that nobody observed.
      observed: of several modalities {name: [B] booleans or 0 and 1}, who has which; a name that is not there
        is observed for all. None: all are.

    Returns:
      [B] nats, summed over event dimensions and over the modalities that were observed.

    Raises:
      TypeError, ValueError: if x has another shape than a sample of px, there are other numbers of keys, a
        modality has no likelihood, or `observed` is of other names or shapes.
    """
    if isinstance(px, Joint) or isinstance(x, Mapping):
        return reduce(jnp.add, score_each(key, px, x, observed).values())
    if observed is not None:
        raise TypeError("observed: expected None for an x that is one array, got a mask")
    expected = tuple(px.batch_shape) + tuple(px.event_shape)
    if x.shape != expected:
        raise ValueError(f"x: expected the shape of p(x|z), {expected}; got {x.shape}")
    if getattr(px, "is_bound", False):
        return px.log_prob_bound(_one_each(key, tuple(px.batch_shape)), x)
    return px.log_prob(x)


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
