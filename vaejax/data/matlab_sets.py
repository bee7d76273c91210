"""Sets given out as .mat files: OMNIGLOT in 28 x 28, Frey faces, SVHN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vaejax.data.archives import path_of
from vaejax.data.factored import SPLITS, stream
from vaejax.data.matlab import check_mat, mat_columns
from vaejax.data.recipes import Example, Recipe

_OMNIGLOT_SIZES = {"train": 24_345, "test": 8_070}
_OMNIGLOT_HELD_OUT = 1_345
_ALPHABETS, _CHARACTERS = 50, 55
_FREY_SIZE = 1_965
_FREY_SHAPE = (28, 20)
_SVHN_SIZES = {"train": 73_257, "test": 26_032, "extra": 531_131}
_SVHN_SIDE = 32


def omniglot_recipe(paths: Mapping[str, Path]) -> Recipe:
    """OMNIGLOT in 28 x 28, 24 345 and 8 070 characters of 50 alphabets: `chardata.mat` of Burda et al.

    1345 of the 24 345, drawn once with a fixed seed, are the validation split, since nothing says that their
    order is random.

    A column of its "data", [784, N], is a picture column by column, as MATLAB writes it: here they stand
    upright (IWAE's own code turns them too, some others' does not). x uint8 [28, 28, 1] is round(255 v) of
    the grey value v in [0, 1]; y uint8 [2] is (alphabet 0..49, character of the alphabet 0..54).

    Raises:
        ValueError: another file, or a damaged one.

    Source: Lake, Salakhutdinov & Tenenbaum 2015, doi 10.1126/science.aab3050; Burda et al. 2015, 1509.00519.
    """
    path = path_of(paths, "chardata.mat")
    for split, size in _OMNIGLOT_SIZES.items():
        shapes = ((784, size), (_ALPHABETS, size), (1, size))
        check_mat(path, dict(zip(_omniglot_names(split), shapes, strict=True)))
    return Recipe(
        name="omniglot",
        config="published",
        version="1.0.0",
        features={"x": (28, 28, 1), "y": (2,)},
        splits={split: partial(_omniglot, path, split) for split in SPLITS},
        num_examples=sum(_OMNIGLOT_SIZES.values()),
        notes=lambda: {"factors": [["alphabet", _ALPHABETS], ["character", _CHARACTERS]]},
    )


def frey_faces_recipe(paths: Mapping[str, Path]) -> Recipe:
    """Frey faces, 1965 frames of a video of one face: `frey_rawface.mat`. x uint8 [28, 20, 1], no labels.

    A column of its "ff", [560, 1965], is a frame row by row. They are in the order of the video: neighbours
    are alike, and there is no split but "train".

    Raises:
        ValueError: another file, or a damaged one.

    Source: Roweis & Saul 2000, doi 10.1126/science.290.5500.2323.
    """
    path = path_of(paths, "frey_rawface.mat")
    check_mat(path, {"ff": (_FREY_SHAPE[0] * _FREY_SHAPE[1], _FREY_SIZE)}, np.uint8)
    return Recipe(
        name="frey_faces",
        config="published",
        version="1.0.0",
        features={"x": (*_FREY_SHAPE, 1)},
        splits={"train": partial(_frey_faces, path)},
        num_examples=_FREY_SIZE,
    )


def svhn_recipe(paths: Mapping[str, Path]) -> Recipe:
    """SVHN, house numbers, cropped digits: 73 257 and 26 032 of train_32x32.mat and test_32x32.mat.

    x is uint8 [32, 32, 3]; y uint8, the digit. The files call a nought 10; here it is 0.

    Raises:
        ValueError: other files, or damaged ones.

    Source: Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning.
    """
    return _svhn_recipe("svhn", paths, ("train",))


def svhn_extra_recipe(paths: Mapping[str, Path]) -> Recipe:
    """SVHN with the 531 131 easier digits of extra_32x32.mat after those of "train"; else as `svhn_recipe`.

    Raises:
        ValueError: other files, or damaged ones.
    """
    return _svhn_recipe("svhn_extra", paths, ("train", "extra"))


def _svhn_recipe(name: str, paths: Mapping[str, Path], train: tuple[str, ...]) -> Recipe:
    of = {part: path_of(paths, f"{part}_32x32.mat") for part in (*train, "test")}
    for part, path in of.items():
        check_mat(path, {"X": (_SVHN_SIDE, _SVHN_SIDE, 3, _SVHN_SIZES[part])}, np.uint8)
        check_mat(path, {"y": (_SVHN_SIZES[part], 1)})
    return Recipe(
        name=name,
        config="published",
        version="1.0.0",
        features={"x": (_SVHN_SIDE, _SVHN_SIDE, 3), "y": ()},
        splits={
            "train": partial(_svhn, [of[part] for part in train]), "test": partial(_svhn, [of["test"]])
        },
    )  # fmt: skip


def _omniglot_names(split: str) -> list[str]:
    """Of the arrays that a split is of: grey values, alphabet, character."""
    return ["test" * (split == "test") + name for name in ("data", "target", "targetchar")]


def _omniglot_columns(split: str) -> np.ndarray:
    """Which columns of the arrays are of a split, booleans [N]."""
    if split == "test":
        return np.ones(_OMNIGLOT_SIZES["test"], bool)
    size = _OMNIGLOT_SIZES["train"]
    held_out = np.zeros(size, bool)
    held_out[stream(0, 0).permutation(size)[:_OMNIGLOT_HELD_OUT]] = True
    return held_out if split == "validation" else ~held_out


def _omniglot(path: Path, split: str) -> Iterator[Example]:
    names = _omniglot_names(split)
    columns = [mat_columns(path, name) for name in names]
    of_split = _omniglot_columns(split)
    for n, (values, alphabets, character) in enumerate(zip(*columns, strict=True)):
        if not of_split[n]:
            continue
        if not (values.min() >= 0 and values.max() <= 1):  # nan too
            raise ValueError(
                f"{path}: expected grey values in [0, 1], got {values.min()}..{values.max()} in column {n} "
                f"of {names[0]!r}"
            )
        number = character[0]
        of_one = sorted(alphabets)[-2:] == [0, 1] and alphabets.sum() == 1
        if not of_one or number not in range(1, _CHARACTERS + 1):
            raise ValueError(
                f"{path}: expected one of {_ALPHABETS} alphabets and a character 1..{_CHARACTERS}, got "
                f"{np.flatnonzero(alphabets).tolist()} and {number} in column {n}"
            )
        x = np.rint(255 * values).astype(np.uint8).reshape(28, 28, 1, order="F")
        yield {"x": x, "y": np.array([alphabets.argmax(), number - 1], np.uint8)}


def _frey_faces(path: Path) -> Iterator[Example]:
    for values in mat_columns(path, "ff"):
        yield {"x": values.reshape(*_FREY_SHAPE, 1)}


def _svhn(paths: Sequence[Path]) -> Iterator[Example]:
    for path in paths:
        (labels,) = mat_columns(path, "y")
        if not np.isin(labels, np.arange(1, 11)).all():
            raise ValueError(f"{path}: expected labels 1..10, got {labels.min()}..{labels.max()}")
        for x, label in zip(mat_columns(path, "X"), labels, strict=True):
            yield {"x": x, "y": np.array(label % 10, np.uint8)}
