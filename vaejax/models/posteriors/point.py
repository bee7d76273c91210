"""Codes without noise."""

from __future__ import annotations

from vaejax.distributions import Point
from vaejax.fixed import Fixed
from vaejax.models.posteriors.family import Posterior, as_option, shape_of
from vaejax.types import Array, PyTree

__all__ = ["point"]


def point(latents: int | tuple[int, ...]) -> Posterior:
    """A deterministic encoder: z is what it gives, [*event].

    There is no bound on log p(x): log q(z|x), the KL and log-weights are infinite.

    A regularised autoencoder (RAE) is `reconstruction` + beta `cross_entropy` + lam `jacobian_l2`, with
    `priors.standard()`, under which the second is |z|^2 / 2 and a constant. Its density of codes is another
    prior, fitted afterwards to the frozen codes by `cross_entropy` alone with `wrt=("prior",)`.

    Args:
      latents: d, or the shape of z for one example, such as (H, W, C).

    Returns:
      A Posterior without parameters of its own.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1.

    Source: Ghosh et al. 2020, arXiv 1903.12436.
    """
    event = shape_of(latents)
    return Posterior("point", event, event, Fixed(_point, len(event)), options={"latents": as_option(event)})


def _point(event_ndims: int, own: PyTree, state: PyTree, parameters: Array) -> Point:
    del own, state
    return Point(parameters, event_ndims)
