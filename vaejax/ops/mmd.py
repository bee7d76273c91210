"""Maximum mean discrepancy between two samples, and its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.core import Tracer

from vaejax.checks import check_positive, check_positive_int, plain
from vaejax.types import Array

__all__ = ["imq", "in_blocks", "median_length", "mmd", "rbf"]

Kernel = Callable[[Array, Array], Array]  # (x [n, d], y [m, d]) -> k(x_i, y_j), [n, m]


def mmd(x: Array, y: Array, kernel: Kernel) -> Array:
    """Estimate the squared maximum mean discrepancy by its U-statistic.

    sum_{i != j} k(x_i, x_j) / (n (n-1)) + sum_{i != j} k(y_i, y_j) / (m (m-1)) - 2/(n m) sum_ij k(x_i, y_j)

    Unbiased for E k(x, x') + E k(y, y') - 2 E k(x, y), which is 0 where the distributions agree: one
    estimate may be negative.

    Args:
      x: [n, d], n >= 2.
      y: [m, d], m >= 2.
      kernel: (x [n, d], y [m, d]) -> [n, m], as `rbf` and `imq` make it; the same function of two points
        in all three sums, and so no function of the samples that it is called with.

    Returns:
      Scalar, in units of the kernel.

    Raises:
      ValueError: for fewer than two examples on a side.

    Source: Gretton et al. 2012, JMLR 13, lemma 6.
    """
    chex.assert_rank([x, y], 2)
    for name, sample in (("x", x), ("y", y)):
        if len(sample) < 2:
            raise ValueError(f"{name}: expected at least 2 examples, got {len(sample)}")
    return _mean_of_pairs(kernel(x, x)) + _mean_of_pairs(kernel(y, y)) - 2 * jnp.mean(kernel(x, y))


def _mean_of_pairs(k: Array) -> Array:
    """The mean over i != j of k [n, n]."""
    n = len(k)
    return jnp.sum(jnp.where(jnp.eye(n, dtype=bool), 0, k)) / (n * (n - 1))


def in_blocks(x: Array, y: Array, kernel: Kernel, blocks: int) -> Array:
    """Estimate the squared MMD in disjoint blocks: independent estimates, whose spread tells their error.

    Block b is of x_i and y_i, i = b n .. (b + 1) n - 1 with n = N // blocks, by `mmd`; what fills no block
    is left out. Time and memory are those of blocks, not of all pairs.

    Args:
      x: [N, ...], N >= 2 blocks; further axes are flattened.
      y: [N, ...].
      kernel: as `mmd` takes it.
      blocks: how many.

    Returns:
      [blocks], in units of the kernel.

    Raises:
      TypeError, ValueError: other shapes, or fewer than two examples in a block.

    Source: Zaremba, Gretton & Blaschko 2013, arXiv 1307.1954 (B-tests).
    """
    check_positive_int(blocks, "blocks")
    if x.shape != y.shape:
        raise ValueError(f"x, y: expected one shape [N, ...], got {x.shape} and {y.shape}")
    n = len(x) // blocks
    if n < 2:
        raise ValueError(f"blocks: expected at most {len(x) // 2} of {len(x)} examples, got {blocks}")
    parts = tuple(jnp.reshape(jnp.asarray(a)[: n * blocks], (blocks, n, -1)) for a in (x, y))
    return jax.lax.map(lambda pair: mmd(pair[0], pair[1], kernel), parts)


def rbf(length: float | Array) -> Kernel:
    """k(a, b) = exp(-|a - b|^2 / (2 l^2)).

    Args:
      length: l > 0, in units of the data; far below their distances the kernel sees nothing of them.

    Raises:
      TypeError, ValueError: for a length that is not a positive finite number (a traced one is not seen).
    """
    length = _positive(length, "length")
    return lambda x, y: jnp.exp(-_squared_distances(x, y) / (2 * jnp.square(length)))


def imq(scale: float = 1.0, multiples: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)) -> Kernel:
    """k(a, b) = sum_s C_s / (C_s + |a - b|^2), C_s = 2 d scale^2 s: inverse multiquadrics of many scales.

    Of two draws of N(0, scale^2 I) the squared distance is 2 d scale^2 on average. Tails are heavier than
    those of `rbf`: codes far from the prior are still pulled.

    Args:
      scale: the standard deviation of the prior, > 0.
      multiples: the s, each > 0.

    Raises:
      TypeError, ValueError: for numbers that are not positive and finite, or no multiples.

    Source: Tolstikhin et al. 2018, arXiv 1711.01558, section 4 (the scales are those of the authors' code).
    """
    scale = _positive(scale, "scale")
    if not len(multiples):
        raise ValueError("multiples: expected at least one, got none")
    shares = [_positive(s, f"multiples[{n}]") for n, s in enumerate(multiples)]

    def kernel(x: Array, y: Array) -> Array:
        r2 = _squared_distances(x, y)
        C = 2 * x.shape[-1] * scale**2
        return jnp.sum(jnp.stack([C * s / (C * s + r2) for s in shares]), axis=0)

    return kernel


def median_length(x: Array, y: Array) -> Array:
    """The median distance between any two of the pooled points, a length for `rbf`; no gradient flows.

    A kernel of length 0 is none: where more than half of the pairs coincide it is the mean distance of those
    that do not, and 1 where all points are one (any length has an estimate of 0 then).

    Take it once from the two samples, `rbf(median_length(x, y))`: a kernel that computes it inside is called
    by `mmd` with (x, x), (y, y) and (x, y), has three lengths, and its estimate is biased, also where the
    distributions agree. `objectives.mmd(kernel="median")` is the term. One length of the pooled points
    keeps the mean at 0 under equality; elsewhere it makes the estimate slightly biased: for training against
    a prior fix the length, of order sqrt(d) for N(0, I).

    Args:
      x: [n, d].
      y: [m, d].

    Returns:
      Scalar > 0.

    Raises:
      ValueError: for fewer than two points in all.

    Source: Gretton et al. 2012, JMLR 13, section 8.
    """
    chex.assert_rank([x, y], 2)
    if len(x) + len(y) < 2:
        raise ValueError(f"x, y: expected at least 2 points in all, got {len(x) + len(y)}")
    pooled = jax.lax.stop_gradient(jnp.concatenate([x, y]))
    r = jnp.sqrt(_squared_distances(pooled, pooled)[jnp.triu_indices(len(pooled), 1)])
    median, apart = jnp.median(r), jnp.sum(r > 0)
    otherwise = jnp.where(apart > 0, jnp.sum(r) / jnp.maximum(apart, 1), 1.0)
    return jnp.where(median > 0, median, otherwise)


def _squared_distances(x: Array, y: Array) -> Array:
    """|x_i - y_j|^2, [n, m]: as differences, since |x|^2 + |y|^2 - 2 x.y cancels far from the origin."""
    return jnp.sum(jnp.square(x[:, None, :] - y[None, :, :]), axis=-1)


def _positive(value: Any, name: str) -> Any:
    """The number, checked unless it is traced: it has no value yet then."""
    if isinstance(value, jax.Array) and value.shape == ():
        if isinstance(value, Tracer):
            return value
        value = value.item()
    check_positive(value, name)
    return plain(value)
