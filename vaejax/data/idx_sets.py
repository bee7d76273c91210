"""Sets of 28 x 28 pictures in IDX files: MNIST and its kin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaejax.checks import check_choice
from vaejax.data.archives import files
from vaejax.data.idx import check_idx, idx_rows
from vaejax.data.recipes import Example, Recipe

SIDE = 28
_KMNIST_SIZES = {"train": 60_000, "test": 10_000}
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


class Part(NamedTuple):
    """A split: the names of its two files without .gz, how many pictures, its classes first..last.

    `columns`: of labels that are rows of int32, how many; 0 where they are bytes.
    """

    images: str
    labels: str
    size: int
    first: int = 0
    last: int = 9
    columns: int = 0

    @property
    def headers(self) -> tuple[tuple[str, tuple[int, ...], int], ...]:
        """(name, shape, type code) of both files."""
        of_labels = (self.size, self.columns) if self.columns else (self.size,)
        return (
            (self.images, (self.size, SIDE, SIDE), 8),
            (self.labels, of_labels, 12 if self.columns else 8),
        )


def mnist_parts(sizes: Mapping[str, int]) -> dict[str, Part]:
    """The splits of sets whose four files are named as MNIST's."""
    return {
        split: Part(f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte", sizes[split])
        for split, prefix in (("train", "train"), ("test", "t10k"))
    }


def kmnist_recipe(paths: Mapping[str, Path]) -> Recipe:
    """KMNIST, ten hiragana in cursive, in files of the same names and sizes as MNIST's.

    x is uint8 [28, 28, 1], y uint8, the class 0..9: o, ki, su, tsu, na, ha, ma, ya, re, wo.

    Raises:
        ValueError: other files, or damaged ones.

    Source: Clanuwat et al. 2018, arXiv 1812.01718.
    """
    return _recipe("kmnist", paths, mnist_parts(_KMNIST_SIZES), with_class)


def emnist_recipe(paths: Mapping[str, Path], part: str = "balanced") -> Recipe:
    """EMNIST, handwritten digits and letters, from `gzip.zip` or the folder that it unpacks to.

    The files hold every picture transposed; here they stand upright. x is uint8 [28, 28, 1], y uint8, the
    class as the files number it, 0..9 then letters; those of "letters" are 1..26, both cases of a letter in
    one.

    Args:
        paths: {file name: path}.
        part: "balanced" (112 800 and 18 800 of 47 classes), "byclass" (697 932 and 116 323 of 62), "bymerge"
            (the same of 47), "digits" (240 000 and 40 000), "letters" (124 800 and 20 800) or "mnist".

    Raises:
        ValueError: another part, other files, or damaged ones.

    Source: Cohen, Afshar, Tapson & van Schaik 2017, arXiv 1702.05373.
    """
    check_choice(part, tuple(_EMNIST), "part")
    train, test, first, last = _EMNIST[part]
    names = {split: f"emnist-{part}-{split}" for split in ("train", "test")}
    parts = {
        split: Part(f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte", size, first, last)
        for (split, name), size in zip(names.items(), (train, test), strict=True)
    }
    return _recipe("emnist", paths, parts, _transposed)


def qmnist_recipe(paths: Mapping[str, Path], columns: Sequence[str] = ("class",)) -> Recipe:
    """QMNIST, MNIST's digits found again in NIST's: 60 000 to train on and all 60 000 of the test.

    The labels are IDX files of int32 [N, 8]. x is uint8 [28, 28, 1], y int32, the columns of the labels that
    are asked for: [N] of one, [N, F] of several. "class" is the digit; "series" NIST's (0, 1 or 4); "writer";
    "of_writer", the place among the writer's digits; "nist_class" and "nist_digit", the place among all of
    NIST's; "duplicate" and "unused" are 0. The first 10 000 of the test are MNIST's.

    Args:
        paths: {file name: path}.
        columns: those of y.

    Raises:
        ValueError: other columns, other files, or damaged ones.

    Source: Yadav & Bottou 2019, arXiv 1905.10498.
    """
    columns = tuple(columns)
    for column in columns:
        check_choice(column, QMNIST_COLUMNS, "columns")
    if not columns:
        raise ValueError("columns: expected at least one, got none")
    places = [QMNIST_COLUMNS.index(column) for column in columns]
    parts = {
        split: Part(
            f"qmnist-{split}-images-idx3-ubyte", f"qmnist-{split}-labels-idx2-int", size,
            columns=len(QMNIST_COLUMNS),
        )
        for split, size in _QMNIST_SIZES.items()
    }  # fmt: skip
    shape = () if len(columns) == 1 else (len(columns),)
    return _recipe("qmnist", paths, parts, partial(_columns, places), (shape, np.int32))


def idx_examples(
    paths: Mapping[str, Path], part: Part, example: Callable[[np.ndarray, np.ndarray], Example]
) -> Iterator[Example]:
    """What `example` makes of each picture [28, 28] and its label.

    Raises:
        ValueError: other files, damaged ones, or a class that the part has not.
    """
    with files(paths) as found, found.open(part.images) as images, found.open(part.labels) as labels:
        where = found[part.labels].where
        (_, shape, code), (_, of_labels, code_of_labels) = part.headers
        x = idx_rows(images, found[part.images].where, shape, code)
        y = idx_rows(labels, where, of_labels, code_of_labels)
        for image, label in zip(x, y, strict=True):
            if not part.first <= (number := label.flat[0]) <= part.last:
                raise ValueError(f"{where}: expected classes {part.first}..{part.last}, got {number}")
            yield example(image, label)


def with_class(image: np.ndarray, label: np.ndarray) -> Example:
    """An example as the files have it."""
    return {"x": image[..., None], "y": label}


def _transposed(image: np.ndarray, label: np.ndarray) -> Example:
    return {"x": image.T[..., None], "y": label}


def _columns(places: Sequence[int], image: np.ndarray, label: np.ndarray) -> Example:
    return {"x": image[..., None], "y": label[places].squeeze()}


def _recipe(
    name: str,
    paths: Mapping[str, Path],
    parts: Mapping[str, Part],
    example: Callable[[np.ndarray, np.ndarray], Example],
    y: tuple[tuple[int, ...], Any] = ((), np.uint8),
) -> Recipe:
    """The recipe of a set whose headers were checked; `y`: shape and type of its labels."""
    with files(paths) as found:
        for part in parts.values():
            for file, shape, code in part.headers:
                with found.open(file) as opened:
                    check_idx(opened, found[file].where, shape, code)
    return Recipe(
        name=name,
        config="published",
        version="1.0.0",
        features={"x": (SIDE, SIDE, 1), "y": y[0]},
        splits={split: partial(idx_examples, paths, part, example) for split, part in parts.items()},
        dtype={"x": np.uint8, "y": y[1]},
        num_examples=sum(part.size for part in parts.values()),
    )
