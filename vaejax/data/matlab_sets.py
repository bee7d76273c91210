"""Sets given out as .mat files: OMNIGLOT in 28 x 28, Frey faces, SVHN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from vaejax.data.archives import path_of
from vaejax.data.matlab import check_mat, mat_columns
from vaejax.data.records import Recipe

_VERSION = "1.0.0"
_OMNIGLOT_SIZES = {"train": 24_345, "test": 8_070}
_ALPHABETS, _CHARACTERS = 50, 55
_FREY_SIZE = 1_965
_FREY_SHAPE = (28, 20)
_SVHN_SIZES = {"train": 73_257, "test": 26_032, "extra": 531_131}
_SVHN_SIDE = 32


def omniglot_recipe(paths: Mapping[str, Path]) -> Recipe:
    """OMNIGLOT in 28 x 28, 24 345 and 8 070 characters of 50 alphabets: `chardata.mat` of Burda et al.

    A column of its "data", [784, N], is a picture column by column, as MATLAB writes it: here they stand
    upright (IWAE's own code turns them too, some others' does not). x uint8 [28, 28, 1] is round(255 v) of
    the grey value v in [0, 1]; y uint8 [2] is (alphabet 0..49, character of the alphabet 0..54).

    Args:
        paths: {"chardata.mat": path}.

    Source: Lake, Salakhutdinov & Tenenbaum 2015, doi 10.1126/science.aab3050; Burda et al. 2015, 1509.00519.
    """
    return Recipe(
        name="omniglot",
        config="chardata",
        version=_VERSION,
        features={"x": (28, 28, 1), "y": (2,)},
        splits={split: partial(_omniglot, paths, split) for split in _OMNIGLOT_SIZES},
    )


def frey_faces_recipe(paths: Mapping[str, Path]) -> Recipe:
    """Frey faces, 1965 frames of a video of one face: `frey_rawface.mat`. x uint8 [28, 20, 1], no labels.

    A column of its "ff", [560, 1965], is a frame row by row. They are in the order of the video: neighbours
    are alike, and there is no split but "train".

    Args:
        paths: {"frey_rawface.mat": path}.

    Source: Roweis & Saul 2000, doi 10.1126/science.290.5500.2323.
    """
    return Recipe(
        name="frey_faces",
        config="rawface",
        version=_VERSION,
        features={"x": (*_FREY_SHAPE, 1)},
        splits={"train": partial(_frey_faces, paths)},
    )


def svhn_recipe(paths: Mapping[str, Path], extra: bool = False) -> Recipe:
    """SVHN, house numbers, cropped digits: 73 257 and 26 032, and with `extra` 531 131 more in "train".

    x uint8 [32, 32, 3]; y uint8 is the digit. The files call a nought 10; here it is 0.

    Args:
        paths: {file name: path} of train_32x32.mat, test_32x32.mat and, with `extra`, extra_32x32.mat.
        extra: whether the easier pictures of extra_32x32.mat follow those of "train".

    Source: Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning.
    """
    train = ("train", "extra") if extra else ("train",)
    return Recipe(
        name="svhn",
        config="cropped_extra" if extra else "cropped",
        version=_VERSION,
        features={"x": (_SVHN_SIDE, _SVHN_SIDE, 3), "y": ()},
        splits={"train": partial(_svhn, paths, train), "test": partial(_svhn, paths, ("test",))},
    )


def _omniglot(paths: Mapping[str, Path], split: str) -> Iterator[Mapping[str, np.ndarray]]:
    path, size, before = path_of(paths, "chardata.mat"), _OMNIGLOT_SIZES[split], "test" * (split == "test")
    names = [f"{before}{name}" for name in ("data", "target", "targetchar")]
    check_mat(path, dict(zip(names, ((784, size), (_ALPHABETS, size), (1, size)), strict=True)))
    columns = [mat_columns(path, name) for name in names]
    for n, (values, alphabets, character) in enumerate(zip(*columns, strict=True)):
        if not (values.min() >= 0 and values.max() <= 1):  # nan too
            raise ValueError(
                f"{path}: expected grey values in [0, 1], got {values.min()}..{values.max()} in column {n} "
                f"of {names[0]!r}"
            )
        number = int(character[0])
        if sorted(alphabets)[-2:] != [0, 1] or alphabets.sum() != 1 or not 1 <= number <= _CHARACTERS:
            raise ValueError(
                f"{path}: expected one of {_ALPHABETS} alphabets and a character 1..{_CHARACTERS}, got "
                f"{np.flatnonzero(alphabets).tolist()} and {character[0]} in column {n}"
            )
        x = np.rint(255 * values).astype(np.uint8).reshape(28, 28, 1, order="F")
        yield {"x": x, "y": np.array([alphabets.argmax(), number - 1], np.uint8)}


def _frey_faces(paths: Mapping[str, Path]) -> Iterator[Mapping[str, np.ndarray]]:
    path = path_of(paths, "frey_rawface.mat")
    check_mat(path, {"ff": (_FREY_SHAPE[0] * _FREY_SHAPE[1], _FREY_SIZE)}, np.uint8)
    for values in mat_columns(path, "ff"):
        yield {"x": values.reshape(*_FREY_SHAPE, 1)}


def _svhn(paths: Mapping[str, Path], parts: tuple[str, ...]) -> Iterator[Mapping[str, np.ndarray]]:
    side = _SVHN_SIDE
    sizes = {path_of(paths, f"{part}_32x32.mat"): _SVHN_SIZES[part] for part in parts}
    for path, size in sizes.items():
        check_mat(path, {"X": (side, side, 3, size)}, np.uint8)
        check_mat(path, {"y": (size, 1)})
    for path in sizes:
        (labels,) = mat_columns(path, "y")
        if not np.isin(labels, np.arange(1, 11)).all():
            raise ValueError(f"{path}: expected labels 1..10, got {labels.min()}..{labels.max()}")
        for x, label in zip(mat_columns(path, "X"), labels, strict=True):
            yield {"x": x, "y": np.uint8(label % 10)}
