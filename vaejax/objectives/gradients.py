"""Estimators of a bound's gradient other than its derivative; the value is always the bound.

Where z = z(phi, eps) is reparameterised, d/dphi log q_phi(z) has two parts: the path derivative, through
z, and the direct one, at a fixed z, whose mean is 0. The same split takes theta and phi apart in log p(x, z).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaejax.objectives.compose import Term
from vaejax.objectives.importance import check_samples, log_likelihoods, of_samples
from vaejax.ops.bounds import importance_bound
from vaejax.types import VAE, Array, Draw

__all__ = ["dreg", "kl_stl", "piwae"]


def kl_stl(key: Array, vae: VAE, draw: Draw) -> Array:
    """log q(z|x) - log p(z) at the drawn z, sticking the landing: [B] nats.

    The value is that of `kl_sampled`. In the gradient q is evaluated with its parameters stopped,
    log q_sg(phi)(z(phi, eps)|x) - log p(z), which drops a part of mean zero: with `reconstruction` the
    gradient in phi is unbiased for the ELBO and exactly 0 where q is the posterior. (Under K > 1 importance
    samples it would be biased; see `dreg`.)

    log q is evaluated again at z: a flow posterior needs its inverse.

    Raises:
      TypeError: for latents that are not one floating point array, as in a hierarchy: the parameters of q
        depend there on the parents as well as on phi; for a q that is not reparameterised, as of discrete
        latents.

    Source: Roeder, Wu & Duvenaud 2017, arXiv 1703.09194.
    """
    del key, vae
    z = _one_path(draw, "kl_stl")
    return jax.lax.stop_gradient(draw.log_q) + direct_and_path(draw.q.log_prob, z)[1] - draw.log_p


def dreg(K: int, *, chunk: int | None = None) -> Term:
    """The negative importance-weighted bound -L_K, with the doubly reparameterised gradient in phi.

    theta:  sum_k wt_k d log p(x, z_k)/dtheta, as for `iwae`;
    phi:    sum_k wt_k^2 (d log w_k/dz_k) (dz_k/dphi),  wt_k = w_k / sum_j w_j held constant.

    Both are unbiased for the gradient of E L_K; that of phi keeps its signal-to-noise ratio as K rises and is
    0 where q is the posterior. K = 1 is the ELBO with `kl_stl`. What reaches the parameters of p(z) directly
    counts as theta, so that a learned prior of one level is covered.

    Args:
      K: number of samples, >= 1.
      chunk: as for `iwae`.

    Returns:
      A term, [B] nats; the value is that of `iwae(K)`. A step has a third more decoder passes than that of
      `iwae`: the derivatives in z and in theta, weighted differently, are taken apart.

    Raises:
      As `iwae`. When called: TypeError for latents that are not one floating point array: hierarchies need
      the generalised estimator (Bauer & Mnih 2021, arXiv 2101.11046); and for a q that is not
      reparameterised: on codes, whose z is taken for the encoder's output, phi's gradient would be K times
      too small.

    Source: Tucker et al. 2018, arXiv 1810.04152.
    """
    check_samples(chunk, K=K)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        samples = _split_samples(key, vae, draw, K, chunk=chunk, name="dreg")
        log_w = samples.log_joint - jax.lax.stop_gradient(samples.log_q)  # theta's gradient only
        wt = jax.lax.stop_gradient(jax.nn.softmax(log_w, axis=0))
        phi = jnp.sum(jnp.square(wt) * (samples.joint_path - samples.q_path), axis=0)
        return -(importance_bound(log_w) + phi)

    return term


def piwae(M: int, K: int, *, chunk: int | None = None) -> Term:
    """The negative importance-weighted bound of all M K samples; the encoder's gradient is that of `miwae`.

    value, theta:  -L_MK = -log (1/MK) sum_mk w_mk;
    phi:           the gradient of -(1/M) sum_m log (1/K) sum_k w_mk, of the same samples.

    The tight bound where its gradient gains from it, the looser one where it does not. theta is the decoder
    and what reaches the parameters of p(z) directly, phi everything that z and log q come from.

    Args:
      M: number of groups, >= 1; M = 1 is `iwae(K)`.
      K: samples in each, >= 1; K = 1 gives phi the gradient of the ELBO.
      chunk: of the M K samples, as for `iwae`.

    Returns:
      A term, [B] nats. A step has a third more decoder passes than that of `iwae`, as with `dreg`.

    Raises:
      As `iwae`. When called: TypeError for latents that are not one floating point array, as in a hierarchy,
      where z and theta do not come apart; and for a q that is not reparameterised.

    Source: Rainforth et al. 2018, arXiv 1802.04537.
    """
    check_samples(chunk, M=M, K=K)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        samples = _split_samples(key, vae, draw, M * K, chunk=chunk, name="piwae")
        held_joint, held_q = jax.lax.stop_gradient((samples.log_joint, samples.log_q))
        log_w = (held_joint + samples.joint_path - samples.log_q).reshape(M, K, -1)
        miwae = jnp.mean(importance_bound(log_w, axis=1), axis=0)  # phi's gradient only
        zero = miwae - jax.lax.stop_gradient(miwae)
        return -(importance_bound(samples.log_joint - held_q) + zero)

    return term


def direct_and_path(log_density: Callable[[Array], Array], z: Array) -> tuple[Array, Array]:
    """Split log_density(z), [..., B], by where its gradient goes.

    Args:
      log_density: z -> log-densities, each of its own example's z alone. It may hold parameters as leaves or
        in closures (`jax.lax.stop_gradient` of a distribution misses the latter in silence).
      z: [..., B, *event].

    Returns:
      (direct, path), each [..., B]: the value, with its gradient in what log_density holds and none in z;
      and 0, with its gradient in z and none in what log_density holds. First derivatives only.
    """
    fixed = jax.lax.stop_gradient(z)
    direct, pull = jax.vjp(log_density, fixed)
    (slope,) = jax.lax.stop_gradient(pull(jnp.ones_like(direct)))
    event = tuple(range(direct.ndim, z.ndim))
    return direct, jnp.sum(slope * (z - fixed), axis=event)


class _Samples(NamedTuple):
    """Log-densities of K samples, [K, B], split as by `direct_and_path`; log_q keeps its whole gradient."""

    log_joint: Array  # log p(x, z_k), direct
    joint_path: Array
    log_q: Array
    q_path: Array


def _split_samples(key: Array, vae: VAE, draw: Draw, K: int, *, chunk: int | None, name: str) -> _Samples:
    _one_path(draw, name)

    def of(own: Draw) -> tuple[Array, ...]:
        log_p, p_path = direct_and_path(own.p.log_prob, own.z)
        return own.z, log_p, p_path, own.log_q, direct_and_path(own.q.log_prob, own.z)[1]

    z, log_p, p_path, log_q, q_path = of_samples(of, key, vae, draw, K, name=name)
    log_px, px_path = direct_and_path(lambda z: log_likelihoods(key, vae, draw.batch, z, chunk=chunk), z)
    return _Samples(log_px + log_p, px_path + p_path, log_q, q_path)


def _one_path(draw: Draw, name: str) -> Array:
    """z of a draw whose latents are one floating point array, reparameterised."""
    if not (isinstance(draw.z, jax.Array) and jnp.issubdtype(draw.z.dtype, jnp.floating)):
        got = jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", draw.z)
        why = ""
        if isinstance(draw.z, tuple):  # a level's q has a part of its gradient through the levels above
            why = " (of several the generalised estimator, GDReG, would be right, which is not here)"
        raise TypeError(f"{name}: expected latents of one level, one floating point array z{why}; got {got}")
    if not getattr(draw.q, "reparameterised", True):
        raise TypeError(f"{name}: expected a reparameterised q, z = z(phi, eps); got {draw.q.name}, discrete")
    return draw.z
