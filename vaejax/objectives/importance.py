"""Bounds from K importance samples, as costs.

log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x),  z_k ~ q(.|x) independent.

The samples are private to the term that takes them. The encoder's network runs once for all K of them;
the decoder runs on all at once up to `AT_ONCE` samples and in chunks beyond, or as `chunk` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int, check_real, plain
from vaejax.distributions import score
from vaejax.keys import named_key, threefry_key
from vaejax.objectives.compose import Term
from vaejax.objectives.draw import over_levels
from vaejax.ops.bounds import check_alpha, importance_bound, renyi_bound
from vaejax.types import VAE, Array, Batch, Draw, PyTree

__all__ = ["ciwae", "iwae", "miwae", "renyi"]

AT_ONCE = 64  # samples decoded together where nobody says how many


def iwae(K: int, *, chunk: int | None = None) -> Term:
    """The negative importance-weighted bound, with K samples of its own per example.

    -L_K = -log (1/K) sum_k w_k. The value is the bound itself, and so is the gradient (by the
    reparameterised samples); its signal-to-noise ratio in the encoder falls like 1/sqrt(K).

    Args:
      K: number of samples, >= 1; K = 1 is the sampled negative ELBO.
      chunk: samples decoded together, >= 1. Fewer than K hold only that many decoder passes in memory and
        run each once more for the gradient; value and gradient stay. None: all up to 64, even parts beyond.

    Returns:
      A term, [B] nats.

    Raises:
      TypeError, ValueError: if K or chunk is not an int of at least 1. When called: TypeError for a
        likelihood that is itself a bound.

    Source: Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519, eq. 8.
    """
    check_samples(chunk, K=K)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        return -importance_bound(log_weights(key, vae, draw, K, chunk=chunk, name="iwae"))

    return term


def miwae(M: int, K: int, *, chunk: int | None = None) -> Term:
    """The negative mean of M importance-weighted bounds of K samples each.

    -(1/M) sum_m L_K,m,  L_K,m = log (1/K) sum_k w_mk. The same bound on average as L_K; the encoder's
    gradient has a signal-to-noise ratio like sqrt(M/K).

    Args:
      M: number of bounds, >= 1; M = 1 is `iwae(K)`.
      K: samples in each, >= 1; K = 1 is the negative ELBO of M samples.
      chunk: of the M K samples, as for `iwae`.

    Returns:
      A term, [B] nats.

    Raises:
      As `iwae`.

    Source: Rainforth et al. 2018, arXiv 1802.04537.
    """
    check_samples(chunk, M=M, K=K)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        log_w = log_weights(key, vae, draw, M * K, chunk=chunk, name="miwae").reshape(M, K, -1)
        return -jnp.mean(importance_bound(log_w, axis=1), axis=0)

    return term


def ciwae(K: int, beta: float, *, chunk: int | None = None) -> Term:
    """A mixture of the negative ELBO and the negative importance-weighted bound, of the same K samples.

    -[beta (1/K) sum_k log w_k + (1 - beta) L_K], beta in [0, 1].

    Args:
      K: number of samples, >= 1.
      beta: the share of the ELBO: 0 is `iwae(K)`, 1 the negative ELBO of K samples.
      chunk: as for `iwae`.

    Returns:
      A term, [B] nats.

    Raises:
      As `iwae`; TypeError, ValueError: if beta is not a number in [0, 1].

    Source: Rainforth et al. 2018, arXiv 1802.04537.
    """
    check_samples(chunk, K=K)
    check_real(beta, "beta")
    beta = plain(beta)
    if not 0 <= beta <= 1:
        raise ValueError(f"beta: expected a number in [0, 1], got {beta!r}")

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        log_w = log_weights(key, vae, draw, K, chunk=chunk, name="ciwae")
        return -(beta * jnp.mean(log_w, axis=0) + (1 - beta) * importance_bound(log_w))

    return term


def renyi(K: int, alpha: float, *, chunk: int | None = None) -> Term:
    """The negative variational Renyi bound of K samples.

    -L_alpha = -1/(1 - alpha) log (1/K) sum_k w_k^(1 - alpha). alpha = 0 is `iwae(K)`, alpha = 1 the
    negative ELBO of K samples (the limit), alpha = -inf takes the largest weight (VR-max). For alpha < 0
    the negative is no upper bound on -log p(x). The gradient is that of the value.

    Args:
      K: number of samples, >= 1.
      alpha: the order, finite or -inf.
      chunk: as for `iwae`.

    Returns:
      A term, [B] nats.

    Raises:
      As `iwae`; TypeError, ValueError: if alpha is not a number, or is nan or +inf.

    Source: Li & Turner 2016, arXiv 1602.02311.
    """
    check_samples(chunk, K=K)
    check_alpha(alpha)
    alpha = plain(alpha)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        return -renyi_bound(log_weights(key, vae, draw, K, chunk=chunk, name="renyi"), alpha)

    return term


def check_samples(chunk: int | None, **numbers_of_samples: int) -> None:
    """Raise unless every number of samples, and chunk if there is one, is an int of at least 1."""
    for name, value in numbers_of_samples.items():
        check_positive_int(value, name)
    if chunk is not None:
        check_positive_int(chunk, "chunk")


def log_weights(key: Array, vae: VAE, draw: Draw, K: int, *, chunk: int | None, name: str) -> Array:
    """log w of K samples for the batch of a draw: [K, B] nats. `name`: the term that asks, for its errors."""

    def of(own: Draw) -> tuple[PyTree, Array]:
        return own.z, over_levels(own.log_p) - over_levels(own.log_q)

    z, log_ratio = of_samples(of, key, vae, draw, K, name=name)
    return log_likelihoods(key, vae, draw.batch, z, chunk=chunk) + log_ratio


def of_samples(of: Callable[[Draw], Any], key: Array, vae: VAE, draw: Draw, K: int, *, name: str) -> Any:
    """`of(own)`, arrays [B, ...], for K draws of their own for the batch of `draw`: [K, B, ...] each.

    Only keys are mapped, so that what does not see the noise, the encoder's network, runs once.

    Raises:
      TypeError: if p(x|z) is itself a bound: the weights must be exact.
    """
    if getattr(draw.px, "is_bound", False):
        raise TypeError(f"{name}: expected an exact log p(x|z), got a bound ({draw.px.name})")
    keys = jax.random.split(threefry_key(key), K)
    return jax.vmap(lambda k: of(vae.encode(named_key(k, "encode"), draw.batch)))(keys)


def log_likelihoods(key: Array, vae: VAE, batch: Batch, z: PyTree, *, chunk: int | None) -> Array:
    """log p(x|z_k) of samples z: [K, B, ...], `chunk` of them at a time: [K, B] nats."""

    def several(z: PyTree) -> Array:
        # samples and examples on one axis [B k]: XLA on CPU writes down the transpose of what a kernel's
        # gradient sums over two, 9 % of a step; examples first, as devices share them
        k = len(jax.tree.leaves(z)[0])
        repeated = lambda name: jax.tree.map(lambda a: jnp.repeat(a, k, axis=0), batch.get(name))  # noqa: E731
        z = jax.tree.map(lambda a: a.swapaxes(0, 1).reshape(-1, *a.shape[2:]), z)
        px = vae.decode(z, repeated("c"))
        return score(key, px, repeated("x"), repeated("observed")).reshape(-1, k).T

    K = len(jax.tree.leaves(z)[0])
    chunk = chunk or math.ceil(K / math.ceil(K / AT_ONCE))
    if chunk >= K:
        return several(z)
    # inside a loop nothing merges the second pass with the first: no barrier is needed
    again = jax.checkpoint(several, prevent_cse=False)
    n = K // chunk * chunk
    parts = jax.tree.map(lambda a: a[:n].reshape(-1, chunk, *a.shape[1:]), z)
    log_px = jax.lax.map(again, parts).reshape(n, -1)
    return log_px if n == K else jnp.concatenate([log_px, again(jax.tree.map(lambda a: a[n:], z))])
