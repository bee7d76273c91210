"""What a model shows: arrays for figures, of latents at their code (`posterior_mean`).

Images are the mean of p(x|z), [..., *event] in the range of the data. An autoregressive p(x|z) has no mean,
only samples: what says "mean" here raises TypeError for it, but for `prior_samples`, and `reconstruct` with
a key; `decoder_samples` shows it at any z.

A model with a condition takes it as `c`, one for each image; a c that is missing or one too many is the
model's ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int, check_progress
from vaejax.evaluation.codes import batch_of, code_of
from vaejax.evaluation.entry import (
    check_model,
    checked,
    checked_condition,
    checked_data,
    checked_latents,
    program,
)  # fmt: skip
from vaejax.keys import check_key, example_keys, named_key, threefry_key
from vaejax.types import VAE, AnyArray, Array, Progress, PyTree

__all__ = ["decoder_samples", "level_reconstructions", "prior_samples", "reconstruct"]


def reconstruct(vae: VAE, x: Any, *, c: AnyArray | None = None, key: Array | None = None) -> Any:
    """The decoder's mean at the code of every x; with a key, one draw of x where it has none.

    Args:
      vae: a bound model.
      x: [n, *event], transformed as the model eats it; of several modalities {name: [n, *event]} of those
        that are given.
      c: [n, ...], the conditions of a model that has one.
      key: typed PRNG key, for the draws of a decoder without a mean; None: such a one is refused.

    Returns:
      [n, *event]; of several modalities {name: [n, *event]} of all: those that x lacks are made of the
      others.

    Raises:
      TypeError, ValueError: an argument is of another kind, c is missing or one too many, or p(x|z) has no
        mean and there is no key.
    """
    check_model(vae)
    if key is not None:
        check_key(key)
    x = checked_data(x, "x", "[n, *event]")
    c = checked_condition(c, len(jax.tree.leaves(x)[0]))
    z, means = program(_jitted_reconstructed, key is not None, vae)(x, c)
    return means if key is None or means is not None else decoder_samples(key, vae, z, c=c)


def _reconstructed(or_none: bool, vae: VAE, x: Array, c: Array | None) -> tuple[PyTree, Array | None]:
    """Codes z, and the decoder's means there; `or_none`: None where it has no mean."""
    z = code_of(vae, batch_of(x, c))
    px = vae.decode(z, c)
    return z, None if or_none and not getattr(px, "has_mean", True) else px.mean()


_jitted_reconstructed = jax.jit(_reconstructed, static_argnums=0)  # the boundaries


def level_reconstructions(vae: VAE, x: AnyArray, *, c: AnyArray | None = None) -> Array:
    """The decoder's mean at the codes of the top k levels of every x, k = 1..L: what each level adds.

    The levels below the k-th take the mean of their prior under those above, so that the first row is what
    the top level alone knows, and the last is `reconstruct`. Each k is a pass of its own.

    Args:
      vae: a bound model whose latents are levels, as those of `models.hierarchical_vae`.
      x: [n, *event], transformed as the model eats it.
      c: [n, ...], the conditions of a model that has one.

    Returns:
      [L, n, *event].

    Raises:
      TypeError, ValueError: an argument is of another kind, the latents are no levels, p(x|z) has no mean, or
        c is missing or one too many.

    Source: Sonderby et al. 2016, arXiv 1602.02282.
    """
    check_model(vae)
    x = checked(x, "x", "[n, *event]")
    return program(_jitted_by_level, vae)(x, checked_condition(c, len(x)))


def _by_level(vae: VAE, x: Array, c: Array | None) -> Array:
    code = code_of(vae, batch_of(x, c))
    if not isinstance(code, tuple):
        raise TypeError(f"z: expected a tuple of levels, the top first; got one array {list(code.shape)}")
    return jnp.stack([vae.decode(code[:k], c).mean() for k in range(1, len(code) + 1)])


_jitted_by_level = jax.jit(_by_level)


def prior_samples(
    key: Array,
    vae: VAE,
    n: int,
    *,
    c: AnyArray | None = None,
    given: Sequence[AnyArray] | None = None,
    temperature: Any = None,
    batch_size: int = 16,
    prior_batch: int | None = None,
    progress: Progress = iter,
) -> AnyArray:
    """The decoder's mean at n draws of the prior, [n, *event]; where it has none, one draw of x at each.

    Args:
      key: typed PRNG key.
      vae: a bound model.
      n: how many.
      c: [n, ...], the conditions of a model that has one.
      given: the first k levels of a hierarchy, the top first, each [n, *event], below which the others are
        drawn: of `posterior_mean`, or of a draw of q. None: all are drawn.
      temperature: of the levels of a hierarchy that are drawn: a number >= 0, or one for each level, by which
        their prior's scale is multiplied. None: 1.
      batch_size: as for `decoder_samples`, where x is drawn.
      prior_batch: the most z at a time, for a prior that draws one code after the other (`priors.codes` of a
        net) and takes minutes for large grids; None: all at once. Each batch has noise of its own.
      progress: wraps the ranges of batches, as a progress bar does.

    Raises:
      TypeError, ValueError: an argument is of another kind, c is missing or one too many, or levels or
        temperatures are given to a model without levels.
    """
    check_key(key)
    check_model(vae, "decode", "sample_prior")
    check_positive_int(n, "n")
    c = checked_condition(c, n)
    check_positive_int(batch_size, "batch_size")
    check_progress(progress)
    if given is not None:
        given = tuple(checked(z, f"given[{i}]", "[n, *d]") for i, z in enumerate(given))
    if prior_batch is not None:
        check_positive_int(prior_batch, "prior_batch")
    t = _plain_temperature(temperature)
    z, means = _of_prior(named_key(key, "prior"), vae, int(n), t, (c, given), prior_batch, progress)
    if means is not None:
        return means
    return decoder_samples(named_key(key, "x"), vae, z, c=c, batch_size=batch_size, progress=progress)


