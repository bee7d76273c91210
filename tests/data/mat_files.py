"""MATLAB files of level 5, by hand."""

from __future__ import annotations

import struct
import zlib

import numpy as np

CLASS = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13}
TYPE = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9}


def element(kind: int, data: bytes, order: str) -> bytes:
    if 0 < len(data) <= 4:  # a small one, in its tag
        return struct.pack(order + "I", len(data) << 16 | kind) + data.ljust(4, b"\0")
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(name: str, array: np.ndarray, order: str = "<", packed: bool = True, stored: str = "") -> bytes:
    """An array as an element; `stored`: the type of its values, where it is another than the array's."""
    kind = array.dtype.str[1:]
    stored = stored or kind
    body = (
        element(6, struct.pack(order + "II", CLASS[kind], 0), order)
        + element(5, struct.pack(f"{order}{array.ndim}i", *array.shape), order)
        + element(1, name.encode(), order)
        + element(TYPE[stored], array.astype(order + stored).tobytes(order="F"), order)
    )
    whole = struct.pack(order + "II", 14, len(body)) + body
    if not packed:
        return whole
    data = zlib.compress(whole)
    return struct.pack(order + "II", 15, len(data)) + data


def mat_bytes(arrays: dict[str, np.ndarray], order: str = "<", packed: bool = True) -> bytes:
    text = b"MATLAB 5.0 MAT-file, written by a test".ljust(116) + bytes(8)
    header = text + struct.pack(order + "H", 0x0100) + {"<": b"IM", ">": b"MI"}[order]
    return header + b"".join(matrix(name, array, order, packed) for name, array in arrays.items())
