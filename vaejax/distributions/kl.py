"""KL divergences between distributions: a table of closed forms, Monte Carlo for the rest.

distrax's own dispatch is not used: it has no entry for many pairs and is wrong without a warning for
flows (it calls two bijectors equal when the text of their jaxprs is equal).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import distrax
import jax.numpy as jnp

from vaejax.distributions.codes import CodePoint, Codes
from vaejax.distributions.discrete import OneHot
from vaejax.distributions.gaussian import FullGaussian
from vaejax.ops import kl as ops_kl
from vaejax.types import Array, Distribution

__all__ = [
    "has_closed_form",
    "has_kl_per_dimension",
    "is_diagonal_gaussian",
    "is_one_hot",
    "kl_divergence",
    "kl_of_levels",
    "kl_or_sampled",
    "kl_per_dimension",
    "kl_per_dimension_or_sampled",
]


def _gaussian(dist: Distribution) -> tuple[Any, Any] | None:
    """(loc, scale) of a diagonal Gaussian with events of any shape, else None."""
    if type(dist) is distrax.Independent:
        base = dist.distribution
        return (base.loc, base.scale) if type(base) is distrax.Normal else None
    if type(dist) is distrax.MultivariateNormalDiag:
        return dist.loc, jnp.broadcast_to(dist.scale_diag, dist.loc.shape)
    return None


def _logits(dist: Distribution) -> Any:
    """Logits [..., V] of a categorical, or [..., d, V] of d independent ones, else None."""
    base = _base(dist)
    return base.logits if type(base) in (distrax.Categorical, distrax.OneHotCategorical, OneHot) else None


def _base(dist: Distribution) -> Distribution:
    return dist.distribution if type(dist) is distrax.Independent else dist


def _full(dist: Distribution) -> tuple[Any, Any] | None:
    """(loc, tril) of a Gaussian with events [d], full or diagonal, else None."""
    if isinstance(dist, FullGaussian):
        return dist.loc, dist.tril
    if not is_diagonal_gaussian(dist):
        return None
    loc, scale = _gaussian(dist)  # type: ignore[misc]
    return loc, scale[..., None] * jnp.eye(scale.shape[-1], dtype=scale.dtype)


def has_closed_form(q: Distribution, p: Distribution) -> bool:
    """Whether KL(q||p) stands in the table: both Gaussians, both categoricals of one coding, or q a code."""
    return has_kl_per_dimension(q, p) or _of_code(q, p) or (_full(q) is not None and _full(p) is not None)


def _of_code(q: Distribution, p: Distribution) -> bool:
    """Whether q has all its mass on one code, and p is of codes."""
    return isinstance(q, CodePoint) and isinstance(p, Codes)


def has_kl_per_dimension(q: Distribution, p: Distribution) -> bool:
    """Whether KL(q||p) is a sum over latents in closed form: two diagonal Gaussians, or two categoricals."""
    if _gaussian(q) is not None:
        return _gaussian(p) is not None
    return _logits(q) is not None and type(_base(q)) is type(_base(p))


def is_diagonal_gaussian(dist: Any, *, of_any_shape: bool = False) -> bool:
    """Whether this is one diagonal Gaussian with events [d], or of any shape; a tuple of levels is not."""
    return _gaussian(dist) is not None and (of_any_shape or len(dist.event_shape) == 1)


def is_one_hot(dist: Any) -> bool:
    """Whether its draws are one-hot vectors: of categories [M, V], or one [V]."""
    return type(_base(dist)) in (distrax.OneHotCategorical, OneHot)


def kl_per_dimension(q: Distribution, p: Distribution) -> Array:
    """KL(q_j||p_j) for every latent dimension j, in closed form.

    Args:
      q: a diagonal Gaussian with events [d], or of another shape; or a product of d categoricals.
      p: one of the same kind.

    Returns:
      [..., d] nats (no last axis for a single categorical); [..., *event] for Gaussians of another event.

    Raises:
      TypeError: if the pair has no closed form in the table.
      ValueError: if their events differ in shape or in the number of categories.
    """
    if not has_kl_per_dimension(q, p):
        raise TypeError(
            f"KL({q.name} || {p.name}): no closed form that is a sum over latents; expected two diagonal "
            "Gaussians or two categoricals (use kl_sampled, the Monte-Carlo form)"
        )
    of_q, of_p = (_gaussian(dist) or (_logits(dist),) for dist in (q, p))
    sizes = [(dist.event_shape, of[0].shape[-1]) for dist, of in ((q, of_q), (p, of_p))]
    if sizes[0] != sizes[1]:
        raise ValueError(f"KL({q.name} || {p.name}): expected equal (event shape, last axis), got {sizes}")
    kl = ops_kl.categorical if _gaussian(q) is None else ops_kl.diagonal_gaussian
    return kl(*jnp.broadcast_arrays(*of_q, *of_p))  # one prior for a batch of posteriors


def kl_per_dimension_or_sampled(q: Distribution, p: Distribution, z: Array) -> Array | None:
    """KL(q_j||p_j) of every latent j in closed form, else log q_j(z_j) - log p_j(z_j) of two Gaussians.

    Args:
      q: the posterior.
      p: the prior.
      z: [B, *event], drawn from q.

    Returns:
      [B, *event] nats, [B, d] of categoricals [d, V]; None where q or p is no product over latents.
    """
    if has_kl_per_dimension(q, p):
        return kl_per_dimension(q, p)
    factors: list[Any] = [d.distribution for d in (q, p) if isinstance(d, distrax.Independent)]
    if len(factors) < 2 or any(type(factor) is not distrax.Normal for factor in factors):
        return None
    return factors[0].log_prob(z) - factors[1].log_prob(z)


def kl_divergence(q: Distribution, p: Distribution) -> Array:
    """KL(q||p) in closed form, summed over latent dimensions.

    Args and Raises: as `kl_per_dimension`; Gaussians may also have full covariances, and q may be a code.

    Returns:
      [...] nats, the batch shape of q and p (one prior may serve a batch of posteriors).
    """
    if _of_code(q, p):
        return -p.log_prob(q.point)
    if not has_kl_per_dimension(q, p) and has_closed_form(q, p):
        return _full_divergence(q, p)
    per_dimension = kl_per_dimension(q, p)
    batch_ndims = max(len(q.batch_shape), len(p.batch_shape))
    return jnp.sum(per_dimension, axis=tuple(range(batch_ndims, per_dimension.ndim)))


def _full_divergence(q: Distribution, p: Distribution) -> Array:
    """Of Gaussians of which one at least has a full covariance."""
    if q.event_shape != p.event_shape:
        raise ValueError(
            f"KL({q.name} || {p.name}): expected equal events, got {[q.event_shape, p.event_shape]}"
        )
    of_q: Any = _full(q)
    of_p: Any = _full(p)
    loc_q, loc_p = jnp.broadcast_arrays(of_q[0], of_p[0])
    tril_q, tril_p = jnp.broadcast_arrays(of_q[1], of_p[1])
    if is_diagonal_gaussian(p):  # no triangular system to solve
        scale = jnp.diagonal(tril_p, axis1=-2, axis2=-1)
        return ops_kl.full_to_diagonal_gaussian(loc_q, tril_q, loc_p, scale)
    return ops_kl.full_gaussian(loc_q, tril_q, loc_p, tril_p)


def kl_or_sampled(q: Distribution, p: Distribution, log_q: Array, log_p: Array) -> Array:
    """KL(q||p) from the table where it has the pair, else the one-sample estimate log q(z) - log p(z).

    Args:
      q: the posterior.
      p: the prior.
      log_q: [B] nats, at the drawn z.
      log_p: [B] nats, at the same z.

    Returns:
      [B] nats; the estimate is unbiased and may be negative for one draw.
    """
    return kl_divergence(q, p) if has_closed_form(q, p) else log_q - log_p


def kl_of_levels(levels: Iterable[tuple[Distribution, Distribution, Array, Array]]) -> Array:
    """`kl_or_sampled` of every level or part of latents.

    Neighbours that are diagonal Gaussians of one shape, as the equal levels of a hierarchy, are stacked and
    have one KL between them: a program grows by the kinds of levels, not by their number.

    Args:
      levels: (q, p, log q, log p) of each.

    Returns:
      [L, B] nats.
    """
    rates = []
    for shape, alike in groupby(levels, lambda level: _gaussians_of(*level[:2])):
        run = list(alike)
        if shape is None or len(run) == 1:
            rates += [kl_or_sampled(*level)[None] for level in run]
            continue
        pairs = [(*_gaussian(q), *_gaussian(p)) for q, p, *_ in run]  # type: ignore[misc]
        per_dimension = ops_kl.diagonal_gaussian(*(jnp.stack(each) for each in zip(*pairs, strict=True)))
        event_ndims = len(run[0][0].event_shape)
        rates.append(jnp.sum(per_dimension, axis=tuple(range(-event_ndims, 0))))
    return jnp.concatenate(rates)


def _gaussians_of(q: Distribution, p: Distribution) -> tuple | None:
    """(event, shape) of both where q and p are diagonal Gaussians of the same, else None."""
    of_q, of_p = (_gaussian(dist) for dist in (q, p))
    if of_q is None or of_p is None or of_q[0].shape != of_p[0].shape or q.event_shape != p.event_shape:
        return None
    return q.event_shape, of_q[0].shape
