"""Importance-weighted bounds as costs."""

from __future__ import annotations

import jax

from vaejax.checks import check_positive_int
from vaejax.objectives.compose import Term
from vaejax.objectives.draw import log_weight, sample
from vaejax.ops.bounds import importance_bound
from vaejax.types import VAE, Array, Draw

__all__ = ["iwae"]


def iwae(K: int) -> Term:
    """The negative importance-weighted bound, with K samples of its own per example.

    -L_K = -log (1/K) sum_k p(x, z_k) / q(z_k|x). The value is the bound itself, vectorised over K by
    `vmap`; memory is K times a decoder pass.

    Args:
      K: number of samples, >= 1; K = 1 is the sampled negative ELBO.

    Returns:
      A term, [B] nats.

    Raises:
      TypeError, ValueError: if K is not an int of at least 1. When called: TypeError for a likelihood
        that is itself a bound.

    Source: Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519, eq. 8.
    """
    check_positive_int(K, "K")

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        if getattr(draw.px, "is_bound", False):
            raise TypeError(f"iwae: expected an exact log p(x|z), got a bound ({draw.px.name})")
        keys = jax.random.split(key, K)
        log_w = jax.vmap(lambda k: log_weight(sample(k, vae, draw.batch)))(keys)  # [K, B]
        return -importance_bound(log_w, axis=0)

    return term
