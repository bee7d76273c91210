"""Families of q(z|x): what the encoder gives, and the distribution that becomes of it."""

from vaejax.models.posteriors.codes import fsq, residual_vq, vq
from vaejax.models.posteriors.discrete import categorical
from vaejax.models.posteriors.experts import moe, mopoe, poe
from vaejax.models.posteriors.family import Drawn, Posterior
from vaejax.models.posteriors.flows import autoregressive, coupling, iaf, planar, radial, stack, sylvester
from vaejax.models.posteriors.gaussian import full, gaussian
from vaejax.models.posteriors.mixture import mixture
from vaejax.models.posteriors.point import point
from vaejax.models.posteriors.product import product
from vaejax.models.posteriors.relative import ladder, residual

__all__ = [
    "Drawn",
    "Posterior",
    "autoregressive",
    "categorical",
    "coupling",
    "fsq",
    "full",
    "gaussian",
    "iaf",
    "ladder",
    "mixture",
    "moe",
    "mopoe",
    "planar",
    "poe",
    "point",
    "product",
    "radial",
    "residual",
    "residual_vq",
    "stack",
    "sylvester",
    "vq",
]
