"""Builders: nets and distributions become a Model."""

from vaejax.models.gaussian import gaussian_vae
from vaejax.models.heads import with_heads
from vaejax.models.optimal_scale import optimal_scale
from vaejax.models.spec import from_spec
from vaejax.models.start import glorot, starting_from

__all__ = ["from_spec", "gaussian_vae", "glorot", "optimal_scale", "starting_from", "with_heads"]
