"""The record of a layer, a chain of layers, and the scan over the equal steps of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.fixed import Fixed
from vaejax.keys import named_key
from vaejax.types import Array, PyTree

__all__ = ["Layer", "chained", "inverted", "scanned"]


@dataclass(frozen=True)
class Layer:
    """Invertible maps of z [..., d], with parameters from outside, of their own, or both.

    `numbers`: how many come from outside for an example, 0 for none: an encoder's, which parametrise the maps
      or are the context of their nets.
    `init(key, given) -> own`: parameters of its own, a dict; `given` [numbers], or None. None if it has none.
    `forward(own, given, z) -> (f(z), log|det|)`, for z [..., d] and given [..., numbers] or None, whose
      leading axes broadcast against those of z; `inverse(own, given, y) -> (z, log|det dz/dy|)`.

    Layers of equal options are equal.
    """

    numbers: int
    init: Callable[..., dict[str, Any]] | None
    forward: Callable[..., tuple[Array, Array]]
    inverse: Callable[..., tuple[Array, Array]]


def inverted(layer: Layer) -> Layer:
    """The same maps the other way round: what was cheap to sample is cheap to score."""
    return Layer(layer.numbers, layer.init, layer.inverse, layer.forward)


def chained(*layers: Layer) -> Layer:
    """One layer after the other, with z reversed between any two; the numbers from outside in their order."""
    return Layer(
        sum(layer.numbers for layer in layers),
        Fixed(_init, layers) if any(layer.init for layer in layers) else None,
        Fixed(_through, layers, False),
        Fixed(_through, layers, True),
    )


def _init(layers: tuple[Layer, ...], key: Array, given: Array | None) -> dict[str, Any]:
    return {
        str(n): layer.init(named_key(key, f"/{n}"), part)
        for n, (layer, part) in enumerate(zip(layers, _parts(layers, given), strict=True))
        if layer.init
    }


def _through(
    layers: tuple[Layer, ...], back: bool, own: PyTree, given: Array | None, z: Array
) -> tuple[Array, Array]:
    """All layers forwards, or their inverses from the last one back."""
    total = jnp.zeros(z.shape[:-1], z.dtype)
    order = list(enumerate(zip(layers, _parts(layers, given), strict=True)))
    flips = len(layers) - 1
    z = z[..., ::-1] if back and flips % 2 else z
    for n, (layer, part) in reversed(order) if back else order:
        z, log_det = (layer.inverse if back else layer.forward)(own.get(str(n), {}), part, z)
        total = total + log_det
        if n != (0 if back else flips):
            z = z[..., ::-1]
    return z[..., ::-1] if not back and flips % 2 else z, total


def _parts(layers: tuple[Layer, ...], given: Array | None) -> list[Array | None]:
    """What each layer gets of the numbers from outside."""
    parts, start = [], 0
    for layer in layers:
        end = start + layer.numbers
        parts.append(given[..., start:end] if given is not None and layer.numbers else None)
        start = end
    return parts


def scanned(
    step: Callable[[PyTree, Array], tuple[Array, Array]], parameters: PyTree, z: Array, back: bool
) -> tuple[Array, Array]:
    """Equal steps one after the other, from the last one if `back`, compiled once however many they are.

    Args:
      step: (parameters of one, z) -> (z, log|det|).
      parameters: those of all steps, [steps, ...] each.
      z: [..., d].
      back: whether to begin with the last.

    Returns:
      z after all steps, [..., d], and the sum of their log|det|, [...].
    """
    z = z.astype(jnp.result_type(z, *jax.tree.leaves(parameters)))  # a carry keeps its dtype

    def one(carry: tuple[Array, Array], parameters: PyTree) -> tuple[tuple[Array, Array], None]:
        z, total = carry
        z, log_det = step(parameters, z)
        return (z, total + log_det), None

    start = (z, jnp.zeros(z.shape[:-1], z.dtype))
    return jax.lax.scan(one, start, parameters, reverse=back)[0]
