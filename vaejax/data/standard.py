"""Tables with columns of unlike units: a transform to mean 0 and scale 1 that knows its way back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_split
from vaejax.data.arrays import Dataset
from vaejax.data.factored import SPLITS
from vaejax.data.holes import Hidden
from vaejax.data.transforms import cast
from vaejax.types import Array, Batch, Split, identity_transform

_DIGITS = 2.0**-24  # of float32, in which x reaches the transform
_LOST = 1e-3  # of a scale: the most that rounding x to float32 may cost


@dataclass(frozen=True)
class Standardise:
    """(x - mean) / scale of every column, in float32, as a transform; `undo` is the way back.

    `mean`, `scale`: a number for each column of x [..., D], in the units of x.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):  # JSON has lists
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if len(self.mean) != len(self.scale) or not all(map(math.isfinite, self.mean + self.scale)):
            raise ValueError(
                f"mean, scale: expected as many finite numbers of each, got {self.mean} and {self.scale}"
            )
        if min(self.scale, default=1.0) <= 0:
            raise ValueError(f"scale: expected positive numbers, got {self.scale}")

    def __call__(self, key: Array, batch: Batch) -> Batch:
        del key
        x = jnp.asarray(batch["x"], jnp.float32)
        return {**batch, "x": (x - np.array(self.mean, np.float32)) / np.array(self.scale, np.float32)}

    def undo(self, x: Any) -> Any:
        """mean + scale x of every column: reconstructions, samples, imputations in the units of the data.

        Args:
            x: [..., D], an array of numpy or jax.

        Raises:
            ValueError: for another number of columns.
        """
        if jnp.shape(x)[-1:] != (len(self.mean),):
            raise ValueError(f"x: expected {len(self.mean)} columns, [..., D]; got {list(jnp.shape(x))}")
        return x * np.array(self.scale, np.float32) + np.array(self.mean, np.float32)

    @property
    def spec(self) -> dict[str, Any]:
        """Plain data from which `transform_from_spec` makes it again."""
        return {"name": "Standardise", "options": {"mean": list(self.mean), "scale": list(self.scale)}}


def standardised(dataset: Dataset, *, columns: Sequence[int] | None = None) -> Dataset:
    """A table x [N, D] with every column at mean 0 and standard deviation 1 over the training split.

    The arrays stay in their units: it is the splits' transform that changes, to a `Standardise`. A run folder
    stores it (`runs.load(folder).transform`), and `evaluation.impute` undoes it by itself; what else a model
    gives in units of its own is brought back by `dataset.train.transform.undo`. Values that are missing count
    for nothing; holes stay holes.

    Args:
        dataset: of support "real" or "mixed", with the default transform.
        columns: the places of those to standardise; None: all. Others, such as those of counts, are left.

    Returns:
        The `Dataset`, a `Table` where it was one.

    Raises:
        TypeError: anything but a `Dataset`, arrays that jax does not take, or a transform of your own.
        ValueError: arrays of other lengths, x that are no table, another support, columns that it has not, a
            column that is constant or was never observed, and one so far from 0 that float32 does not tell
            its values apart: subtract a constant beforehand.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset: expected a data.Dataset, got {type(dataset).__name__}")
    for name in SPLITS:
        check_split(getattr(dataset, name), f"dataset.{name}")
    if columns is not None and not isinstance(columns, Iterable):
        raise TypeError(f"columns: expected places of columns, as (0, 1); got {columns!r}")
    x = dataset.train.arrays["x"]
    if isinstance(x, Mapping) or x.ndim != 2:
        got = "modalities" if isinstance(x, Mapping) else list(x.shape)
        raise ValueError(f"dataset: expected a table, x [N, D]; got {got}")
    if dataset.train.support not in ("real", "mixed"):
        raise ValueError(
            f"dataset: expected support 'real' or 'mixed', whose values may be moved; "
            f"got {dataset.train.support!r}"
        )
    seen = ~np.isnan(x) & np.asarray(dataset.train.arrays.get("observed", True), bool)
    chosen = range(x.shape[1]) if columns is None else columns
    mean, scale = np.zeros(x.shape[1]), np.ones(x.shape[1])
    for j in chosen:
        mean[j], scale[j] = _moments(x, seen, j)
    transform = Standardise(tuple(mean), tuple(scale))
    train, validation, test = (
        _with(split, transform) for split in (dataset.train, dataset.validation, dataset.test)
    )
    return replace(dataset, train=train, validation=validation, test=test)


def transform_from_spec(spec: Mapping[str, Any]) -> Standardise:
    """The transform of a run folder again, from its `spec`; no other code is run.

    Raises:
        ValueError: for the spec of something else.
    """
    if spec.get("name") != "Standardise" or not isinstance(spec.get("options"), Mapping):
        raise ValueError(f"spec: expected that of a Standardise, got {spec!r}")
    return Standardise(**spec["options"])


def _moments(x: np.ndarray, seen: np.ndarray, j: Any) -> tuple[float, float]:
    """Mean and standard deviation of the values of column j that were observed."""
    if isinstance(j, bool) or not isinstance(j, int | np.integer) or not 0 <= j < x.shape[1]:
        raise ValueError(f"columns: expected places in 0..{x.shape[1] - 1}, got {j!r}")
    values = x[seen[:, j], j].astype(np.float64)
    if len(values) == 0:
        raise ValueError(f"dataset: expected values in every column, column {j} was never observed")
    mean, scale = float(values.mean()), float(values.std())
    largest = float(np.abs(values).max())
    if largest * _DIGITS > _LOST * scale:  # also where it is constant
        raise ValueError(
            f"dataset: expected columns whose values float32 tells apart, got column {j} with mean {mean:g} "
            f"and standard deviation {scale:g}; leave a constant one out, subtract a large constant"
        )
    return mean, scale


def _with(split: Split, transform: Standardise) -> Split:
    hidden = isinstance(split.transform, Hidden)
    own = split.transform.inner if isinstance(split.transform, Hidden) else split.transform
    if own not in (cast, identity_transform):
        raise TypeError("dataset: expected the default transform, which the standardising takes the place of")
    return Split(split.arrays, split.support, Hidden(transform) if hidden else transform)
