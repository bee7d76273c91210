"""Sets of 28 x 28 pictures in IDX files: MNIST, Fashion-MNIST, KMNIST, EMNIST, QMNIST."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaejax.checks import check_choice
from vaejax.data.archives import files
from vaejax.data.idx import idx_rows
from vaejax.data.records import Recipe

_VERSION = "1.0.0"
_SIDE = 28


class Part(NamedTuple):
    """A split: its two files, how many pictures, the classes first..last."""

    images: str
    labels: str
    size: int
    first: int
    last: int


def _mnist(sizes: Mapping[str, int]) -> dict[str, Part]:
    prefixes = {"train": "train", "test": "t10k"}
    return {
        split: Part(f"{p}-images-idx3-ubyte", f"{p}-labels-idx1-ubyte", sizes[split], 0, 9)
        for split, p in prefixes.items()
    }


_MNIST_SIZES = {"train": 60_000, "test": 10_000}
_EMNIST = {  # sizes of train and test, first and last class
    "balanced": (112_800, 18_800, 0, 46),
    "byclass": (697_932, 116_323, 0, 61),
    "bymerge": (697_932, 116_323, 0, 46),
    "digits": (240_000, 40_000, 0, 9),
    "letters": (124_800, 20_800, 1, 26),
    "mnist": (60_000, 10_000, 0, 9),
}
_QMNIST_SIZES = {"train": 60_000, "test": 60_000}
QMNIST_COLUMNS = (
    "class", "series", "writer", "of_writer", "nist_class", "nist_digit", "duplicate", "unused"
)  # fmt: skip


def mnist_recipe(paths: Mapping[str, Path]) -> Recipe:
    """MNIST, 60 000 and 10 000 digits: four IDX files, gzipped or not. x uint8 [28, 28, 1], y uint8 0..9.

    Source: LeCun, Bottou, Bengio & Haffner 1998, doi 10.1109/5.726791.
    """
    return _recipe("mnist", "idx", paths, _mnist(_MNIST_SIZES))


def fashion_mnist_recipe(paths: Mapping[str, Path]) -> Recipe:
    """Fashion-MNIST, in files of the same names and sizes as MNIST's.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747.
    """
    return _recipe("fashion_mnist", "idx", paths, _mnist(_MNIST_SIZES))


def kmnist_recipe(paths: Mapping[str, Path]) -> Recipe:
    """KMNIST, ten hiragana in cursive, in files of the same names and sizes as MNIST's.

    Source: Clanuwat et al. 2018, arXiv 1812.01718.
    """
    return _recipe("kmnist", "idx", paths, _mnist(_MNIST_SIZES))


def emnist_recipe(paths: Mapping[str, Path], part: str = "balanced") -> Recipe:
    """EMNIST, handwritten digits and letters: `gzip.zip`, or the four IDX files of a part out of it.

    The files hold every picture transposed; here they stand upright. y uint8 is the class as the files number
    it, 0..9 then letters; those of "letters" are 1..26, both cases of a letter in one.

    Args:
        paths: {file name: path}.
        part: "balanced" (112 800 and 18 800 of 47 classes), "byclass" (697 932 and 116 323 of 62), "bymerge"
            (the same of 47), "digits" (240 000 and 40 000), "letters" (124 800 and 20 800) or "mnist".

    Source: Cohen, Afshar, Tapson & van Schaik 2017, arXiv 1702.05373.
    """
    check_choice(part, tuple(_EMNIST), "part")
    train, test, first, last = _EMNIST[part]
    parts = {
        split: Part(
            f"emnist-{part}-{split}-images-idx3-ubyte", f"emnist-{part}-{split}-labels-idx1-ubyte",
            size, first, last,
        )
        for split, size in (("train", train), ("test", test))
    }  # fmt: skip
    return _recipe("emnist", part, paths, parts, transposed=True)


def qmnist_recipe(paths: Mapping[str, Path], columns: Sequence[str] = ("class",)) -> Recipe:
    """QMNIST, MNIST's digits found again in NIST's: 60 000 to train on and all 60 000 of the test.

    The labels are IDX files of int32 [N, 8]; y int32 is the columns of them that are asked for: [N] of one,
    [N, F] of several. "class" is the digit; "series" NIST's (0, 1 or 4); "writer"; "of_writer", the place
    among the writer's digits; "nist_class" and "nist_digit", the place among all of NIST's; "duplicate" and
    "unused", both 0. The first 10 000 of the test are MNIST's.

    Args:
        paths: {file name: path} of qmnist-train-images-idx3-ubyte, qmnist-train-labels-idx2-int and the same
            for "test", gzipped or not.
        columns: those of y.

    Source: Yadav & Bottou 2019, arXiv 1905.10498.
    """
    columns = tuple(columns)
    for column in columns:
        check_choice(column, QMNIST_COLUMNS, "columns")
    if not columns:
        raise ValueError("columns: expected at least one, got none")
    places = [QMNIST_COLUMNS.index(column) for column in columns]
    return Recipe(
        name="qmnist",
        config="-".join(columns),
        version=_VERSION,
        features={"x": (_SIDE, _SIDE, 1), "y": () if len(columns) == 1 else (len(columns),)},
        splits={
            split: partial(_qmnist_examples, paths, split, size, places)
            for split, size in _QMNIST_SIZES.items()
        },
        dtypes={"y": np.int32},
    )


def _recipe(
    name: str, config: str, paths: Mapping[str, Path], parts: Mapping[str, Part], transposed: bool = False
) -> Recipe:
    return Recipe(
        name=name,
        config=config,
        version=_VERSION,
        features={"x": (_SIDE, _SIDE, 1), "y": ()},
        splits={split: partial(_examples, paths, part, transposed) for split, part in parts.items()},
    )


def _examples(paths: Mapping[str, Path], part: Part, transposed: bool) -> Iterator[Mapping[str, np.ndarray]]:
    with files(paths) as found, found.open(part.images) as images, found.open(part.labels) as labels:
        where = found[part.labels].where
        x = idx_rows(images, found[part.images].where, (part.size, _SIDE, _SIDE))
        y = idx_rows(labels, where, (part.size,))
        for image, label in zip(x, y, strict=True):
            if not part.first <= label <= part.last:
                raise ValueError(f"{where}: expected classes {part.first}..{part.last}, got {label}")
            yield {"x": (image.T if transposed else image)[..., None], "y": label}


def _qmnist_examples(
    paths: Mapping[str, Path], split: str, size: int, places: Sequence[int]
) -> Iterator[Mapping[str, np.ndarray]]:
    pictures, numbers = f"qmnist-{split}-images-idx3-ubyte", f"qmnist-{split}-labels-idx2-int"
    with files(paths) as found, found.open(pictures) as images, found.open(numbers) as labels:
        where = found[numbers].where
        x = idx_rows(images, found[pictures].where, (size, _SIDE, _SIDE))
        y = idx_rows(labels, where, (size, len(QMNIST_COLUMNS)), code=12)
        for image, label in zip(x, y, strict=True):
            if not 0 <= label[0] <= 9:
                raise ValueError(f"{where}: expected classes 0..9, got {label[0]}")
            yield {"x": image[..., None], "y": label[places].squeeze()}
