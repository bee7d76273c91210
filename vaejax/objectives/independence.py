"""Terms that make latents independent: the parts of the KL, and a covariance."""

from __future__ import annotations

import jax.numpy as jnp

from vaejax.checks import check_choice, check_finite, check_positive_int, plain
from vaejax.distributions import is_diagonal_gaussian
from vaejax.objectives.compose import Term, logs, mixes_examples
from vaejax.objectives.elbo import kl
from vaejax.objectives.linearised import one_latent_array
from vaejax.ops import aggregate
from vaejax.types import VAE, Array, Draw

__all__ = ["beta_tc", "dip"]


def beta_tc(
    *, dataset_size: int, alpha: float = 1.0, beta: float = 6.0, gamma: float = 1.0, method: str = "mws"
) -> Term:
    """alpha I + beta TC + gamma DW: the KL, taken apart, with a weight for each part.

    I  = log q(z|x) - log q(z)               index-code mutual information
    TC = log q(z) - sum_j log q(z_j)         total correlation
    DW = sum_j log q(z_j) - log p(z)         dimension-wise KL

    at the drawn z, with q(z) = (1/N) sum_n q(z|x_n) estimated from the batch (`ops.aggregate.log_density`);
    with weights of 1 it is `kl_sampled`, whatever the estimate. It stands in the place of the KL, beside
    the reconstruction. One part alone, to log it or to give it a schedule, is this term with the other
    weights 0. A value means something only with its method: the paper's, "mws", puts TC too high by up to
    d log N - log B nats.

    Args:
      dataset_size: N, the number of training examples.
      alpha: the weight of I.
      beta: the weight of TC.
      gamma: the weight of DW.
      method: "mws", "mss" (unbiased densities, for batches of distinct examples), or "exact", where
        every batch is the whole data set.

    Returns:
      A term, [B] nats, that mixes examples; it logs `kl`, the true one.

    Raises:
      TypeError, ValueError: for a weight that is not a finite number, a dataset_size that is not a positive
        int, an unknown method; when called, for latents that are not one array [B, d] with a
        diagonal Gaussian posterior, and batches that `ops.aggregate.log_density` refuses.

    Source: Chen, Li, Grosse & Duvenaud 2018, arXiv 1802.04942, eq. 4.
    """
    check_positive_int(dataset_size, "dataset_size")
    check_choice(method, aggregate.METHODS, "method")
    for name, weight in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        check_finite(weight, name)
    alpha, beta, gamma = map(plain, (alpha, beta, gamma))

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        del key, vae
        loc, scale = _gaussian_posterior(draw)
        log_qz, marginals = aggregate.log_density(draw.z, loc, scale, dataset_size, method)
        log_product = jnp.sum(marginals, axis=-1)
        information = draw.log_q - log_qz
        correlation = log_qz - log_product
        dimension_wise = log_product - draw.log_p
        return alpha * information + beta * correlation + gamma * dimension_wise

    return mixes_examples(logs(term, kl=kl))


def dip(*, lam_od: float, lam_d: float, form: str = "i") -> Term:
    """lam_od sum_{i != j} S_ij^2 + lam_d sum_i (S_ii - 1)^2, S a covariance of codes over the batch.

    DIP-VAE-I has S = Cov(loc), DIP-VAE-II S = Cov(loc) + diag(mean scale^2). It stands beside the KL.

    Args:
      lam_od: the weight of the off-diagonal entries; the paper tries 1 to 500.
      lam_d: the weight of the diagonal ones; the paper's is 10 lam_od for form "i", lam_od for "ii".
      form: "i" or "ii".

    Returns:
      A term, scalar, that mixes examples.

    Raises:
      TypeError, ValueError: for a weight that is not a finite number, an unknown form; when called, for
        latents that are not one array [B, d] with a diagonal Gaussian posterior.

    Source: Kumar, Sattigeri & Balakrishnan 2018, arXiv 1711.00848.
    """
    check_choice(form, aggregate.FORMS, "form")
    for name, weight in (("lam_od", lam_od), ("lam_d", lam_d)):
        check_finite(weight, name)
    lam_od, lam_d = plain(lam_od), plain(lam_d)

    @mixes_examples
    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        del key, vae
        return aggregate.dip_penalty(*_gaussian_posterior(draw), lam_od, lam_d, form)

    return term


def _gaussian_posterior(draw: Draw) -> tuple[Array, Array]:
    """(loc, scale), each [B, d], of a diagonal Gaussian posterior over one level of vector latents."""
    one_latent_array(draw)
    if not is_diagonal_gaussian(draw.q):
        raise TypeError(f"q: expected a diagonal Gaussian posterior, got {type(draw.q).__name__}")
    return draw.q.mean(), draw.q.stddev()
