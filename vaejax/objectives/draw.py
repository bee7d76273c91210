"""From a bound model and a batch to a scored draw."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.checks import check_vae
from vaejax.distributions import score
from vaejax.hints import check_batch
from vaejax.keys import check_key, example_index, example_keys, named_key
from vaejax.ops.diffusion import strata
from vaejax.types import VAE, Array, Batch, Draw, PyTree

__all__ = ["log_weight", "sample"]


def sample(key: Array, vae: VAE, batch: Batch) -> Draw:
    """Draw z ~ q(z|x) for every example, decode it and score x.

    Args:
      key: a typed PRNG key; example i's noise derives from it and i's place in the whole batch.
      vae: a bound model.
      batch: {"x": [B, ...], "c"?: [B, ...], "observed"?: a mask of the shape of x, "index"?: [B]}; of several
        modalities x and "observed"? are mappings.

    Returns:
      A Draw; every array leads with [B], log-densities in nats.

    Raises:
      TypeError: if the key is not a typed key, vae no bound model or batch no mapping with "x".
      ValueError: if x has another shape than p(x|z).
    """
    check_key(key)
    check_vae(vae)
    check_batch(batch)
    draw = vae.encode(named_key(key, "encode"), batch)
    px = vae.decode(draw.z, batch.get("c")) if draw.px is None else draw.px  # a hierarchy has decoded already
    keys = example_keys(named_key(key, "score"), batch)
    log_px = score(keys, px, batch["x"], batch.get("observed"), times=times_of(key, batch))
    return draw._replace(px=px, log_px=log_px)


def times_of(key: Array, batch: Batch) -> Array:
    """[B] times in [0, 1), each uniform over keys, together spread evenly: a slice has those of the whole."""
    return strata(jax.random.uniform(named_key(key, "/times"), (), jnp.float32), example_index(batch))


def scored_at(draw: Draw) -> PyTree:
    """Where log q and log p of a draw were taken: its z, unless that is no point of q."""
    return draw.z if draw.point is None else draw.point


def log_weight(draw: Draw) -> Array:
    """log w = log p(x|z) + log p(z) - log q(z|x), [B] nats, the levels of a hierarchy summed.

    Its mean over q is the ELBO; higher is better.
    """
    return draw.log_px + over_levels(draw.log_p) - over_levels(draw.log_q)


def levels_of(draw: Draw) -> list[tuple[Any, Any, Array, Array]]:
    """(q, p, log q, log p) of every level or part, log-densities [B] nats; of one level, that alone."""
    one_level = (draw.q, draw.p, draw.log_q, draw.log_p)
    return list(zip(*one_level, strict=True)) if isinstance(draw.q, tuple) else [one_level]


def over_levels(log_density: PyTree) -> Array:
    """The sum over the levels of a hierarchy, [B] per level -> [B]; of one level, itself."""
    return functools.reduce(jnp.add, jax.tree.leaves(log_density))


def prior_codes(key: Array, vae: VAE, batch: Batch) -> PyTree:
    """One z ~ p(z|c) an example, [B, ...] (of every part): a slice of a batch draws what the whole draws."""

    def one(key: Array, c: Array | None) -> PyTree:
        return jax.tree.map(lambda z: z[0], vae.sample_prior(key, 1, None if c is None else c[None]))

    return jax.vmap(one)(example_keys(named_key(key, "prior"), batch), batch.get("c"))
