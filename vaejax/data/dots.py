"""Exact rendering of three black discs on white, by bit masks of the 10 x 10 blocks behind every pixel."""

from __future__ import annotations

import itertools
import math
import numbers
from functools import lru_cache
from typing import NamedTuple

import numpy as np

NUM_DOTS = 3
NUM_VALUES = 64  # values of a factor: 0..63 at every side
BLOCK = 10  # canvas pixels across one image pixel
WHITE = BLOCK * BLOCK  # the count of a pixel that no disc touches
UNIT = 1024  # centres and radii are whole multiples of 1/1024 canvas pixel

_TABLE_BYTES_LIMIT = 2**29
_CHUNK_BYTES = 2**20  # the canvas of one chunk of images stays in cache


class _Table(NamedTuple):
    """Masks of one disc at every place: only the small window of image pixels that it touches.

    `masks`: [fy, fx, W, W, 2] uint64, bit set where the disc covers a canvas pixel of the block.
    `white`: [fy, fx, W, W] uint8, how many canvas pixels of the block it leaves white.
    `start`: [64], first row (or column) of the window of every factor value, in a frame padded by `before`.
    """

    masks: np.ndarray
    white: np.ndarray
    start: np.ndarray
    before: int
    padded: int  # side of the padded frame, in image pixels


def check_geometry(side: int, radius: float) -> None:
    """Raise unless discs of this radius can be rendered at this side."""
    if isinstance(side, bool) or not isinstance(side, numbers.Integral):
        raise TypeError(f"side: expected an int, got {type(side).__name__} ({side!r})")
    if side < 16 or side & (side - 1):
        raise ValueError(f"side: expected a power of two of at least 16, got {side}")
    if isinstance(radius, bool) or not isinstance(radius, numbers.Real):
        raise TypeError(f"radius: expected a float, got {type(radius).__name__} ({radius!r})")
    if not 0 < radius < 0.5:
        raise ValueError(f"radius: expected a fraction of the side in (0, 0.5), got {radius!r}")
    size = NUM_VALUES**2 * _window(int(side), float(radius)) ** 2 * 16
    if size > _TABLE_BYTES_LIMIT:
        raise ValueError(
            f"radius: expected discs whose masks fit in {_TABLE_BYTES_LIMIT >> 20} MiB; "
            f"radius {radius} at side {side} takes {size >> 20} MiB"
        )


def render_counts(factors: np.ndarray, side: int, radius: float) -> np.ndarray:
    """Count the white canvas pixels behind every image pixel, 0..100.

    factors: [n, 6] integers in 0..63, (x0, y0, x1, y1, x2, y2). Returns uint8 [n, side, side].
    """
    table = _table(side, radius)
    counts = np.empty((len(factors), side, side), np.uint8)
    apart = _apart(factors, table)
    for rows, render, size in ((apart, _render_apart, 1), (~apart, _render_union, 16)):
        rows, chunk = np.flatnonzero(rows), max(1, _CHUNK_BYTES // (size * table.padded**2))
        for first in range(0, len(rows), chunk):
            part = rows[first : first + chunk]
            counts[part] = render(factors[part], table, side)
    return counts


def _apart(factors: np.ndarray, table: _Table) -> np.ndarray:
    """Which images have no two discs whose windows meet, [n] booleans."""
    place, width = table.start[factors].reshape(len(factors), NUM_DOTS, 2), table.masks.shape[2]
    apart = np.ones(len(factors), bool)
    for i, j in itertools.combinations(range(NUM_DOTS), 2):
        apart &= (np.abs(place[:, i] - place[:, j]) >= width).any(axis=1)
    return apart


def _render_apart(factors: np.ndarray, table: _Table, side: int) -> np.ndarray:
    """Images of discs whose windows do not meet: what each leaves white is written where it is."""
    width, P = table.white.shape[2], table.padded
    frame = np.full((len(factors), P, P), WHITE, np.uint8)
    fx, fy = factors[:, ::2], factors[:, 1::2]  # [n, dots]
    first = P * (P * np.arange(len(factors))[:, None] + table.start[fy]) + table.start[fx]
    window = (P * np.arange(width)[:, None] + np.arange(width)).ravel()
    frame.reshape(-1)[first[..., None] + window] = table.white[fy, fx].reshape(*fx.shape, -1)
    inside = slice(table.before, table.before + side)
    return frame[:, inside, inside]


def _render_union(factors: np.ndarray, table: _Table, side: int) -> np.ndarray:
    width = table.masks.shape[2]
    frame = np.zeros((len(factors), table.padded, table.padded, 2), np.uint64)
    s = frame.strides
    places = table.padded - width + 1
    windows = np.lib.stride_tricks.as_strided(  # [n, row, column, W, W, 2], views into the frame
        frame, (len(factors), places, places, width, width, 2), (s[0], s[1], s[2], s[1], s[2], s[3])
    )
    image = np.arange(len(factors))
    for dot in range(NUM_DOTS):
        fx, fy = factors[:, 2 * dot], factors[:, 2 * dot + 1]
        windows[image, table.start[fy], table.start[fx]] |= table.masks[fy, fx]
    inside = slice(table.before, table.before + side)
    return _white(frame[:, inside, inside])


def _extent(side: int, radius: float) -> int:
    """Radius of the mask in 1/1024 canvas pixel: floor(radius * canvas * 1024) + half a pixel."""
    return math.floor(radius * BLOCK * side * UNIT) + UNIT // 2


def _window(side: int, radius: float) -> int:
    """W: image pixels that a disc can touch in one direction."""
    return 2 * _extent(side, radius) // (BLOCK * UNIT) + 2


@lru_cache(maxsize=4)
def _table(side: int, radius: float) -> _Table:
    # All lengths are integers in 1/1024 canvas pixel, so every comparison is exact.
    extent, width = _extent(side, radius), _window(side, radius)
    centre = np.arange(NUM_VALUES) * (BLOCK * side * UNIT) // (NUM_VALUES - 1)
    start = (centre - extent) // (BLOCK * UNIT)
    pixel = np.arange(BLOCK * width) + BLOCK * start[:, None]  # [64, 10 W] canvas coordinates
    distance = (UNIT * pixel - centre[:, None]) ** 2

    masks = np.zeros((NUM_VALUES, NUM_VALUES, width, width, 16), np.uint8)
    for fy in range(NUM_VALUES):
        covered = distance[fy, :, None] + distance[:, None, :] <= extent**2  # [fx, 10 W, 10 W]
        blocks = covered.reshape(NUM_VALUES, width, BLOCK, width, BLOCK).swapaxes(2, 3)
        bits = np.packbits(blocks.reshape(NUM_VALUES, width, width, BLOCK * BLOCK), axis=-1)
        masks[fy, ..., : bits.shape[-1]] = bits
    before, pairs = int(-start.min()), masks.view(np.uint64)
    return _Table(pairs, _white(pairs), start + before, before, int(start.max()) + width + before)


def _white(pairs: np.ndarray) -> np.ndarray:
    """Canvas pixels that are in no mask, uint8 [...], of masks [..., 2]."""
    covered = np.bitwise_count(pairs)
    return WHITE - (covered[..., 0] + covered[..., 1])
