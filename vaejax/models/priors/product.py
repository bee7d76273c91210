"""Independent parts of the latents, each with a prior of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.tree_util import Partial

from vaejax.fixed import Fixed
from vaejax.keys import named_key
from vaejax.models.latents import check_parts, in_parts
from vaejax.models.priors.family import Around, Prior, no_parameters
from vaejax.types import Array, Distribution, PyTree

__all__ = ["product"]

Parts = tuple[Prior, ...]


def product(*parts: Prior) -> Prior:
    """p(z) = prod_i p_i(z_i), for a `posteriors.product` of as many parts.

    Args:
      *parts: two priors or more, none of them a product.

    Returns:
      A Prior; the parameters of part i are its own under the name str(i).

    Raises:
      TypeError, ValueError: for fewer than two parts, or anything but a Prior of one part; when a model is
        initialised, for latents of another number of parts.
    """
    check_parts(parts, Prior)
    check_single(parts)
    learns = any(part.init != no_parameters for part in parts)
    init = Fixed(_init, parts) if learns else no_parameters
    return Prior("product", Fixed(_build, parts), init, {"parts": parts})


def check_single(parts: Parts) -> None:
    """Raise unless each is a prior of one part."""
    several = [part.name for part in parts if part.name in ("chain", "product")]
    if several:
        raise ValueError(f"parts: expected priors of one part each, got a {several[0]} among them")


def _init(parts: Parts, key: Array, around: Around) -> dict[str, Any]:
    return {
        str(i): part.init(named_key(key, f"/{i}"), around_part(around, parts, i))
        for i, part in enumerate(parts)
        if part.init != no_parameters
    }


def _build(parts: Parts, own: PyTree, around: Around) -> tuple[Distribution, ...]:
    return tuple(
        part.build(own.get(str(i), {}), around_part(around, parts, i)) for i, part in enumerate(parts)
    )


def around_part(around: Around, parts: Parts, i: int) -> Around:
    """What the prior of part i sees."""
    event = around.event
    if not in_parts(event) or len(event) != len(parts):
        got = f"{len(event)} parts" if in_parts(event) else "one"
        raise ValueError(f"prior: expected latents in {len(parts)} parts, as posteriors.product; got {got}")
    shared = None if around.shared is None else around.shared[i]
    return around._replace(event=event[i], build=Partial(Fixed(_part_of, i), around.build), shared=shared)


def _part_of(i: int, build: Callable, parameters: PyTree) -> Distribution:
    return build(parameters)[i]
