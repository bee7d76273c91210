"""Posterior collapse: its three signs as numbers, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.distributions import is_diagonal_gaussian, score
from vaejax.evaluation.batches import mean_and_error, per_example, transformed
from vaejax.evaluation.codes import check_real, code_of
from vaejax.evaluation.elbo import elbo_parts
from vaejax.evaluation.entry import can_score, check_model, check_weights, enter, looked_at, program, traced
from vaejax.keys import example_keys, named_key
from vaejax.objectives import sample
from vaejax.objectives.draw import prior_codes
from vaejax.types import VAE, Array, Batch, Draw, Progress, Split

_LITTLE = 0.1  # nats: less is as good as nothing


def collapse(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    batch_size: int = 256,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Measure the signs of posterior collapse over a whole split.

    1. The KL vanishes: KL(q(z|x) || p(z)), in all and per latent.
    2. The encoder ignores x: active units, the latents whose code (`posterior_mean`) varies with x (variance
       above 0.01), and I_q(x; z), which cannot exceed log n.
    3. The decoder ignores z: E |log p(x|z) - log p(x|z')|, z ~ q(z|x), z' ~ p(z), is how much the density of
       x moves when its z is redrawn from the prior. It is 0 just where p(x|z) does not depend on z, also
       under a decoder that has no mean to look at.

    The second is no stricter form of the first: a small KL with means that vary is a matter of scale, and a
    latent whose q is one Gaussian for all x, but not the prior's, has a KL and tells nothing.

    Args:
      key: typed PRNG key, for z, z' and the noise of the split's transform.
      vae: a bound model whose z is one array of real numbers; its q has a density at any z, and a code.
      split: the examples, two at least; its transform runs first.
      batch_size: examples at a time.
      progress: wraps the ranges of batches, as a progress bar does.

    Returns:
      `n`; in nats `kl`, `kl_se`, `kl_per_dimension` [*event] (where it has a closed form),
      `mutual_information`, `mutual_information_limit` (log n), `decoder_sensitivity`,
      `decoder_sensitivity_se`; `active_units` of `latents`; `summary`, a sentence on what they mean and one
      with the numbers. The sentence takes less than 0.1 nat for nothing.

    Raises:
      TypeError: an argument is of another kind, the latents are several parts or levels or no real numbers,
        the prior depends on c, or q has no density at z that it did not draw, or no code.
      ValueError: the split has fewer than two examples, the likelihood cannot score its support, or the model
        wants a c that the split has not, or none.

    Source: Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519 (active units); Hoffman & Johnson 2016 (I_q).
    """
    key = enter(key, vae, split, progress=progress, least=2, batch_size=batch_size)
    check_model(vae, "sample_prior")
    batch_size = min(batch_size, split.size)
    draw, _ = traced(key, vae, split, batch_size)
    latents = looked_at(partial(_latents, vae), draw)
    parts = elbo_parts(named_key(key, "parts"), vae, split, batch_size=batch_size, progress=progress)
    of_batch = program(_jitted_moved, split.transform, named_key(key, "decoder"), vae)
    moved = per_example(of_batch, split, batch_size, progress)
    names = ("n", "kl", "kl_se", "kl_per_dimension", "active_units", "mutual_information")
    result: dict[str, Any] = {name: parts[name] for name in names if name in parts}
    result["latents"] = latents
    result["mutual_information_limit"] = math.log(split.size)
    result |= mean_and_error("decoder_sensitivity", moved)
    return {**result, "summary": f"{_verdict(result)} {_figures(result)}"}


def _latents(vae: VAE, draw: Draw) -> int:
    """d, if z is one array of real numbers and what it tells of x can be measured."""
    check_real(draw, "of which each is idle or active")
    if "c" in draw.batch and draw.p.batch_shape != ():
        raise TypeError(
            "p: expected one prior for all examples, got one for each c: under it a z that varies with c "
            "alone tells nothing of x, and yet its units are active"
        )
    check_weights(draw._replace(px=None), "collapse")
    if not (is_diagonal_gaussian(draw.q, of_any_shape=True) or can_score(draw)):
        raise TypeError(f"q: expected a density log q(z|x) at any z, got {draw.q.name}, which has no inverse")
    code_of(vae, draw.batch, draw)
    return math.prod(draw.z.shape[1:])


def _verdict(signs: dict[str, Any]) -> str:
    """The three signs in words."""
    undefined = [name for name, value in signs.items() if not np.all(np.isfinite(value))]
    if undefined:
        return f"Nothing can be said: not finite are {', '.join(undefined)}."
    active, latents, told = signs["active_units"], signs["latents"], signs["mutual_information"]
    no_rate, deaf = signs["kl"] < _LITTLE, signs["decoder_sensitivity"] < _LITTLE
    blind = active == 0 and told < _LITTLE
    if blind and deaf and no_rate:
        return "Collapsed: q(z|x) is the prior for every x, and the decoder does without z."
    if blind and deaf:
        return (
            "Collapsed: q(z|x) is the same for every x, and the decoder does without z; "
            "the KL that is left says only that it is not the prior."
        )
    if blind:
        return "Collapsed encoder: z says nothing of x; to the decoder, which answers to it, it is noise."
    if deaf:
        return "Collapsed decoder: z tells of x, but the decoder does without it."
    if active == 0:
        return "Not collapsed: z tells of x, though no posterior mean varies enough to count as active."
    if no_rate:
        return "On the verge of collapse: the KL is next to nothing, yet the posterior means vary with x."
    if told < _LITTLE:
        return (
            "On the verge of collapse: the posterior means vary with x, but so little beside the noise that "
            "z tells next to nothing; the KL says only that q is not the prior."
        )
    if active < latents:
        rest = latents - active
        return f"Partly collapsed: {rest} of {latents} latents do not vary with x; the others are used."
    return "Not collapsed: every latent varies with x, and the decoder uses them."


def _figures(signs: dict[str, Any]) -> str:
    rate, information, limit, moves = (
        f"{0 if abs(signs[name]) < 5e-4 else signs[name]:.3g} nats"  # less is rounding
        for name in ("kl", "mutual_information", "mutual_information_limit", "decoder_sensitivity")
    )
    return (
        f"KL {rate}; {signs['active_units']} of {signs['latents']} latents active; I(x; z) {information}, "
        f"of the {limit} that {signs['n']} examples can show; log p(x|z) moves by {moves} when z is redrawn "
        "from the prior."
    )


def _moved(transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE, batch: Batch) -> Array:
    """|log p(x|z) - log p(x|z')|, [B]."""
    batch = transformed(transform, key, batch)
    c = batch.get("c")
    draw = sample(named_key(key, "sample"), vae, batch)
    z = prior_codes(key, vae, batch)
    # the same noise in both scores, where the score is itself a bound
    score_key = example_keys(named_key(named_key(key, "sample"), "score"), batch)
    return jnp.abs(draw.log_px - score(score_key, vae.decode(z, c), batch["x"], batch.get("observed")))


_jitted_moved = jax.jit(_moved, static_argnums=0)  # the boundary
