"""Four two-joint arms, each in a tile of its own: a stand-in for MPI3D-Multi, rendered here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from vaejax.data.factored import SPLITS, LazySplits, check_factors, check_sizes_and_seed, stream
from vaejax.data.transforms import BYTE, unit_from_bytes
from vaejax.types import Split

NUM_VALUES = 40  # values of a factor: 0..39
NUM_TILES = 4  # top left, top right, bottom left, bottom right
# Lengths are shares of a tile's side; x runs to the right, y downwards, from the tile's upper left corner.
SHOULDER = (0.5, 0.7)
UPPER, LOWER = 0.25, 0.2  # from the shoulder to the elbow, from there to the hand
RADIUS, EDGE = 0.05, 0.06  # half the arm's width; the width of the ramp from arm to background
SHOULDER_RANGE, ELBOW_RANGE = 60.0, 90.0  # degrees to either side, the elbow's against the upper arm
BACKGROUNDS = ((236, 226, 208), (206, 226, 236), (222, 234, 208), (232, 212, 230))
ARMS = ((196, 58, 40), (28, 88, 168), (36, 124, 56), (122, 48, 146))
_UNIT = 4096  # joints lie on a grid of 1/4096 of a tile's side
_NUM_FACTORS = 2 * NUM_TILES


@dataclass(frozen=True)
class SpritesMulti(LazySplits):
    """Four arms at one configuration; `sprites_multi` makes and documents it."""

    side: int
    num_train: int
    num_validation: int
    num_test: int
    seed: int

    factor_names: ClassVar[tuple[str, ...]] = ("a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4")
    num_values: ClassVar[tuple[int, ...]] = (NUM_VALUES,) * _NUM_FACTORS

    @property
    def tiles(self) -> np.ndarray:
        """The tile of every pixel and channel, 0..3 in the order of the factors: integers [side, side, 3]."""
        half = np.arange(self.side) // (self.side // 2)
        return np.repeat((2 * half[:, None] + half)[..., None], 3, axis=-1)

    def sample_images(self, factors: np.ndarray) -> np.ndarray:
        """Render the images of the given factors, exactly.

        Args:
            factors: integers [n, 8] in 0..39: (a1, b1, a2, b2, a3, b3, a4, b4).

        Returns:
            float32 [n, side, side, 3] in [0, 1], whole multiples of 1/255: what the splits hold, to the bit.

        Raises:
            TypeError: factors that are not an array of integers.
            ValueError: factors of another shape or range.
        """
        return _render(check_factors(factors, self.num_values), self.side).astype(np.float32) * BYTE

    def _split(self, name: str) -> Split:
        sizes = {"train": self.num_train, "validation": self.num_validation, "test": self.num_test}
        rng = stream(self.seed, SPLITS.index(name))
        y = rng.integers(0, NUM_VALUES, (sizes[name], _NUM_FACTORS), dtype=np.uint8)
        arrays = {"x": _render(y, self.side), "y": y}
        for array in arrays.values():
            array.flags.writeable = False
        return Split(arrays, "unit_interval", unit_from_bytes)


def sprites_multi(
    side: int = 64,
    *,
    num_train: int = 50_000,
    num_validation: int = 2_000,
    num_test: int = 2_000,
    seed: int = 0,
) -> SpritesMulti:
    """The sprites-multi set: four arms in a 2 x 2 grid of tiles, eight joint angles, in colour.

    Factors (a1, b1, ..., a4, b4), tiles in the order top left, top right, bottom left, bottom right, are
    independent and uniform on 0..39. In its tile, a turns the upper arm about the shoulder, from -60 to 60
    degrees against upright, and b the lower arm about the elbow, from -90 to 90 degrees against the upper
    arm, both clockwise; neither range wraps around. Elbow and hand are rounded to 1/4096 of the tile's side.
    A pixel whose centre is at distance d from the arm's two segments has the colour of the tile's background
    with a share clip(1/2 + (radius - d) / edge, 0, 1) of its arm's, rounded to a byte. An arm stays inside
    its tile: the images of the tiles are independent, and an ideal decoder's Jacobian has columns that are
    zero in three of them.

    `.train`, `.validation` and `.test` are `Split`s with arrays x: uint8 [N, side, side, 3] and y: uint8
    [N, 8] (the factors), drawn from disjoint random streams, rendered when a split is first touched.

    Args:
        side: pixels along a side of the image, even and at least 16.
        num_train: images of that split.
        num_validation: images of that split.
        num_test: images of that split.
        seed: of the factors, not negative.

    Returns:
        A `SpritesMulti`, which also has `num_values`, `factor_names`, `sample_images(factors)` and `tiles`.

    Raises:
        TypeError, ValueError: arguments of another type or range.

    It stands in for MPI3D-Multi of Rhodes & Lee 2021 (arXiv 2106.02923), photographs of a robot arm with
    two free joints of 40 values each in every tile, which take a download of 12 GB.
    """
    sizes = {"num_train": num_train, "num_validation": num_validation, "num_test": num_test}
    check_sizes_and_seed(side=side, **sizes, seed=seed)
    if side < 16 or side % 2:
        raise ValueError(f"side: expected an even number of at least 16, got {side}")
    return SpritesMulti(*(int(n) for n in (side, num_train, num_validation, num_test, seed)))


def _render(factors: np.ndarray, side: int) -> np.ndarray:
    """factors: integers [n, 8] in 0..39. Returns uint8 [n, side, side, 3]."""
    half = side // 2
    images = np.empty((len(factors), side, side, 3), np.uint8)
    for tile, table in enumerate(_tables(half)):
        top, left = half * (tile // 2), half * (tile % 2)
        images[:, top : top + half, left : left + half] = table[
            factors[:, 2 * tile], factors[:, 2 * tile + 1]
        ]
    return images


@lru_cache(maxsize=2)
def _tables(half: int) -> tuple[np.ndarray, ...]:
    """Every image of every tile, uint8 [40, 40, half, half, 3] each."""
    # Beside sines and cosines, which the grid of joints rounds off, everything here is exact to the bit.
    share = _coverage(half)[..., None]
    return tuple(
        np.rint(np.array(ground) + share * (np.array(arm) - np.array(ground))).astype(np.uint8)
        for ground, arm in zip(BACKGROUNDS, ARMS, strict=True)
    )


def _coverage(half: int) -> np.ndarray:
    """The share of the arm in every pixel, float64 [40, 40, half, half] in [0, 1]."""
    turn = np.linspace(-1.0, 1.0, NUM_VALUES)
    upper = np.radians(SHOULDER_RANGE * turn)[:, None]
    lower = upper + np.radians(ELBOW_RANGE * turn)  # [40, 40]
    elbow = _step(SHOULDER, UPPER, upper)  # each coordinate [40, 1]
    hand = _step(elbow, LOWER, lower)  # [40, 40]
    middle = (np.arange(half) + 0.5) / half
    pixel = (middle, middle[:, None])
    distance = np.minimum(_distance(pixel, SHOULDER, elbow), _distance(pixel, elbow, hand))
    return np.clip(0.5 + (RADIUS - distance) / EDGE, 0.0, 1.0)


def _step(start: tuple, length: float, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a segment from `start` ends, `angle` clockwise from upright, on the grid of joints."""
    end = start[0] + length * np.sin(angle), start[1] - length * np.cos(angle)
    return np.rint(_UNIT * end[0]) / _UNIT, np.rint(_UNIT * end[1]) / _UNIT


def _distance(pixel: tuple, start: tuple, end: tuple) -> np.ndarray:
    """Distance of the pixels (x [half], y [half, 1]) from the segments (each [a, b]): [a, b, half, half]."""
    (px, py), (x0, y0), (x1, y1) = (
        pixel,
        *([np.asarray(c)[..., None, None] for c in point] for point in (start, end)),
    )
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((px - x0) * dx + (py - y0) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    return np.sqrt((px - x0 - along * dx) ** 2 + (py - y0 - along * dy) ** 2)
