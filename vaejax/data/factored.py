"""What sets that are made here have in common: splits made when touched or drawn, sizes, seeds, factors."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from vaejax.checks import check_positive, check_positive_int
from vaejax.types import Split

SPLITS: tuple[str, ...] = ("train", "validation", "test")  # their places are those of their random streams


class LazySplits(ABC):
    """`train`, `validation` and `test`, each made by `_split(name)` when it is first touched."""

    @cached_property
    def train(self) -> Split:
        """The training split."""
        return self._split("train")

    @cached_property
    def validation(self) -> Split:
        """The validation split."""
        return self._split("validation")

    @cached_property
    def test(self) -> Split:
        """The test split."""
        return self._split("test")

    @abstractmethod
    def _split(self, name: str) -> Split:
        """Make the split of this name."""


def check_sizes_and_seed(*, seed: int, **sizes: int) -> None:
    """Raise unless the sizes are ints of at least 1 and the seed one of at least 0."""
    for name, size in sizes.items():
        check_positive_int(size, name)
    check_seed(seed)


def check_seed(seed: int) -> None:
    """Raise unless the seed is an int of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(f"seed: expected an int, got {type(seed).__name__} ({seed!r})")
    if int(seed) < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")


def stream(seed: int, place: int) -> np.random.Generator:
    """The generator of one stream of a seed; those of other places are independent of it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(place,)))


def check_held_out(held_out: float) -> None:
    """Raise unless this is a share in (0, 1/2)."""
    check_positive(held_out, "held_out")
    if held_out >= 0.5:
        raise ValueError(f"held_out: expected a share in (0, 1/2), got {held_out}")


def drawn(n: int, lacking: Sequence[str], held_out: float, seed: int, what: str) -> dict[str, np.ndarray]:
    """The rows 0..n-1 of "train" shared out at random: a `held_out` for each split that is lacking, the rest.

    Raises:
        ValueError: they are too few; says `what` has them.
    """
    if not lacking:
        return {"train": np.arange(n)}
    count = max(1, round(held_out * n))
    if len(lacking) * count >= n:
        raise ValueError(f"{what}: expected enough for {len(lacking)} splits beside training, got {n}")
    mixed = np.random.default_rng(seed).permutation(n)
    parts = np.split(mixed, [count * i for i in range(1, len(lacking) + 1)])
    return dict(zip((*lacking, "train"), parts, strict=True))


def check_factors(factors: np.ndarray, num_values: Sequence[int]) -> np.ndarray:
    """Return factors as an array; raise unless they are integers [n, F] and column k lies in 0..V_k - 1."""
    factors = np.asarray(factors)
    if not np.issubdtype(factors.dtype, np.integer):
        raise TypeError(f"factors: expected integers, got {factors.dtype}")
    if factors.ndim != 2 or factors.shape[1] != len(num_values):
        raise ValueError(f"factors: expected shape [n, {len(num_values)}], got {list(factors.shape)}")
    for k, (column, V) in enumerate(zip(factors.T, num_values, strict=True)):
        if column.size and (column.min() < 0 or column.max() >= V):
            raise ValueError(
                f"factors: expected values in 0..{V - 1}, got {column.min()}..{column.max()} in column {k}"
            )
    return factors
