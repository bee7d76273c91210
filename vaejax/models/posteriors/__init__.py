"""Families of q(z|x): what the encoder gives, and the distribution that becomes of it."""

from vaejax.models.posteriors.family import Drawn, Posterior
from vaejax.models.posteriors.flows import autoregressive, coupling, iaf, planar, radial, stack, sylvester
from vaejax.models.posteriors.gaussian import full, gaussian
from vaejax.models.posteriors.product import product

__all__ = [
    "Drawn",
    "Posterior",
    "autoregressive",
    "coupling",
    "full",
    "gaussian",
    "iaf",
    "planar",
    "product",
    "radial",
    "stack",
    "sylvester",
]
