"""CIFAR-10 and CIFAR-100 in their binary version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaejax.data.archives import REMEDY, Files, files
from vaejax.data.recipes import Example, Recipe

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


class _Form(NamedTuple):
    """{split: its files}, pictures in each, how many classes each label has, files of the Python version."""

    files: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    classes: tuple[int, ...]
    pickles: tuple[str, ...]


_FORMS = {
    "cifar10": _Form(
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        {"train": 10_000, "test": 10_000},
        (10,),
        ("data_batch_1", "test_batch"),
    ),
    "cifar100": _Form(
        {"train": ("train.bin",), "test": ("test.bin",)},
        {"train": 50_000, "test": 10_000},
        (20, 100),
        ("train", "test"),
    ),
}


def cifar10_recipe(paths: Mapping[str, Path]) -> Recipe:
    """CIFAR-10, binary version: x uint8 [32, 32, 3], y uint8 the class 0..9; 50 000 and 10 000.

    A record is a byte of the class and 3072 of the picture, its red, green and blue planes row by row.

    Args:
        paths: {name: path} of cifar-10-binary.tar.gz, of the folder that it unpacks to, or of the files
            data_batch_1.bin to data_batch_5.bin and test_batch.bin.

    Raises:
        ValueError: the Python version, other files, or damaged ones.

    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
    """
    return _recipe("cifar10", paths)


def cifar100_recipe(paths: Mapping[str, Path]) -> Recipe:
    """CIFAR-100, binary version: x uint8 [32, 32, 3], 50 000 and 10 000.

    y is uint8 [2], the coarse class 0..19 and the fine one 0..99. A record is a byte of each and 3072 of the
    picture, as in CIFAR-10.

    Args:
        paths: {name: path} of cifar-100-binary.tar.gz, of the folder that it unpacks to, or of train.bin and
            test.bin.

    Raises:
        ValueError: the Python version, other files, or damaged ones.

    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
    """
    return _recipe("cifar100", paths)


def _recipe(name: str, paths: Mapping[str, Path]) -> Recipe:
    form = _FORMS[name]
    labels = len(form.classes)
    with files(paths) as found:
        _check(form, found)
    return Recipe(
        name=name,
        config="published",
        version="1.0.0",
        features={"x": (32, 32, 3), "y": () if labels == 1 else (labels,)},
        splits={split: partial(_examples, name, paths, split) for split in form.files},
        num_examples=sum(form.sizes[split] * len(names) for split, names in form.files.items()),
        notes=(lambda: {"factors": [["coarse", 20], ["fine", 100]]}) if labels == 2 else None,
    )


def _examples(name: str, paths: Mapping[str, Path], split: str) -> Iterator[Example]:
    form = _FORMS[name]
    labels, size = len(form.classes), form.sizes[split]
    with files(paths) as found:
        for file in form.files[split]:
            where = found[file].where
            with found.open(file) as records:
                for n in range(size):
                    record = np.frombuffer(records.read(labels + _PIXELS), np.uint8)
                    if len(record) != labels + _PIXELS:
                        raise ValueError(f"{where}: expected {size} records, got {n}{REMEDY}")
                    y = record[:labels]
                    if (y >= form.classes).any():
                        raise ValueError(
                            f"{where}: expected classes below {', '.join(map(str, form.classes))}, got "
                            f"{y.tolist()} in record {n}"
                        )
                    yield {"x": record[labels:].reshape(_SHAPE).transpose(1, 2, 0), "y": y.squeeze()}


def _check(form: _Form, found: Files) -> None:
    """Raise unless all files are there, and of the right size."""
    names = [(split, name) for split, some in form.files.items() for name in some]
    missing = found.missing(*(name for _, name in names))
    if missing and not found.missing(*form.pickles):
        raise ValueError(
            f"{found[form.pickles[0]].where}: expected the binary version of the set, got the Python one, "
            "pickles; to load them would run whatever code is in them. Fetch the binary version"
        )
    for split, name in names:
        size = form.sizes[split] * (len(form.classes) + _PIXELS)
        if found[name].size != size:
            raise ValueError(f"{found[name].where}: expected {size} bytes, got {found[name].size}{REMEDY}")
