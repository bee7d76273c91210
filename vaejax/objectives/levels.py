"""Terms of deep hierarchies: the KL balanced between levels, and the spectral norms of kernels."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int
from vaejax.objectives.compose import Term, logs, mixes_examples, sees_step
from vaejax.objectives.elbo import kl, kl_per_level
from vaejax.types import VAE, Array, Draw

__all__ = ["balanced_kl", "spectral"]


def balanced_kl(steps: int) -> Term:
    """sum_l gamma_l KL_l in the first steps, then the KL: levels that say little are let say more.

        gamma_l = L r_l / sum_m r_m,    r_l = mean_b KL_bl / (number of latents of level l)

    The weights are constants for the gradient and 1 in the mean: a level of few nats a latent pays less than
    its KL, one of many pays more, until all are in use. Where all KLs are 0 so are the weights. It belongs
    under the ramp of a warm-up, as `scaled(ramp_schedule(1.0, steps), balanced_kl(steps))`.

    Args:
      steps: of the warm-up, >= 1; from there on all weights are 1.

    Returns:
      A term in nats, [B], that mixes examples; it logs `kl`.

    Raises:
      TypeError, ValueError: for steps that are no int of at least 1.

    Source: Vahdat & Kautz 2020, arXiv 2007.03898, appendix A. It has weights proportional to the size of a
    level; its author says that they are proportional to 1 / size (NVlabs/NVAE, issue 26), as in Vahdat et al.
    2018, arXiv 1802.04920, appendix H, which he names.
    """
    check_positive_int(steps, "steps")
    steps = int(steps)

    @mixes_examples
    @sees_step
    def term(key: Array, vae: VAE, draw: Draw, step: Array) -> Array:
        del key, vae
        rates = kl_per_level(draw)
        sizes = [math.prod(q.event_shape) for q in (draw.q if isinstance(draw.q, tuple) else (draw.q,))]
        r = jax.lax.stop_gradient(jnp.abs(jnp.mean(rates, axis=0))) / jnp.asarray(sizes, rates.dtype)
        total = jnp.sum(r)  # an estimate may be negative, a weight must not
        gamma = len(sizes) * r / jnp.where(total > 0, total, 1)
        return jnp.sum(jnp.where(step < steps, gamma, 1) * rates, axis=1)

    return logs(term, kl=kl)


def spectral(key: Array, vae: VAE, draw: Draw) -> Array:
    """sum_l sigma_max(W_l) over the kernels of a model that `models.spectral` has made, [B], all the same.

    Scaled by lam it holds the nets' slopes, and with them the KL of a deep hierarchy. Not the singular value
    of the decoder's Jacobian, which is `spectral_norm`.

    Raises:
      ValueError: for a draw of another model.

    Source: Vahdat & Kautz 2020, arXiv 2007.03898, section 3.2; Yoshida & Miyato 2017, arXiv 1705.10941.
    """
    del key, vae
    extra = draw.extra or {}
    if "spectral" not in extra:
        raise ValueError(
            f"draw: expected `extra` with 'spectral', as of models.spectral(model); got {sorted(extra)}"
        )
    return extra["spectral"]
