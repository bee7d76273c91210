"""MNIST in 0 and 1 for good: text files, a picture a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from vaejax.data.archives import REMEDY, files
from vaejax.data.records import Recipe

_VERSION = "1.0.0"
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

    Source: Larochelle & Murray 2011 (NADE), from Salakhutdinov & Murray 2008.
    """
    return Recipe(
        name="binarized_mnist",
        config="amat",
        version=_VERSION,
        features={"x": (_SIDE, _SIDE, 1)},
        splits={split: partial(_examples, paths, split) for split in _SIZES},
    )


def _examples(paths: Mapping[str, Path], split: str) -> Iterator[Mapping[str, np.ndarray]]:
    name, size, pixels, n = _NAMES[split], _SIZES[split], _SIDE * _SIDE, 0
    with files(paths) as found, found.open(name) as file:
        where = found[name].where
        for n, line in enumerate(file, start=1):  # noqa: B007 - how many there were
            values = line.split()
            row = np.frombuffer(b"".join(values), np.uint8) - ord("0")
            if len(values) != pixels or len(row) != pixels or row.max() > 1:
                raise ValueError(
                    f"{where}: expected {pixels} numbers 0 or 1 a line, got in line {n} {len(values)} values, "
                    f"{line[:_SHOWN]!r}..."
                )
            if n <= size:
                yield {"x": row.reshape(_SIDE, _SIDE, 1)}
        if n != size:
            raise ValueError(f"{where}: expected {size} lines, got {n}{REMEDY}")
