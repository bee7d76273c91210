"""Small NORB, from the binary matrices in which it is published."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaejax.data.factored import stream
from vaejax.data.grids import SEED, places_of
from vaejax.data.recipes import Example, Recipe

TRAINING, TESTING = "smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing"
KINDS = ("dat", "cat", "info")  # pairs of images; categories; instances, elevations, azimuths, lightings
FILES = tuple(f"{part}-{kind}.mat.gz" for part in (TRAINING, TESTING) for kind in KINDS)
FACTORS = ("category", "instance", "elevation", "azimuth", "lighting", "camera")

_TYPES = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}  # by their magic numbers
_LARGEST_DIMENSION = 2**24
_CAMERAS = 2
_GZIP = b"\x1f\x8b"
_HELD_OUT = 10  # one pair of training images in so many is in the validation split
_REMEDY = "; fetch the file again"


def smallnorb_recipe(paths: Mapping[str, Path]) -> Recipe:
    """Small NORB, from the six files -dat, -cat and -info of training and testing.

    A pair of images, by the two cameras, becomes two rows that differ in the factor `camera`. The azimuths,
    0, 2, ..., 34 in the files, are numbered 0..17. Training and testing have other instances; both together
    are every combination of the factors once. One training pair in ten, at random, is validation.

    Raises:
        ValueError: another file, or a damaged one.
    """
    training, testing = (_Part(*(paths[file] for file in files)) for files in (FILES[:3], FILES[3:]))
    y = [training.factors(), testing.factors()]
    num_values = tuple(int(n) + 1 for n in np.concatenate(y).max(axis=0))
    places_of(y, num_values, training.info)
    side = training.side()
    if testing.side() != side:
        raise ValueError(f"{testing.dat}: expected images of {side} x {side}, as for training; got others")
    held_out = np.zeros(len(y[0]), bool)
    mixed = stream(SEED, 0).permutation(len(held_out))
    held_out[mixed[: max(1, len(mixed) // _HELD_OUT)]] = True
    values = dict(zip(FACTORS, (*num_values, _CAMERAS), strict=True))
    return Recipe(
        name="smallnorb",
        config="published",
        version="1.0.0",
        features={"x": (side, side, 1), "y": (len(FACTORS),)},
        splits={
            "train": partial(training.examples, y[0], ~held_out),
            "validation": partial(training.examples, y[0], held_out),
            "test": partial(testing.examples, y[1], np.ones(len(y[1]), bool)),
        },
        notes=lambda: {"factors": list(map(list, values.items())), "grid": True},
        num_examples=_CAMERAS * sum(map(len, y)),
    )


@dataclass(frozen=True)
class _Part:
    """The three files of training or testing."""

    dat: Path
    cat: Path
    info: Path

    def factors(self) -> np.ndarray:
        """All factors but the camera of every pair, uint8 [N, 5]."""
        cat, info = (_small_matrix(path) for path in (self.cat, self.info))
        if cat.ndim != 1 or info.shape != (len(cat), 4):
            raise ValueError(
                f"{self.info}: expected a row of 4 for each category of {self.cat.name}, {list(cat.shape)}; "
                f"got {list(info.shape)}"
            )
        y = np.column_stack([cat, info])
        if len(y) == 0 or y.min() < 0 or y.max() > 255 or (y[:, 3] % 2).any():
            raise ValueError(f"{self.info}: expected numbers in 0..255, and even azimuths; got others")
        y[:, 3] //= 2
        return y.astype(np.uint8)

    def side(self) -> int:
        """Pixels along a side of an image."""
        with _opened(self.dat) as file:
            shape = _header(self.dat, file, np.dtype("u1"))
        N = len(_small_matrix(self.cat))
        if len(shape) != 4 or shape[:2] != (N, _CAMERAS) or shape[2] != shape[3]:
            raise ValueError(f"{self.dat}: expected square images, [{N}, 2, H, H]; got {list(shape)}")
        return shape[2]

    def examples(self, y: np.ndarray, chosen: np.ndarray) -> Iterator[Example]:
        """The images of the chosen pairs with all factors, those of a pair one after the other."""
        with _opened(self.dat) as file:
            side = _header(self.dat, file, np.dtype("u1"))[2]
            for factors, wanted in zip(y, chosen, strict=True):
                pair = np.frombuffer(_exactly(self.dat, file, _CAMERAS * side**2), np.uint8)
                if not wanted:
                    continue
                for camera, image in enumerate(pair.reshape(_CAMERAS, side, side, 1)):
                    yield {"x": image, "y": np.append(factors, np.uint8(camera))}
            _no_more(self.dat, file)


def _small_matrix(path: Path) -> np.ndarray:
    """A whole matrix of integers."""
    with _opened(path) as file:
        dtype = np.dtype("<i4")
        shape = _header(path, file, dtype)
        data = _exactly(path, file, math.prod(shape) * dtype.itemsize)
        _no_more(path, file)
    return np.frombuffer(data, dtype).reshape(shape).astype(np.int64)


def _header(path: Path, file: IO[bytes], dtype: np.dtype) -> tuple[int, ...]:
    """The shape of a matrix of this type, whose values follow.

    A header is little-endian int32: the magic number of the type, the number of dimensions, and at least
    three sizes, of which those beyond the number of dimensions say nothing.
    """
    magic, ndim = np.frombuffer(_exactly(path, file, 8), "<u4").tolist()
    got = _TYPES.get(magic)
    if got != dtype:
        turned = int.from_bytes(magic.to_bytes(4, "little"), "big") in _TYPES
        what = got or "bytes in the other order" if got or turned else f"the magic number {magic:#010x}"
        raise ValueError(f"{path}: expected a binary matrix of {dtype}, got {what}{_REMEDY}")
    if not 1 <= ndim <= 8:
        raise ValueError(f"{path}: expected 1 to 8 dimensions, got {ndim}{_REMEDY}")
    shape = np.frombuffer(_exactly(path, file, 4 * max(3, ndim)), "<i4")[:ndim].tolist()
    if not all(0 <= n <= _LARGEST_DIMENSION for n in shape):
        raise ValueError(f"{path}: expected sizes of dimensions, got {shape}{_REMEDY}")
    return tuple(shape)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file, unpacked if it is gzipped."""
    with open(path, "rb") as plain:
        zipped = plain.read(2) == _GZIP
        plain.seek(0)
        try:
            with gzip.open(plain) if zipped else plain as file:
                yield file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path}: expected a whole gzip file, got a damaged one ({error}){_REMEDY}"
            ) from error


def _exactly(path: Path, file: IO[bytes], n: int) -> bytes:
    data = file.read(n)
    if len(data) < n:
        raise ValueError(f"{path}: expected a whole file, got one of {n - len(data)} bytes less{_REMEDY}")
    return data


def _no_more(path: Path, file: IO[bytes]) -> None:
    if file.read(1):
        raise ValueError(f"{path}: expected the end of the file after its values, got more{_REMEDY}")
