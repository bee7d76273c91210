"""Gaussian priors."""

from __future__ import annotations

import jax.numpy as jnp

from vaejax.distributions import diagonal_gaussian
from vaejax.models.priors.family import Around, Prior, one_event
from vaejax.types import Distribution, PyTree

__all__ = ["standard"]


def standard() -> Prior:
    """p(z) = N(0, I), for latents of any shape; it learns nothing."""
    return Prior("standard", _standard)


def _standard(own: PyTree, around: Around) -> Distribution:
    del own
    loc = jnp.zeros(one_event(around, "standard()"), around.dtype)
    return diagonal_gaussian(loc, jnp.ones_like(loc), loc.ndim)
