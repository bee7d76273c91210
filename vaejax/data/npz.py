"""Arrays inside .npz files, row by row: sets may be larger than the memory, and nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

_BLOCK = 2**19  # bytes that are unpacked at once
_REMEDY = "; fetch the file again"


@dataclass(frozen=True)
class Member:
    """An array of a .npz file: [N, ...], its last axis changing fastest."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """The rows in order, some at a time: [n, ...].

        Raises:
            ValueError: the file is cut off or damaged; names it.
        """
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        rows = max(1, _BLOCK // max(1, size))
        with _opened(self.path, self.name) as file:
            _header(self.path, self.name, file)
            for first in range(0, self.shape[0], rows):
                n = min(rows, self.shape[0] - first)
                data = file.read(n * size)
                if len(data) < n * size:
                    raise ValueError(
                        f"{self.path}: expected {self.shape[0]} rows of {self.name!r}, got the bytes of "
                        f"{first + len(data) // max(1, size)}{_REMEDY}"
                    )
                yield np.frombuffer(data, self.dtype).reshape(n, *self.shape[1:])
            if file.read(1):  # which also compares the zip's checksum
                raise ValueError(
                    f"{self.path}: expected {self.shape[0]} rows of {self.name!r}, got more{_REMEDY}"
                )

    def rows(self) -> Iterator[np.ndarray]:
        """The rows in order, one at a time: [...]."""
        for block in self.blocks():
            yield from block

    def read(self) -> np.ndarray:
        """The whole array."""
        blocks = list(self.blocks())
        return np.concatenate(blocks) if blocks else np.empty(self.shape, self.dtype)


def npz_members(path: Path, names: Sequence[str]) -> Mapping[str, Member]:
    """The arrays of these names, by their headers; nothing else of the file is looked at.

    Raises:
        ValueError: no .npz file, or a damaged one, without one of the names, with objects (which would have
            to be unpickled), or with another order of the axes; names the path.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            has = archive.namelist()
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: expected a whole .npz file, got another one ({error}){_REMEDY}") from None
    for name in names:
        if f"{name}.npy" not in has:
            shown = ", ".join(sorted(n.removesuffix(".npy") for n in has)) or "none"
            raise ValueError(f"{path}: expected an array {name!r} in it, got {shown}")
    members = {}
    for name in names:
        with _opened(path, name) as file:
            members[name] = Member(path, name, *_header(path, name, file))
    return members


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """An array of the file, open; an error of what is read from it names the path."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            yield file
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(
            f"{path}: expected a whole array {name!r}, got a damaged one ({error}){_REMEDY}"
        ) from error


def _header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array whose bytes follow."""
    form: Any = np.lib.format
    try:
        version = form.read_magic(file)
        read = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
        shape, turned, dtype = read[version](file)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected {name!r} as numpy writes arrays, got {error}{_REMEDY}") from None
    if dtype.hasobject:
        raise ValueError(
            f"{path}: expected numbers in {name!r}, got Python objects, which only pickle can read; "
            "that may run any code, and is not done"
        )
    if not shape or (turned and len(shape) > 1):
        raise ValueError(f"{path}: expected {name!r} as rows, [N, ...] in C order; got {list(shape)}"
                         + ", the first axis changing fastest" * bool(turned))  # fmt: skip
    return shape, dtype
