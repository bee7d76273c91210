"""MNIST and Fashion-MNIST, from IDX files found on the machine or downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vaejax.checks import check_positive_int
from vaejax.data.arrays import Dataset
from vaejax.data.finding import found, manual_folder, there
from vaejax.data.folders import data_folder, full_disk
from vaejax.data.idx_sets import SIDE, idx_examples, mnist_parts, with_class
from vaejax.data.pixels import check_pixels, make_dataset
from vaejax.data.prepare import load_arrays
from vaejax.data.recipes import Example, Recipe
from vaejax.data.records import download

_VERSION = "1.0.0"
_SIZES = {"train": 60_000, "test": 10_000}
_URLS = {  # those for which tensorflow-datasets has checksums
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
}
_DEBIAN = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}  # package dataset-fashion-mnist


def fashion_mnist(
    *,
    pixels: str = "unit_interval",
    num_validation: int = 400,
    folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Fashion-MNIST: 28 x 28 grey pictures of ten kinds of clothes, 60 000 to train on and 10 000 to test.

    The splits have arrays x: uint8 [N, 28, 28, 1] and y: uint8 [N], the class. What a model sees of x:

    * "unit_interval": x / 255, support "unit_interval".
    * "bytes": 0..255, support "bytes".
    * "dequantised": (x + u) / 256 in (0, 1), u ~ U(0, 1) drawn anew each time; support "unit_interval".
    * "dynamic": Bernoulli(x / 255) drawn anew each time; support "binary".
    * "static": one draw of Bernoulli(x / 255), from seed 0, which is then x; support "binary". It is not the
      file of Larochelle & Murray (2011): that is `from_tfds("binarized_mnist", pixels="binary")`.
    * "threshold": 1 where x / 255 > 1/2; support "binary".

    Likelihoods of the last three cannot be compared: they are three sets of data.

    The first call prepares the set on disk, with `python -m vaejax.data fashion_mnist` it shows a bar. The
    four IDX files, gzipped or not, also under the names that 7-zip gives them, are taken from
    `downloads/manual/fashion_mnist` in the folder, else from where Debian's package `dataset-fashion-mnist`
    puts them, else downloaded.

    Args:
        pixels: one of the above.
        num_validation: the last examples of the training set, in its order, that are held out. 400 as Burda
            et al. 2015 (1509.00519) do with dynamic binarisation; 10 000 is usual with static.
        folder: where prepared sets lie; None for $VAEJAX_DATA, else ~/.cache/vaejax.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: the files are not there and cannot be downloaded.
        OSError: the disk is full; nothing half-made is left.
        TypeError, ValueError: arguments of another type or range, or damaged files.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747; MIT licence.
    """
    return _dataset("fashion_mnist", pixels, num_validation, folder)


def mnist(
    *,
    pixels: str = "unit_interval",
    num_validation: int = 400,
    folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """MNIST: 28 x 28 grey pictures of handwritten digits, 60 000 to train on and 10 000 to test.

    Everything else is as in `fashion_mnist`, but for the name: `downloads/manual/mnist`.

    Args:
        pixels: see `fashion_mnist`.
        num_validation: see `fashion_mnist`.
        folder: see `fashion_mnist`.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: the files are not there and cannot be downloaded.
        OSError: the disk is full; nothing half-made is left.
        TypeError, ValueError: arguments of another type or range, or damaged files.

    Source: LeCun, Bottou, Bengio & Haffner 1998, doi 10.1109/5.726791.
    """
    return _dataset("mnist", pixels, num_validation, folder)


def idx_recipe(name: str, folder: Path) -> Recipe:
    """How "mnist" or "fashion_mnist" is prepared in `folder`."""
    return Recipe(
        name=name,
        config="idx",
        version=_VERSION,
        features={"x": (SIDE, SIDE, 1), "y": ()},
        splits={split: partial(_examples, name, folder, split) for split in _SIZES},
        num_examples=sum(_SIZES.values()),
    )


def _dataset(name: str, pixels: str, num_validation: int, folder: str | os.PathLike[str] | None) -> Dataset:
    check_pixels(pixels)
    check_positive_int(num_validation, "num_validation")
    place = data_folder(folder)
    recipe = idx_recipe(name, place)
    stored = {split: load_arrays(recipe, place, split) for split in _SIZES}
    return make_dataset(stored, pixels, num_validation=num_validation, num_test=0)


def _examples(name: str, folder: Path, split: str) -> Iterator[Example]:
    yield from idx_examples(_paths(name, folder), mnist_parts(_SIZES)[split], with_class)


def _paths(name: str, folder: Path) -> dict[str, Path]:
    """{file: path} of the four files, from the first place that has them all, else downloaded."""
    manual = manual_folder(folder, name)
    places = [manual] + ([_DEBIAN[name]] if name in _DEBIAN else [])
    files = [file for part in mnist_parts(_SIZES).values() for file in (part.images, part.labels)]
    for place in places:
        paths = found(place, files)
        if len(paths) == len(files):
            return paths
    try:
        return download({file: f"{_URLS[name]}{file}.gz" for file in files}, folder, name)
    except OSError as error:
        if full_disk(error):
            raise
        debian = "install Debian's dataset-fashion-mnist, or " if name in _DEBIAN else ""
        raise FileNotFoundError(
            f"{name}: expected {', '.join(files)} (or .idx for -idx, or with .gz) in one folder, or a way to "
            f"{_URLS[name]} ({error}). {' '.join(there(place, files) for place in places)} To mend it, "
            f"{debian}put the files into {manual}"
        ) from error