def _of_prior(
    key: Array, vae: VAE, n: int, temperature: Any, seen: PyTree, most: int | None, progress: Progress
) -> tuple[PyTree, Array | None]:
    """`_prior` of (c, given) as one program, or of at most so many at a time."""
    if most is None:
        return program(_jitted_prior, (n, temperature), key, vae)(*seen)
    size = math.ceil(n / math.ceil(n / most))
    parts = []
    for i in progress(range(math.ceil(n / size))):
        place = np.minimum(np.arange(i * size, (i + 1) * size), n - 1)  # past the end the last again
        draw = program(_jitted_prior, (size, temperature), jax.random.fold_in(key, i), vae)
        parts.append(draw(*jax.tree.map(lambda a, place=place: a[place], seen)))
    return jax.tree.map(lambda *a: jnp.concatenate(a)[:n], *parts)


def _plain_temperature(temperature: Any) -> Any:
    """One number, or a tuple of one for each level; None stays None."""
    if temperature is None:
        return None
    values = np.asarray(temperature)
    if values.ndim > 1 or values.dtype.kind not in "iuf":
        raise ValueError(f"temperature: expected a number >= 0, or one for each level; got {temperature!r}")
    return tuple(values.tolist()) if values.ndim else values.item()


def _prior(
    static: tuple[int, Any], key: Array, vae: VAE, c: Array | None, given: tuple[Array, ...] | None
) -> tuple[PyTree, Array | None]:
    """n draws z, and the decoder's means where it has them."""
    n, temperature = static
    options = {"given": given, "temperature": temperature}
    options = {name: value for name, value in options.items() if value is not None}
    try:
        z = vae.sample_prior(key, n, c, **options)
    except TypeError as error:
        if options and "unexpected keyword argument" in str(error):
            raise TypeError(f"{', '.join(options)}: expected None, the latents are no levels") from error
        raise
    px = vae.decode(z, c)
    return z, px.mean() if getattr(px, "has_mean", True) else None


_jitted_prior = jax.jit(_prior, static_argnums=0)


def decoder_samples(
    key: Array, vae: VAE, z: PyTree, *, c: AnyArray | None = None, batch_size: int = 16,
    progress: Progress = iter,
) -> np.ndarray:  # fmt: skip
    """Draw x ~ p(x|z) for every z, some at a time.

    An autoregressive p(x|z) takes a pass of its network for every value of an image: minutes for a figure of
    large ones, so this is what a progress bar goes around. At the codes, z =
    `posterior_mean(vae, {"x": x})`, the draws are what z alone tells of x.

    Args:
      key: typed PRNG key; the noise of a draw is of its place, whatever the batch size.
      vae: a bound model.
      z: [n, *event]; a tuple of arrays, one for each part, where the latents come in parts.
      c: [n, ...], the conditions of a model that has one.
      batch_size: the most images at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      [n, *event], on the host.

    Raises:
      TypeError, ValueError: an argument is of another kind, there is no z, or c is missing or one too many.
    """
    check_key(key)
    check_model(vae, "decode")
    z = jax.tree.map(jnp.asarray, checked_latents(z))
    n = len(jax.tree.leaves(z)[0])
    c = checked_condition(c, n)
    check_positive_int(batch_size, "batch_size")
    check_progress(progress)
    size = math.ceil(n / math.ceil(n / batch_size))
    draws = program(_jitted_draws, threefry_key(key), vae)
    parts = []
    for i in progress(range(math.ceil(n / size))):
        place = np.minimum(np.arange(i * size, (i + 1) * size), n - 1)  # past the end the last one again
        drawn = draws(*jax.tree.map(lambda a, place=place: a[place], (z, c)), place)
        parts.append(jax.tree.map(np.asarray, drawn))
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:n], *parts)


def _draws(key: Array, vae: VAE, z: PyTree, c: Array | None, place: Array) -> Array:
    keys = example_keys(key, {"index": place})
    return jax.vmap(lambda k, z_i, c_i: vae.decode(z_i, c_i).sample(seed=k))(keys, z, c)


_jitted_draws = jax.jit(_draws)
