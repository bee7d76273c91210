"""Data sets as host arrays: `Split`s of uint8 or float arrays with a support and a transform."""

from __future__ import annotations

from vaejax.data.arrays import Dataset, from_arrays
from vaejax.data.three_dots import ThreeDots, three_dots

__all__ = ["Dataset", "ThreeDots", "from_arrays", "three_dots"]
