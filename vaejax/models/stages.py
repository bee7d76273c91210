"""A second stage: a density of a frozen model's codes, and samples through both."""

from __future__ import annotations

import dataclasses

from jax.tree_util import Partial

from vaejax.checks import check_choice
from vaejax.keys import named_key
from vaejax.types import VAE, Array, Batch, PyTree, Split

__all__ = ["codes_of", "two_stage"]


def codes_of(vae: VAE, split: Split, *, at: str = "sample") -> Split:
    """The codes z ~ q(z|x) of a split, as data of a second model: drawn anew whenever a row is taken.

    Samples, not means: their distribution is the aggregate posterior, which is what p(z) must be for the
    first model to sample well. As features of x, which a classifier or M2 learns from (M1+M2), the means are
    the ones without noise.

    Args:
      vae: a bound model with latents of one part; its parameters are constants of what trains on the codes.
      split: the data of the first model.
      at: "sample", or "mean" for the code without noise, `vae.represent`.

    Returns:
      A Split of as many rows and support "real", whose x are codes; labels stay, a condition goes: what the
      second model is given is put beside the codes, by `data.with_condition`.

    Raises:
      TypeError, ValueError: for anything but a bound model and a split, or another `at`; when rows are taken,
        for latents of several parts.

    Source: Dai & Wipf 2019, arXiv 1903.05789, section 4; features: Kingma et al. 2014, arXiv 1406.5298 (M1).
    """
    if not isinstance(vae, VAE):
        raise TypeError(f"vae: expected a vaejax.VAE, got {type(vae).__name__}")
    if not isinstance(split, Split):
        raise TypeError(f"split: expected a vaejax Split, got {type(split).__name__}")
    check_choice(at, ("sample", "mean"), "at")
    if at == "mean" and vae.represent is None:
        raise ValueError("at: expected 'sample' of a model without `represent`, got 'mean'")
    encoded = _encoded if at == "sample" else _represented
    return dataclasses.replace(split, support="real", transform=Partial(encoded, vae, split.transform))


def _encoded(vae: VAE, transform, key: Array, batch: Batch) -> Batch:
    made = transform(named_key(key, "/transform"), batch)
    return _as_data(vae.encode(named_key(key, "/encode"), made).z, made)


def _represented(vae: VAE, transform, key: Array, batch: Batch) -> Batch:
    made = transform(named_key(key, "/transform"), batch)
    return _as_data(vae.represent(made), made)  # type: ignore[misc]


def _as_data(z: PyTree, made: Batch) -> Batch:
    if isinstance(z, tuple):
        raise TypeError(f"vae: expected latents of one part, got {len(z)} parts or levels")
    return {**{name: a for name, a in made.items() if name in ("y", "index")}, "x": z}


def two_stage(first: VAE, second: VAE) -> VAE:
    """The first model with the second as its prior: u ~ p(u), z ~ p(z|u), then x ~ p(x|z).

    Nothing else changes: log p(z) of a draw is still that of the first one's prior.

    Args:
      first: a bound model of x.
      second: a bound model of its codes (`codes_of`).

    Returns:
      A VAE, the first with another `sample_prior`.

    Source: Dai & Wipf 2019, arXiv 1903.05789, section 4.
    """
    for name, vae in (("first", first), ("second", second)):
        if not isinstance(vae, VAE):
            raise TypeError(f"{name}: expected a vaejax.VAE, got {type(vae).__name__}")
    return first._replace(sample_prior=Partial(_through, second))


def _through(second: VAE, key: Array, n: int, c: Array | None = None) -> Array:
    if c is not None:
        raise ValueError("c: expected None, the second stage has no condition; got an array")
    u = second.sample_prior(named_key(key, "/first"), n)
    return second.decode(u).sample(seed=named_key(key, "/second"))
