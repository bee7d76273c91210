"""Importance weights in a stream: what their sums say, in memory that does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaejax.types import Array, Draw

CURVE = (1, 10, 100, 1000)
MEMORY = 2**25  # bytes of temporaries that `samples_at_once` aims at: they should stay in the cache
BUFFERS = 8  # arrays of the size of x and z that a decoder is taken to hold at once
ALIVE = 3  # arrays of the size of its largest one that it may hold at once
STEP = 100  # rows: what a step of the loop costs beside its rows, about


class Weights(NamedTuple):
    """What K importance weights of b examples say."""

    log_likelihood: Array  # L_K = lse_k log w_k - log K, [b] nats
    ess: Array  # (sum_k w_k)^2 / sum_k w_k^2, in 1..K, [b]
    bias: Array  # -(K / ess - 1) / (2 K), [b] nats
    curve: Array  # L_k for every k of the curve, then L_K, [b, C + 1] nats


def weigh(log_weights: Callable[[Array], Array], K: int, c: int, curve: tuple[int, ...]) -> Weights:
    """Stream over K samples, c at a time.

    L_k is the mean over the K // k disjoint groups of k consecutive samples (a rest is left out), so that
    L_1 is the mean of log w over all samples.

    Args:
      log_weights: places of samples, [c] in 0..K-1 (and beyond, in the last chunk) -> log w, [c, b] nats.
      K: number of samples.
      c: samples at a time; it divides, or is a multiple of, every k of the curve.
      curve: numbers of samples k < K.
    """
    b = jax.eval_shape(log_weights, jax.ShapeDtypeStruct((c,), jnp.int32)).shape[1]
    none, zero = no_weights(b), jnp.zeros(b)

    def add(i: Array, carry: tuple) -> tuple:
        sums, level, groups = carry
        start = i * c
        place = start + jnp.arange(c)
        log_w = log_weights(place)
        log_w = jnp.where((place < K)[:, None], log_w, -jnp.inf)
        level = jnp.where(i == 0, finite(jnp.max(log_w, axis=0)), level)
        groups = [
            _add_groups(group, log_w, level, start, k, K) for group, k in zip(groups, curve, strict=True)
        ]
        return sums.add(log_w), level, groups

    carry = (none, zero, [(none, zero)] * len(curve))
    sums, level, groups = jax.lax.fori_loop(0, math.ceil(K / c), add, carry)
    log_likelihood = sums.log() - math.log(K)
    ess = sums.total**2 / sums.squares
    means = [level + (total / (K // k) - math.log(k)) for (_, total), k in zip(groups, curve, strict=True)]
    return Weights(log_likelihood, ess, -(K / ess - 1) / (2 * K), jnp.stack([*means, log_likelihood], axis=1))


class Sums(NamedTuple):
    """Sums of weights over w_max, the largest so far.

    A running log-sum-exp would not do: once log(1 + 1/k) is below the last digit of log w, more weights
    change nothing.
    """

    top: Array  # log w_max, [b] nats
    total: Array  # sum w / w_max, [b]
    squares: Array  # sum (w / w_max)^2, [b]

    def add(self, log_w: Array) -> Sums:
        """With further weights, [c, b] nats."""
        top = jnp.maximum(self.top, jnp.max(log_w, axis=0))
        shrink = jnp.exp(self.top - finite(top))
        w = jnp.exp(log_w - finite(top))
        total = self.total * shrink + jnp.sum(w, axis=0)
        return Sums(top, total, self.squares * shrink**2 + jnp.sum(w**2, axis=0))

    def log(self) -> Array:
        """log sum w, [b] nats; -inf where every weight is 0."""
        return finite(self.top) + jnp.log(self.total)


def no_weights(b: int) -> Sums:
    """The sums for b examples before there is a weight."""
    return Sums(jnp.full(b, -jnp.inf), jnp.zeros(b), jnp.zeros(b))


def finite(a: Array) -> Array:
    """a, and 0 where it is not finite."""
    return jnp.where(jnp.isfinite(a), a, 0.0)


def _add_groups(
    group: tuple[Sums, Array], log_w: Array, level: Array, start: Array, k: int, K: int
) -> tuple[Sums, Array]:
    """The group of k that is open, and the sum over those that are full of their lse above a level [b]."""
    opened, total = group
    c, b = log_w.shape
    if k <= c:
        of_groups = jax.nn.logsumexp(log_w.reshape(c // k, k, b), axis=1) - level
        full = start + k * jnp.arange(1, c // k + 1) <= K
        return opened, total + jnp.sum(jnp.where(full[:, None], of_groups, 0.0), axis=0)
    opened = opened.add(log_w)
    ends = (start + c) % k == 0
    total = jnp.where(ends & (start + c <= K), total + (opened.log() - level), total)
    return jax.tree.map(lambda new, old: jnp.where(ends, new, old), no_weights(b), opened), total


def samples_at_once(draw: Draw, K: int, curve: tuple[int, ...], chunk: int | None, largest: int = 0) -> int:
    """The number of samples that `weigh` takes at a time: the cheapest that fits, and fits the curve.

    Args:
      draw: a draw for the examples that are taken at a time, in shapes.
      K: as for `weigh`.
      curve: as for `weigh`.
      chunk: at most this many; None for as many as `MEMORY` allows.
      largest: elements of the largest array that the draw makes on its way, as in a deep decoder.
    """
    numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves((draw.batch["x"], draw.z)))
    most = chunk or max(1, MEMORY // (4 * max(BUFFERS * numbers, ALIVE * largest)))
    fits = [c for c in range(1, min(K, most) + 1) if all(c % k == 0 or k % c == 0 for k in curve)]
    return min(fits, key=lambda c: math.ceil(K / c) * (len(jax.tree.leaves(draw.batch["x"])[0]) * c + STEP))
