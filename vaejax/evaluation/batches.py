"""A split in batches: every example once, in its place, whatever the batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_support
from vaejax.keys import named_key
from vaejax.rows import forget, gather
from vaejax.types import AnyArray, Array, Batch, Distribution, Progress, Split


def even_size(split: Split, batch_size: int) -> int:
    """The size <= batch_size of as few batches with as little surplus as there can be."""
    return math.ceil(split.size / math.ceil(split.size / batch_size))


def batch_at(split: Split, i: int, batch_size: int) -> dict[str, Any]:
    """Batch i with every example's place in the split; past the end the last example repeats."""
    index = np.minimum(np.arange(i * batch_size, (i + 1) * batch_size), split.size - 1)
    return {**gather(dict(split.arrays), index), "index": index.astype(np.int32)}


def transformed(transform: Callable[[Array, Batch], Batch], key: Array, batch: Batch) -> dict[str, Any]:
    """The batch as the model eats it, its index kept: one key gives all evaluations the same x.

    Raises:
      TypeError, ValueError: the transform does not return a mapping with an x for every example.
    """
    made = transform(named_key(key, "transform"), batch)
    if not isinstance(made, Mapping) or "x" not in made:
        raise TypeError(f"transform: expected it to return a mapping with 'x', got {type(made).__name__}")
    n = len(batch["index"])
    shapes = [jnp.shape(x) for x in jax.tree.leaves(made["x"])]
    if not shapes or any(shape[:1] != (n,) for shape in shapes):
        raise ValueError(f"transform: expected x for {n} examples, got shape {', '.join(map(str, shapes))}")
    return {**made, "index": batch["index"]}


def per_example(function: Callable[[Batch], Any], split: Split, batch_size: int, progress: Progress) -> Any:
    """`function(batch)`, arrays [B, ...], over a whole split: host arrays [N, ...], the surplus dropped."""
    parts = []
    for i in progress(range(math.ceil(split.size / batch_size))):
        parts.append(jax.tree.map(np.asarray, function(batch_at(split, i, batch_size))))
        forget(dict(split.arrays))
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: split.size], *parts)


def mean_and_error(name: str, values: AnyArray) -> dict[str, float]:
    """`name`: the mean of [N] values, taken in float64, and `name_se`: its standard error.

    The error is nan for one value, and where one is not finite; the mean is then inf, -inf or nan.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    with np.errstate(invalid="ignore"):
        mean = float(values.mean())
        error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return {name: mean, f"{name}_se": error}


def check_likelihood(px: Distribution, split: Split) -> None:
    """Raise TypeError if p(x|z) names no support, ValueError if it cannot score the split's."""
    support = getattr(px, "support", None)
    if not isinstance(support, str | Mapping):
        raise TypeError(f"likelihood: expected p(x|z) with a `support`, got {type(px).__name__}")
    check_support(support, split.support)
