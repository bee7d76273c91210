"""IDX files, in which MNIST and its kin are given out."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

_BYTES = 8  # the type code of unsigned bytes
_GZIP = b"\x1f\x8b"
_REMEDY = "; delete it and fetch it again"


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, plain or gzipped: uint8 of the shape that its header says.

    The header is 0, 0, the type code, the number of dimensions; then each of them in four bytes, the most
    significant first.

    Raises:
        ValueError: it is no such file, or is damaged; names the path.
    """
    data = path.read_bytes()
    if data[:2] == _GZIP:
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"{path}: expected a whole gzip file, got a damaged one ({error}){_REMEDY}"
            ) from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[3] == 0:
        raise ValueError(f"{path}: expected an IDX file, got one that starts with {data[:4]!r}{_REMEDY}")
    if data[2] != _BYTES:
        raise ValueError(f"{path}: expected IDX type {_BYTES:#04x}, unsigned bytes; got {data[2]:#04x}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{path}: expected a header of {start} bytes, got {len(data)} bytes in all{_REMEDY}")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4))
    if len(data) - start != math.prod(shape):
        raise ValueError(
            f"{path}: expected {math.prod(shape)} bytes after the header of shape {list(shape)}, "
            f"got {len(data) - start}{_REMEDY}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
