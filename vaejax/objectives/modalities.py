"""Terms of models of several modalities: subsets that are trained too, and weights on their likelihoods."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from functools import reduce
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_finite, plain
from vaejax.distributions import score_each
from vaejax.keys import example_keys, named_key
from vaejax.objectives.compose import Term, logs, sees_step
from vaejax.objectives.draw import sample
from vaejax.objectives.elbo import kl, reconstruction
from vaejax.objectives.pairs import weight_at
from vaejax.types import VAE, Array, Batch, Draw

__all__ = ["modality_reconstruction", "sub_sampled"]


def sub_sampled(subsets: int = 0, *, beta: float | Callable[[Any], Any] = 1.0) -> Term:
    """MVAE's sub-sampled training: negative ELBOs of all modalities, of each alone, of random subsets.

        sum_A [ -log p(x_A|z_A) + beta KL(q(z|x_A) || p) ],    A = all, {1}, .., {M}, and `subsets` others,

    where z_A ~ q(z|x_A): what is not in A is neither seen nor scored. Without it an expert of a product is
    never asked what it knows by itself. It stands for `reconstruction` and `kl` together, and is a sum: of M
    modalities about M + 1 times an ELBO. Of an example that lacks a modality, A is what it has of A; where
    that is nothing the cost is KL(q || p) without x, 0 of the posteriors of several modalities here.

    Args:
      subsets: how many further subsets an example has each step, drawn from those of 2..M - 1 modalities; the
        paper's k.
      beta: weight of the KL: a number >= 0, or a schedule step -> weight.

    Returns:
      A term, [B] nats; it logs `kl` and `reconstruction`, those of all modalities together.

    Raises:
      TypeError, ValueError: for subsets that are no int of at least 0, or a beta that is neither or negative;
        when called, for an x that is one array, or subsets of fewer than three modalities.

    Source: Wu & Goodman 2018, arXiv 1802.05335. Deviation: there one random subset serves the whole batch.
    """
    if isinstance(subsets, bool) or not isinstance(subsets, numbers.Integral):
        raise TypeError(f"subsets: expected an int, got {type(subsets).__name__} ({subsets!r})")
    if subsets < 0:
        raise ValueError(f"subsets: expected at least 0, got {subsets}")
    weight = weight_at(beta)

    def cost(beta: Any, key: Array, vae: VAE, draw: Draw) -> Array:
        names = _names(draw)
        if subsets and len(names) < 3:
            raise ValueError(
                f"subsets: expected 0, of {len(names)} modalities there are no others; got {subsets}"
            )
        total = -draw.log_px + beta * kl(key, vae, draw)
        batches = {f"/{name}": {**draw.batch, "x": {name: draw.batch["x"][name]}} for name in names}
        for i in range(int(subsets)):
            batches[f"/subset_{i}"] = _random_subset(named_key(key, f"/rows_{i}"), draw.batch, names)
        for name, batch in batches.items():
            part = sample(named_key(key, name), vae, batch)
            total += -part.log_px + beta * kl(key, vae, part)
        return total

    def constant(key: Array, vae: VAE, draw: Draw) -> Array:
        return cost(weight(None), key, vae, draw)

    @sees_step
    def scheduled(key: Array, vae: VAE, draw: Draw, step: Array) -> Array:
        return cost(weight(step), key, vae, draw)

    return logs(scheduled if callable(beta) else constant, kl=kl, reconstruction=reconstruction)


def _names(draw: Draw) -> list[str]:
    if not isinstance(draw.batch["x"], Mapping):
        raise TypeError("x: expected several modalities, {name: array}; got one array")
    return sorted(draw.batch["x"])


def _random_subset(key: Array, batch: Batch, names: list[str]) -> dict[str, Any]:
    """The batch with a subset of 2..M - 1 modalities of each example, of what was observed."""
    M = len(names)
    subsets = [set(of) for n in range(2, M) for of in combinations(range(M), n)]
    member = jnp.asarray(np.array([[m in of for m in range(M)] for of in subsets]))
    keys = example_keys(key, batch)
    row = jax.vmap(lambda k: jax.random.randint(k, (), 0, len(subsets)))(keys)
    observed = batch.get("observed") or {}
    there = {
        name: member[row, m] & (jnp.asarray(observed.get(name, True)) != 0) for m, name in enumerate(names)
    }
    return {**batch, "observed": there}


def modality_reconstruction(**weights: float) -> Term:
    """-sum_m lam_m log p(x_m|z), [B] nats: some modalities count more than others.

    A caption's few nats beside an image's hundreds may go unlearned. With weights other than 1 what is
    minimised bounds nothing; the true sum is logged beside it.

    Args:
      **weights: name=lam_m, finite numbers; modalities that are not named have 1.

    Returns:
      A term, [B] nats; it logs `reconstruction`, and `reconstruction_<name>` of those that are named.

    Raises:
      TypeError, ValueError: for no weight, or one that is no finite number; when called, for names that x
        does not have.

    Source: Wu & Goodman 2018, arXiv 1802.05335.
    """
    if not weights:
        raise ValueError("weights: expected at least one, as name=weight; got none")
    for name, weight in weights.items():
        check_finite(weight, name)
    lam = {name: plain(weight) for name, weight in weights.items()}

    def each(key: Array, draw: Draw) -> dict[str, Array]:
        unknown = sorted(set(lam) - set(_names(draw)))
        if unknown:
            raise ValueError(
                f"weights: expected names among {', '.join(_names(draw))}; got {', '.join(unknown)}"
            )
        return score_each(
            example_keys(named_key(key, "score"), draw.batch),
            draw.px,
            draw.batch["x"],
            draw.batch.get("observed"),
        )

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        parts = each(key, draw)
        return -reduce(jnp.add, [lam.get(name, 1.0) * log_px for name, log_px in parts.items()])

    measures = {f"reconstruction_{name}": _of_one(name, each) for name in lam}
    return logs(term, reconstruction=reconstruction, **measures)


def _of_one(name: str, each: Callable[[Array, Draw], dict[str, Array]]) -> Term:
    def measure(key: Array, vae: VAE, draw: Draw) -> Array:
        return -each(key, draw)[name]

    return measure
