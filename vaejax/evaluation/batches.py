"""A split in batches: every example once, in its place, whatever the batch size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vaejax.checks import check_support
from vaejax.keys import named_key
from vaejax.types import AnyArray, Array, Batch, Distribution, Progress, Split


def even_size(split: Split, batch_size: int) -> int:
    """The size <= batch_size of as few batches with as little surplus as there can be."""
    return math.ceil(split.size / math.ceil(split.size / batch_size))


def batch_at(split: Split, i: int, batch_size: int) -> dict[str, Any]:
    """Batch i with every example's place in the split; past the end the last example repeats."""
    index = np.minimum(np.arange(i * batch_size, (i + 1) * batch_size), split.size - 1)
    return {**{name: values[index] for name, values in split.arrays.items()}, "index": index.astype(np.int32)}


def transformed(transform: Callable[[Array, Batch], Batch], key: Array, batch: Batch) -> dict[str, Any]:
    """The batch as the model eats it, its index kept: one key gives all evaluations the same x."""
    return {**transform(named_key(key, "transform"), batch), "index": batch["index"]}


def per_example(function: Callable[[Batch], Any], split: Split, batch_size: int, progress: Progress) -> Any:
    """`function(batch)`, arrays [B, ...], over a whole split: host arrays [N, ...], the surplus dropped."""
    parts = [
        jax.tree.map(np.asarray, function(batch_at(split, i, batch_size)))
        for i in progress(range(math.ceil(split.size / batch_size)))
    ]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: split.size], *parts)


def mean_and_error(name: str, values: AnyArray) -> dict[str, float]:
    """`name`: the mean of [N] values, taken in float64, and `name_se`: its standard error (nan for one)."""
    values = np.asarray(values, np.float64)
    n = len(values)
    error = values.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
    return {name: float(values.mean()), f"{name}_se": float(error)}


def check_likelihood(px: Distribution, split: Split) -> None:
    """Raise TypeError if p(x|z) names no support, ValueError if it cannot score the split's."""
    support = getattr(px, "support", None)
    if not isinstance(support, str):
        raise TypeError(f"likelihood: expected p(x|z) with a `support`, got {type(px).__name__}")
    check_support(support, split.support)
