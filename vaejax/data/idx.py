"""IDX files, in which MNIST and its kin are given out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from vaejax.data.archives import REMEDY

_TYPES = {8: (np.uint8, "unsigned bytes"), 12: (np.int32, "int32")}  # those that such sets have
_ROWS = 1000  # read at a time


def idx_rows(file: Any, where: str, shape: tuple[int, ...], code: int = 8) -> Iterator[np.ndarray]:
    """The rows of an IDX file, [*shape[1:]] each, read a thousand at a time.

    Args:
        file: the bytes, unpacked.
        where: what it is called in errors.
        shape: [N, ...], that its header must say.
        code: of the type, 8 for unsigned bytes or 12 for int32.

    Raises:
        ValueError: it is no such file, of another type or shape, or has more or fewer bytes than its header
            says.
    """
    dtype, _ = _TYPES[code]
    check_idx(file, where, shape, code)
    stored = np.dtype(dtype).newbyteorder(">")
    row = math.prod(shape[1:]) * stored.itemsize
    for first in range(0, shape[0], _ROWS):
        wanted = row * min(_ROWS, shape[0] - first)
        data = file.read(wanted)
        if len(data) != wanted:
            raise _other_size(where, shape, row, first * row + len(data))
        yield from np.frombuffer(data, stored).reshape(-1, *shape[1:]).astype(dtype)
    if more := len(file.read(_ROWS)):
        raise _other_size(where, shape, row, f"at least {shape[0] * row + more}")


def check_idx(file: Any, where: str, shape: tuple[int, ...], code: int = 8) -> None:
    """Read the header of an IDX file; raise unless it says this type and shape.

    The header is 0, 0, the type code, the number of dimensions; then each of them in four bytes, the most
    significant first, as the values are. The arguments are those of `idx_rows`.
    """
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[3] == 0:
        raise ValueError(f"{where}: expected an IDX file, got one that starts with {start!r}{REMEDY}")
    if start[2] != code:
        raise ValueError(f"{where}: expected IDX type {code:#04x}, {_TYPES[code][1]}; got {start[2]:#04x}")
    data = file.read(4 * start[3])
    if len(data) < 4 * start[3]:
        raise ValueError(
            f"{where}: expected a header of {4 + 4 * start[3]} bytes, got {4 + len(data)} bytes in all"
            f"{REMEDY}"
        )
    got = tuple(np.frombuffer(data, ">u4").tolist())
    if got != shape:
        swapped = tuple(np.frombuffer(data, "<u4").tolist()) == shape
        hint = ", the least significant byte first" if swapped else ""
        raise ValueError(f"{where}: expected shape {list(shape)}, got {list(got)}{hint}")


def _other_size(where: str, shape: tuple[int, ...], row: int, got: Any) -> ValueError:
    return ValueError(
        f"{where}: expected {shape[0] * row} bytes after the header of shape {list(shape)}, got {got}{REMEDY}"
    )
