"""The cost of a prior on a decoder's mask."""

from __future__ import annotations

from vaejax.types import VAE, Array, Draw

__all__ = ["spike_and_slab"]


def spike_and_slab(key: Array, vae: VAE, draw: Draw) -> Array:
    """-log p(W | eta) / N of a model that `models.spike_and_slab` has made, nats, [B], all the same.

    Beside the ELBO it makes the loss -1/N of the log-posterior, where N is the size of the training set: with
    more data the prior counts for less. Its gradient in W is the paper's, of (1/N) sum_jk (p_jk lam1 +
    (1 - p_jk) lam0) |W_jk|, with p held; its value is that of the density, so it may be negative.

    Raises:
      ValueError: for a draw of another model.

    Source: Moran et al. 2021, arXiv 2110.10804, section 3.
    """
    del key, vae
    extra = draw.extra or {}
    if "spike_and_slab" not in extra:
        raise ValueError(
            "draw: expected `extra` with 'spike_and_slab', as of models.spike_and_slab(model); "
            f"got {sorted(extra)}"
        )
    return extra["spike_and_slab"]
