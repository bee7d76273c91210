"""Bounds of a mixture posterior that take samples of every component, as costs.

One sample of a mixture shows one component. Taking some of each and summing over the weights leaves less
noise, costs R decoder calls a sample, and lets the components part: what each finds is weighed against all.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vaejax.distributions import GaussianMixture
from vaejax.keys import example_keys
from vaejax.objectives.compose import Term
from vaejax.objectives.importance import check_samples, log_likelihoods
from vaejax.ops import bounds
from vaejax.types import VAE, Array, Draw

__all__ = ["siwae", "stratified"]


def stratified(T: int = 1, *, chunk: int | None = None) -> Term:
    """The negative ELBO of a mixture posterior, with T samples of its own of every component.

    -(1/T) sum_t sum_r pi_r [log p(x|z_tr) + log p(z_tr) - log q(z_tr|x)], q the whole mixture. It stands for
    `reconstruction` and `kl` together; its mean is theirs, its variance smaller.

    Args:
      T: samples of each of the R components, >= 1; the decoder is called T R times.
      chunk: of those, the ones decoded together, as for `iwae`.

    Returns:
      A term, [B] nats.

    Raises:
      TypeError, ValueError: if T or chunk is not an int of at least 1. When called: TypeError for another
        posterior than one mixture of Gaussians.

    Source: Morningstar et al. 2021, arXiv 2003.01687, section 3.
    """
    check_samples(chunk, T=T)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        return -bounds.stratified_elbo(*_strata(key, vae, draw, T, chunk, "stratified"))

    return term


def siwae(T: int = 1, *, chunk: int | None = None) -> Term:
    """The negative stratified importance-weighted bound, with T samples of its own of every component.

    -log (1/T) sum_t sum_r pi_r p(x, z_tr) / q(z_tr|x), q the whole mixture. Tighter than `iwae(T R)` where
    the components differ, for as many decoder calls. With one component it is `iwae(T)`.

    Args:
      T: samples of each of the R components, >= 1.
      chunk: as for `stratified`.

    Returns:
      A term, [B] nats.

    Raises:
      As `stratified`; when called, TypeError for a likelihood that is itself a bound.

    Source: Morningstar et al. 2021, arXiv 2003.01687, section 3.
    """
    check_samples(chunk, T=T)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        if getattr(draw.px, "is_bound", False):
            raise TypeError(f"siwae: expected an exact log p(x|z), got a bound ({draw.px.name})")
        return -bounds.siwae(*_strata(key, vae, draw, T, chunk, "siwae"))

    return term


def _strata(
    key: Array, vae: VAE, draw: Draw, T: int, chunk: int | None, name: str
) -> tuple[Array, Array]:  # fmt: skip
    """log w of T samples of every component, [T, R, B], and the log-weights of the components, [R, B]."""
    q = draw.q
    if not isinstance(q, GaussianMixture):
        got = type(q).__name__
        raise TypeError(f"{name}: expected a mixture of Gaussians for q(z|x), one GaussianMixture; got {got}")
    B, R = q.log_weights.shape
    shape = (T, R, *q.event_shape)
    noise = jax.vmap(lambda k: jax.random.normal(k, shape, draw.z.dtype))(example_keys(key, draw.batch))
    z = q.stratified(jnp.moveaxis(noise, 0, 1))  # [T, B, R, *event]
    z = jnp.moveaxis(z, 2, 1).reshape(T * R, B, *q.event_shape)
    log_px = log_likelihoods(key, vae, draw.batch, z, chunk=chunk)
    log_w = log_px + draw.p.log_prob(z) - q.log_prob(z)
    return log_w.reshape(T, R, B), q.log_weights.T
