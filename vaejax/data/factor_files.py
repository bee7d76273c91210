"""The field's sets that are whole grids of known factors, from the files in which they are published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaejax.data.grids import check_grid, grid_recipe, small_factors
from vaejax.data.npz import Member, npz_members
from vaejax.data.recipes import Recipe
from vaejax.hints import extra

DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
DSPRITES_FACTORS: tuple[str, ...] = ("shape", "scale", "orientation", "x", "y")

SHAPES3D = "3dshapes.h5"
SHAPES3D_FACTORS: tuple[str, ...] = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")

MPI3D_FACTORS: tuple[str, ...] = (
    "object_color", "object_shape", "object_size", "camera_height", "background_color", "horizontal_axis",
    "vertical_axis",
)  # fmt: skip
MPI3D = (6, 6, 2, 3, 3, 40, 40)
MPI3D_COMPLEX = (4, 4, 2, 3, 3, 40, 40)

CARS3D = "cars/"
CARS3D_FACTORS: tuple[str, ...] = ("car", "azimuth", "elevation")

_BLOCK = 2**20  # bytes that are read at once


def dsprites_recipe(paths: Mapping[str, Path]) -> Recipe:
    """DSprites, from `imgs` uint8 [N, 64, 64] of 0 and 1 and `latents_classes` int64 [N, 6] of the .npz file.

    The first factor, the colour, has one value and is left out. The other arrays of the file, among them the
    pickled `metadata`, are not read.

    Raises:
        ValueError: another file, or a damaged one.
    """
    path = paths[DSPRITES]
    members = npz_members(path, ("imgs", "latents_classes"))
    images, classes = members["imgs"], members["latents_classes"]
    _check(images, np.uint8, 3)
    _check(classes, np.int64, 2)
    n = len(DSPRITES_FACTORS) + 1
    if classes.shape != (images.shape[0], n):
        raise ValueError(
            f"{path}: expected latents_classes [{images.shape[0]}, {n}], got {list(classes.shape)}"
        )
    y = np.concatenate(
        [small_factors(path, block) for block in classes.blocks()] or [np.zeros((0, n), np.uint8)]
    )
    if y[:, 0].any():
        raise ValueError(f"{path}: expected one colour, 0, in latents_classes; got {y[:, 0].max()}")
    factors = dict(zip(DSPRITES_FACTORS, check_grid(path, y[:, 1:]), strict=True))
    return grid_recipe("dsprites", factors, (*images.shape[1:], 1), images.rows)


def mpi3d_recipe(name: str, num_values: tuple[int, ...], paths: Mapping[str, Path]) -> Recipe:
    """One of the MPI3D sets, from `images` uint8 [N, 64, 64, 3] of its .npz file.

    Args:
        name: of the set.
        num_values: of the seven factors; the images are in their order, the last changing fastest.
        paths: {the file's name: its path}.

    Raises:
        ValueError: another file, or a damaged one.
    """
    (path,) = paths.values()
    images = npz_members(path, ("images",))["images"]
    _check(images, np.uint8, 4)
    _check_size(path, images.shape[0], num_values)
    return grid_recipe(name, dict(zip(MPI3D_FACTORS, num_values, strict=True)), images.shape[1:], images.rows)


def shapes3d_recipe(paths: Mapping[str, Path]) -> Recipe:
    """3D Shapes, from `images` uint8 [N, 64, 64, 3] and `labels` float64 [N, 6] of the HDF5 file.

    The values of a factor are numbered in their order.

    Raises:
        ImportError: h5py is not installed.
        ValueError: another file, or a damaged one.
    """
    path = paths[SHAPES3D]
    n = len(SHAPES3D_FACTORS)
    with _hdf5(path) as file:
        images, labels = (file.get(name) for name in ("images", "labels"))
        for name, got, kind, axes in (("images", images, "u1", 4), ("labels", labels, "f8", 2)):
            is_array = hasattr(got, "dtype")
            if not is_array or got.dtype.newbyteorder("=") != np.dtype(kind) or got.ndim != axes:
                shown = (
                    f"{got.dtype} {list(got.shape)}" if is_array else f"only {', '.join(file) or 'nothing'}"
                )
                raise ValueError(f"{path}: expected {name!r}, {np.dtype(kind)} of {axes} axes; got {shown}")
        shape, size = images.shape, labels.shape
    if size != (shape[0], n):
        raise ValueError(f"{path}: expected 'labels' [{shape[0]}, {n}], got {list(size)}")
    values = np.concatenate(list(_hdf5_blocks(path, "labels")))
    y = np.column_stack([np.unique(column, return_inverse=True)[1] for column in values.T])
    factors = dict(zip(SHAPES3D_FACTORS, check_grid(path, y), strict=True))
    return grid_recipe("shapes3d", factors, shape[1:], partial(_hdf5_rows, path, "images"))


def cars3d_recipe(paths: Mapping[str, Path]) -> Recipe:
    """Cars3D, from the folder of MATLAB files, `im` uint8 [128, 128, 3, azimuths, elevations] in each.

    The cars are numbered in the order of the files' names. What the folder's list.txt names must be there.

    Raises:
        ValueError: other files, or damaged ones.
    """
    folder = paths[CARS3D]
    files = sorted(folder.glob("*.mat"))
    listed = folder / "list.txt"
    names = listed.read_text(encoding="utf-8", errors="replace").split() if listed.is_file() else []
    missing = sorted(set(names) - {file.stem for file in files})
    if missing or not files:
        raise ValueError(
            f"{folder}: expected {missing[0] if missing else 'car_001_mesh'}.mat, which is not there"
        )
    shape = _car(files[0]).shape
    if len(shape) != 5 or shape[2] != 3:
        raise ValueError(f"{files[0]}: expected 'im' [H, W, 3, azimuths, elevations], got {list(shape)}")
    factors = dict(zip(CARS3D_FACTORS, (len(files), *shape[3:]), strict=True))
    return grid_recipe("cars3d", factors, shape[:3], partial(_cars, files, shape))


def _cars(files: list[Path], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    for file in files:
        images = _car(file)
        if images.shape != shape:
            raise ValueError(f"{file}: expected 'im' {list(shape)}, as of others; got {list(images.shape)}")
        yield from np.moveaxis(images, (3, 4), (0, 1)).reshape(-1, *shape[:3])


def _car(file: Path) -> np.ndarray:
    """The images of a car."""
    from scipy.io import loadmat

    try:
        images = loadmat(file, variable_names=["im"]).get("im")
    except Exception as error:  # scipy's own and those of what it uses have no common base
        raise ValueError(
            f"{file}: expected a MATLAB file (level 5), got a damaged or another one ({error})"
        ) from error
    if images is None or images.dtype != np.uint8:
        got = "none" if images is None else images.dtype
        raise ValueError(f"{file}: expected an array 'im' of uint8, got {got}")
    return images


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    """An open HDF5 file."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path}: expected h5py, which reads HDF5; {extra('data')}") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path}: expected a whole HDF5 file, got a damaged or another one ({error})"
        ) from error
    with file:
        yield file


