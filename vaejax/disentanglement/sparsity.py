"""How sparse the columns of a decoder's Jacobian are, and where their mass lies: functions of arrays.

Columns are [..., D]: all leading axes count columns, such as examples and latents. Nothing here depends on
a column's scale or sign, and a column of zeros, which has neither, has the value nan.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vaejax.checks import check_unmasked

__all__ = ["hoyer", "kurtosis", "main_share"]


def hoyer(columns: Any) -> np.ndarray:
    """Hoyer's sparsity of every column, (sqrt(D) - ||a||_1 / ||a||_2) / (sqrt(D) - 1), in [0, 1].

    1 for a single entry, 0 where all entries have one size; independent Gaussian entries come to about
    1 - sqrt(2 / pi) = .20 when D is large.

    Args:
      columns: a, [..., D] with D > 1.

    Returns:
      float64 [...]; nan for a column of zeros.

    Raises:
      TypeError: a masked array.
      ValueError: D is 1, or a value is not finite.

    Source: Hoyer 2004, "Non-negative Matrix Factorization with Sparseness Constraints", cs/0408058.
    """
    a = _check_columns(columns)
    root = np.sqrt(a.shape[-1])
    unit = _scaled(a)
    return (root - np.abs(unit).sum(-1) / np.sqrt(np.square(unit).sum(-1))) / (root - 1)


def kurtosis(columns: Any) -> np.ndarray:
    """Excess kurtosis of every column's entries, m_4 / m_2^2 - 3 with central moments m.

    0 for Gaussian entries, 3 for Laplacian ones, -2 at the least; it weighs the largest entries most and sees
    them against the column's own mean, as is the use for filters of natural images.

    Args:
      columns: a, [..., D] with D > 1.

    Returns:
      float64 [...]; nan for a constant column.

    Raises:
      TypeError: a masked array.
      ValueError: D is 1, or a value is not finite.

    Source: Olshausen & Field 1996, doi 10.1038/381607a0.
    """
    a = _check_columns(columns)
    # exactly 0 for constant columns, whose computed mean may be off by rounding
    centred = _scaled(np.where((a == a[..., :1]).all(-1, keepdims=True), 0.0, a - a.mean(-1, keepdims=True)))
    return np.mean(centred**4, -1) / np.mean(centred**2, -1) ** 2 - 3


def main_share(columns: Any, tiles: Any) -> np.ndarray:
    """The share of every column's mass sum_i |a_i| that lies in the tile where most of it lies.

    1 where a latent moves one tile alone; 1/T where it moves T tiles alike.

    Args:
      columns: a, [..., D] with D > 1.
      tiles: [D] integers 0..T-1, the tile of every entry.

    Returns:
      float64 [...], in [1/T, 1]; nan for a column of zeros.

    Raises:
      TypeError: tiles are not integers, or a masked array.
      ValueError: they are negative or not [D], D is 1, or a value is not finite.
    """
    a, tiles = _check_columns(columns), np.asarray(tiles)
    if not np.issubdtype(tiles.dtype, np.integer):
        raise TypeError(f"tiles: expected integers, got {tiles.dtype}")
    if tiles.shape != a.shape[-1:]:
        raise ValueError(f"tiles: expected shape {list(a.shape[-1:])}, got {list(tiles.shape)}")
    if tiles.min() < 0:
        raise ValueError(f"tiles: expected 0 and up, got {tiles.min()}")
    mass = np.abs(_scaled(a)) @ np.eye(tiles.max() + 1)[tiles]  # [..., T]
    return mass.max(-1) / mass.sum(-1)


def _check_columns(columns: Any) -> np.ndarray:
    check_unmasked(columns, "columns")
    a = np.asarray(columns, np.float64)
    if a.ndim == 0 or a.shape[-1] < 2:
        raise ValueError(f"columns: expected [..., D] with D > 1, got shape {list(a.shape)}")
    if not np.isfinite(a).all():
        raise ValueError(f"columns: expected finite numbers, got {np.sum(~np.isfinite(a))} that are not")
    return a


def _scaled(a: np.ndarray) -> np.ndarray:
    """Every column over its largest entry, or nan: the squares of a column of 1e-200 would be 0."""
    largest = np.abs(a).max(-1, keepdims=True)
    return a / np.where(largest > 0, largest, np.nan)
