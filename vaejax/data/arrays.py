"""A user's own arrays as a data set."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from vaejax.checks import check_array, check_choice
from vaejax.data.holes import with_holes, without_nan
from vaejax.data.plain import plain_array, whole_numbers
from vaejax.data.transforms import cast, unit_from_bytes
from vaejax.rows import some_rows
from vaejax.types import DATA_SUPPORTS, Array, Batch, Split

Transform = Callable[[Array, Batch], Batch]

_TRIED = 16  # examples on which a user's transform is tried


@dataclass(frozen=True)
class Dataset:
    """The three splits of a set.

    `factor_names`: of the columns of y [N, F], where they are known.
    """

    train: Split
    validation: Split
    test: Split
    factor_names: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        splits = "".join(f"  {name}={getattr(self, name)},\n" for name in ("train", "validation", "test"))
        return f"Dataset(\n{splits}  factor_names={self.factor_names})"


def from_arrays(
    train: ArrayLike,
    test: ArrayLike,
    labels: Sequence[ArrayLike] | None = None,
    *,
    support: str,
    validation: ArrayLike = 0.1,
    transform: Transform | None = None,
    holes: bool = False,
) -> Dataset:
    """Make a data set of arrays, in memory or mapped; they are checked, and shared unless converted.

    What is converted is so without loss: lists of numbers and arrays of jax become numpy's; other byte orders
    (FITS, old HDF5 files) this machine's, in a copy; booleans uint8 0 and 1; where there is no transform,
    integers what their support means by them: uint8 of "binary", "one_hot" and "bytes", float32 of "real",
    "counts" and "mixed"; of "unit_interval" they are refused, since nothing says what stands for 1. So are
    masked arrays, whose hidden values would be seen.

    Of an array of more than 1 GiB the values at 64 places are checked, evenly spaced, 256 KiB at each: a file
    larger than the memory is not read.

    The default transform casts x to float32; uint8 data of support "unit_interval" it also scales by
    1/255. Without a transform of your own the stored values must lie in the support; with one, what
    it makes of the first examples must.

    Args:
        train: x of the training split, integers, booleans or floats of at most 64 bits [N, ...], at least one
            event dimension.
        test: x of the test split, of the same dtype and event shape.
        labels: None, or arrays of numbers (train, test), or (train, test, validation) where `validation`
            is an array; each leads with its split's N and becomes "y". Finite, and integers that jax holds,
            of 32 bits without x64.
        support: "binary" (0 and 1), "unit_interval" ([0, 1]), "bytes" (uint8 0..255), "real", "one_hot" (rows
            of one 1, [N, ..., V]), "counts" (whole numbers >= 0), or "mixed", columns of several kinds, of
            which only finite values are asked. Tokens of your own are `Split({"x": x},
            "tokens")`, with x integers [N, T]; or see `sentences`.
        validation: an array like the others, or the fraction of `train` to hold out, in (0, 1): its
            last round(fraction N) examples, with no shuffling (shuffle sorted data beforehand).
        transform: `(key, batch) -> batch`, pure; None for the default.
        holes: whether nan in x means that a value is missing: the splits are then those of `with_holes`. If
            not, nan is an error.

    Returns:
        A `Dataset` of three `Split`s with arrays "x" and, with labels, "y".

    Raises:
        TypeError: arguments of another type, or arrays of another dtype or with a mask.
        ValueError: shapes, lengths or fractions that do not fit, values outside the support, or labels that
            jax would wrap around.
    """
    _check_options(support, transform, holes)
    given = not isinstance(validation, numbers.Number)
    x = {"train": train, "test": test} | ({"validation": validation} if given else {})
    x = {name: plain_array(a, name, " or a fraction" * (name == "validation")) for name, a in x.items()}
    if transform is None:
        x = {name: whole_numbers(array, support, name) for name, array in x.items()}
    for name, array in x.items():
        _check_events(array, name, x["train"], transform is not None)
    y = _named_labels(labels, x)

    if not given:
        cut = len(x["train"]) - _held_out(validation, len(x["train"]))
        x |= {"train": x["train"][:cut], "validation": x["train"][cut:]}
        if y is not None:
            y |= {"train": y["train"][:cut], "validation": y["train"][cut:]}
    check = check_transformed
    if transform is None:
        check = _check_stored
        bytes_to_unit = support == "unit_interval" and x["train"].dtype == np.uint8
        transform = unit_from_bytes if bytes_to_unit else cast
    splits = {
        name: Split({"x": x[name]} | ({} if y is None else {"y": y[name]}), support, transform) for name in x
    }
    for name, split in splits.items():
        check(without_nan(split) if holes else split, name)
    if holes:
        splits = {name: with_holes(split) for name, split in splits.items()}
    return Dataset(splits["train"], splits["validation"], splits["test"])


def _check_options(support: Any, transform: Any, holes: Any) -> None:
    check_choice(support, tuple(s for s in DATA_SUPPORTS if s != "tokens"), "support")
    if transform is not None and not callable(transform):
        raise TypeError(f"transform: expected a function or None, got {type(transform).__name__}")
    if not isinstance(holes, bool):
        raise TypeError(f"holes: expected a bool, got {type(holes).__name__} ({holes!r})")


def _check_events(array: np.ndarray, name: str, train: np.ndarray, integers: bool) -> None:
    """Raise unless `array` is a non-empty one of uint8, floats or `integers`, that agrees with `train`."""
    known = array.dtype == np.uint8 or jax.numpy.issubdtype(array.dtype, np.floating)  # also bfloat16
    if not known and not (integers and array.dtype.kind in "iu"):
        raise TypeError(f"{name}: expected uint8 or float, got {array.dtype}")
    check_array(array, name)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name}: expected [N, ...] of at least 2 dims and 1 value, got {list(array.shape)}")
    if array.dtype != train.dtype:
        raise TypeError(f"{name}: expected the dtype of train, {train.dtype}; got {array.dtype}")
    if array.shape[1:] != train.shape[1:]:
        raise ValueError(
            f"{name}: expected the event shape of train, {list(train.shape[1:])}; got {list(array.shape[1:])}"
        )


def _named_labels(
    labels: Sequence[ArrayLike] | None, x: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """Return {split: labels} for the splits of x, checked against them and each other."""
    if labels is None:
        return None
    expected = f"labels: expected a tuple of arrays ({', '.join(x)})"
    if not isinstance(labels, tuple | list):
        raise TypeError(f"{expected}, got {type(labels).__name__}")
    if len(labels) != len(x):
        raise ValueError(f"{expected}, got {len(labels)} of them")
    y = {name: plain_array(array, f"labels of {name}") for name, array in zip(x, labels, strict=True)}
    for name, array in y.items():
        _check_labels(array, f"labels of {name}", y["train"], len(x[name]))
    return y


def _check_labels(array: np.ndarray, where: str, train: np.ndarray, size: int) -> None:
    """Raise unless `array` is `size` finite labels like those of `train`."""
    if not any(jax.numpy.issubdtype(array.dtype, kind) for kind in (np.integer, np.floating)):
        hint = "; np.unique(labels, return_inverse=True) numbers strings" if array.dtype.kind in "OSU" else ""
        raise TypeError(f"{where}: expected integers or floats, got {array.dtype}{hint}")
    if array.dtype != train.dtype:
        raise TypeError(f"{where}: expected the dtype of train's, {train.dtype}; got {array.dtype}")
    if array.ndim == 0 or len(array) != size:
        raise ValueError(f"{where}: expected {size} of them, got shape {list(array.shape)}")
    if array.shape[1:] != train.shape[1:] or array.size == 0:
        raise ValueError(
            f"{where}: expected [N, ...] like train's {list(train.shape)}, got {list(array.shape)}"
        )
    check_array(array, where)
    _check_finite(array, where)


def _held_out(validation: Any, size: int) -> int:
    """Return how many of `size` training examples the fraction holds out."""
    if isinstance(validation, numbers.Integral) or not isinstance(validation, numbers.Real):
        raise TypeError(
            f"validation: expected a numpy array or a fraction, "
            f"got {type(validation).__name__} ({validation!r})"
        )
    fraction = float(validation)
    if not 0 < fraction < 1:
        raise ValueError(f"validation: expected a fraction in (0, 1), got {validation}")
    held_out = round(fraction * size)
    if not 0 < held_out < size:
        raise ValueError(
            f"validation: expected a fraction that leaves both splits an example, "
            f"got {validation} of {size}: {held_out} held out"
        )
    return held_out


def _check_stored(split: Split, name: str) -> None:
    """Raise unless the stored values are those that the default transform brings into the support."""
    x, support = split.arrays["x"], split.support
    if support == "bytes" and x.dtype != np.uint8:
        raise TypeError(f"{name}: expected uint8 for support 'bytes', got {x.dtype}")
    # any other uint8 is in the support, once scaled
    if support in ("binary", "one_hot") or x.dtype != np.uint8:
        _check_values(x, support, name)


def check_transformed(split: Split, name: str) -> None:
    """Raise unless the user's transform brings the first examples into the support."""
    batch = {key: array[:_TRIED] for key, array in split.arrays.items()}
    made = split.transform(jax.random.key(0), batch)
    if not isinstance(made, Mapping) or "x" not in made:
        raise TypeError(f"transform: expected it to return a mapping with 'x', got {type(made).__name__}")
    x = np.asarray(made["x"])
    if x.shape[:1] != batch["x"].shape[:1]:
        raise ValueError(
            f"transform: expected an x for each of {len(batch['x'])} examples, got shape {list(x.shape)}"
        )
    _check_values(x, split.support, f"transform of {name}")


