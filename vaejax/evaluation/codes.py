"""The codes of a model: its posterior means."""

from __future__ import annotations

import jax

from vaejax.objectives import linearised
from vaejax.types import VAE, Array, Batch


def posterior_mean(vae: VAE, batch: Batch) -> Array:
    """E_q[z|x] of every example.

    `jax.jit(posterior_mean)` compiles once for all models of one shape.

    Args:
      vae: a bound model with one posterior.
      batch: {"x": [B, ...], "c"?: [B, ...]}, as the model eats it.

    Returns:
      [B, d].

    Raises:
      TypeError: the posterior has several levels, or knows no mean.
    """
    # encode wants a key for its draw of z; the mean of q(z|x) does not depend on it
    return linearised.posterior_mean(vae.encode(jax.random.key(0), batch))
