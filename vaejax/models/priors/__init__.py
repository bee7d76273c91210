"""Families of p(z) and p(z|c)."""

from vaejax.models.priors.discrete import categorical, uniform
from vaejax.models.priors.family import Around, Prior
from vaejax.models.priors.gaussian import standard
from vaejax.models.priors.mixture import gaussian_mixture, vamp

__all__ = ["Around", "Prior", "categorical", "gaussian_mixture", "standard", "uniform", "vamp"]
