"""Reconstructions under one-hot latents without a relaxation: all their values, or the score function.

Both stand for `reconstruction`, beside `kl`, which is exact for one-hot latents. Where only some parts of the
latents are one-hot, the others are those of the draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.distributions import OneHot
from vaejax.keys import example_keys, threefry_key
from vaejax.objectives.compose import Term
from vaejax.objectives.importance import check_samples, log_likelihoods
from vaejax.types import VAE, Array, Draw, PyTree

__all__ = ["enumerated", "leave_one_out"]

MOST = 1024  # values of the latents that `enumerated` decodes


def enumerated(key: Array, vae: VAE, draw: Draw) -> Array:
    """-E_q[log p(x|z)] over all values of the one-hot latents, [B] nats: value and gradient are exact.

    sum_v q(v|x) (-log p(x|v)). The decoder is called once for every value, so for V values of M variables
    V^M times.

    Raises:
      TypeError: if no part of the latents is one-hot. Parts are independent: the levels of a hierarchy are
        not, and are not told apart from parts.
      ValueError: for more than 1024 values.
    """
    latents = _latents(draw, "enumerated")
    sizes = [size for q in latents.one_hot for size in [q.event_shape[1]] * q.event_shape[0]]
    if math.prod(sizes) > MOST:
        raise ValueError(
            f"enumerated: expected at most {MOST} values of the one-hot latents, got {math.prod(sizes)}; "
            "use leave_one_out"
        )
    values = [
        jnp.asarray(v, draw.log_px.dtype) for v in _all_values([q.event_shape for q in latents.one_hot])
    ]
    log_q = sum(q.log_prob(v[:, None]) for q, v in zip(latents.one_hot, values, strict=True))  # [N, B]
    batch = draw.log_px.shape
    z = latents.with_one_hot([jnp.broadcast_to(v[:, None], (len(v), *batch, *v.shape[1:])) for v in values])
    return -jnp.sum(jnp.exp(log_q) * log_likelihoods(key, vae, draw.batch, z, chunk=None), axis=0)


def leave_one_out(K: int, *, chunk: int | None = None) -> Term:
    """-E_q[log p(x|z)] of K exact samples of the one-hot latents, by the score function.

    value:     (1/K) sum_k f_k,  f_k = -log p(x|z_k);
    gradient:  (1/K) sum_k [grad f_k + (f_k - mean_{l != k} f_l) grad log q(z_k|x)].

    The mean of the others is a baseline that costs nothing and depends on no z_k: the gradient is unbiased,
    where that of a relaxed sample is not.

    Args:
      K: number of samples, >= 2.
      chunk: samples decoded together, as for `iwae`.

    Returns:
      A term, [B] nats.

    Raises:
      TypeError, ValueError: if K is not an int of at least 2 or chunk not one of at least 1. When called:
        TypeError if no part of the latents is one-hot.

    Source: Kool, van Hoof & Welling 2019, "Buy 4 REINFORCE samples, get a baseline for free!"; Mnih & Rezende
    2016, arXiv 1602.06725.
    """
    check_samples(chunk, K=K)
    if K < 2:
        raise ValueError(f"K: expected at least 2, of which one is compared with the others; got {K}")

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        latents = _latents(draw, "leave_one_out")
        keys = jax.random.split(threefry_key(key), K)
        values = jax.vmap(lambda k: latents.sample(k, draw.batch))(keys)  # [K, B, M, V] each
        log_q = sum(q.log_prob(v) for q, v in zip(latents.one_hot, values, strict=True))
        f = -log_likelihoods(key, vae, draw.batch, latents.with_one_hot(values), chunk=chunk)
        others = (jnp.sum(f, axis=0) - f) / (K - 1)
        zero = log_q - jax.lax.stop_gradient(log_q)
        return jnp.mean(f + jax.lax.stop_gradient(f - others) * zero, axis=0)

    return term


class _Latents(NamedTuple):
    """The parts of a draw's latents, and which of them are one-hot."""

    z: tuple[PyTree, ...]
    one_hot: tuple[OneHot, ...]
    places: tuple[int, ...]  # of those among the parts
    is_one: bool  # whether the latents are one part, and no tuple

    def with_one_hot(self, values: Sequence[Array]) -> PyTree:
        """Latents with these values [N, B, M, V] of the one-hot parts, the others N times the draw's."""
        N = len(values[0])
        parts: list[Any] = [
            jax.tree.map(lambda a: jnp.broadcast_to(a, (N, *a.shape)), part) for part in self.z
        ]
        for place, value in zip(self.places, values, strict=True):
            parts[place] = value
        return parts[0] if self.is_one else tuple(parts)

    def sample(self, key: Array, batch: Any) -> list[Array]:
        """An exact sample of every one-hot part, each example with noise of its own."""
        keys = example_keys(key, batch)

        def of(k: Array, logits: Array) -> Array:
            return OneHot(logits).sample(seed=k)

        return [
            jax.vmap(lambda k, a, place=place: of(jax.random.fold_in(k, place), a))(keys, q.logits)
            for place, q in zip(self.places, self.one_hot, strict=True)
        ]


def _latents(draw: Draw, name: str) -> _Latents:
    is_one = not isinstance(draw.q, tuple)
    z, q = ((draw.z,), (draw.q,)) if is_one else (draw.z, draw.q)
    places = tuple(i for i, part in enumerate(q) if isinstance(part, OneHot))
    if not places:
        got = ", ".join(type(part).__name__ for part in q)
        raise TypeError(f"{name}: expected one-hot latents, q(z|x) or a part of it a OneHot; got {got}")
    return _Latents(tuple(z), tuple(q[i] for i in places), places, is_one)


def _all_values(events: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Every value of several parts of events (M, V) together: [N, M, V] for each part."""
    sizes = [V for M, V in events for _ in range(M)]
    indices = np.indices(sizes).reshape(len(sizes), -1).T  # [N, variables]
    values, start = [], 0
    for M, V in events:
        values.append(np.eye(V)[indices[:, start : start + M]])
        start += M
    return values
