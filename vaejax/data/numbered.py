"""Falcor3D and Isaac3D: a PNG file for every combination of the factors, named by its place in the grid."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from vaejax.data.grids import grid_recipe
from vaejax.data.recipes import Recipe

FALCOR3D = {
    "lighting_intensity": 5, "lighting_x": 6, "lighting_y": 6, "lighting_z": 6, "camera_x": 6, "camera_y": 6,
    "camera_z": 6,
}  # fmt: skip
# The README that comes with the set names the factors in another order, with which its own formula of the
# index does not go: 245760, 30720, 6144, 1536, 384, 96, 16, 4, 1 are the steps of these sizes in this order,
# which is also that of the pictures it shows of each.
ISAAC3D = {
    "object_shape": 3, "robot_x": 8, "robot_y": 5, "camera_height": 4, "object_scale": 4,
    "lighting_intensity": 4, "lighting_y": 6, "object_color": 4, "wall_color": 4,
}  # fmt: skip

# what Pillow raises of damaged files
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def numbered_recipe(name: str, factors: Mapping[str, int], paths: Mapping[str, Path]) -> Recipe:
    """A set of square pictures 000000.png, 000001.png, ..., in its folder or in `images` there.

    Args:
        name: of the set.
        factors: {name: number of values}; the last changes fastest with the number.
        paths: {the folder's name: its path}.

    Raises:
        ValueError: another number of pictures, or pictures that are none, or not of one size; names the file.
    """
    (folder,) = paths.values()
    folder = folder / "images" if (folder / "images").is_dir() else folder
    wanted, got = math.prod(factors.values()), sum(1 for _ in folder.glob("*.png"))
    if got != wanted:
        raise ValueError(f"{folder}: expected {wanted} pictures, 000000.png and so on; got {got}")
    shape = _picture(folder, 0).shape
    return grid_recipe(name, factors, shape, partial(_pictures, folder, wanted, shape))


def _pictures(folder: Path, n: int, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    for i in range(n):
        picture = _picture(folder, i)
        if picture.shape != shape:
            raise ValueError(
                f"{folder / f'{i:06}.png'}: expected a picture of {list(shape)}, as others; got "
                f"{list(picture.shape)}"
            )
        yield picture


def _picture(folder: Path, i: int) -> np.ndarray:
    """A picture, uint8 [H, W, 3]."""
    from PIL import Image

    path = folder / f"{i:06}.png"
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
    except _ERRORS as error:
        raise ValueError(f"{path}: expected a whole PNG picture, got {error}") from error
    opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
    if image.mode != "RGB" and not opaque:
        raise ValueError(f"{path}: expected a picture of three colours, got Pillow's mode {image.mode!r}")
    return np.asarray(image.convert("RGB"), np.uint8)
