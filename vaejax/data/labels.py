"""Labels and conditions: c beside x, classes as one-hot vectors, labels that most rows lack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_array, check_positive_int, check_real, check_split, check_unmasked
from vaejax.data.arrays import Dataset
from vaejax.data.factored import SPLITS, check_seed
from vaejax.fixed import Fixed
from vaejax.types import Array, Batch, Split

__all__ = ["keep_labels", "one_hot", "with_condition"]

Classes = int | tuple[int, ...]
MISSING = -1


def one_hot(y: Any, classes: Classes) -> np.ndarray:
    """Classes as vectors of 0 and 1, as a condition takes them.

    Args:
        y: integers [...] in 0..V-1; with several numbers of classes [..., F], a column for each.
        classes: V, or (V_1, ..., V_F), whose vectors stand side by side.

    Returns:
        float32 [..., V], or [..., V_1 + ... + V_F].

    Raises:
        TypeError, ValueError: labels that are no integers, out of range or of another shape, or classes that
            are no ints of at least 1.
    """
    return _one_hot(_checked(y, classes, "y"), classes)


def with_condition(
    data: Any, of: str | Callable[[Mapping[str, np.ndarray]], np.ndarray], *, classes: Classes | None = None,
    missing: bool = False,
) -> Any:  # fmt: skip
    """Put a condition c beside x, in a split or in all three of a data set.

    It is made once, on the host, and stored with the other arrays; the transform of the data does not see it.
    What draws c anew or makes it of the transformed x is a transform of your own, `(key, batch) -> batch`
    with a "c" in it.

    Args:
        data: a Split, or a data set with `train`, `validation` and `test`.
        of: the array of the split that is the condition, such as "y"; or a function, the split's arrays ->
            the condition of every row, [N, ...].
        classes: V of labels 0..V-1, which become one-hot vectors [N, V]; (V_1, ..., V_F) of labels [N, F],
            whose vectors stand side by side; None for a condition of real numbers, which is taken as it is.
        missing: of classes, whether -1 stands for a label that is missing, whose vector is all 0, as
            `objectives.semi_supervised` takes it.

    Returns:
        A Split of the same rows with the array "c", float32; of a data set a `Dataset` of three of them.

    Raises:
        TypeError, ValueError: anything else, labels that are out of range or that nobody said to be classes,
            numbers that are not finite, or another number of rows; the split is named.
    """
    if not (isinstance(of, str) or callable(of)):
        raise TypeError(f"of: expected the name of an array or a function, got {type(of).__name__}")
    if not isinstance(missing, bool):
        raise TypeError(f"missing: expected a bool, got {type(missing).__name__}")
    if missing and classes is None:
        raise ValueError("missing: expected False for a condition of real numbers, got True without classes")
    if isinstance(data, Split):
        return _with_condition(data, of, classes, missing, "split")
    splits = [getattr(data, name, None) for name in SPLITS]
    if not all(isinstance(split, Split) for split in splits):
        raise TypeError(f"data: expected a Split, or a data set with {SPLITS}; got {type(data).__name__}")
    made = (
        _with_condition(split, of, classes, missing, name) for split, name in zip(splits, SPLITS, strict=True)
    )
    return Dataset(*made, factor_names=getattr(data, "factor_names", None))


def _with_condition(split: Any, of: Any, classes: Classes | None, missing: bool, name: str) -> Split:
    check_split(split, name)
    where = f"{name}: c"
    if isinstance(of, str):
        if of not in split.arrays:
            raise ValueError(f"of: expected an array of {name}, {sorted(split.arrays)}; got {of!r}")
        c = split.arrays[of]
    else:
        c = of(split.arrays)
        check_array(c, where)
        if len(c) != split.size:
            raise ValueError(f"{where}: expected one for each of {split.size} rows, got {list(c.shape)}")
    if classes is not None:
        c = _one_hot(_checked(c, classes, where, missing), classes)
    elif not jnp.issubdtype(c.dtype, jnp.floating):
        raise TypeError(f"{where}: expected floats, or classes= for labels 0..V-1; got {c.dtype}")
    elif not np.isfinite(c).all():
        raise ValueError(f"{where}: expected finite numbers, got {int(np.sum(~np.isfinite(c)))} that are not")
    arrays = {**split.arrays, "c": np.asarray(c, np.float32)}
    return Split(arrays, split.support, Fixed(_beside, split.transform))


def _beside(transform: Callable[[Array, Batch], Batch], key: Array, batch: Batch) -> Batch:
    """The transform of what is no condition, and that."""
    made = transform(key, {name: array for name, array in batch.items() if name != "c"})
    return {**made, "c": batch["c"]}


def keep_labels(
    split: Split, n: int, *, classes: Classes, share: float | None = None, seed: int = 0
) -> Split:  # fmt: skip
    """Keep n labels and set those of the other rows to -1, which is what semi-supervised terms take.

    Of one label a row as many are kept of each class as can be, to one; of several attributes the rows are
    drawn at random, and have all of theirs.

    Args:
        split: its labels y are integers 0..V-1, [N], or [N, F] for several numbers of classes.
        n: rows that keep theirs.
        classes: V, or (V_1, ..., V_F).
        share: of the rows with a label among all, in (0, 1]: they are repeated until they are so many, to the
            row; 1 leaves the others out. None: every row stands once.
        seed: of the choice, not negative.

    Returns:
        A Split whose y is int32; labelled rows stand behind the others if there is a share.

    Raises:
        TypeError, ValueError: other arguments, labels out of range, fewer rows of a class than are asked for,
            or a share that they exceed without being repeated.
    """
    check_split(split)
    check_positive_int(n, "n")
    check_seed(seed)
    if "y" not in split.arrays:
        raise ValueError(f"split: expected labels y, got {sorted(split.arrays)}")
    y = _checked(split.arrays["y"], classes, "split: y").astype(np.int32)
    if n > split.size:
        raise ValueError(f"n: expected at most the {split.size} rows, got {n}")
    kept = _chosen(np.random.default_rng(seed), y, n, classes)
    y = np.where(np.isin(np.arange(split.size), kept).reshape(-1, *(1,) * (y.ndim - 1)), y, MISSING)
    arrays = {**split.arrays, "y": y.astype(np.int32)}
    if share is not None:
        rows = _repeated(kept, split.size, share)
        arrays = jax.tree.map(lambda array: array[rows], arrays)  # also of several modalities
    return dataclasses.replace(split, arrays=arrays)


def _chosen(rng: np.random.Generator, y: np.ndarray, n: int, classes: Classes) -> np.ndarray:
    """n rows, [n]: of one label as many of each class."""
    if not isinstance(classes, int | np.integer):
        return rng.permutation(len(y))[:n]
    each = np.full(classes, n // classes)
    each[rng.permutation(classes)[: n % classes]] += 1
    rows = []
    for label, count in enumerate(each):
        of_class = rng.permutation(np.flatnonzero(y == label))
        if len(of_class) < count:
            raise ValueError(f"n: expected at most {len(of_class)} labels of class {label}, got {count}")
        rows.append(of_class[:count])
    return np.concatenate(rows)


def _repeated(kept: np.ndarray, size: int, share: float) -> np.ndarray:
    """The rows without a label, then those with one, repeated until they are a share of all."""
    check_real(share, "share")
    if not 0 < share <= 1:
        raise ValueError(f"share: expected a number in (0, 1], got {share!r}")
    others = np.setdiff1d(np.arange(size), kept)
    if share == 1 or not len(others):
        return kept
    count = round(share / (1 - share) * len(others))
    if count < len(kept):
        raise ValueError(f"share: expected at least that of the labels, {len(kept) / size:.3g}; got {share}")
    return np.concatenate([others, np.resize(kept, count)])


def _checked(y: Any, classes: Classes, where: str, missing: bool = False) -> np.ndarray:
    """Labels as an array of integers; raise unless they lie in their ranges, which -1 does if it may."""
    check_unmasked(y, where)
    y = np.asarray(y)
    several = isinstance(classes, tuple | list)
    sizes = tuple(classes) if isinstance(classes, tuple | list) else (classes,)
    for i, size in enumerate(sizes):
        check_positive_int(size, f"classes[{i}]" if several else "classes")
    if y.dtype.kind not in "iu":
        raise TypeError(f"{where}: expected integers 0..{max(sizes) - 1}, got {y.dtype}")
    if several and y.shape[-1:] != (len(sizes),):
        raise ValueError(
            f"{where}: expected [..., {len(sizes)}], one for each of classes; got {list(y.shape)}"
        )
    columns = np.moveaxis(y, -1, 0) if several else [y]
    for i, (column, size) in enumerate(zip(columns, sizes, strict=True)):
        low, high = (int(column.min()), int(column.max())) if column.size else (0, 0)
        if low < (MISSING if missing else 0) or high >= size:
            among = f" in column {i}" if several else ""
            hint = "; -1, a missing label, needs missing=True" if low == MISSING and not missing else ""
            expected = f"labels in 0..{size - 1}" + " or -1" * missing
            raise ValueError(f"{where}: expected {expected}, got {low}..{high}{among}{hint}")
    return y


def _one_hot(y: np.ndarray, classes: Classes) -> np.ndarray:
    """Checked labels as vectors; those of -1 are all 0."""
    if isinstance(classes, tuple | list):
        return np.concatenate([_one_hot(y[..., i], size) for i, size in enumerate(classes)], axis=-1)
    return (y[..., None] == np.arange(classes)).astype(np.float32)
