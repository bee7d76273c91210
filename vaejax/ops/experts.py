"""Gaussian experts, one for each modality, multiplied."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaejax.checks import check_choice
from vaejax.types import Array

__all__ = ["product"]


def product(loc: Array, logvar: Array, present: Array, *, of: str = "likelihoods") -> tuple[Array, Array]:
    """N(0, I) and what the experts N(loc_m, v_m) that are present say of z, multiplied and normalised.

    Two things go by the name of expert, and two products. With `of="likelihoods"` an expert stands for a
    factor p(x_m|z) of the joint density, and

        1/v = 1 + sum_m 1/v_m,    loc = v sum_m loc_m / v_m

    With `of="posteriors"` it is p(z|x_m), of one modality alone, and has the prior in it. The product of all
    would count the prior M times too often, so each is divided by it:

        1/v = 1 + sum_m (1/v_m - 1),    loc = v sum_m loc_m / v_m

    Of exact experts of its kind each gives the exact p(z|x_1 .. x_M). Posteriors that are taken for factors
    are too sure: of two posteriors N(1, 1/2) the first makes N(4/5, 1/5), the second N(4/3, 1/3).

    Args:
      loc: [..., M, d].
      logvar: log v_m, [..., M, d]; for posteriors v_m <= 1, as with a prior N(0, I) it always is for exact
        ones: other values may leave no variance, and nan.
      present: [..., M], which experts there are; of none the product is N(0, I). What stands in the place
        of others, nan too, does not count.
      of: "likelihoods" or "posteriors".

    Returns:
      (loc, log v), each [..., d].

    Raises:
      ValueError: for another name.

    Source: Wu & Goodman 2018, arXiv 1802.05335.
    """
    check_choice(of, ("likelihoods", "posteriors"), "of")
    chex.assert_equal_shape([loc, logvar])
    there = (jnp.asarray(present) != 0)[..., None]
    there, loc, logvar = jnp.broadcast_arrays(there, loc, logvar)
    loc = jnp.where(there, loc, 0.0)  # before anything else: a gradient through nan is nan wherever it goes
    scores = jnp.where(there, -jnp.where(there, logvar, 0.0), -jnp.inf)
    # shares of the precision, the prior's first, and its logarithm: no 1 / v_m, which overflows first
    each = jnp.concatenate([jnp.zeros_like(scores[..., :1, :]), scores], axis=-2)
    share, log_precision = jax.nn.softmax(each, axis=-2), jax.nn.logsumexp(each, axis=-2)
    of_prior, of_experts = share[..., 0, :], share[..., 1:, :]
    loc = jnp.sum(of_experts * loc, axis=-2)
    if of == "posteriors":
        counted_once = 1 - jnp.sum(there, axis=-2) * of_prior
        loc, log_precision = loc / counted_once, log_precision + jnp.log(counted_once)
    return loc, -log_precision
