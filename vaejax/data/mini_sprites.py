"""Mini-sprites: a small set after dSprites, one white shape on black, every combination of five factors."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from vaejax.checks import check_choice, check_positive_int
from vaejax.data.factored import SPLITS, LazySplits, check_factors, check_sizes_and_seed, stream
from vaejax.data.folders import data_folder
from vaejax.data.prepare import load_arrays
from vaejax.data.recipes import Recipe
from vaejax.data.transforms import SIXTEENTH, half_of_sixteenths, unit_from_sixteenths
from vaejax.types import Split

SHAPES = ("square", "ellipse", "triangle")
PERIODS = (90, 180, 120)  # degrees after which each shape is itself again
NUM_VALUES = (len(SHAPES), 4, 12, 12, 12)
NUM_IMAGES = math.prod(NUM_VALUES)  # 20 736
FINE = 4  # points across a pixel
# Lengths are shares of the side. At scale 1 all shapes reach less than 31/128 from their centre, which is
# how far the outermost centres are from the frame.
FIRST, STEP = 31 / 128, 3 / 64  # the first centre and the step from one to the next
SQUARE, ELLIPSE, TRIANGLE = 0.17, (0.24, 0.12), 0.24  # half a side; half-axes; centre to corner
_UNIT = 4096  # sines and cosines are rounded to 1/4096
_VERSION = "1.0.0"  # moves with the digests in the tests
_TRANSFORMS = {"binary": half_of_sixteenths, "unit_interval": unit_from_sixteenths}


@dataclass(frozen=True)
class MiniSprites(LazySplits):
    """The set at one configuration; `mini_sprites` makes and documents it."""

    side: int
    pixels: str
    num_validation: int
    num_test: int
    seed: int
    folder: Path

    factor_names: ClassVar[tuple[str, ...]] = ("shape", "scale", "orientation", "x", "y")
    num_values: ClassVar[tuple[int, ...]] = NUM_VALUES
    num_images: ClassVar[int] = NUM_IMAGES

    def index_of(self, factors: np.ndarray) -> np.ndarray:
        """The places of factors [n, 5] in the grid of all 20 736, the last factor changing fastest: [n].

        Raises:
            TypeError, ValueError: factors that are not integers [n, 5] in their ranges.
        """
        factors = check_factors(factors, NUM_VALUES)
        return np.asarray(np.ravel_multi_index(tuple(factors.T), NUM_VALUES))

    def factors_of(self, index: np.ndarray) -> np.ndarray:
        """The factors at places [n] of the grid, the inverse of `index_of`: integers [n, 5].

        Raises:
            TypeError, ValueError: an index that is not integers [n] in 0..20735.
        """
        index = np.asarray(index)
        if not np.issubdtype(index.dtype, np.integer):
            raise TypeError(f"index: expected integers, got {index.dtype}")
        if index.ndim != 1 or (index.size and (index.min() < 0 or index.max() >= NUM_IMAGES)):
            raise ValueError(f"index: expected shape [n] and values in 0..{NUM_IMAGES - 1}, got {index!r}")
        return np.stack(np.unravel_index(index, NUM_VALUES), axis=1)

    def sample_images(self, factors: np.ndarray) -> np.ndarray:
        """Render the images of the given factors, exactly.

        Args:
            factors: integers [n, 5]: shape 0..2, scale 0..3, orientation, x and y 0..11.

        Returns:
            float32 [n, side, side, 1], 0 and 1 or multiples of 1/16: what the model sees of the splits, to
            the bit.

        Raises:
            TypeError, ValueError: factors of another type, shape or range.
        """
        counts = _grid(self.side)[self.index_of(factors)]
        if self.pixels == "binary":
            return (counts >= FINE**2 // 2).astype(np.float32)
        return counts.astype(np.float32) * SIXTEENTH

    @property
    def recipe(self) -> Recipe:
        """How the set is prepared on disk; both kinds of pixels share it."""
        sizes = f"validation{self.num_validation}-test{self.num_test}"
        return Recipe(
            name="mini_sprites",
            config=f"side{self.side}-{sizes}-seed{self.seed}",
            version=_VERSION,
            features={"x": (self.side, self.side, 1), "y": (len(NUM_VALUES),)},
            splits={split: partial(self._examples, split) for split in SPLITS},
            num_examples=NUM_IMAGES,
        )

    def _split(self, name: str) -> Split:
        arrays = load_arrays(self.recipe, self.folder, name)
        return Split(arrays, self.pixels, _TRANSFORMS[self.pixels])

    def _examples(self, split: str) -> Iterator[Mapping[str, np.ndarray]]:
        mixed = stream(self.seed, 0).permutation(NUM_IMAGES)
        train = NUM_IMAGES - self.num_validation - self.num_test
        places = dict(zip(SPLITS, np.split(mixed, [train, train + self.num_validation]), strict=True))
        for index, factors in zip(places[split], self.factors_of(places[split]), strict=True):
            yield {"x": _grid(self.side)[index], "y": factors.astype(np.uint8)}


def mini_sprites(
    side: int = 32,
    *,
    pixels: str = "binary",
    num_validation: int = 2_000,
    num_test: int = 2_000,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
) -> MiniSprites:
    """The mini-sprites set: every combination of five factors once, 3 x 4 x 12 x 12 x 12 = 20 736 images.

    The factors are (shape, scale, orientation, x, y): a square, an ellipse or an equilateral triangle; its
    size, 1/2, 2/3, 5/6 or 1 of the largest; its turn clockwise, in twelve steps over the 90, 180 or 120
    degrees after which that shape is itself again, so that, unlike those of dSprites, all orientations look
    different (and the last is next to the first); its centre, x to the right and y downwards, in steps of
    3/64 of the side from 31/128 to 97/128. All shapes stay inside the frame. A pixel is the number of 4 x 4
    points in it that the shape covers: a share in sixteenths, or 1 where it is at least a half. No two
    images are equal, but for some small binary ones at side 16.

    `.train`, `.validation` and `.test` are `Split`s with arrays x: uint8 [N, side, side, 1] (counts 0..16,
    brought into the support by the transform) and y: uint8 [N, 5] (the factors). They share out the grid at
    random: no image is in two of them, and train has what the others leave. The first touch of one
    prepares all three on disk, through tensorflow-datasets; later ones load .npy files.

    Args:
        side: pixels along a side, a multiple of 16.
        pixels: "binary", or "unit_interval" for grey edges.
        num_validation: images of that split.
        num_test: images of that split.
        seed: of the sharing out, not negative.
        folder: where prepared sets lie; None for $VAEJAX_DATA, else ~/.cache/vaejax.

    Returns:
        A `MiniSprites`, which also has `num_values`, `factor_names`, `num_images`, `sample_images(factors)`,
        and `index_of(factors)` and `factors_of(index)` between factors and their places in the whole grid.

    Raises:
        TypeError, ValueError: arguments of another type or range.

    After dSprites (Matthey, Higgins, Hassabis & Lerchner 2017, github.com/google-deepmind/dsprites-dataset),
    which has a heart for the triangle, 6 x 40 x 32 x 32 values and 64 x 64 pixels.
    """
    check_positive_int(side, "side")
    if side % 16:
        raise ValueError(f"side: expected a multiple of 16, got {side}")
    check_choice(pixels, tuple(_TRANSFORMS), "pixels")
    check_sizes_and_seed(num_validation=num_validation, num_test=num_test, seed=seed)
    side, num_validation, num_test, seed = (int(n) for n in (side, num_validation, num_test, seed))
    if num_validation + num_test >= NUM_IMAGES:
        raise ValueError(
            f"num_validation, num_test: expected fewer than {NUM_IMAGES} together, "
            f"got {num_validation} + {num_test}"
        )
    return MiniSprites(side, pixels, num_validation, num_test, seed, data_folder(folder))


@lru_cache(maxsize=2)
def _grid(side: int) -> np.ndarray:
    """Every image in the order of `index_of`, uint8 [20736, side, side, 1] of counts 0..16."""
    # A shape is drawn once and moved: steps are whole points, and the first window starts at the frame's.
    first, step = FIRST * side * FINE, round(STEP * side * FINE)
    window = round(2 * first)
    shapes = _covered((np.arange(window) + 0.5 - first) / (side * FINE)).reshape(-1, window, window)
    images = np.zeros((len(shapes), 12, 12, side, side), np.uint8)
    for i, j in np.ndindex(12, 12):
        (left, a), (top, b) = divmod(step * i, FINE), divmod(step * j, FINE)
        whole = [(n, -(n + window) % FINE) for n in (b, a)]  # points up to whole pixels
        points = np.pad(shapes, [(0, 0), *whole])
        height, width = (n // FINE for n in points.shape[1:])
        counts = points.reshape(-1, height, FINE, width, FINE).sum((2, 4), dtype=np.uint8)
        images[:, i, j, top : top + height, left : left + width] = counts
    images = images.reshape(NUM_IMAGES, side, side, 1)
    images.flags.writeable = False
    return images


def _covered(offset: np.ndarray) -> np.ndarray:
    """Which points a shape at the origin covers: booleans [3, 4, 12, n, n], rows downwards.

    offset: [n], the coordinates of the points, in sides of the image.
    """
    scale = (np.arange(3, 7) / 6)[:, None, None, None]
    angle = np.radians(np.outer(PERIODS, np.arange(12) / 12))[..., None, None]  # [3, 12, 1, 1]
    cos, sin = (np.rint(_UNIT * f(angle)) / _UNIT for f in (np.cos, np.sin))
    x, y = offset, offset[:, None]
    across, down = cos * x + sin * y, cos * y - sin * x  # in the shape's own frame, turned back
    (sa, sd), (ea, ed), (ta, td) = zip(across, down, strict=True)
    (a, b), slope = ELLIPSE, math.sqrt(3) / 2
    square = np.maximum(np.abs(sa), np.abs(sd)) <= SQUARE * scale
    ellipse = (ea / a) ** 2 + (ed / b) ** 2 <= scale**2
    triangle = np.maximum(td, slope * np.abs(ta) - td / 2) <= TRIANGLE / 2 * scale
    return np.stack([square, ellipse, triangle])
