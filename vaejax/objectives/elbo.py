"""The two terms of the negative ELBO."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vaejax.distributions import Gaussian, kl_of_levels, mean, score
from vaejax.distributions.location_scale import root_mean_square
from vaejax.objectives.compose import mixes_examples
from vaejax.objectives.draw import levels_of, over_levels
from vaejax.types import VAE, Array, Draw

__all__ = ["cross_entropy", "kl", "kl_sampled", "optimal_gaussian_reconstruction", "reconstruction"]


def reconstruction(key: Array, vae: VAE, draw: Draw) -> Array:
    """-log p(x|z) at the drawn z, [B] nats.

    Source: Kingma & Welling 2013, arXiv 1312.6114, eq. 7.
    """
    del key, vae
    return -draw.log_px


@mixes_examples
def optimal_gaussian_reconstruction(key: Array, vae: VAE, draw: Draw) -> Array:
    """-log N(x; mu_x(z), sigma^2 I) with the one sigma that is best for the batch, [B] nats.

    sigma^2 = MSE = mean over the batch and all D dimensions of (x - mu_x)^2. The mean over the batch is
    D/2 (log(2 pi MSE) + 1), without a lower bound as MSE -> 0. Sigma is held constant in the
    gradient, which is still that of this mean: its derivative in sigma is 0 there.

    The scale of p(x|z) itself is not used; `models.optimal_scale` lets it follow the optimum.

    Raises:
      TypeError: if p(x|z) is not Gaussian.

    Source: Rybkin, Daniilidis & Levine 2020, arXiv 2006.13202.
    """
    del vae
    if not isinstance(draw.px, Gaussian):
        raise TypeError(f"optimal_gaussian_reconstruction: expected a Gaussian p(x|z), got {draw.px.name}")
    x, mu, observed = draw.batch["x"], mean(draw.px), draw.batch.get("observed")
    sigma = jax.lax.stop_gradient(root_mean_square(x, mu, observed))
    return -score(key, Gaussian(mu, sigma, mu.ndim - 1), x, observed)


def kl(key: Array, vae: VAE, draw: Draw) -> Array:
    """KL(q(z|x) || p(z)), [B] nats, levels summed.

    In closed form for pairs of diagonal Gaussians or categoricals, else the one-sample estimate
    log q(z|x) - log p(z) (then it equals `kl_sampled`). Below the top of a hierarchy the closed form is
    conditional on the sampled parents; of levels drawn from x upwards it is the estimate.

    Source: Kingma & Welling 2013, arXiv 1312.6114, appendix B.
    """
    del key, vae
    return jnp.sum(kl_of_levels(levels_of(draw)), axis=0)


def kl_per_level(draw: Draw) -> Array:
    """The same of every level or part, [B, L] nats; L is 1 where the latents have neither."""
    return kl_of_levels(levels_of(draw)).T


def cross_entropy(key: Array, vae: VAE, draw: Draw) -> Array:
    """-log p(z) at the drawn z, [B] nats, levels summed: what the KL asks of the prior.

    It fits a prior to codes that are frozen (`wrt=("prior",)`): its gradient there is that of `kl_sampled`.
    Of a deterministic encoder, whose KL is infinite, it is what holds the codes together.

    Source: Ghosh et al. 2020, arXiv 1903.12436; under N(0, I) it is their |z|^2 / 2 and a constant.
    """
    del key, vae
    return -over_levels(draw.log_p)


def kl_sampled(key: Array, vae: VAE, draw: Draw) -> Array:
    """log q(z|x) - log p(z) at the drawn z: KL(q||p) by Monte Carlo, [B] nats, levels summed.

    Source: Kingma & Welling 2013, arXiv 1312.6114, eq. 6.
    """
    del key, vae
    return over_levels(draw.log_q) - over_levels(draw.log_p)
