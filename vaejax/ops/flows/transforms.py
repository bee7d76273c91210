"""Maps of each z_j by itself, as couplings use them: what they make of the numbers of a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive, check_positive_int, plain
from vaejax.fixed import Fixed
from vaejax.ops.flows.elementwise import (
    affine,
    affine_inverse,
    gated,
    gated_inverse,
    spline,
    spline_inverse,
)
from vaejax.types import Array

__all__ = ["KINDS", "Transform", "gate", "transform"]

KINDS = ("affine", "spline")


class Transform(NamedTuple):
    """A map and its inverse, (raw [..., d, numbers], z [..., d]) -> (z, log|det|): a row for each z_j."""

    numbers: int
    forward: Callable[[Array, Array], tuple[Array, Array]]
    inverse: Callable[[Array, Array], tuple[Array, Array]]


def transform(kind: str, bins: int | None, bound: float | None) -> Transform:
    """Affine maps with a bounded log-scale, or splines; numbers of 0 are the identity.

    Args:
      kind: "affine", z exp(a) + t with a = bound tanh(raw / bound), or "spline", `spline`.
      bins: of a spline; None is 8.
      bound: the log-scale of a step stays within it, None is 2; or a spline is the identity beyond it, None
        is 5.

    Raises:
      TypeError, ValueError: for an unknown kind, bins of an affine map, or numbers out of range.
    """
    check_choice(kind, KINDS, "kind")
    if kind == "affine":
        if bins is not None:
            raise ValueError(f"bins: expected None for affine maps, which have none; got {bins!r}")
        bound = 2.0 if bound is None else plain(bound)
        check_positive(bound, "bound")
        return Transform(2, Fixed(_affine, affine, bound), Fixed(_affine, affine_inverse, bound))
    count = 8 if bins is None else plain(bins)
    bound = 5.0 if bound is None else plain(bound)
    check_positive_int(count, "bins")
    check_positive(bound, "bound")
    maps = (Fixed(_spline, fn, bound) for fn in (spline, spline_inverse))
    return Transform(3 * count - 1, *maps)


def gate(open_by: float) -> Transform:
    """`gated` with logits raw + open_by: numbers of 0 keep sigmoid(open_by) of z."""
    return Transform(2, Fixed(_gated, gated, open_by), Fixed(_gated, gated_inverse, open_by))


def _affine(fn: Callable, bound: float, raw: Array, z: Array) -> tuple[Array, Array]:
    return fn(z, raw[..., 0], bound * jnp.tanh(raw[..., 1] / bound))


def _spline(fn: Callable, bound: float, raw: Array, z: Array) -> tuple[Array, Array]:
    return fn(z, raw, bound)


def _gated(fn: Callable, open_by: float, raw: Array, z: Array) -> tuple[Array, Array]:
    return fn(z, raw[..., 0], raw[..., 1] + open_by)
