"""Gaussian posteriors."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int, plain
from vaejax.distributions import FullGaussian, diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.models.posteriors.family import Posterior, as_option, draw_and_score, shape_of
from vaejax.types import Array, Distribution, PyTree

__all__ = ["full", "gaussian"]


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
    build, options = Fixed(diagonal, len(event)), {"latents": as_option(event)}
    return Posterior("gaussian", event, (event, event), build, draw=draw_and_score, options=options)


def full(latents: int) -> Posterior:
    """q(z|x) = N(loc(x), L(x) L(x)^T), L lower triangular, exp(logvar / 2) on its diagonal: z = loc + L eps.

    The encoder gives (loc, logvar, lower): [d], [d] and the d (d - 1) / 2 entries of L below its diagonal,
    row by row, as nets.MLPEncoder(d, features, context=d * (d - 1) // 2) does.

    Args:
      latents: d, >= 2.

    Returns:
      A Posterior without parameters of its own.

    Raises:
      TypeError, ValueError: for anything but an int of at least 2.

    Source: Kingma & Welling 2019, arXiv 1906.02691, section 2.5.1 (there with a mask and a diagonal apart).
    """
    check_positive_int(latents, "latents")
    d = plain(latents)
    if d < 2:
        raise ValueError("latents: expected at least 2, of 1 the covariance is diagonal; got 1")
    return Posterior("full", (d,), ((d,), (d,), (d * (d - 1) // 2,)), _full, options={"latents": d})


def _full(own: PyTree, state: PyTree, parameters: tuple[Array, Array, Array]) -> Distribution:
    del own, state
    loc, logvar, lower = parameters
    d = loc.shape[-1]
    tril = jnp.zeros((*loc.shape, d), loc.dtype).at[..., *np.tril_indices(d, -1)].set(lower)
    return FullGaussian(loc, tril.at[..., *np.diag_indices(d)].set(jnp.exp(logvar / 2)))


def diagonal(event_ndims: int, own: PyTree, state: PyTree, parameters: tuple[Array, Array]) -> Distribution:
    """The `build` of (loc, logvar)."""
    del own, state
    loc, logvar = parameters
    return diagonal_gaussian(loc, jnp.exp(logvar / 2), event_ndims)
