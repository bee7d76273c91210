"""CelebA: aligned faces with forty attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.data.archives import REMEDY, Files, files
from vaejax.data.pictures import Frame
from vaejax.data.recipes import Example, Recipe

_SIZE = 202_599
_SHAPE = (218, 178)
_SPLITS = ("train", "validation", "test")  # 0, 1, 2 in the list of the partition
LISTS = _ATTRIBUTES, _PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
CELEBA_ATTRIBUTES: tuple[str, ...] = tuple(
    """5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair
    Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup
    High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose
    Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat
    Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young""".split()  # noqa: SIM905 - forty lines
)


def celeba_recipe(paths: Mapping[str, Path], crop: int = 148, side: int = 64) -> Recipe:
    """CelebA, 162 770 aligned faces to train on, 19 867 for validation, 19 962 for the test.

    The pictures, 218 x 178, are cut to `crop` x `crop` in the middle, then resized to `side` x `side` as
    `Frame` does; by default 35 rows are cut off above and below, 15 columns at either side. x is uint8
    [side, side, 3]; y uint8 [40], 1 where an attribute holds, by the columns of `CELEBA_ATTRIBUTES`.

    Args:
        paths: {name: path} of img_align_celeba.zip, or of the folder of its pictures; of list_attr_celeba.txt
            and list_eval_partition.txt.
        crop: pixels, at most 178.
        side: pixels.

    Raises:
        TypeError, ValueError: crop or side out of range, other files, or damaged ones.

    Source: Liu, Luo, Wang & Tang 2015, arXiv 1411.7766.
    """
    check_positive_int(crop, "crop")
    check_positive_int(side, "side")
    if crop > min(_SHAPE):
        raise ValueError(f"crop: expected at most {min(_SHAPE)}, got {crop}")
    frame = Frame((int(side), int(side)), (int(crop), int(crop)))
    with files(paths) as found:
        attributes, parts = _attributes(found), _parts(found)
        if others := parts.keys() ^ attributes.keys():
            raise ValueError(
                f"{found[_PARTITION].where}: expected the pictures of {_ATTRIBUTES}, got others, as "
                f"{min(others)}"
            )
        if missing := found.missing(*parts):
            raise FileNotFoundError(
                f"{', '.join(map(str, paths.values()))}: expected {len(parts)} pictures, {len(missing)} are "
                f"not there, as {missing[0]}"
            )
    of = [{n: attributes[n] for n in sorted(parts) if parts[n] == k} for k in range(len(_SPLITS))]
    return Recipe(
        name="celeba",
        config="published",
        version="1.0.0",
        features={"x": frame.shape, "y": (len(CELEBA_ATTRIBUTES),)},
        splits={
            split: partial(_examples, paths, frame, part) for split, part in zip(_SPLITS, of, strict=True)
        },
        num_examples=_SIZE,
        notes=lambda: {"factors": [[name, 2] for name in CELEBA_ATTRIBUTES]},
    )


def _examples(
    paths: Mapping[str, Path], frame: Frame, attributes: Mapping[str, np.ndarray]
) -> Iterator[Example]:
    with files(paths) as found:
        for name, y in attributes.items():
            with found.open(name) as file:
                yield {"x": frame.read(file, found[name].where, expected=_SHAPE), "y": y}


def _attributes(found: Files) -> dict[str, np.ndarray]:
    """{picture: 0 or 1 of each attribute}, of a list that begins with their number and their names."""
    lines, where = _lines(found, _ATTRIBUTES)
    start = next(lines, []), tuple(next(lines, []))
    if start[0] != [str(_SIZE)] or start[1] != CELEBA_ATTRIBUTES:
        raise ValueError(
            f"{where}: expected a line {_SIZE} and one of the {len(CELEBA_ATTRIBUTES)} attributes, got "
            f"{' '.join(start[0])!r} and {len(start[1])} names"
        )
    signs, rows = {"1": 1, "-1": 0}, {}
    for n, (name, *values) in enumerate(filter(None, lines), start=3):
        if len(values) != len(CELEBA_ATTRIBUTES) or not set(values) <= signs.keys():
            raise ValueError(
                f"{where}: expected a picture and {len(CELEBA_ATTRIBUTES)} values 1 or -1 a line, got "
                f"{len(values)} values in line {n}"
            )
        rows[name] = np.array([signs[value] for value in values], np.uint8)
    return _whole(rows, where)


def _parts(found: Files) -> dict[str, int]:
    """{picture: 0, 1 or 2}, the place of its split in `_SPLITS`."""
    lines, where = _lines(found, _PARTITION)
    rows = {}
    for n, row in enumerate(filter(None, lines), start=1):
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise ValueError(
                f"{where}: expected a picture and 0, 1 or 2 a line, got {' '.join(row)!r} in line {n}"
            )
        rows[row[0]] = int(row[1])
    return _whole(rows, where)


def _lines(found: Files, name: str) -> tuple[Iterator[list[str]], str]:
    where = found[name].where
    with found.open(name) as file:
        data = file.read()
    try:
        return (line.split() for line in data.decode("ascii").splitlines()), where
    except UnicodeDecodeError:
        raise ValueError(f"{where}: expected a list in text, got {data[:8]!r}{REMEDY}") from None


def _whole(rows: dict, where: str) -> dict:
    if len(rows) != _SIZE:
        raise ValueError(f"{where}: expected {_SIZE} pictures, got {len(rows)}{REMEDY}")
    return rows
