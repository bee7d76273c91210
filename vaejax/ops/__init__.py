"""Mathematics on arrays; jax and chex only."""

from vaejax.ops import bounds, chunks, interpolation, jacobian, kl, metric, probes

__all__ = ["bounds", "chunks", "interpolation", "jacobian", "kl", "metric", "probes"]
