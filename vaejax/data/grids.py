"""Published images of every combination of some factors: how they are shared out and found again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaejax.data.arrays import Dataset
from vaejax.data.factored import SPLITS, check_factors, stream
from vaejax.data.recipes import Example, Recipe

HELD_OUT = 20  # one image in so many is in the validation split, one in the test
SEED = 0  # of the sharing out
_ROWS = 2**16


@dataclass(frozen=True)
class FactorGrid(Dataset):
    """A data set that has an image of every combination of its factors, each once.

    `num_values`: V of each factor, by the columns of y, whose names are `factor_names`.
    """

    num_values: tuple[int, ...] = ()

    @property
    def pixels(self) -> Any:
        """The support of what a model sees, as of the sets that are made here."""
        return self.train.support

    @property
    def num_images(self) -> int:
        """How many there are in all splits."""
        return math.prod(self.num_values)

    def sample_images(self, factors: np.ndarray) -> np.ndarray:
        """The images of the given factors, from whichever split has them.

        Args:
            factors: integers [n, F], column k in 0..V_k - 1.

        Returns:
            float32 [n, H, W, C]: what the model sees of the splits, to the bit.

        Raises:
            TypeError, ValueError: factors of another type, shape or range.
        """
        factors = check_factors(factors, self.num_values)
        rows = self._row_of[np.ravel_multi_index(tuple(factors.T), self.num_values)]
        splits = [getattr(self, name) for name in SPLITS]
        first, x = 0, np.empty((len(rows), *splits[0].arrays["x"].shape[1:]), splits[0].arrays["x"].dtype)
        for split in splits:
            here = np.flatnonzero((first <= rows) & (rows < first + split.size))
            x[here] = split.arrays["x"][rows[here] - first]
            first += split.size
        transform = splits[0].transform  # of a view that draws nothing: the key stands for none
        return np.asarray(transform(jax.random.key(0), {"x": x})["x"])

    @cached_property
    def _row_of(self) -> np.ndarray:
        """The row of each place of the grid, in the three splits one after the other."""
        y = [np.asarray(getattr(self, name).arrays["y"]) for name in SPLITS]
        place = places_of(y, self.num_values, "y")
        rows = np.empty(len(place), np.int64)
        rows[place] = np.arange(len(place))
        return rows


def places_of(parts: Sequence[np.ndarray], num_values: tuple[int, ...], where: object) -> np.ndarray:
    """The places in the grid of rows of factors [n, F]; raise unless they are all places, each once."""
    y = np.concatenate(parts).astype(np.int64)
    whole = len(y) == math.prod(num_values)
    place = np.asarray(np.ravel_multi_index(tuple(y.T), num_values) if whole else ())
    if not whole or len(np.unique(place)) != len(y):
        raise ValueError(
            f"{where}: expected every combination of {' x '.join(map(str, num_values))} values once, got "
            f"{len(y)} rows with {len(np.unique(y, axis=0))} of them"
        )
    return place


def grid_recipe(
    name: str,
    factors: Mapping[str, int],
    shape: tuple[int, ...],
    images: Callable[[], Iterator[np.ndarray]],
    *,
    version: str = "1.0.0",
) -> Recipe:
    """How a set is prepared whose images come in the order of the grid, the last factor changing fastest.

    A twentieth of the images, drawn at random, is the validation split, another the test, the rest the
    training split; what the splits hold stays in the order of the grid.

    Args:
        name: of the set.
        factors: {name: number of values}.
        shape: of an image, [H, W, C].
        images: yields every image, uint8, of that shape or without C = 1.
        version: of the set, see `Recipe`.
    """
    num_values = tuple(factors.values())
    together = partial(_shared_out, num_values, shape, images)
    return Recipe(
        name=name,
        config="published",
        version=version,
        features={"x": shape, "y": (len(factors),)},
        splits={split: partial(_of_split, together, split) for split in SPLITS},
        notes=lambda: {"factors": list(map(list, factors.items())), "grid": True},
        together=together,
        num_examples=math.prod(num_values),
    )


def split_of(n: int) -> np.ndarray:
    """Which of `SPLITS` each of n images is in, [n]."""
    place, held_out = np.zeros(n, np.uint8), max(1, n // HELD_OUT)
    mixed = stream(SEED, 0).permutation(n)
    place[mixed[:held_out]], place[mixed[held_out : 2 * held_out]] = 1, 2
    return place


def _shared_out(
    num_values: tuple[int, ...], shape: tuple[int, ...], images: Callable[[], Iterator[np.ndarray]]
) -> Iterator[tuple[str, Example]]:
    place = split_of(math.prod(num_values))
    factors = (y for rows in _grid_rows(num_values) for y in rows.astype(np.uint8))
    for image, y, k in zip(images(), factors, place, strict=True):
        yield SPLITS[k], {"x": image.reshape(shape), "y": y}


def _grid_rows(num_values: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The factors of every place of the grid in order, some at a time: [n, F]."""
    size = math.prod(num_values)
    for first in range(0, size, _ROWS):
        yield np.stack(np.unravel_index(np.arange(first, min(first + _ROWS, size)), num_values), axis=1)


def _of_split(together: Callable[[], Iterator[tuple[str, Example]]], wanted: str) -> Iterator[Example]:
    return (example for split, example in together() if split == wanted)


def small_factors(where: object, y: np.ndarray) -> np.ndarray:
    """Factors as uint8, in which they take little memory; raise unless all are in 0..255."""
    if y.size and (y.min() < 0 or y.max() > 255):
        raise ValueError(f"{where}: expected factors in 0..255, got {y.min()}..{y.max()}")
    return y.astype(np.uint8)


def check_grid(path: Path, y: np.ndarray) -> tuple[int, ...]:
    """The numbers of values of factors y [N, F]; raise unless they are a whole grid in its order."""
    num_values = tuple(int(n) + 1 for n in y.max(axis=0, initial=0))
    whole = math.prod(num_values) == len(y) > 0
    starts = range(0, len(y), _ROWS)
    parts = zip(starts, _grid_rows(num_values), strict=True) if whole else ()
    if not whole or not all(np.array_equal(rows, y[i : i + len(rows)]) for i, rows in parts):
        raise ValueError(
            f"{path}: expected the factors of every combination of {' x '.join(map(str, num_values))} values "
            f"once, the last changing fastest; got {len(y)} rows that are not that"
        )
    return num_values
