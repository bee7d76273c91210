"""Seven features of two correlated factors, most of which depend on one factor alone (Moran et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vaejax.checks import check_positive, check_real
from vaejax.data.factored import SPLITS, LazySplits, check_sizes_and_seed, stream
from vaejax.types import Split


@dataclass(frozen=True)
class Anchored(LazySplits):
    """The set at one correlation; `anchored` makes and documents it."""

    rho: float
    noise: float
    num_train: int
    num_validation: int
    num_test: int
    seed: int

    factor_names: ClassVar[tuple[str, ...]] = ("v0", "v1")
    # which factor each feature depends on: the true support of a decoder's mask, [D, F]
    support: ClassVar[tuple[tuple[int, ...], ...]] = ((1, 0),) * 3 + ((0, 1),) * 3 + ((1, 1),)
    # (feature, factor) of those that depend on one alone
    anchors: ClassVar[tuple[tuple[int, int], ...]] = ((0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1))

    def mean(self, factors: np.ndarray) -> np.ndarray:
        """E[x | v], the features without noise.

        Args:
            factors: real numbers [n, 2].

        Returns:
            float64 [n, 7].

        Raises:
            ValueError: factors of another shape.
        """
        factors = np.asarray(factors, np.float64)
        if factors.ndim != 2 or factors.shape[1] != 2:
            raise ValueError(f"factors: expected shape [n, 2], got {list(factors.shape)}")
        v0, v1 = factors.T
        return np.stack([v0, 2 * v0, 3 * v0**2, 4 * v1, 5 * v1, 6 * np.sin(v1), 7 * v0 * v1], axis=1)

    def _split(self, name: str) -> Split:
        size = {"train": self.num_train, "validation": self.num_validation, "test": self.num_test}[name]
        noise = stream(self.seed, SPLITS.index(name)).normal(size=(size, 9))
        first, second, rest = noise[:, 0], noise[:, 1], noise[:, 2:]
        v = np.stack([first, self.rho * first + np.sqrt(1 - self.rho**2) * second], axis=1)
        x = self.mean(v) + self.noise * rest
        return Split({"x": x.astype(np.float32), "y": v.astype(np.float32)}, "real")


def anchored(
    rho: float = 0.0,
    *,
    noise: float = 0.5,
    num_train: int = 500,
    num_validation: int = 500,
    num_test: int = 500,
    seed: int = 0,
) -> Anchored:
    """Tabular data with a known mask: x [7] of two factors v ~ N(0, C), C_01 = rho, with unit variances.

        x = (v0, 2 v0, 3 v0^2, 4 v1, 5 v1, 6 sin v1, 7 v0 v1) + noise * N(0, I)

    Features 0-2 depend on v0 alone and 3-5 on v1 alone: each factor has at least the two anchor features with
    which a sparse decoder is identifiable, in theory up to order and a function of each factor.

    `.train`, `.validation` and `.test` are `Split`s with arrays x: float32 [N, 7] and y: float32 [N, 2] (the
    factors), from independent random streams; with another rho or noise they have the same draws behind them.

    Args:
        rho: correlation of the two factors, in (-1, 1).
        noise: standard deviation of every feature given the factors, > 0; .5 is the authors'.
        num_train: rows of that split; half of the authors' 1000, as they split it.
        num_validation: rows of that split.
        num_test: rows of that split.
        seed: of the draws, not negative.

    Returns:
        An `Anchored`, which also has `factor_names`, `support` [7, 2] (the true mask), `anchors`
        ((feature, factor), ...) and `mean(factors)`.

    Raises:
        TypeError, ValueError: arguments of another type or range.

    Source: Moran et al. 2021, arXiv 2110.10804, the synthetic data, and the authors' code (its numbers).
    """
    check_real(rho, "rho")
    check_positive(noise, "noise")
    check_sizes_and_seed(num_train=num_train, num_validation=num_validation, num_test=num_test, seed=seed)
    if not -1 < rho < 1:
        raise ValueError(f"rho: expected a number in (-1, 1), got {rho}")
    sizes = map(int, (num_train, num_validation, num_test, seed))
    return Anchored(float(rho), float(noise), *sizes)
