"""Posteriors of several modalities: what the experts of those that are present say, put together.

The encoder, `nets.Modalities`, gives a Gaussian for each of M modalities and which of them are present, so
that one model takes any subset of them. A posterior of none is N(0, I).

Where an expert is multiplied, by the prior N(0, I) and others, it stands for a likelihood factor p(x_m|z), as
a function of z, and not for the posterior p(z|x_m), which has the prior in it (`ops.experts.product`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int, plain
from vaejax.distributions import GaussianMixture, diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.models.posteriors.family import Posterior, draw_and_score
from vaejax.ops.experts import product
from vaejax.types import Array, Distribution, PyTree

__all__ = ["moe", "mopoe", "poe"]

Experts = tuple[Array, Array, Array]  # loc [..., M, d], logvar [..., M, d], present [..., M]


def poe(latents: int, experts: int) -> Posterior:
    """Product of experts (MVAE): q(z|x_A) prop. to N(z; 0, I) prod_m N(z; loc_m, v_m), m in A.

    A are the modalities that are present. The experts stand for likelihood factors: at those of an exact
    linear-Gaussian model q is the exact posterior of every subset. Its KL to N(0, I) is in closed form. The
    bound of all modalities alone says nothing of an expert by itself: `objectives.sub_sampled` asks each.

    Args:
      latents: d.
      experts: M, the number of modalities.

    Returns:
      A Posterior without parameters of its own; the encoder gives (loc [M, d], logvar [M, d], present [M]),
      where present above 0 means yes.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1.

    Source: Wu & Goodman 2018, arXiv 1802.05335.
    """
    d, M = _sizes(latents, experts)
    options = {"latents": d, "experts": M}
    return Posterior("poe", (d,), _shapes(d, M), _poe, draw=draw_and_score, options=options)


def moe(latents: int, experts: int, *, prior_expert: bool = False) -> Posterior:
    """Mixture of experts (MMVAE): q(z|x_A) = (1/|A|) sum_{m in A} N(z; loc_m, v_m), A those present.

    `objectives.stratified` takes samples of every expert and scores all modalities at each, the paper's cross
    terms; `kl` and `reconstruction` take one sample of the mixture. The KL is by Monte Carlo. Of one modality
    it is the plain VAE.

    Args:
      latents: d.
      experts: M, the number of modalities.
      prior_expert: whether each component is multiplied by N(0, I), as the experts of `poe` and `mopoe` are:
        an expert is then a likelihood factor, else, as in the paper, the posterior of its modality.

    Returns:
      A Posterior as `poe`; its code is the mean, which may lie between components.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1, or a prior_expert that is no bool.

    Source: Shi, Siddharth, Paige & Torr 2019, arXiv 1911.03393.
    """
    d, M = _sizes(latents, experts)
    prior_expert = plain(prior_expert)
    if not isinstance(prior_expert, bool):
        raise TypeError(f"prior_expert: expected a bool, got {prior_expert!r}")
    options = {"latents": d, "experts": M, "prior_expert": prior_expert}
    return Posterior("moe", (d,), _shapes(d, M), Fixed(_moe, prior_expert), options=options)


def mopoe(latents: int, experts: int, *, subsets: Sequence[Sequence[int]] | None = None) -> Posterior:
    """Mixture of products of experts (MoPoE): the mean over subsets S of those present of `poe`'s q(z|x_S).

    With the single modalities for subsets it is `moe(prior_expert=True)`, with the full set alone `poe`.

    Deviations: the prior expert is in every product, not in that of the full set alone; and what
    `objectives.stratified` minimises is the bound of the whole mixture, which is tighter than the authors'
    sum of the KLs of the components.

    Args:
      latents: d.
      experts: M, the number of modalities.
      subsets: tuples of places 0..M-1 of modalities, which are in the order of their names; None: all 2^M - 1
        that are not empty. Of an example of which not all modalities are there the subsets are those that are
        there whole; if none is, q is N(0, I).

    Returns:
      A Posterior as `moe`.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1, or subsets that are not different, not
        empty, and of places 0..M-1.

    Source: Sutter, Daunhawer & Vogt 2021, arXiv 2105.02470.
    """
    d, M = _sizes(latents, experts)
    chosen = None if subsets is None else _checked(subsets, M)
    rows = chosen or tuple(chain.from_iterable(combinations(range(M), n) for n in range(1, M + 1)))
    options = {"latents": d, "experts": M, "subsets": chosen}
    return Posterior("mopoe", (d,), _shapes(d, M), Fixed(_mopoe, rows), options=options)


def _sizes(latents: Any, experts: Any) -> tuple[int, int]:
    check_positive_int(latents, "latents")
    check_positive_int(experts, "experts")
    return plain(latents), plain(experts)


def _shapes(d: int, M: int) -> tuple[tuple[int, ...], ...]:
    return (M, d), (M, d), (M,)


def _checked(subsets: Any, M: int) -> tuple[tuple[int, ...], ...]:
    """The subsets as sorted tuples of ints."""
    try:
        rows = tuple(tuple(sorted(plain(m) for m in subset)) for subset in subsets)
    except TypeError as error:
        raise TypeError(f"subsets: expected tuples of places of modalities, got {subsets!r}") from error
    places = set(range(M))
    fine = all(row and len(set(row)) == len(row) and set(row) <= places for row in rows)
    if (
        not rows
        or not fine
        or len(set(rows)) < len(rows)
        or any(isinstance(m, bool) for r in rows for m in r)
    ):
        raise ValueError(
            f"subsets: expected different ones, not empty, of places 0..{M - 1}; got {subsets!r}"
        )
    return rows


def _poe(own: PyTree, state: PyTree, parameters: Experts) -> Distribution:
    del own, state
    loc, logvar, present = parameters
    loc, logvar = product(loc, logvar, present > 0)
    return diagonal_gaussian(loc, jnp.exp(logvar / 2))


def _moe(prior_expert: bool, own: PyTree, state: PyTree, parameters: Experts) -> Distribution:
    del own, state
    loc, logvar, present = parameters
    there = present > 0
    if prior_expert:
        loc, logvar = product(loc[..., None, :], logvar[..., None, :], there[..., None])
    else:  # in the place of an absent one N(0, I), which is left out unless all are
        loc, logvar = (jnp.where(there[..., None], a, 0.0) for a in (loc, logvar))
    return GaussianMixture(_equal(there, loc.dtype), loc, jnp.exp(logvar / 2))


def _mopoe(
    rows: tuple[tuple[int, ...], ...], own: PyTree, state: PyTree, parameters: Experts
) -> Distribution:
    del own, state
    loc, logvar, present = parameters
    member = np.array([[m in row for m in range(loc.shape[-2])] for row in rows])  # [S, M]
    there = (present > 0)[..., None, :]
    loc, logvar = product(loc[..., None, :, :], logvar[..., None, :, :], there & member)
    return GaussianMixture(_equal(jnp.all(there | ~member, axis=-1), loc.dtype), loc, jnp.exp(logvar / 2))


def _equal(there: Array, dtype: Any) -> Array:
    """Logits of components of equal weight, [..., R], those that are not there left out unless all are."""
    return jnp.where(there | ~jnp.any(there, axis=-1, keepdims=True), 0.0, -jnp.inf).astype(dtype)
