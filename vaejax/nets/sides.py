"""The sizes of convolutional networks: sides of images, of the maps between, channels."""

from __future__ import annotations

import math
from typing import Any

from vaejax.checks import check_positive_int
from vaejax.types import Array

Side = int | tuple[int, int]


def check_side(side: Any) -> Side:
    """An int, or (H, W) as a tuple; ValueError or TypeError for anything but sides of at least 1."""
    if not isinstance(side, tuple | list):
        check_positive_int(side, "side")
        return side
    if len(side) != 2:
        raise ValueError(f"side: expected an int or (H, W), got {side!r}")
    for n, one in enumerate(side):
        check_positive_int(one, f"side[{n}]")
    return (side[0], side[1])


def check_width(width: float) -> None:
    """Raise ValueError unless the factor is positive and finite."""
    if not (width > 0 and math.isfinite(width)):
        raise ValueError(f"width: expected a positive finite factor; got {width}")


def scaled(width: float, *sizes: int) -> tuple[int, ...]:
    """The sizes times `width`, rounded, at least 1."""
    return tuple(max(1, round(width * size)) for size in sizes)


def pair(side: Side) -> tuple[int, int]:
    """(H, W) of a checked side."""
    return side if isinstance(side, tuple) else (side, side)


def halved(side: Side, times: int) -> list[tuple[int, int]]:
    """(H, W) halved 0 to `times` times, rounded up, the smallest first."""
    h, w = pair(side)
    return [(-(-h // 2**n), -(-w // 2**n)) for n in range(times, -1, -1)]


def cut(maps: Array, side: tuple[int, int]) -> Array:
    """The first rows and columns of [..., h, w, C]: [..., *side, C]."""
    return maps if maps.shape[-3:-1] == side else maps[..., : side[0], : side[1], :]
