"""Codes of images whose factors are known: a whole grid or split, encoded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int, check_progress, check_split
from vaejax.disentanglement.information import binned_factors
from vaejax.disentanglement.local import check_num_values, represent_factors
from vaejax.distributions import FullGaussian, is_diagonal_gaussian
from vaejax.evaluation.batches import per_example, transformed
from vaejax.evaluation.codes import batch_of, check_real, coded, flat, in_slices
from vaejax.evaluation.entry import check_model, checked_condition, program
from vaejax.keys import check_key, named_key, numpy_generator
from vaejax.rows import Chosen, RowSource
from vaejax.types import VAE, Array, Batch, Progress, Split

LIMIT = 25_000
# A set that renders its factors, as `data.mini_sprites` and `data.three_dots` make them: it has `num_values`,
# V of each factor, and `sample_images(factors [n, F])`, images [n, ...] as the model eats them.
FactorSet = Any
Condition = Callable[[np.ndarray], Any]  # factors [n, F] -> the conditions c [n, ...] of their images
WHY = "each of which is compared with the factors"


class Codes(NamedTuple):
    """Posteriors of images and the factors of these."""

    loc: np.ndarray  # codes (`posterior_mean`) [n, d]
    scale: np.ndarray | None  # [n, d], of each latent by itself, where the posterior is a Gaussian
    factors: np.ndarray  # [n, F] integers
    num_values: tuple[int, ...] | None = None  # of each factor, and with it
    of: Callable[[np.ndarray], np.ndarray] | None = None  # factors [..., F] -> loc [..., d]; None for a split
    whole: bool = False  # the rows are the whole grid of the factors


def factor_codes(
    key: Array,
    vae: VAE,
    data: FactorSet | Split,
    *,
    c: Condition | None = None,
    limit: int = LIMIT,
    factor_bins: int | None = None,
    batch_size: int = 500,
    progress: Progress = iter,
) -> Codes:
    """Encode the whole grid of a set's factors, or a whole split, once; at random where it exceeds `limit`.

    Args:
      key: typed PRNG key, for what is drawn.
      vae: as `disentanglement_scores`.
      data: as `disentanglement_scores`.
      c: as `disentanglement_scores`.
      limit: as `disentanglement_scores`.
      factor_bins: as `disentanglement_scores`.
      batch_size: as `disentanglement_scores`.
      progress: as `disentanglement_scores`.

    Returns:
      Codes.

    Raises:
      TypeError, ValueError: an argument is of another kind, the latents are several parts or levels or no
        real numbers, c is missing or one too many, or a code is not finite.
    """
    check_key(key)
    check_model(vae, "encode")
    check_positive_int(limit, "limit")
    check_positive_int(batch_size, "batch_size")
    check_progress(progress)
    if isinstance(data, Split):
        check_split(data, "data")
        if c is not None:
            raise ValueError("c: expected None for a split, whose arrays hold its conditions")
        split = _with_integers(data, factor_bins)
        return _finite(_codes_of_split(key, vae, split, limit, batch_size, progress))
    check_factor_set(data, "a Split or a set")
    if factor_bins is not None:
        raise ValueError("factor_bins: expected None for a set, whose factors are whole numbers")
    return _finite(_codes_of_set(key, vae, data, c, limit, batch_size, progress))


def check_factor_set(data: Any, expected: str = "a set") -> None:
    """Raise TypeError unless the data render their factors."""
    if not (hasattr(data, "num_values") and hasattr(data, "sample_images")):
        raise TypeError(
            f"data: expected {expected} with `num_values` and `sample_images`, got {type(data).__name__}"
        )


def renderer(data: FactorSet, c: Condition | None) -> Callable[[np.ndarray], Batch]:
    """The function from factors [n, F] to the batch that a model encodes; raise unless c is one or None."""
    if c is not None and not callable(c):
        raise TypeError(
            f"c: expected a function, factors [n, F] -> conditions [n, ...], got {type(c).__name__}"
        )

    def render(factors: np.ndarray) -> Batch:
        x = jnp.asarray(data.sample_images(factors))
        return batch_of(x, None if c is None else checked_condition(c(factors), len(x)))

    return render


def _codes_of_set(
    key: Array,
    vae: VAE,
    data: FactorSet,
    c: Condition | None,
    limit: int,
    batch_size: int,
    progress: Progress,
) -> Codes:
    V = tuple(check_num_values(data.num_values).tolist())
    whole = math.prod(V) <= limit
    if whole:
        drawn = np.stack(np.unravel_index(np.arange(math.prod(V)), V), axis=1)
    else:
        drawn = numpy_generator(named_key(key, "draw")).integers(0, V, size=(limit, len(V)))
    render = renderer(data, c)
    posterior = program(_jitted_posterior, vae)
    shapes = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), a.dtype), render(drawn[:1])
    )
    d = jax.eval_shape(posterior, shapes)[0].shape[1]  # traced as the program is, not compiled

    def represent(batch: Batch) -> np.ndarray:  # [n, d], or [n, 2d] with the scale
        return np.concatenate(posterior(batch), axis=1)

    def encode(factors: np.ndarray) -> np.ndarray:
        return represent_factors(represent, render, factors, batch_size=batch_size, progress=progress)

    def of(factors: np.ndarray) -> np.ndarray:
        if not whole:
            return encode(factors)[..., :d]
        return loc[np.ravel_multi_index(tuple(np.moveaxis(factors, -1, 0)), V)]

    both = encode(drawn)
    loc, scale = both[:, :d], both[:, d:]
    return Codes(loc, scale if scale.size else None, drawn, V, of, whole)


def _codes_of_split(
    key: Array, vae: VAE, split: Split, limit: int, batch_size: int, progress: Progress
) -> Codes:
    if split.size > limit:
        rows = np.sort(numpy_generator(named_key(key, "draw")).permutation(split.size)[:limit])
        split = replace(split, arrays=jax.tree.map(lambda array: Chosen(array, rows), dict(split.arrays)))
    encode = program(_jitted_posterior_of_split, split.transform, key, vae)
    parts = per_example(encode, split, min(batch_size, split.size), progress)
    return Codes(parts[0], parts[1] if len(parts) > 1 else None, np.asarray(split.arrays["y"]))


def _with_integers(split: Split, factor_bins: int | None) -> Split:
    """The split with factors y of whole numbers, [N, F]; binned over the whole split where they are real."""
    factors = split.arrays.get("y")
    factors = np.asarray(factors) if isinstance(factors, RowSource) else factors
    real = factors is not None and factors.dtype.kind not in "iub"
    if factors is None or factors.ndim != 2 or (real and factor_bins is None):
        got = "none" if factors is None else f"{factors.dtype} {list(factors.shape)}"
        raise ValueError(
            f"data: expected a split with factors y, integers [N, F] (real ones need factor_bins); got {got}"
        )
    return replace(split, arrays={**split.arrays, "y": binned_factors(factors, factor_bins)})


def _finite(codes: Codes) -> Codes:
    bad = np.sum(~np.isfinite(codes.loc))
    if bad:
        raise ValueError(f"vae: expected finite posterior means, got {bad} of {codes.loc.size} that are not")
    return codes


def _posterior(vae: VAE, batch: Batch) -> tuple[Array, ...]:
    """(codes,), and the scale of every latent by itself where q(z|x) is a Gaussian; each [B, d]."""

    def of_slice(batch: Batch) -> tuple[Array, ...]:
        code, draw = coded(vae, batch)
        check_real(draw, WHY)
        known = is_diagonal_gaussian(draw.q, of_any_shape=True) or isinstance(draw.q, FullGaussian)
        return (flat(code), flat(draw.q.stddev())) if known else (flat(code),)

    return in_slices(of_slice, batch)


def _posterior_of_split(
    transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE, batch: Batch
) -> tuple[Array, ...]:
    return _posterior(vae, transformed(transform, key, batch))


# The boundary: one object each, so that a second model of the same shapes finds the program of the first.
_jitted_posterior = jax.jit(_posterior)
_jitted_posterior_of_split = jax.jit(_posterior_of_split, static_argnums=0)
