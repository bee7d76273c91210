"""What codes cost beside the bound: the codebook drawn to the encoder, and the encoder to its codes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from vaejax.objectives.compose import logs
from vaejax.types import VAE, Array, Draw

__all__ = ["codebook", "commitment"]


def codebook(key: Array, vae: VAE, draw: Draw) -> Array:
    """|sg(z_e) - e|^2, summed over places and dimensions, [B]: codes go to the vectors that chose them.

    z_e is what the encoder gives, e the nearest codes; of a residual quantiser the sum over its stages. It
    logs `perplexity`, exp of the entropy of the codes in the batch, and `used_share`, the share of the
    codebook among them; of slices of a batch they are those of a slice.

    Raises:
      TypeError: for latents without a codebook that gradients move: `posteriors.vq` and `residual_vq` with
        decay=None have one. Running means (decay=...) take its place.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, eq. 3.
    """
    del key, vae
    return _of_draw(draw, "codebook", "posteriors.vq(..., decay=None)")


def commitment(key: Array, vae: VAE, draw: Draw) -> Array:
    """|z_e - sg(e)|^2, summed over places and dimensions, [B]: the encoder's vectors stay near their codes.

    As a sum it stands against -log p(x|z), a sum over the data: weigh it with `scaled(beta, ...)`, beta = .25
    in the paper. It logs what `codebook` does.

    Raises:
      TypeError: for latents without a codebook, as of `posteriors.fsq`.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, eq. 3.
    """
    del key, vae
    return _of_draw(draw, "commitment", "posteriors.vq or residual_vq")


def _of_draw(draw: Draw, name: str, family: str) -> Array:
    """The cost of this name, [B]; of parts that have one, their sum."""
    costs = jax.tree.leaves((draw.extra or {}).get(name))
    if not costs:
        got = jax.tree.map(lambda q: q.name, draw.q, is_leaf=lambda q: hasattr(q, "log_prob"))
        raise TypeError(f'{name}: expected Draw.extra["{name}"], as {family} gives it; got q {got} without')
    return functools.reduce(jnp.add, costs)


def _perplexity(key: Array, vae: VAE, draw: Draw) -> Array:
    del key, vae
    return _mean(draw, "perplexity")


def _used_share(key: Array, vae: VAE, draw: Draw) -> Array:
    del key, vae
    return _mean(draw, "used_share")


def _mean(draw: Draw, name: str) -> Array:
    """Of the parts that are codes."""
    return jnp.mean(jnp.stack(jax.tree.leaves((draw.extra or {})[name])))


for term in (codebook, commitment):
    logs(term, perplexity=_perplexity, used_share=_used_share)
