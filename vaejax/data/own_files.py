"""A file of one's own arrays as a data set."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vaejax.checks import check_positive
from vaejax.data.arrays import Dataset, Transform, from_arrays
from vaejax.files import expanded

_SPLITS = ("train", "test", "validation")  # in the order of `from_arrays`
Names = str | Sequence[str] | None


def from_file(
    source: str | os.PathLike[str],
    *,
    support: str,
    x: Names = None,
    y: Names = None,
    test: float = 0.1,
    validation: float = 0.1,
    transform: Transform | None = None,
    holes: bool = False,
) -> Dataset:
    """A data set of the arrays in a .npy or .npz file; they are checked as `from_arrays` does.

    A .npy file stays on disk and is mapped: a part of it costs what it holds. The arrays of a .npz file are
    read into memory. Nothing is unpickled.

    Splits that the file has no array for are the last rows, with no shuffling: first the test's, then of
    what is left the validation's. Shuffle sorted data beforehand.

    Args:
        source: the file.
        support: see `from_arrays`.
        x: of a .npz file the name of the array that is x; or of several, (train, test) or (train, test,
            validation); None where it has one array.
        y: the names of labels, likewise; of a .npy file the path of another one. None: there are none.
        test: the share of the rows of x that the test split gets, in (0, 1), where x is one array.
        validation: the share of the other rows that the validation split gets, in (0, 1), where no array is
            named for it.
        transform: see `from_arrays`.
        holes: see `from_arrays`.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: no such file.
        TypeError, ValueError: arguments of another type or range, a damaged file or one of another format,
            Python objects in it, names that it has not, or arrays that `from_arrays` refuses.
    """
    path = expanded(source, "source")
    opened = _opened(path)
    if isinstance(opened, np.ndarray):
        if x is not None:
            raise ValueError(f"x: expected None for one array, that of {path}; got {x!r}")
        parts = {"x": [opened]}
        if y is not None:
            labels = _opened(expanded(y, "y")) if isinstance(y, str | os.PathLike) else None
            if not isinstance(labels, np.ndarray):
                raise ValueError(f"y: expected the path of a .npy file, as x is one; got {y!r}")
            parts["y"] = [labels]
    else:
        with opened as archive:
            names = {"x": _names(x, archive, path, "x")} | ({} if y is None else {"y": _named(y, "y")})
            parts = {key: [_member(archive, n, path) for n in some] for key, some in names.items()}
    return _dataset(
        parts, path, test, support=support, validation=validation, transform=transform, holes=holes
    )


def _dataset(
    parts: Mapping[str, list[np.ndarray]], path: Path, test: float, *, validation: float, **options: Any
) -> Dataset:
    count = len(parts["x"])
    for key, some in parts.items():
        if len(some) != count:
            raise ValueError(f"{key}: expected as many arrays as x has, {count}; got {len(some)}")
        if some[0].ndim == 0:
            raise ValueError(f"{path}: expected {key} as an array [N, ...], got a number")
    if count == 1:
        check_positive(test, "test")
        size = len(parts["x"][0])
        cut = size - round(float(test) * size)
        if not 0 < cut < size:
            raise ValueError(f"test: expected a share that leaves rows for both, got {test} of {size}")
        for key, (array,) in parts.items():
            if len(array) != size:
                raise ValueError(f"{path}: expected {size} rows of {key}, as of x; got {len(array)}")
        parts = {key: [array[:cut], array[cut:]] for key, (array,) in parts.items()}
    arrays = dict(zip(_SPLITS, parts["x"], strict=False))
    labels = list(parts["y"]) if "y" in parts else None
    return from_arrays(
        arrays["train"], arrays["test"], labels, validation=arrays.get("validation", validation), **options
    )


def _opened(path: Path) -> Any:
    """The array of a .npy file, mapped; or the archive of a .npz file."""
    if not path.is_file():
        raise FileNotFoundError(f"source: expected a .npy or .npz file, got {path}")
    with _refused(path):
        with open(path, "rb") as file:
            packed = file.read(4) == b"PK\x03\x04"
        if packed:
            zipfile.ZipFile(path).close()  # of a damaged one numpy would leave the file open
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _member(archive: Any, name: str, path: Path) -> np.ndarray:
    if name not in archive.files:
        raise ValueError(f"{path}: expected an array {name!r}, got {', '.join(archive.files) or 'none'}")
    with _refused(path):
        return archive[name]


def _names(given: Names, archive: Any, path: Path, name: str) -> list[str]:
    if given is not None:
        return _named(given, name)
    if len(archive.files) != 1:
        raise ValueError(
            f"{name}: expected the name of an array of {path}, {', '.join(archive.files) or 'none'}; got None"
        )
    return archive.files


def _named(given: Names, name: str) -> list[str]:
    """The names of one array, of two or of three."""
    names = [given] if isinstance(given, str) else list(given or ())
    if not 1 <= len(names) <= len(_SPLITS) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{name}: expected a name, or those of (train, test, validation); got {given!r}")
    return names


@contextmanager
def _refused(path: Path):
    """Say what numpy found wrong with a file."""
    try:
        yield
    except (EOFError, ValueError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise ValueError(
                f"{path}: expected arrays of numbers, as numpy.save writes them; got another file or Python "
                "objects, which only pickle would read: that may run any code, and is not done"
            ) from None
        raise ValueError(
            f"{path}: expected a whole .npy or .npz file, got a damaged one ({error})"
        ) from error
