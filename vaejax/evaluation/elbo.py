"""The ELBO of a split and its parts; what the latents carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vaejax.distributions import has_closed_form, has_kl_per_dimension, is_diagonal_gaussian, kl_per_dimension
from vaejax.evaluation.batches import mean_and_error, per_example, transformed
from vaejax.evaluation.entry import enter, program, traced
from vaejax.keys import named_key
from vaejax.objectives import kl, reconstruction, sample
from vaejax.ops.aggregate import ACTIVE_VARIANCE, streamed_log_density
from vaejax.types import VAE, Array, Batch, Progress, Split


def elbo_parts(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    batch_size: int = 256,
    aggregate: bool = True,
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

    Args:
      key: typed PRNG key.
      vae: a bound model.
      split: the examples; its transform runs first.
      batch_size: examples at a time.
      aggregate: also take the pass over q(z), N^2 evaluations of q(z|x).
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`; means over the split in nats and their standard errors over examples: `reconstruction`,
      `reconstruction_se`, `kl`, `kl_se`, `neg_elbo`, `neg_elbo_se`; `kl_is_analytic`, whether the kl is
      the closed form at every level or has a one-sample estimate in it. Where q and p have a closed form
      (one level): `kl_per_dimension` [d]. Where q is a diagonal Gaussian: `active_units`, the number of
      latents whose posterior mean has variance > 0.01 over the split (ddof 1; Burda et al. 2015,
      1509.00519), and with `aggregate` `mutual_information` (at most log n) and `marginal_kl`, whose sum
      is `kl` (meant for a prior that does not depend on c).

    Raises:
      TypeError: an argument is of another kind, or the likelihood names no support.
      ValueError: the split has fewer than two examples, or the likelihood cannot score its support.
    """
    key = enter(key, vae, split, progress=progress, least=2, batch_size=batch_size)
    batch_size = min(batch_size, split.size)
    traced(key, vae, split, batch_size)
    of_batch = program(_jitted_parts, split.transform, key, vae)
    return _summarise(per_example(of_batch, split, batch_size, progress), aggregate)


def _parts(
    transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE, batch: Batch
) -> dict[str, Array]:
    """What is kept of every example, each [B, ...]; the names say what kind q and p are of."""
    draw = sample(named_key(key, "sample"), vae, transformed(transform, key, batch))
    form = "kl" if _is_analytic(draw.q, draw.p) else "kl_sampled"
    parts = {"reconstruction": reconstruction(key, vae, draw), form: kl(key, vae, draw)}
    if isinstance(draw.q, tuple):
        return parts
    if has_kl_per_dimension(draw.q, draw.p):
        parts["kl_per_dimension"] = kl_per_dimension(draw.q, draw.p)
    if is_diagonal_gaussian(draw.q):
        parts |= {"loc": draw.q.mean(), "scale": draw.q.stddev(), "z": draw.z, "log_q": draw.log_q}
    return parts


# The boundary of the evaluation. One object for the life of the process: a validation in every epoch
# finds the program of the first one.
_jitted_parts = jax.jit(_parts, static_argnums=0)
_jitted_aggregate = jax.jit(streamed_log_density)


def _summarise(parts: dict[str, np.ndarray], aggregate: bool) -> dict[str, Any]:
    rec = parts["reconstruction"].astype(np.float64)
    analytic = "kl" in parts
    rate = parts["kl" if analytic else "kl_sampled"].astype(np.float64)
    result: dict[str, Any] = {"n": len(rec), "kl_is_analytic": analytic}
    for name, values in (("reconstruction", rec), ("kl", rate), ("neg_elbo", rec + rate)):
        result |= mean_and_error(name, values)
    if "kl_per_dimension" in parts:
        result["kl_per_dimension"] = parts["kl_per_dimension"].astype(np.float64).mean(axis=0)
    if "loc" not in parts:
        return result
    variance = parts["loc"].astype(np.float64).var(axis=0, ddof=1)
    result["active_units"] = int(np.sum(variance > ACTIVE_VARIANCE))
    if aggregate:
        log_qz = np.asarray(_jitted_aggregate(parts["z"], parts["loc"], parts["scale"]))
        gain = parts["log_q"].astype(np.float64) - log_qz
        result["mutual_information"] = float(gain.mean())
        result["marginal_kl"] = result["kl"] - result["mutual_information"]
    return result


def _is_analytic(q: Any, p: Any) -> bool:
    """Whether every level has a closed-form KL."""
    return all(map(has_closed_form, q, p)) if isinstance(q, tuple) else has_closed_form(q, p)
