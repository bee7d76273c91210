"""The ELBO of a split and its parts; what the latents carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int
from vaejax.distributions import (
    diagonal_gaussian,
    has_closed_form,
    has_kl_per_dimension,
    is_diagonal_gaussian,
    kl_or_sampled,
    kl_per_dimension,
    kl_per_dimension_or_sampled,
)
from vaejax.evaluation.aggregate_posterior import information
from vaejax.evaluation.batches import mean_and_error, per_example, transformed
from vaejax.evaluation.codes import code_of, flat, is_real
from vaejax.evaluation.entry import enter, program, traced
from vaejax.keys import named_key
from vaejax.objectives import kl, reconstruction, sample
from vaejax.objectives.draw import levels_of, scored_at
from vaejax.objectives.elbo import kl_per_level
from vaejax.ops.aggregate import ACTIVE_VARIANCE
from vaejax.types import VAE, Array, Batch, Draw, Progress, Split


def elbo_parts(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    batch_size: int = 256,
    aggregate: bool | int = True,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Evaluate the terms of the negative ELBO over a whole split, at beta = 1 and without penalties.

        neg_elbo = reconstruction + kl,   kl = I_q(x; z) + KL(q(z) || p(z))

    (Hoffman & Johnson 2016; q(z) = (1/N) sum_n q(z|x_n) over the N examples of the split.) One z is drawn
    per example, by its place in the split: the batch size does not change the numbers. Every example
    counts once; the last batch is filled up and the surplus dropped.

    I_q = mean_n [log q(z_n|x_n) - log q(z_n)], both at the same z_n. So I_q <= log N always, and the
    estimate has no noise at either end: 0 where q(z|x) does not depend on x, log N where the posteriors
    do not overlap. (With -H[q(z|x)] for the first term the noise of log q(z_n) stays at both ends; for one
    linear-Gaussian latent that form has the smaller variance only where Var q(z|x) < 1/2.)

    Levels of a hierarchy and independent parts are summed in `kl`, which is in closed form where the pair of
    q and p has one (`distributions.has_closed_form`), else the one-sample estimate log q(z|x) - log p(z). A
    learned prior makes a KL that compares with no other: `kl_standard_normal` is the KL of the same q to
    N(0, I), in closed form or at the same z.

    Args:
      key: typed PRNG key.
      vae: a bound model.
      split: the examples; its transform runs first.
      batch_size: examples at a time.
      aggregate: also take the pass over q(z). Of a diagonal Gaussian q it is fast, N^2 evaluations of q(z|x).
        Of another family q(z) is taken at M of the drawn z, at random, each against all N posteriors; M is
        at most 2^20 / N, or 64 if that is more. An int: at that many z, of every family.
      progress: wraps the ranges of batches, as a progress bar does.

    Returns:
      `n`; means over the split in nats and their standard errors over examples: `reconstruction`,
      `reconstruction_se`, `kl`, `kl_se`, `neg_elbo`, `neg_elbo_se`; `kl_is_analytic`, whether the kl is
      the closed form at every level or has a one-sample estimate in it. Where each of these means something:
      `kl_per_level` [L], of levels (top first) or parts;
      `kl_per_dimension` [*event], where the closed form has dimensions; of levels or parts a tuple of these
        (of levels drawn from x upwards the one-sample estimates);
      `kl_standard_normal`, `kl_standard_normal_se`, where z is one array of real numbers;
      `active_units`, where a code is known, the number of latents whose code (`posterior_mean`) has variance
        > 0.01 over the split (ddof 1; Burda et al. 2015, 1509.00519), of real parts or levels together;
      with `aggregate`, where q has a density at any z, of one level or of independent parts (of which the
        priors depend neither on each other nor on c): `mutual_information`, I_q, at most log n, with
        `mutual_information_se` over the z, `mutual_information_per_level` [L] of parts; and
        `marginal_kl` = `kl` - `mutual_information`, unless the prior depends on c.

    Raises:
      TypeError: an argument is of another kind, or the likelihood names no support.
      ValueError: the split has fewer than two examples, the likelihood cannot score its support, or the model
        wants a c that the split has not, or none.
    """
    key = enter(key, vae, split, progress=progress, least=2, batch_size=batch_size)
    if not isinstance(aggregate, bool):
        check_positive_int(aggregate, "aggregate")
    batch_size = min(batch_size, split.size)
    draw, _ = traced(key, vae, split, batch_size)
    of_batch = program(_jitted_parts, split.transform, bool(aggregate), key, vae)
    parts = per_example(of_batch, split, batch_size, progress)
    result = _summarise(parts)
    if aggregate:
        known = information(key, vae, split, draw, parts, aggregate, batch_size, progress)
        if known.pop("has_marginal", False):
            known["marginal_kl"] = result["kl"] - known["mutual_information"]
        result |= known
    return result


