"""Independent parts of the latents, each with a family of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.fixed import Fixed
from vaejax.keys import named_key
from vaejax.models.latents import check_parts, in_parts
from vaejax.models.posteriors.family import Drawn, Posterior, no_parameters, nothing_shared
from vaejax.types import Array, Batch, Distribution, PyTree

__all__ = ["product"]

Parts = tuple[Posterior, ...]


def product(*parts: Posterior) -> Posterior:
    """q(z|x) = prod_i q_i(z_i|x): z, q and log q are tuples, in the order of the parts.

    The encoder gives a tuple of what each part needs, as `nets.Heads` does; the decoder's net eats the parts
    flattened, side by side, [..., sum of sizes]. Its prior is `priors.product` of as many.

    Args:
      *parts: two families or more, none of them a product.

    Returns:
      A Posterior; the parameters and the state of part i are its own under the name str(i). What parts give
      for `Draw.extra` keeps its names; what several give is a tuple of theirs, in the order of the parts.

    Raises:
      TypeError, ValueError: for fewer than two parts, or anything but a Posterior of one part.

    Source: Dupont 2018, arXiv 1804.00104 (JointVAE: Gaussian and categorical latents).
    """
    check_parts(parts, Posterior)
    if any(in_parts(part.event) for part in parts):
        raise ValueError("parts: expected families of one part each, got a product among them")
    learns = any(part.init != no_parameters for part in parts)
    shares = any(part.shared != nothing_shared for part in parts)
    return Posterior(
        "product",
        tuple(part.event for part in parts),
        tuple(part.parameters for part in parts),
        Fixed(_build, parts),
        init=Fixed(_init, parts) if learns else no_parameters,
        relative=Fixed(_relative, parts),
        draw=_draw,
        code=Fixed(_code, parts),
        inputs=Fixed(_inputs, parts),
        shared=Fixed(_shared, parts) if shares else nothing_shared,
        options={"parts": parts},
    )


def _own(trees: PyTree, i: int, absent: Any) -> PyTree:
    """The parameters or the state of part i, `absent` where it has none."""
    return absent if trees is None else trees.get(str(i), absent)


def _named(trees: list[PyTree]) -> dict[str, PyTree]:
    """What the parts have, by place; without those that have nothing."""
    return {str(i): tree for i, tree in enumerate(trees) if jax.tree.leaves(tree)}


def _init(parts: Parts, key: Array, parameters: PyTree) -> tuple[dict[str, Any], PyTree]:
    made = [
        part.init(named_key(key, f"/{i}"), of)
        for i, (part, of) in enumerate(zip(parts, parameters, strict=True))
    ]
    owns, states = zip(*made, strict=True)
    return _named(list(owns)), _named(list(states)) or None


def _build(parts: Parts, own: PyTree, state: PyTree, parameters: PyTree) -> tuple[Distribution, ...]:
    return tuple(
        part.build(_own(own, i, {}), _own(state, i, None), of)
        for i, (part, of) in enumerate(zip(parts, parameters, strict=True))
    )


def _relative(parts: Parts, parameters: PyTree, p: PyTree) -> tuple[PyTree, ...]:
    return tuple(part.relative(of, at) for part, of, at in zip(parts, parameters, p, strict=True))


def _draw(
    posterior: Posterior, own: PyTree, state: PyTree, parameters: PyTree, key: Array, batch: Batch, step: Any
) -> Drawn:
    """Each part by its own draw, with noise of its own."""
    drawn, states = [], []
    for i, (part, of) in enumerate(zip(posterior.options["parts"], parameters, strict=True)):
        before = _own(state, i, None)
        one = part.draw(part, _own(own, i, {}), before, of, named_key(key, f"/{i}"), batch, step)
        drawn.append(one)
        states.append(before if one.state is None else one.state)
    z, log_q, q = (tuple(getattr(one, name) for one in drawn) for name in ("z", "log_q", "q"))
    moved = any(one.state is not None for one in drawn)
    point = tuple(one.z if one.point is None else one.point for one in drawn)
    elsewhere = any(one.point is not None for one in drawn)
    extra = _gathered([one.extra or {} for one in drawn])
    return Drawn(z, log_q, q, _named(states) if moved else None, extra or None, point if elsewhere else None)


def _gathered(extras: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What the parts give beside z; a tuple where several give the same."""
    names = {name: [extra[name] for extra in extras if name in extra] for extra in extras for name in extra}
    return {name: tuple(given) if len(given) > 1 else given[0] for name, given in names.items()}


def _code(parts: Parts, q: tuple[Distribution, ...]) -> tuple[PyTree, ...]:
    return tuple(part.code(of) for part, of in zip(parts, q, strict=True))


def _inputs(parts: Parts, z: tuple[PyTree, ...]) -> Array:
    lead = z[0].shape[: z[0].ndim - len(parts[0].event)]
    return jnp.concatenate(
        [part.inputs(a).reshape(*lead, -1) for part, a in zip(parts, z, strict=True)], axis=-1
    )


def _shared(parts: Parts, own: PyTree, state: PyTree) -> tuple[Any, ...]:
    return tuple(part.shared(_own(own, i, {}), _own(state, i, None)) for i, part in enumerate(parts))
