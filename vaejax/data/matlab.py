"""MATLAB's .mat files of levels 4 and 5: arrays of numbers, read a column at a time.

scipy.io.loadmat takes an array into memory whole, and SVHN's further pictures are one of 1.6 GB. Here nothing
but numbers is read, no function, object or structure of MATLAB's.

A file of level 5 is a header of 128 bytes, then elements: a tag (type, size: int32 each), as many bytes. An
array is an element of elements (flags with its class, dimensions, name, values), each filled up to 8 bytes,
and as a rule packed by zlib. An element of at most 4 bytes stands in its tag. A file of level 4 is one array
after another: five int32 (byte order and type of the values, rows, columns, whether it is complex, the length
of the name), the name, the values. Arrays are in the order of Fortran: the last axis changes slowest.

Source: The MathWorks, MAT-File Format, R2019a.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaejax.data.archives import REMEDY

_HEADER = 128
_MATRIX, _PACKED = 14, 15  # types of elements
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TYPES_4 = {0: 9, 1: 7, 2: 5, 3: 3, 4: 4, 5: 2}  # of level 4, as those of level 5
_HEADER_4 = 20
_OTHERS = {1: "cell", 2: "structure", 3: "object", 4: "text", 5: "sparse", 16: "function", 17: "object"}
_COMPLEX = 0x0800
_CHUNK = 2**16  # bytes read at a time; and unpacked
_HDF5 = b"\x89HDF"


class Variable(NamedTuple):
    """An array of a file. `dtype` is None where it is not of real numbers; `kind` tells what it is then."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype | None
    kind: str


def mat_variables(path: Path) -> dict[str, Variable]:
    """What arrays a file holds, by name.

    Raises:
        ValueError: it is no .mat file of level 4 or 5, or is damaged; names the path.
    """
    return {variable.name: variable for variable, _ in _elements(path)}


def check_mat(path: Path, expected: Mapping[str, tuple[int, ...]], dtype: Any = None) -> None:
    """Raise unless a file has real numbers of these names and shapes, and of this type where it is given.

    Raises:
        ValueError: it has not, is no .mat file of level 4 or 5, or is damaged; names the path.
    """
    found = mat_variables(path)
    for name, shape in expected.items():
        if name not in found:
            raise ValueError(f"{path}: expected an array {name!r}, got {', '.join(sorted(found)) or 'none'}")
        got, wanted = found[name], "real numbers" if dtype is None else str(np.dtype(dtype))
        of = got.kind if got.dtype is None else str(got.dtype)
        if got.dtype is None or got.shape != shape or (dtype is not None and of != wanted):
            raise ValueError(
                f"{path}: expected {name!r} as {wanted} {list(shape)}, got {of} {list(got.shape)}"
            )


def mat_columns(path: Path, name: str) -> Iterator[np.ndarray]:
    """The parts of an array along its last axis, [*shape[:-1]] each, as they stand in the file.

    Raises:
        ValueError: there is no such array of real numbers, or the file is damaged; names the path.
    """
    for variable, source in _elements(path):
        if variable.name == name and variable.dtype is not None:
            with _whole(path):
                yield from _columns(path, variable, source)
            return
    raise ValueError(f"{path}: expected an array {name!r} of real numbers, got none")


def _columns(path: Path, variable: Variable, source: _Source) -> Iterator[np.ndarray]:
    kind, size = source.tag()
    stored = np.dtype(source.order + _TYPES.get(kind, "u1"))
    shape = variable.shape[:-1]
    row = math.prod(shape) * stored.itemsize
    if kind not in _TYPES or size != row * variable.shape[-1]:
        raise ValueError(
            f"{path}: expected values of {variable.name!r}, {list(variable.shape)}, got {size} bytes of type "
            f"{kind}{REMEDY}"
        )
    for _ in range(variable.shape[-1]):
        yield np.frombuffer(source.read(row), stored).reshape(shape, order="F").astype(variable.dtype)
    source.end()


