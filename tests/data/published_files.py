"""Small files in the formats in which sets are published, byte for byte, without what reads them.

HDF5 alone, whose trees and heaps take pages, is written by h5py.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vaejax.data import factor_files, norb
from vaejax.data.from_files import published


def npy_bytes(array: np.ndarray, *, descr: str | None = None, fortran: bool = False) -> bytes:
    """A .npy file of version 1.0."""
    kind = descr or {"uint8": "|u1", "int64": "<i8", "float64": "<f8"}[str(array.dtype)]
    shape = "(" + ", ".join(map(str, array.shape)) + ("," if array.ndim == 1 else "") + ")"
    header = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + array.tobytes()


def zip_bytes(members: Mapping[str, bytes], *, packed: bool = True) -> bytes:
    """A zip archive."""
    parts, directory, place = [], [], 0
    for name, data in members.items():
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = packer.compress(data) + packer.flush() if packed else data
        about = struct.pack(
            "<HHHHHIIIHH",
            20,
            0,
            8 if packed else 0,
            0,
            33,
            zlib.crc32(data),
            len(body),
            len(data),
            len(name),
            0,
        )
        parts.append(b"PK\x03\x04" + about + name.encode() + body)
        where = struct.pack("<HHHII", 0, 0, 0, 0, place)
        directory.append(b"PK\x01\x02" + struct.pack("<H", 20) + about + where + name.encode())
        place += len(parts[-1])
    tail = b"".join(directory)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(tail), place, 0)
    return b"".join(parts) + tail + end


def matrix_bytes(array: np.ndarray, *, order: str = "<") -> bytes:
    """A binary matrix as small NORB's: of bytes, or of int32."""
    code = 0x1E3D4C55 if array.dtype == np.uint8 else 0x1E3D4C54
    sizes = list(array.shape) + [1] * (3 - array.ndim)
    values = array if array.dtype == np.uint8 else array.astype(f"{order}i4")
    return struct.pack(f"{order}II{len(sizes)}i", code, array.ndim, *sizes) + values.tobytes()


def mat_bytes(arrays: Mapping[str, np.ndarray], *, packed: bool = True) -> bytes:
    """A MATLAB file of level 5 with arrays of uint8."""
    out = b"MATLAB 5.0 MAT-file, by hand".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    for name, array in arrays.items():
        body = _element(6, struct.pack("<II", 9, 0))  # flags: class uint8
        body += _element(5, struct.pack(f"<{array.ndim}i", *array.shape))
        body += _element(1, name.encode()) + _element(2, array.tobytes(order="F"))
        matrix = _element(14, body)
        deflated = zlib.compress(matrix)
        out += struct.pack("<II", 15, len(deflated)) + deflated if packed else matrix
    return out


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def png_bytes(image: np.ndarray) -> bytes:
    """A PNG file of uint8 [H, W, C]: grey, RGB or RGBA."""
    height, width, channels = image.shape
    colour = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.tobytes() for row in image)  # no filter
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
    )


def grid(*num_values: int) -> np.ndarray:
    """Every combination of factors, the last changing fastest: [prod V, F]."""
    return np.array(list(itertools.product(*map(range, num_values))))


def images_of(n: int, *shape: int, top: int = 255) -> np.ndarray:
    """n images that differ, uint8 [n, *shape] in 0..top."""
    images = np.random.default_rng(n).integers(0, top, (n, *shape), np.uint8, endpoint=True)
    for i in range(n if top > 1 else 0):
        images[i].flat[:2] = divmod(i, 256)
    return images


DSPRITES_VALUES = (3, 2, 2, 2, 2)


def dsprites_arrays(num_values: tuple[int, ...] = DSPRITES_VALUES, side: int = 4) -> dict[str, np.ndarray]:
    y = grid(1, *num_values)
    images = images_of(len(y), side, side, top=1)
    bits = np.unpackbits(np.arange(len(y), dtype=">u2").view(np.uint8)).reshape(len(y), 16)
    images.reshape(len(y), -1)[:, :16] = bits[:, :16]
    return {"imgs": images, "latents_classes": y.astype(np.int64)}