def _parts(
    transform: Callable[[Array, Batch], Batch], with_latents: bool, key: Array, vae: VAE, batch: Batch
) -> dict[str, Any]:
    """What is kept of every example, each [B, ...]; the names say what kind q and p are of."""
    draw = sample(named_key(key, "sample"), vae, transformed(transform, key, batch))
    several = isinstance(draw.q, tuple)
    closed = all(has_closed_form(q, p) for q, p, *_ in levels_of(draw))
    parts = {
        "reconstruction": reconstruction(key, vae, draw),
        "kl" if closed else "kl_sampled": kl(key, vae, draw),
    }
    if with_latents:
        parts |= {"z": scored_at(draw), "log_q": draw.log_q}
        if is_diagonal_gaussian(draw.q, of_any_shape=True):
            parts |= {"loc": draw.q.mean(), "scale": draw.q.stddev()}
    if several:
        parts["kl_per_level"] = kl_per_level(draw)
        parts |= _of_levels(draw)
    else:
        parts |= _of_one_level(draw)
    code = _real_codes(vae, draw)
    return parts if code is None else {**parts, "code": code}


def _of_levels(draw: Draw) -> dict[str, Any]:
    """What several levels or parts have, if each is a product over latents."""
    z = scored_at(draw)
    each = zip(draw.q, draw.p, z, strict=True) if isinstance(z, tuple) else ()
    rates = tuple(kl_per_dimension_or_sampled(*level) for level in each)
    return {"kl_per_dimension": rates} if rates and all(rate is not None for rate in rates) else {}


def _of_one_level(draw: Draw) -> dict[str, Array]:
    """What one q has and levels have not."""
    parts = {}
    if has_kl_per_dimension(draw.q, draw.p):
        parts["kl_per_dimension"] = kl_per_dimension(draw.q, draw.p)
    if is_real(draw.q, draw.z):
        zeros = jnp.zeros_like(draw.z)
        normal = diagonal_gaussian(zeros, zeros + 1, zeros.ndim - 1)
        log_normal = normal.log_prob(draw.z)
        parts["kl_standard_normal"] = kl_or_sampled(draw.q, normal, draw.log_q, log_normal)
    return parts


def _real_codes(vae: VAE, draw: Draw) -> Array | None:
    """The codes of all real numbers among the latents in a row, [B, d]; None where there is none."""
    try:
        code = code_of(vae, draw.batch, draw)
    except TypeError:
        if vae.represent is not None:
            raise
        return None  # q knows no mean, or is several levels
    levels = zip(code, draw.q, draw.z, strict=True) if isinstance(draw.z, tuple) else [(code, draw.q, draw.z)]
    real = [flat(one) for one, q, z in levels if is_real(q, z)]
    return jnp.concatenate(real, axis=1) if real else None


# The boundary of the evaluation. One object for the life of the process: a validation in every epoch
# finds the program of the first one.
_jitted_parts = jax.jit(_parts, static_argnums=(0, 1))


def _summarise(parts: dict[str, Any]) -> dict[str, Any]:
    rec = parts["reconstruction"].astype(np.float64)
    analytic = "kl" in parts
    rate = parts["kl" if analytic else "kl_sampled"].astype(np.float64)
    result: dict[str, Any] = {"n": len(rec), "kl_is_analytic": analytic}
    for name, values in (("reconstruction", rec), ("kl", rate), ("neg_elbo", rec + rate)):
        result |= mean_and_error(name, values)
    for name in ("kl_per_dimension", "kl_per_level"):
        if name in parts:
            result[name] = jax.tree.map(lambda a: a.astype(np.float64).mean(axis=0), parts[name])
    if "kl_standard_normal" in parts:
        result |= mean_and_error("kl_standard_normal", parts["kl_standard_normal"])
    if "code" in parts:
        variance = parts["code"].astype(np.float64).var(axis=0, ddof=1)
        result["active_units"] = int(np.sum(variance > ACTIVE_VARIANCE))
    return result
