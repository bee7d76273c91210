"""Families of p(z) and p(z|c)."""

from vaejax.models.priors.family import Around, Prior
from vaejax.models.priors.gaussian import standard

__all__ = ["Around", "Prior", "standard"]
