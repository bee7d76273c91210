"""MNIST in 0 and 1 for good: text files, a picture a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from vaejax.data.archives import REMEDY, files
from vaejax.data.recipes import Example, Recipe

_SIDE = 28
_SIZES = {"train": 50_000, "validation": 10_000, "test": 10_000}
_NAMES = {
    split: f"binarized_mnist_{split.removesuffix('ation')}.amat" for split in ("train", "validation", "test")
}
_SHOWN = 40  # characters of a line


def binarized_mnist_recipe(paths: Mapping[str, Path]) -> Recipe:
    """Binarised MNIST: three .amat files, 784 numbers 0 or 1 a line, with spaces between; row by row.

    x uint8 [28, 28, 1] of 0 and 1; there are no labels.

    Args:
        paths: {file name: path} of binarized_mnist_train.amat, _valid.amat and _test.amat, gzipped or not.

    Raises:
        ValueError: other files, or damaged ones.

    Source: Larochelle & Murray 2011 (NADE), from Salakhutdinov & Murray 2008.
    """
    with files(paths) as found:
        for name in _NAMES.values():
            with found.open(name) as file:
                _row(file.readline(), 1, found[name].where)
    return Recipe(
        name="binarized_mnist",
        config="published",
        version="1.0.0",
        features={"x": (_SIDE, _SIDE, 1)},
        splits={split: partial(_examples, paths, split) for split in _SIZES},
        num_examples=sum(_SIZES.values()),
    )


def _examples(paths: Mapping[str, Path], split: str) -> Iterator[Example]:
    name, size, n = _NAMES[split], _SIZES[split], 0
    with files(paths) as found, found.open(name) as file:
        where = found[name].where
        for n, line in enumerate(file, start=1):
            yield {"x": _row(line, n, where)}
        if n != size:
            raise ValueError(f"{where}: expected {size} lines, got {n}{REMEDY}")


def _row(line: bytes, n: int, where: str) -> np.ndarray:
    """The picture of the n-th line, [28, 28, 1]."""
    values, pixels = line.split(), _SIDE * _SIDE
    row = np.frombuffer(b"".join(values), np.uint8) - ord("0")  # what is less wraps around
    if len(values) != pixels or len(row) != pixels or row.max() > 1:
        raise ValueError(
            f"{where}: expected {pixels} numbers 0 or 1 a line, got {len(values)} values in line {n}, "
            f"{line[:_SHOWN]!r}"
        )
    return row.reshape(_SIDE, _SIDE, 1)
