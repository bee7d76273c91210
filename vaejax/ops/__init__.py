"""Mathematics on arrays; jax and chex only."""

from vaejax.ops import bounds, interpolation, jacobian, kl

__all__ = ["bounds", "interpolation", "jacobian", "kl"]