def _check_values(x: np.ndarray, support: str, name: str) -> None:
    """Raise unless the values are finite and lie in the support; of a large array some (`rows.some_rows`)."""
    x = some_rows(x)
    low, high = _check_finite(x, name, "; with holes=True nan is a value that is missing")
    top = {"binary": 1, "unit_interval": 1, "bytes": 255}.get(support)
    if top is not None and (low < 0 or high > top):
        raise ValueError(f"{name}: expected values in [0, {top}] for support {support!r}, got {low}..{high}")
    if support == "one_hot" and not (np.isin(x, (0, 1)).all() and (x.sum(axis=-1) == 1).all()):
        raise ValueError(f"{name}: expected rows of one 1 and zeros for support 'one_hot', got others")
    if support == "binary" and not np.all((x == 0) | (x == 1)):
        raise ValueError(f"{name}: expected the values 0 and 1 for support 'binary', got others between them")
    if support == "counts" and (low < 0 or not np.all(x == np.round(x))):
        raise ValueError(
            f"{name}: expected whole numbers of at least 0 for support 'counts', got others in {low}..{high}"
        )


def _check_finite(array: np.ndarray, name: str, advice: str = "") -> tuple[Any, Any]:
    """Return the least and the largest value of some rows; raise unless they are finite in float32."""
    array = some_rows(array)
    low, high = array.min(), array.max()  # nan wherever a value is
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.float32(low)) and np.isfinite(np.float32(high))
    if not finite:
        advice = advice if np.isnan(low) else ""
        raise ValueError(f"{name}: expected finite float32 values, got {low}..{high}{advice}")
    return low, high
