"""Builders: nets and distributions become a Model."""

from vaejax.models import posteriors, priors
from vaejax.models.feature_scales import feature_scales
from vaejax.models.heads import with_heads
from vaejax.models.hierarchy import hierarchical_vae
from vaejax.models.levels import Level
from vaejax.models.optimal_scale import optimal_scale
from vaejax.models.refined import refined
from vaejax.models.spec import from_spec
from vaejax.models.spectral import spectral
from vaejax.models.spike_and_slab import spike_and_slab
from vaejax.models.stages import codes_of, two_stage
from vaejax.models.start import glorot, in_float64, pseudo_inputs_from, starting_from
from vaejax.models.vae import gaussian_vae, vae
from vaejax.models.vdvae import vdvae

__all__ = [
    "Level",
    "codes_of",
    "feature_scales",
    "from_spec",
    "gaussian_vae",
    "glorot",
    "hierarchical_vae",
    "in_float64",
    "optimal_scale",
    "posteriors",
    "priors",
    "pseudo_inputs_from",
    "refined",
    "spectral",
    "spike_and_slab",
    "starting_from",
    "two_stage",
    "vae",
    "vdvae",
    "with_heads",
]
