"""Gaussian posteriors of a level, relative to the prior that the levels above make."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from vaejax.distributions import is_diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.models.posteriors.family import Posterior, as_option, draw_and_score, shape_of
from vaejax.models.posteriors.gaussian import diagonal
from vaejax.ops import hierarchy
from vaejax.types import Array, Distribution

__all__ = ["ladder", "residual"]

Rule = Callable[[Array, Array, Array, Array], tuple[Array, Array]]


def ladder(latents: int | tuple[int, ...]) -> Posterior:
    """The encoder's N(loc, v) times the prior's N(loc_p, v_p): q = N(loc_q, v_q), 1/v_q = 1/v + 1/v_p.

    `ops.hierarchy.precision_weighted`. The encoder gives (loc, logvar), each [*event], of x alone. The
    paper's top level has no merge: `gaussian(latents)`.

    Args:
      latents: d, or the shape of z for one example, such as (H, W, C).

    Returns:
      A Posterior without parameters of its own.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1; when a model is initialised, for a
        prior that is no diagonal Gaussian.

    Source: Sonderby et al. 2016, arXiv 1602.02282 (ladder VAE).
    """
    return _relative_to_prior("ladder", hierarchy.precision_weighted, latents)


def residual(latents: int | tuple[int, ...]) -> Posterior:
    """q = N(loc_p + dloc, v_p exp(dlogvar)) around the prior's N(loc_p, v_p): what x adds to what is above.

    `ops.hierarchy.residual`. The encoder gives (dloc, dlogvar), each [*event]; where they are 0, q = p.

    Args:
      latents: d, or the shape of z for one example, such as (H, W, C).

    Returns:
      A Posterior without parameters of its own.

    Raises:
      TypeError, ValueError: as for `ladder`.

    Source: Vahdat & Kautz 2020, arXiv 2007.03898, section 3.2 (NVAE).
    """
    return _relative_to_prior("residual", hierarchy.residual, latents)


def _relative_to_prior(name: str, rule: Rule, latents: int | tuple[int, ...]) -> Posterior:
    event = shape_of(latents)
    return Posterior(
        name, event, (event, event), Fixed(diagonal, len(event)), relative=Fixed(_merged, name, rule),
        draw=draw_and_score, options={"latents": as_option(event)},
    )  # fmt: skip


def _merged(name: str, rule: Rule, parameters: tuple[Array, Array], p: Distribution) -> tuple[Array, Array]:
    if not is_diagonal_gaussian(p, of_any_shape=True):
        raise ValueError(
            f"prior: expected a diagonal Gaussian, to which the posterior {name} is relative; got {p.name}"
        )
    loc, logvar = parameters
    of_p = (jnp.broadcast_to(a, loc.shape) for a in (p.mean(), 2 * jnp.log(p.stddev())))
    return rule(loc, logvar, *of_p)
