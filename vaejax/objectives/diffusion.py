"""What a diffusion decoder is often trained on, which is no bound."""

from __future__ import annotations

from vaejax.distributions import Diffusion
from vaejax.keys import example_keys, named_key
from vaejax.objectives.draw import times_of
from vaejax.types import VAE, Array, Draw

__all__ = ["denoising_error"]


def denoising_error(key: Array, vae: VAE, draw: Draw) -> Array:
    """E||eps - eps_hat(u_t, z)||^2 over a uniform time t: the "simple loss" of a diffusion decoder.

    It weighs all times alike, where `reconstruction` of such a decoder weighs them by g'(t) / 2 and adds what
    the ends of the chain cost. It is no bound on log p(x|z), and not in nats: for samples that look well, not
    for numbers that are compared.

    Args:
      key: for the times and the noise.
      vae: a bound model.
      draw: with a p(x|z) from `distributions.diffusion`.

    Returns:
      [B].

    Raises:
      TypeError: for another p(x|z).

    Source: Ho, Jain & Abbeel 2020, arXiv 2006.11239, eq. 14.
    """
    del vae
    px = draw.px
    if not isinstance(px, Diffusion):
        raise TypeError(f"denoising_error: expected p(x|z) by a diffusion, got {type(px).__name__}")
    times = times_of(key, draw.batch) if px.spreads_times else None
    return px.denoising_error(example_keys(named_key(key, "/denoising"), draw.batch), draw.batch["x"], times)
