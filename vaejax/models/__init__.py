"""Builders: nets and distributions become a Model."""

from vaejax.models import posteriors, priors
from vaejax.models.heads import with_heads
from vaejax.models.optimal_scale import optimal_scale
from vaejax.models.spec import from_spec
from vaejax.models.start import glorot, starting_from
from vaejax.models.vae import gaussian_vae, vae

__all__ = [
    "from_spec",
    "gaussian_vae",
    "glorot",
    "optimal_scale",
    "posteriors",
    "priors",
    "starting_from",
    "vae",
    "with_heads",
]
