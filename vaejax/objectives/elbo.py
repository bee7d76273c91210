"""The two terms of the negative ELBO."""

from __future__ import annotations

from vaejax.distributions import kl_or_sampled
from vaejax.objectives.draw import over_levels
from vaejax.types import VAE, Array, Draw

__all__ = ["kl", "kl_sampled", "reconstruction"]


def reconstruction(key: Array, vae: VAE, draw: Draw) -> Array:
    """-log p(x|z) at the drawn z, [B] nats.

    Source: Kingma & Welling 2013, arXiv 1312.6114, eq. 7.
    """
    del key, vae
    return -draw.log_px


def kl(key: Array, vae: VAE, draw: Draw) -> Array:
    """KL(q(z|x) || p(z)), [B] nats, levels summed.

    In closed form for pairs of diagonal Gaussians or categoricals, else the one-sample estimate
    log q(z|x) - log p(z) (then it equals `kl_sampled`). Below the top of a hierarchy the closed form is
    conditional on the sampled parents.

    Source: Kingma & Welling 2013, arXiv 1312.6114, appendix B.
    """
    del key, vae
    if not isinstance(draw.q, tuple):
        return kl_or_sampled(draw.q, draw.p, draw.log_q, draw.log_p)
    levels = zip(draw.q, draw.p, draw.log_q, draw.log_p, strict=True)
    return over_levels([kl_or_sampled(*level) for level in levels])


def kl_sampled(key: Array, vae: VAE, draw: Draw) -> Array:
    """log q(z|x) - log p(z) at the drawn z: KL(q||p) by Monte Carlo, [B] nats, levels summed.

    Source: Kingma & Welling 2013, arXiv 1312.6114, eq. 6.
    """
    del key, vae
    return over_levels(draw.log_q) - over_levels(draw.log_p)
