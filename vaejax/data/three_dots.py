"""The three-dots images of Rhodes & Lee (2021): three black discs on white, six independent factors."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy import ndimage

from vaejax.checks import check_positive_int
from vaejax.data.dots import NUM_DOTS, NUM_VALUES, check_geometry, render_counts
from vaejax.data.factored import LazySplits, check_factors, check_sizes_and_seed, stream
from vaejax.data.folders import data_folder
from vaejax.data.prepare import load_arrays
from vaejax.data.recipes import Recipe
from vaejax.data.transforms import PERCENT, unit_from_percent
from vaejax.types import Split

_VERSION = "1.0.0"  # moves with the digests in the tests: other images or factors, another folder
_NUM_FACTORS = 2 * NUM_DOTS
_CHUNK = 1000


@dataclass(frozen=True)
class ThreeDots(LazySplits):
    """Three dots at one configuration; `three_dots` makes and documents it.

    A split is prepared or loaded when it is first touched; `sample_images` needs no files.
    """

    side: int
    radius: float
    num_train: int
    num_validation: int
    num_test: int
    seed: int
    folder: Path

    factor_names: ClassVar[tuple[str, ...]] = ("x0", "y0", "x1", "y1", "x2", "y2")
    num_values: ClassVar[tuple[int, ...]] = (NUM_VALUES,) * _NUM_FACTORS

    def sample_images(self, factors: np.ndarray) -> np.ndarray:
        """Render the images of the given factors, exactly.

        Args:
            factors: integers [n, 6] in 0..63: (x0, y0, x1, y1, x2, y2).

        Returns:
            float32 [n, side, side, 1] in [0, 1], whole multiples of 1/100: what the splits hold, to the bit.

        Raises:
            TypeError: factors that are not an array of integers.
            ValueError: factors of another shape or range.
        """
        counts = render_counts(check_factors(factors, self.num_values), self.side, self.radius)
        images = counts[..., None].astype(np.float32)
        images *= PERCENT
        return images

    def separate(self, n: int) -> np.ndarray:
        """Factors of n images to look at, [n, 6]: at radius .08 their dots lie inside and do not touch.

        Raises:
            TypeError, ValueError: n is no int from 1 to 72.
        """
        check_positive_int(n, "n")
        factors = np.random.default_rng(7).integers(8, 56, (400, NUM_DOTS, 2))
        distance = np.linalg.norm(factors[:, :, None] - factors[:, None], axis=-1) + 64 * np.eye(NUM_DOTS)
        apart = factors[distance.min(axis=(1, 2)) > 22].reshape(-1, _NUM_FACTORS)
        if n > len(apart):
            raise ValueError(f"n: expected at most {len(apart)}, got {n}")
        return apart[:n]

    def clear_dots(self, x: np.ndarray) -> np.ndarray:
        """How many dots images show that are dark, whole and by themselves.

        A dot is a connected region of pixels below one half, of .7 to 1.4 times the area of a disc.

        Args:
            x: [n, side, side, 1] in [0, 1], as a decoder draws them.

        Returns:
            Integers [n]; 3 where nothing is pale, cut by the frame, or two dots in one.

        Raises:
            ValueError: x has another shape.
        """
        x = np.asarray(x)
        if x.shape[1:] != (self.side, self.side, 1):
            raise ValueError(f"x: expected [n, {self.side}, {self.side}, 1], got {x.shape}")
        area, counts = math.pi * (self.radius * self.side) ** 2, np.zeros(len(x), int)
        labels = np.zeros(x.shape[1:3], np.int32)
        for i, dark in enumerate(x[..., 0] < 0.5):
            ndimage.label(dark, output=labels)
            sizes = np.bincount(labels.ravel())[1:]
            counts[i] = np.sum((sizes > 0.7 * area) & (sizes < 1.4 * area))
        return counts

    @property
    def recipe(self) -> Recipe:
        """How the set is prepared on disk."""
        sizes = {"train": self.num_train, "validation": self.num_validation, "test": self.num_test}
        return Recipe(
            name="three_dots",
            config="-".join(
                [f"side{self.side}", f"radius{self.radius}"]
                + [f"{split}{size}" for split, size in sizes.items()]
                + [f"seed{self.seed}"]
            ),
            version=_VERSION,
            features={"x": (self.side, self.side, 1), "y": (_NUM_FACTORS,)},
            splits={
                split: partial(_examples, size, self.seed, place, self.side, self.radius)
                for place, (split, size) in enumerate(sizes.items())
            },
            num_examples=sum(sizes.values()),
        )

    def _split(self, name: str) -> Split:
        return Split(load_arrays(self.recipe, self.folder, name), "unit_interval", unit_from_percent)


def three_dots(
    side: int = 64,
    radius: float = 0.08,
    *,
    num_train: int = 50_000,
    num_validation: int = 2_000,
    num_test: int = 2_000,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
) -> ThreeDots:
    """The three-dots set: black discs on white, their six coordinates independent and uniform on 0..63.

    A factor f puts a centre at f/63 of the side (x to the right, y downwards, origin top left), so
    discs overlap and leave the frame by up to a half; they are exchangeable, so factors to images is
    not injective. An image is a canvas of 10 side x 10 side, 1 outside the discs, averaged over
    blocks of 10 x 10: with centres and radius rounded down to 1/1024, canvas pixels (X, Y) with
    (X - cx)^2 + (Y - cy)^2 <= (radius + 1/2)^2 are 0. Pixels are thus exact multiples of 1/100,
    stored as uint8 0..100 and scaled by the transform.

    `.train`, `.validation` and `.test` are `Split`s with arrays x: uint8 [N, side, side, 1] and
    y: uint8 [N, 6] (the factors), drawn from disjoint random streams. The first touch of one
    prepares all three on disk, through tensorflow-datasets; later ones load .npy files.

    Args:
        side: pixels along a side, a power of two of at least 16.
        radius: radius of the discs as a fraction of the side, in (0, 0.5).
        num_train: images of that split.
        num_validation: images of that split.
        num_test: images of that split.
        seed: of the factors, not negative.
        folder: where prepared sets lie; None for $VAEJAX_DATA, else ~/.cache/vaejax.

    Returns:
        A `ThreeDots`, which also has `num_values`, `factor_names` and `sample_images(factors)`.

    Raises:
        TypeError, ValueError: arguments of another type or range.

    The reference (Rhodes & Lee 2021, arXiv 2106.02923; simplified from Zhao et al. 2018, arXiv
    1811.03259) draws polygonal discs with OpenCV; this mask matches it within 0.08 on rim pixels.
    """
    check_geometry(side, radius)
    check_sizes_and_seed(num_train=num_train, num_validation=num_validation, num_test=num_test, seed=seed)
    side, num_train, num_validation, num_test, seed = map(
        int, (side, num_train, num_validation, num_test, seed)
    )
    return ThreeDots(side, float(radius), num_train, num_validation, num_test, seed, data_folder(folder))


def _examples(
    size: int, seed: int, place: int, side: int, radius: float
) -> Iterator[Mapping[str, np.ndarray]]:
    factors = stream(seed, place).integers(0, NUM_VALUES, (size, _NUM_FACTORS), dtype=np.uint8)
    for first in range(0, size, _CHUNK):
        y = factors[first : first + _CHUNK]
        x = render_counts(y, side, radius)[..., None]
        for row in range(len(y)):
            yield {"x": x[row], "y": y[row]}
