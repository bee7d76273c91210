"""Families of p(z) and p(z|c)."""

from vaejax.models.priors.chain import chain
from vaejax.models.priors.codes import codes
from vaejax.models.priors.discrete import categorical, uniform
from vaejax.models.priors.family import Around, Prior
from vaejax.models.priors.flow import flow
from vaejax.models.priors.gaussian import conditional, standard
from vaejax.models.priors.mixture import gaussian_mixture, vamp
from vaejax.models.priors.product import product

__all__ = [
    "Around",
    "Prior",
    "categorical",
    "chain",
    "codes",
    "conditional",
    "flow",
    "gaussian_mixture",
    "product",
    "standard",
    "uniform",
    "vamp",
]
