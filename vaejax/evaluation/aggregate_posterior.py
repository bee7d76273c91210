"""What z tells of x: I_q(x; z) over a split, by the density of the aggregate posterior at drawn z."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.distributions import is_diagonal_gaussian
from vaejax.evaluation.batches import batch_at, mean_and_error, transformed
from vaejax.evaluation.entry import can_score, looked_at, program
from vaejax.keys import named_key, numpy_generator
from vaejax.objectives.draw import over_levels
from vaejax.ops.aggregate import streamed_log_density
from vaejax.ops.chunks import map_examples
from vaejax.types import VAE, Array, Batch, Draw, Progress, PyTree, Split

PAIRS = 2**20  # densities log q(z|x) that a family without a fast form is asked for, unless more are wanted
LEAST = 64  # points z, however many examples there are


class _Kind(NamedTuple):
    """What can be said of q and p."""

    gaussian: bool  # q is one diagonal Gaussian
    scored: bool  # q, or every q of independent parts, has a density at points that it did not draw
    conditional: bool  # the prior depends on c


def information(
    key: Array, vae: VAE, split: Split, draw: Draw, drawn: dict[str, Any], points: bool | int,
    batch_size: int, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """I_q(x; z) = mean_n [log q(z_n|x_n) - log q(z_n)], as `elbo_parts` has it; nothing where q cannot say.

    Args:
      key: that of `elbo_parts`, which gives the same x.
      vae: a bound model.
      split: the examples.
      draw: in shapes.
      drawn: of every example `z` and `log_q`, and of a diagonal Gaussian q `loc` and `scale`.
      points: how many z of the N: True for all of a diagonal Gaussian, as `PAIRS` has it for other q.
      batch_size: examples at a time.
      progress: wraps the range of batches.

    Returns:
      `mutual_information` and its `_se`, `mutual_information_per_level` of independent parts; `marginal_kl`
      is not here, but `has_marginal`, whether the prior is one for all x.
    """
    kind = looked_at(_kind, draw)
    if not (kind.gaussian or kind.scored):
        return {}
    rows = _rows(key, split.size, points, kind.gaussian)
    if kind.gaussian:
        z, loc, scale = (drawn[name].reshape(split.size, -1) for name in ("z", "loc", "scale"))
        log_qz = np.asarray(_jitted_gaussian(z[rows], loc, scale))[:, None]
    else:
        z = jax.tree.map(lambda a: a[rows], drawn["z"])
        log_qz = _by_pairs(key, vae, split, z, batch_size, progress)
    log_q = jax.tree.map(lambda a: a[rows].astype(np.float64), drawn["log_q"])
    gain = np.stack([over_levels(log_q), *_levels(log_q)], axis=1) - log_qz
    result: dict[str, Any] = mean_and_error("mutual_information", gain[:, 0])
    if isinstance(log_q, tuple):
        result["mutual_information_per_level"] = gain[:, 1:].mean(axis=0)
    return {**result, "has_marginal": not kind.conditional}


def _kind(draw: Draw) -> _Kind:
    """Of a draw, when traced."""
    priors = draw.p if isinstance(draw.p, tuple) else (draw.p,)
    of_all = all(p.batch_shape == () for p in priors)
    # q of a level below the top is given its parents: parts whose priors depend on nothing are independent
    scored = (of_all or not isinstance(draw.q, tuple)) and can_score(draw)
    return _Kind(is_diagonal_gaussian(draw.q, of_any_shape=True), scored, "c" in draw.batch and not of_all)


def _rows(key: Array, n: int, points: bool | int, gaussian: bool) -> np.ndarray:
    """The places of the points z, [M], in order."""
    every = n if gaussian else max(LEAST, PAIRS // n)
    m = min(n, every if points is True else int(points))
    if m == n:
        return np.arange(n)
    return np.sort(numpy_generator(named_key(key, "points")).permutation(n)[:m])


def _levels(tree: PyTree) -> tuple:
    """The members of a tuple; of one level none."""
    return tree if isinstance(tree, tuple) else ()


_jitted_gaussian = jax.jit(streamed_log_density)


def _by_pairs(
    key: Array, vae: VAE, split: Split, z: PyTree, batch_size: int, progress: Progress
) -> np.ndarray:
    """log q(z) of all parts together, then of each of several: [M, 1] or [M, 1 + L] nats."""
    add = program(_jitted_add, split.transform, key, vae)
    log_sum: Any = np.full((len(jax.tree.leaves(z)[0]), 1 + len(_levels(z))), -np.inf, np.float32)
    for i in progress(range(math.ceil(split.size / batch_size))):
        is_there = np.arange(i * batch_size, (i + 1) * batch_size) < split.size
        log_sum = add(log_sum, z, batch_at(split, i, batch_size), is_there)
    return np.asarray(log_sum, np.float64) - math.log(split.size)


def _add(
    transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE,
    log_sum: Array, z: PyTree, batch: Batch, is_there: Array,
) -> Array:  # fmt: skip
    """log sum_n q(z_m|x_n) [M, C], with the examples of one more batch; q does not leave the program."""
    q = vae.encode(key, transformed(transform, key, batch)).q
    B = len(is_there)

    def log_density(q: Any, z: Array) -> Array:
        return q.log_prob(jnp.broadcast_to(z, (B, *z.shape)))

    def of_point(z: PyTree) -> Array:
        each = [log_density(*level) for level in zip(q, z, strict=True)] if isinstance(q, tuple) else []
        joint = over_levels(each) if each else log_density(q, z)
        log_q = jnp.where(is_there[:, None], jnp.stack([joint, *each], axis=1), -jnp.inf)
        return jax.nn.logsumexp(log_q, axis=0)

    return jnp.logaddexp(log_sum, map_examples(of_point, z))


_jitted_add = jax.jit(_add, static_argnums=0)  # the boundary