def dsprites_bytes(arrays: Mapping[str, np.ndarray] | None = None, **options: bool) -> bytes:
    """The .npz file, with a member that only pickle reads, as the published one has."""
    arrays = dsprites_arrays() if arrays is None else arrays
    members = {f"{name}.npy": npy_bytes(array) for name, array in arrays.items()}
    pickled = npy_bytes(np.zeros(3, np.uint8), descr="|O")
    return zip_bytes({"metadata.npy": pickled, **members}, **options)


def write_dsprites(folder: Path, data: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / factor_files.DSPRITES
    path.write_bytes(dsprites_bytes() if data is None else data)
    return path


CARS_SHAPE = (4, 4, 3, 3, 2)  # H, W, 3, azimuths, elevations


def write_cars(folder: Path, cars: int = 2) -> np.ndarray:
    """The folder of Cars3D; returns its images [cars, H, W, 3, azimuths, elevations]."""
    folder.mkdir(parents=True)
    images = images_of(cars * 6, *CARS_SHAPE[:3]).reshape(cars, 3, 2, *CARS_SHAPE[:3])
    images = np.moveaxis(images, (1, 2), (4, 5))
    names = [f"car_{i + 1:03}_mesh" for i in range(cars)]
    for name, im in zip(names, images, strict=True):
        mask = np.zeros((*CARS_SHAPE[:2], *CARS_SHAPE[3:]), np.uint8)
        (folder / f"{name}.mat").write_bytes(mat_bytes({"mask": mask, "im": im}))
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in reversed(names)))
    return images


NORB_VALUES = (2, 4, 2, 2, 1)  # category, instance, elevation, azimuth, lighting


def norb_arrays(side: int = 4) -> dict[str, np.ndarray]:
    """{file: array} of small NORB's six: instances 2 and 3 for training, 0 and 1 for the test, mixed."""
    y = grid(*NORB_VALUES)
    y = np.random.default_rng(0).permutation(y)
    arrays = {}
    for part, files in ((y[y[:, 1] >= 2], norb.FILES[:3]), (y[y[:, 1] < 2], norb.FILES[3:])):
        info = part[:, 1:] * [1, 1, 2, 1]  # azimuths are 0, 2, ...
        pairs = images_of(2 * len(part) + (files[0] == norb.FILES[0]) * 2, side, side)[: 2 * len(part)]
        made = (pairs.reshape(-1, 2, side, side), part[:, 0].astype(np.int32), info.astype(np.int32))
        arrays |= dict(zip(files, made, strict=True))
    return arrays


def write_norb(folder: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name.removesuffix(".gz") for name in arrays}
    for name, array in arrays.items():
        paths[name].write_bytes(matrix_bytes(array))
    return paths


SHAPES3D_VALUES = (2, 2, 2, 2, 2, 3)


def shapes3d_arrays(side: int = 4) -> dict[str, np.ndarray]:
    """Labels are numbers like 0.1 and -30.0, as in the published file."""
    y = grid(*SHAPES3D_VALUES)
    return {"images": images_of(len(y), side, side, 3), "labels": y * [0.1, 0.1, 0.1, 0.5, 1.0, 30.0] - 30.0}


def write_shapes3d(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=(7, *array.shape[1:]), compression="gzip")
    return path


def examples_of(recipe):
    """x and y of all splits in the order in which they are read, and which split each is in."""
    rows = list(recipe.examples())
    x, y = (np.stack([example[name] for _, example in rows]) for name in ("x", "y"))
    return x, y, [split for split, _ in rows]


def check_splits(recipe):
    """The one pass gives each split what its own pass does."""
    together = list(recipe.examples())
    for split, make in recipe.splits.items():
        mine = [example["x"] for of, example in together if of == split]
        np.testing.assert_array_equal(np.stack([e["x"] for e in make()]), np.stack(mine))
        assert len(mine) > 0
    assert recipe.num_examples == len(together)


def prepared_dsprites(folder: Path) -> Path:
    """The folder, with a small dSprites prepared in it from a file in its manual folder."""
    write_dsprites(folder / "downloads" / "manual" / "dsprites")
    published("dsprites", folder=folder)
    return folder