class _Source:
    """The bytes of one element, unpacked where they are packed, from its start to its end.

    `told`: what the tag of its values would say, where they have none.
    """

    def __init__(self, file: Any, size: int, packed: bool, order: str, told: tuple[int, int] | None = None):
        self._file, self._left, self.order, self._told = file, size, order, told
        self._inflate = zlib.decompressobj() if packed else None
        self._ready = b""

    def read(self, n: int) -> bytes:
        """The next n bytes; EOFError where there are fewer."""
        parts = []
        while n > 0:
            self._ready = self._ready or self._more()
            if not self._ready:
                raise EOFError("it ends too early")
            parts.append(self._ready[:n])
            self._ready = self._ready[n:]
            n -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def numbers(self, code: str, n: int) -> list[int]:
        return np.frombuffer(self.read(n), np.dtype(self.order + code)).tolist()

    def tag(self) -> tuple[int, int]:
        """Type and size of an element whose bytes come next."""
        if self._told is not None:
            return self._told
        word = self.numbers("u4", 4)[0]
        if word >> 16:  # a small one: its bytes are the other half of the tag
            return word & 0xFFFF, word >> 16
        return word, self.numbers("u4", 4)[0]

    def small(self) -> bytes:
        """The bytes of an element that is small enough to be read whole."""
        word = self.numbers("u4", 4)[0]
        if word >> 16:
            return self.read(4)[: word >> 16]
        size = self.numbers("u4", 4)[0]
        if size > _CHUNK:
            raise EOFError(f"an element of {size} bytes stands where a name or a shape is")
        return self.read(-(-size // 8) * 8)[:size]

    def end(self) -> None:
        """Read on to the end, where zlib has its checksum."""
        while self._more():
            pass
        if self._inflate is not None and not self._inflate.eof:
            raise EOFError("it ends too early")

    def _more(self) -> bytes:
        if self._inflate is None:
            return self._raw()
        while not self._inflate.eof:
            raw = self._inflate.unconsumed_tail or self._raw()
            made = self._inflate.decompress(raw, _CHUNK)
            if made or not raw:
                return made
        return b""

    def _raw(self) -> bytes:
        data = self._file.read(min(_CHUNK, self._left))
        self._left -= len(data)
        return data


def _elements(path: Path) -> Iterator[tuple[Variable, _Source]]:
    """The arrays of a file, each with its bytes from the values on."""
    with open(path, "rb") as file, _whole(path):
        level, order = _level(path, file.read(_HEADER))
        yield from (_level_4 if level == 4 else _level_5)(file, order, path.stat().st_size)


def _level_5(file: Any, order: str, size: int) -> Iterator[tuple[Variable, _Source]]:
    place = _HEADER
    while place < size:
        file.seek(place)
        kind, length = _Source(file, 8, False, order).numbers("u4", 8)
        place += 8 + length
        if kind not in (_MATRIX, _PACKED):
            raise EOFError(f"an element of type {kind} stands where an array is")
        if place > size:
            raise EOFError(f"{size} bytes in place of at least {place}")
        source = _Source(file, length, kind == _PACKED, order)
        if kind == _PACKED and source.numbers("u4", 8)[0] != _MATRIX:
            raise EOFError("what is packed is no array")
        yield _variable(source), source


def _level_4(file: Any, order: str, size: int) -> Iterator[tuple[Variable, _Source]]:
    place = 0
    while place < size:
        file.seek(place)
        code, rows, columns, is_complex, length = _Source(file, _HEADER_4, False, order).numbers(
            "i4", _HEADER_4
        )
        stored, form = _TYPES_4.get(code // 10 % 10), code % 10
        if stored is None or min(rows, columns) < 0 or not 0 < length <= _CHUNK:
            raise EOFError(f"{code}, {rows}, {columns}, {length} stand where an array begins")
        dtype = np.dtype(_TYPES[stored])
        values = rows * columns * dtype.itemsize
        place += _HEADER_4 + length + values * (2 if is_complex else 1)
        if place > size:
            raise EOFError(f"{size} bytes in place of at least {place}")
        name = _Source(file, length, False, order).read(length).rstrip(b"\0").decode("latin-1")
        kind = {0: "complex" if is_complex else "real", 1: "text", 2: "sparse"}.get(form, "unknown")
        source = _Source(file, values, False, order, told=(stored, values))
        yield Variable(name, (rows, columns), dtype if kind == "real" else None, kind), source


def _variable(source: _Source) -> Variable:
    flags = int(np.frombuffer(source.small(), source.order + "u4")[0])
    shape = tuple(np.frombuffer(source.small(), source.order + "i4").tolist())
    name = source.small().decode("latin-1")
    real = flags & 0xFF in _CLASSES and not flags & _COMPLEX and len(shape) > 1 and min(shape) >= 0
    dtype = np.dtype(_CLASSES[flags & 0xFF]) if real else None
    kind = _OTHERS.get(flags & 0xFF, "complex" if flags & _COMPLEX else "unknown")
    return Variable(name, shape, dtype, "real" if real else kind)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, IndexError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole .mat file, got a damaged one ({error}){REMEDY}"
        ) from error


def _level(path: Path, header: bytes) -> tuple[int, str]:
    """The level and the byte order that the header tells; raise unless it is one of these files."""
    first = header[:4].ljust(4, b"\xff")  # of level 4 a number of decimal digits: byte order, 0, type, form
    for order, base in (("<", 0), (">", 1000)):
        if base <= int(np.frombuffer(first, order + "i4")[0]) <= base + 52:
            return 4, order
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    version = int(np.frombuffer(header[124:126], (order or "<") + "u2")[0]) if len(header) == _HEADER else 0
    if header[:4] == _HDF5 or (order and version == 0x0200):
        raise ValueError(
            f"{path}: expected a .mat file of level 4 or 5, got one of HDF5 (-v7.3); save it again with -v7"
        )
    if order is None or version != 0x0100:
        raise ValueError(
            f"{path}: expected a .mat file of level 4 or 5, got one that starts with {header[:8]!r}{REMEDY}"
        )
    return 5, order
