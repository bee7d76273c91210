"""The field's sets with known factors, from the files in which they are published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vaejax.data.grids import check_grid, grid_recipe
from vaejax.data.npz import Member, npz_members
from vaejax.data.records import Recipe

DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
DSPRITES_FACTORS = ("shape", "scale", "orientation", "x", "y")


def dsprites_recipe(paths: Mapping[str, Path]) -> Recipe:
    """DSprites, from `imgs` uint8 [N, 64, 64] of 0 and 1 and `latents_classes` int [N, 6] of the .npz file.

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
    n, columns = len(DSPRITES_FACTORS) + 1, classes.shape[1]
    if columns != n or classes.shape[0] != images.shape[0]:
        raise ValueError(
            f"{path}: expected latents_classes [{images.shape[0]}, {n}], got {list(classes.shape)}"
        )
    y = classes.read()
    if y[:, 0].any():
        raise ValueError(f"{path}: expected one colour, 0, in latents_classes; got {y[:, 0].max()}")
    factors = dict(zip(DSPRITES_FACTORS, check_grid(path, y[:, 1:], "latents_classes"), strict=True))
    return grid_recipe("dsprites", factors, (*images.shape[1:], 1), images.rows)


def _check(member: Member, dtype: type, ndim: int) -> None:
    """Raise unless an array of a .npz file has this type, in any byte order, and so many axes."""
    if member.dtype.newbyteorder("=") != dtype or len(member.shape) != ndim:
        raise ValueError(
            f"{member.path}: expected {member.name!r} as {np.dtype(dtype)} of {ndim} axes, got "
            f"{member.dtype} {list(member.shape)}"
        )
