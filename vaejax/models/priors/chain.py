"""Parts of the latents that follow one another, each with a prior that sees the part before it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from vaejax.fixed import Fixed
from vaejax.keys import named_key
from vaejax.models.latents import Given, check_parts
from vaejax.models.priors.family import Around, Prior, no_parameters
from vaejax.models.priors.product import Parts, around_part, check_single
from vaejax.types import Array, Distribution, PyTree

__all__ = ["chain"]


def chain(*parts: Prior) -> Prior:
    """p(z) = p_0(z_0) prod_i p_i(z_i|z_{i-1}), for a `posteriors.product` of as many parts.

    From the second on, a prior takes the part before it for its condition: `conditional(net)`, `codes(net)`
    and `flow` do. Two grids of codes, the coarse one first, have the prior of VQ-VAE-2: the net of the fine
    codes sees the vectors of the coarse ones, with a `context` that brings them to its places. (There the
    encoder of the fine codes sees the coarse ones too, here x alone.) The first prior sees the model's
    condition, where there is one.

    log p and p of a draw are those along its path, the KL of a part that of the drawn part before it.

    Args:
      *parts: two priors or more, none of them of several parts.

    Returns:
      A Prior; the parameters of part i are its own under the name str(i).

    Raises:
      TypeError, ValueError: for fewer than two parts, or anything but a Prior of one part; when a model is
        initialised, for latents of another number of parts.

    Source: Razavi, van den Oord & Vinyals 2019, arXiv 1906.00446 (VQ-VAE-2), section 3.2.
    """
    check_parts(parts, Prior)
    check_single(parts)
    learns = any(part.init != no_parameters for part in parts)
    init = Fixed(_init, parts) if learns else no_parameters
    return Prior("chain", Fixed(_build, parts), init, {"parts": parts})


def _init(parts: Parts, key: Array, around: Around) -> dict[str, Any]:
    own = {}
    for i, part in enumerate(parts):
        of_part = around_part(around, parts, i)
        if i:
            of_part = of_part._replace(c=jnp.zeros((1, *around.event[i - 1])))
        if part.init != no_parameters:
            own[str(i)] = part.init(named_key(key, f"/{i}"), of_part)
    return own


def _build(parts: Parts, own: PyTree, around: Around) -> tuple[Distribution | Given, ...]:
    """The first prior, and those of the others as functions of the part before."""
    first, *rest = (
        Given(part.build, own.get(str(i), {}), around_part(around, parts, i)) for i, part in enumerate(parts)
    )
    return first.of(around.c), *rest
