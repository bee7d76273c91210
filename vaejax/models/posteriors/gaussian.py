"""Gaussian posteriors."""

from __future__ import annotations

import jax.numpy as jnp

from vaejax.distributions import diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.models.posteriors.family import Posterior, shape_of
from vaejax.types import Array, Distribution, PyTree

__all__ = ["gaussian"]


def gaussian(latents: int | tuple[int, ...]) -> Posterior:
    """q(z|x) = N(loc(x), diag(exp(logvar(x)))): z = loc + exp(logvar / 2) eps, eps ~ N(0, I).

    The encoder gives (loc, logvar), each [*event], as `nets.MLPEncoder` does.

    Args:
      latents: d, or the shape of z for one example, such as (H, W, C).

    Returns:
      A Posterior without parameters of its own.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1.

    Source: Kingma & Welling 2013, arXiv 1312.6114.
    """
    event = shape_of(latents)
    return Posterior(
        "gaussian", event, (event, event), Fixed(_diagonal, len(event)), options={"latents": _given(event)}
    )


def _diagonal(event_ndims: int, own: PyTree, state: PyTree, parameters: tuple[Array, Array]) -> Distribution:
    del own, state
    loc, logvar = parameters
    return diagonal_gaussian(loc, jnp.exp(logvar / 2), event_ndims)


def _given(event: tuple[int, ...]) -> int | tuple[int, ...]:
    """The event as the option `latents`: a number where it is one axis."""
    return event[0] if len(event) == 1 else event
