"""A folder of one's own pictures as a data set."""

from __future__ import annotations

import hashlib
import numbers
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.data.arrays import Dataset
from vaejax.data.factored import SPLITS, check_held_out, check_seed, drawn
from vaejax.data.folders import data_folder
from vaejax.data.pictures import Frame
from vaejax.data.pixels import check_pixels, make_dataset
from vaejax.data.prepare import load_arrays
from vaejax.data.recipes import Example, Recipe
from vaejax.files import expanded

_ENDINGS = (".png", ".jpg", ".jpeg")
_FOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
_SHOWN = 6


def from_images(
    source: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] = 64,
    crop: int | tuple[int, int] | None = None,
    channels: int = 3,
    labels: bool = False,
    pixels: str = "unit_interval",
    held_out: float = 0.1,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """The pictures of a folder and of all folders in it: .png, .jpg and .jpeg files of any size.

    Each is turned upright as its EXIF data say; a part is cut out of the middle, the odd pixel left at the
    right and below; and it is resized, bilinearly over all pixels that fall together. Grey is .299 R + .587 G
    + .114 B. Pictures with transparency, or with more than 8 bits a channel, are refused.

    Arrays are x: uint8 [N, H, W, C], and with labels y: int32 [N].

    Folders named train, validation (or valid, val) and test, with no others beside them, are the splits. One
    that is lacking is drawn from "train", at random and for all pictures alike.

    The first call decodes the pictures and prepares the set on disk; later ones load it, as long as no
    picture was added, removed or changed (by its name, size and time).

    Args:
        source: the folder.
        size: H and W of what comes out, in pixels; or both as (H, W).
        crop: H and W of the part that is cut out, likewise; None for the largest of the shape of `size`.
        channels: 1 for grey, 3 for colour.
        labels: whether a picture's label is the first folder on the way to it from `source`, or from the
            folder of its split: its place among all such names in alphabetical order.
        pixels: what a model sees of x; see `fashion_mnist`.
        held_out: the share of "train" that each split gets which is lacking, in (0, 1/2).
        seed: of that draw, not negative.
        folder: where prepared sets lie; None for $VAEJAX_DATA, else ~/.cache/vaejax.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: no such folder, or no pictures in it.
        OSError: the disk is full; nothing half-made is left.
        TypeError, ValueError: arguments of another type or range, pictures that cannot be read or are smaller
            than the crop, or pictures without a folder where there are labels; names the file.
    """
    check_pixels(pixels)
    check_held_out(held_out)
    check_seed(seed)
    if not isinstance(labels, bool):
        raise TypeError(f"labels: expected a bool, got {type(labels).__name__} ({labels!r})")
    if isinstance(channels, bool) or channels not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {channels!r}")
    frame = Frame(_sides(size, "size"), None if crop is None else _sides(crop, "crop"), int(channels))
    path = expanded(source, "source")
    there = _listed(path)
    options = (frame, labels, float(held_out), int(seed))
    classes = _classes(there) if labels else {}
    files = _shared(path, there, *options[2:])
    recipe = Recipe(
        name="images",
        config=f"{_plain(path.name)}-{_identity(path, there, options)}",
        version="1.0.0",
        features={"x": frame.shape} | ({"y": ()} if labels else {}),
        splits={split: partial(_examples, some, frame, classes) for split, some in files.items()},
        dtype={"x": np.uint8, "y": np.int32},
        num_examples=sum(map(len, files.values())),
    )
    place = data_folder(folder)
    stored = {split: load_arrays(recipe, place, split) for split in SPLITS}
    return make_dataset(stored, pixels, num_validation=0, num_test=0)


def _sides(value: Any, name: str) -> tuple[int, int]:
    """(H, W), of a number of pixels or of two."""
    sides = value if isinstance(value, tuple | list) else (value, value)
    if len(sides) != 2 or not all(isinstance(n, numbers.Integral) for n in sides):
        raise TypeError(f"{name}: expected a number of pixels or (H, W), got {value!r}")
    for side in sides:
        check_positive_int(side, name)
    return int(sides[0]), int(sides[1])


class _Listed(NamedTuple):
    """The folder of a split, and its pictures in alphabetical order."""

    root: Path
    files: list[Path]


def _listed(path: Path) -> dict[str, _Listed]:
    """The splits that have folders; everything is "train" where they have none."""
    if not path.is_dir():
        raise FileNotFoundError(f"source: expected a folder of pictures, got {path}")
    inside = {p.name: p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")}
    named = {split: [inside[n] for n in names if n in inside] for split, names in _FOLDERS.items()}
    roots = {split: some[0] for split, some in named.items() if some}
    if "train" not in roots or len(roots) != len(inside):
        roots = {"train": path}
    return {split: _Listed(root, _pictures(root)) for split, root in roots.items()}


def _pictures(root: Path) -> list[Path]:
    there = [p for p in root.rglob("*") if p.is_file()]
    files = sorted(p for p in there if p.suffix.lower() in _ENDINGS)
    if not files:
        others = ", ".join(sorted({p.suffix or p.name for p in there})[:_SHOWN]) or "no files"
        raise FileNotFoundError(f"{root}: expected pictures, {', '.join(_ENDINGS)}; got {others}")
    return files


def _shared(path: Path, there: Mapping[str, _Listed], held_out: float, seed: int) -> dict[str, list[Path]]:
    """The pictures of all three splits."""
    lacking, train = [split for split in SPLITS if split not in there], there["train"].files
    rows = drawn(len(train), lacking, held_out, seed, f"{path}: its pictures")
    return {s: [train[n] for n in rows[s]] if s in rows else there[s].files for s in SPLITS}


def _classes(there: Mapping[str, _Listed]) -> dict[Path, int]:
    """{picture: its label}."""
    names = {}
    for root, files in there.values():
        for file in files:
            name, *below = file.relative_to(root).parts
            if not below:
                raise ValueError(f"{file}: expected it in a folder, whose name is its label")
            names[file] = name
    places = {name: i for i, name in enumerate(sorted(set(names.values())))}
    return {file: places[name] for file, name in names.items()}


def _identity(path: Path, there: Mapping[str, _Listed], options: tuple[Any, ...]) -> str:
    """Another text for other options, and for other pictures, told by name, size and time."""
    digest = hashlib.sha1(repr(options).encode())
    for file in (file for split in SPLITS if split in there for file in there[split].files):
        status = file.stat()
        digest.update(repr((file.relative_to(path).as_posix(), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name)[:40] or "pictures"


def _examples(files: Sequence[Path], frame: Frame, classes: Mapping[Path, int]) -> Iterator[Example]:
    for file in files:
        label = {"y": np.array(classes[file], np.int32)} if classes else {}
        yield {"x": frame.read(file, str(file)), **label}
