"""Sentences: how surprising each token of a split is, and what a model writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int, check_progress, check_real
from vaejax.distributions import TokenSequence
from vaejax.evaluation.batches import mean_and_error, per_example, transformed
from vaejax.evaluation.entry import check_model, checked_condition, checked_latents, enter, program, traced
from vaejax.keys import check_key, example_keys, named_key, threefry_key
from vaejax.objectives import kl, reconstruction, sample
from vaejax.ops.tokens import counted
from vaejax.types import VAE, AnyArray, Array, Batch, Distribution, Draw, Progress, PyTree, Split

__all__ = ["perplexity", "token_samples"]


def perplexity(
    key: Array, vae: VAE, split: Split, *, batch_size: int = 256, progress: Progress = iter
) -> dict[str, Any]:
    """The perplexity of sentences: exp of the nats that a token costs, by the bound and without its KL.

        perplexity = exp(sum_n -ELBO(x_n) / sum_n T_n),   T_n the tokens of sentence n, its end included

    at one z ~ q(z|x) for each sentence, those that `elbo_parts` draws. Of the bound, so it is at least the
    model's own; exp(nll n / tokens) of `marginal_log_likelihood` is nearer. `perplexity_without_kl`, of
    -log p(x|z) alone, is no perplexity of a model of sentences: z may tell it the whole sentence, at a price
    that it leaves out.

    Args:
      key: typed PRNG key.
      vae: a bound model whose likelihood is `distributions.token_sequence`.
      split: the sentences, two at least; its transform runs first.
      batch_size: examples at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`, `tokens` (their number in all); `perplexity` and `perplexity_without_kl`, each with its standard
      error over sentences (of a ratio of means, by the delta method) under its name with `_se`.

    Raises:
      TypeError, ValueError: an argument is of another kind, p(x|z) is none of tokens, there are fewer than
        two sentences, or the model wants a c that the split has not, or none.

    Source: Bowman et al. 2016, arXiv 1511.06349, section 4 (nats of the bound, perplexity of it).
    """
    key = enter(key, vae, split, progress=progress, least=2, batch_size=batch_size)
    batch_size = min(batch_size, split.size)
    draw, _ = traced(key, vae, split, batch_size)
    _check_tokens(draw.px)
    costs = per_example(program(_jitted_costs, split.transform, key, vae), split, batch_size, progress)
    tokens = costs.pop("tokens").astype(np.float64)
    result: dict[str, Any] = {"n": split.size, "tokens": int(tokens.sum())}
    for name, nats in costs.items():
        rate = float(nats.sum(dtype=np.float64) / tokens.sum())
        error = mean_and_error("rate", nats - rate * tokens)["rate_se"] / float(tokens.mean())
        with np.errstate(over="ignore", invalid="ignore"):  # infinite above 709 nats a token
            value = float(np.exp(rate))
            result |= {name: value, f"{name}_se": float(np.float64(value) * error)}
    return result


def _costs(
    transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE, batch: Batch
) -> dict[str, Array]:
    draw: Draw = sample(named_key(key, "sample"), vae, transformed(transform, key, batch))
    nats = reconstruction(key, vae, draw)
    return {
        "perplexity": nats + kl(key, vae, draw),
        "perplexity_without_kl": nats,
        "tokens": jnp.sum(counted(draw.batch["x"]), axis=-1),
    }


_jitted_costs = jax.jit(_costs, static_argnums=0)  # the boundaries


def token_samples(
    key: Array, vae: VAE, z: PyTree, *, c: AnyArray | None = None, temperature: float = 1.0,
    batch_size: int = 64, progress: Progress = iter,
) -> np.ndarray:  # fmt: skip
    """A sentence x ~ p(x|z) for every z, at any temperature, a step of the decoder for each word.

    Args:
      key: typed PRNG key; the noise of a sentence is of its place, whatever the batch size.
      vae: a bound model whose likelihood is `distributions.token_sequence`.
      z: [n, *event]; a tuple of arrays, one for each part, where the latents come in parts.
      c: [n, ...], the conditions of a model that has one.
      temperature: what logits are divided by: 1 for samples of p(x|z), less for likelier words, 0 for the
        likeliest word each time.
      batch_size: the most sentences at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      Integers [n, T], on the host; `types.END` from the end on.

    Raises:
      TypeError, ValueError: an argument is of another kind, p(x|z) is none of tokens, or c is missing or one
        too many.
    """
    check_key(key)
    check_model(vae, "decode")
    z = checked_latents(z)
    n = len(jax.tree.leaves(z)[0])
    c = checked_condition(c, n)
    check_real(temperature, "temperature")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature: expected a finite number of at least 0, got {temperature!r}")
    check_positive_int(batch_size, "batch_size")
    check_progress(progress)
    _check_tokens(jax.eval_shape(vae.decode, z, c))
    size = math.ceil(n / math.ceil(n / batch_size))
    draws = program(_jitted_drawn, float(temperature), threefry_key(key), vae)
    parts = []
    for i in progress(range(math.ceil(n / size))):
        place = np.minimum(np.arange(i * size, (i + 1) * size), n - 1)  # past the end the last one again
        parts.append(np.asarray(draws(*jax.tree.map(lambda a, at=place: a[at], (z, c)), place)))
    return np.concatenate(parts)[:n]


def _drawn(temperature: float, key: Array, vae: VAE, z: PyTree, c: Array | None, place: Array) -> Array:
    keys = example_keys(key, {"x": place, "index": place})
    return jax.vmap(lambda k, z_i, c_i: vae.decode(z_i, c_i).draw(k, 1, temperature)[0])(keys, z, c)


_jitted_drawn = jax.jit(_drawn, static_argnums=0)


def _check_tokens(px: Distribution) -> None:
    if not isinstance(px, TokenSequence):
        raise TypeError(f"vae: expected p(x|z) of token_sequence, got {type(px).__name__}")
