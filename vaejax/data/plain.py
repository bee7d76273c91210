"""What a user gives for an array, as a plain array of numbers on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_EXACT = 2**24  # up to this every whole number is a float32


def plain_array(value: Any, name: str, other: str = "") -> np.ndarray:
    """A plain array in this machine's byte order, booleans as uint8; memory is shared where it can be.

    Args:
      value: an array of numpy or jax, or lists of numbers.
      name: of the argument.
      other: what else it might have been, for the error.

    Raises:
      TypeError: for anything else, or an array with a mask.
      ValueError: for lists of different lengths.
    """
    if isinstance(value, list | tuple):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name}: expected lists of one length; got others ({error})") from error
    if isinstance(value, jax.Array) and not jax.numpy.issubdtype(value.dtype, jax.dtypes.extended):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name}: expected a numpy array{other}, as np.asarray makes it; got {type(value).__name__}"
            + "; data.joined makes one set of several modalities" * isinstance(value, Mapping)
        )
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: expected an array without a mask, as .filled(value) makes it; got a masked array"
        )
    array = np.asarray(value)  # np.matrix and np.memmap, sharing their memory
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def whole_numbers(array: np.ndarray, support: str, name: str) -> np.ndarray:
    """Integers as what their support means by them: uint8 where that holds them all, else float32.

    Other arrays and uint8 are as they are.

    Raises:
      TypeError: for the support "unit_interval", of which uint8 alone says that 255 is 1.
      ValueError: for integers that are none of their support's, or none of float32's.
    """
    if array.dtype.kind not in "iu" or array.dtype == np.uint8 or array.size == 0:
        return array
    if support == "unit_interval":
        raise TypeError(
            f"{name}: expected uint8, which are scaled by 1/255, or floats in [0, 1], for support "
            f"'unit_interval'; got {array.dtype}"
        )
    top = {"binary": 1, "one_hot": 1, "bytes": 255}.get(support, _EXACT)
    low, high = int(array.min()), int(array.max())
    least = -top if top == _EXACT else 0
    if low < least or high > top:
        raise ValueError(
            f"{name}: expected whole numbers in [{least}, {top}] for support {support!r}, got {low}..{high}"
        )
    return array.astype(np.float32 if top == _EXACT else np.uint8)