def _hdf5_blocks(path: Path, name: str) -> Iterator[np.ndarray]:
    """The rows of an array of an HDF5 file, some at a time: [n, ...]."""
    with _hdf5(path) as file:
        array = file[name]
        rows = max(1, _BLOCK // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
        for first in range(0, len(array), rows):
            try:
                yield array[first : first + rows]
            except OSError as error:
                raise ValueError(
                    f"{path}: expected whole rows of {name!r}, got damaged ones ({error})"
                ) from error


def _hdf5_rows(path: Path, name: str) -> Iterator[np.ndarray]:
    for block in _hdf5_blocks(path, name):
        yield from block


def _check(member: Member, dtype: type, ndim: int) -> None:
    """Raise unless an array of a .npz file has this type, in any byte order, and so many axes."""
    if member.dtype.newbyteorder("=") != dtype or len(member.shape) != ndim:
        raise ValueError(
            f"{member.path}: expected {member.name!r} as {np.dtype(dtype)} of {ndim} axes, got "
            f"{member.dtype} {list(member.shape)}"
        )


def _check_size(path: Path, size: int, num_values: tuple[int, ...]) -> None:
    """Raise unless there are as many images as combinations of the factors."""
    if size != math.prod(num_values):
        raise ValueError(
            f"{path}: expected {math.prod(num_values)} images, of {' x '.join(map(str, num_values))} values; "
            f"got {size}"
        )
