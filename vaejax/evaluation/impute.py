"""What a model says of the values that are missing, by importance sampling from q(z|x_obs)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int
from vaejax.evaluation.batches import even_size, per_example, transformed
from vaejax.evaluation.entry import check_weights, enter, program, traced
from vaejax.evaluation.weights import Sums, finite, no_weights, samples_at_once
from vaejax.keys import example_keys, named_key
from vaejax.objectives import log_weight, sample
from vaejax.types import VAE, Array, Batch, Progress, PyTree, Split


class Imputation(NamedTuple):
    """x with its holes filled, on the host.

    In the units of the split's arrays where its transform has an `undo` (`data.standardised`), else as the
    model eats x.
    """

    mean: np.ndarray  # x where it was observed, else E[x_mis|x_obs], [N, *event]
    draws: np.ndarray  # x where it was observed, else a draw of p(x_mis|x_obs), [M, N, *event]
    ess: np.ndarray  # (sum_k w_k)^2 / sum_k w_k^2, in 1..K, [N]
    log_likelihood: np.ndarray  # L_K of log p(x_obs), [N] nats


def impute(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    num_samples: int = 1000,
    num_draws: int = 0,
    batch_size: int = 64,
    chunk: int | None = None,
    progress: Progress = iter,
) -> Imputation:
    """Fill the holes of a split.

        E[x_mis|x_obs] ~ sum_k w~_k E[x_mis|z_k],  w_k = p(x_obs, z_k) / q(z_k|x_obs),  w~ = w / sum_k w_k

    with z_k ~ q(.|x_obs) independent. A draw of p(x_mis|x_obs) is one of p(x_mis|z_k) at a k of probability
    w~_k; several are what multiple imputation wants: an analysis is made of each, and how its results differ
    is what the holes cost. The mean has the least squared error; it is no typical x.

    Both are exact as K grows, and the ESS says how far along that is: near 1 one sample has all the weight.
    The samples and weights are those of `marginal_log_likelihood` under the same key.

    Args:
      key: typed PRNG key; it also draws the noise of the split's transform.
      vae: a bound model.
      split: the examples, with holes (`data.with_holes`).
      num_samples: K.
      num_draws: M, how many times each hole is filled by a draw; 0: by the mean alone.
      batch_size: the most examples at a time.
      chunk: the most samples of each example together; None aims at 32 MiB of temporaries.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      An `Imputation`.

    Raises:
      TypeError, ValueError: an argument is of another kind, the split has no holes, its values are not
        independent given z, log p(x|z) is itself a bound, q a point, the likelihood cannot score the split,
        or the model wants a c that the split has not, or none.

    Source: Mattei & Frellsen 2019, arXiv 1812.02633, section 3.
    """
    key = enter(key, vae, split, progress=progress, num_samples=num_samples, batch_size=batch_size)
    if num_draws != 0:
        check_positive_int(num_draws, "num_draws")
    if chunk is not None:
        check_positive_int(chunk, "chunk")
    size = even_size(split, batch_size)
    draw, largest = traced(key, vae, split, size)
    check_weights(draw, "impute")
    if draw.batch.get("observed") is None:
        raise ValueError('split: expected holes, a mask "observed" (`data.with_holes`); got a split without')
    K, M = int(num_samples), int(num_draws)
    c = samples_at_once(draw, K, (), chunk, largest)
    of_batch = program(_jitted_imputed, split.transform, K, c, M, key, vae)
    found = per_example(of_batch, split, size, progress)
    mean, draws = found.mean, np.moveaxis(found.draws, 1, 0)
    if (undo := getattr(split.transform, "undo", None)) is not None:
        x = split.arrays["x"]  # what was observed, as it is there to the last digit
        mean, draws = (np.where(found.observed, x, undo(a)) for a in (mean, draws))
    return Imputation(mean, draws, found.ess, found.log_likelihood)


class _Found(NamedTuple):
    """Of a batch of b examples, in the units of the model."""

    observed: Array  # booleans, [b, *event]
    mean: Array  # x with its holes filled, [b, *event]
    draws: Array  # [b, M, *event]
    ess: Array  # [b]
    log_likelihood: Array  # [b] nats


def _imputed(
    transform: Callable[[Array, Batch], Batch], K: int, c: int, M: int, key: Array, vae: VAE, batch: Batch
) -> _Found:
    batch = transformed(transform, key, batch)
    of_samples = named_key(key, "samples")

    def weighted(k: Array) -> tuple[Array, PyTree, Array]:
        draw = sample(k, vae, batch)
        return log_weight(draw), draw.z, draw.px.mean()

    def add(carry: tuple[Sums, Array], i: Array) -> tuple[tuple[Sums, Array], PyTree]:
        sums, total = carry
        place = i * c + jnp.arange(c)
        log_w, z, means = jax.vmap(weighted)(jax.vmap(partial(jax.random.fold_in, of_samples))(place))
        log_w = jnp.where((place < K)[:, None], log_w, -jnp.inf)
        new = sums.add(log_w)
        total = _times(jnp.exp(sums.top - finite(new.top)), total)
        total += jnp.einsum("kb,kb...->b...", jnp.exp(log_w - finite(new.top)), means)
        return (new, total), (log_w, z) if M else None

    x = batch["x"]
    start = (no_weights(len(x)), jnp.zeros(x.shape, jnp.result_type(x, jnp.float32)))
    (sums, total), kept = jax.lax.scan(add, start, jnp.arange(math.ceil(K / c)))
    draws = jnp.zeros((len(x), 0, *x.shape[1:]))
    if M:
        log_w, z = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), kept)
        draws = _resampled(named_key(key, "draws"), vae, batch, log_w, z, M)
    observed = jnp.asarray(batch["observed"]).astype(bool)
    mean = jnp.where(observed, x, _times(1 / sums.total, total))
    draws = jnp.where(observed[:, None], x[:, None], draws)
    return _Found(observed, mean, draws, sums.total**2 / sums.squares, sums.log() - math.log(K))


def _resampled(key: Array, vae: VAE, batch: Batch, log_w: Array, z: PyTree, M: int) -> Array:
    """M draws of x of every example, [b, M, *event], each at a z_k of probability w~_k."""

    def of_example(key: Array, log_w: Array, z: PyTree, c: Array | None) -> Array:
        of_choice, of_x = jax.random.split(key)
        # by the inverse of the cumulated weights: a uniform number a draw, where Gumbel-max takes K
        below = jnp.cumsum(jnp.exp(log_w - finite(jnp.max(log_w))))
        u = jax.random.uniform(of_choice, (M,), jnp.float32) * below[-1]
        last = jnp.searchsorted(below, below[-1])  # the last of a weight above 0, where u rounds to their sum
        chosen = jnp.minimum(jnp.searchsorted(below, u, side="right"), last)

        def draw(k: Array, place: Array) -> Array:
            px: Any = vae.decode(jax.tree.map(lambda a: a[place], z), c)
            return px.sample(seed=k)

        return jax.vmap(draw)(jax.random.split(of_x, M), chosen)

    log_w, z = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (log_w, z))
    return jax.vmap(of_example)(example_keys(key, batch), log_w, z, batch.get("c"))


def _times(weight: Array, a: Array) -> Array:
    """weight [b] times a [b, *event]."""
    return weight.reshape(-1, *(1,) * (a.ndim - 1)) * a


_jitted_imputed = jax.jit(_imputed, static_argnums=(0, 1, 2, 3))  # the boundary
