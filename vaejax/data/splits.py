"""Splits made of splits."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from vaejax.checks import check_positive_int, check_split
from vaejax.data.factored import check_seed
from vaejax.types import Split


def first(split: Split, n: int) -> Split:
    """The first n examples of a split, or all of fewer.

    Raises:
      TypeError, ValueError: anything but a split, or n is not an int of at least 1.
    """
    check_split(split)
    check_positive_int(n, "n")
    arrays = jax.tree.map(lambda a: a[:n], dict(split.arrays))
    return Split(arrays, split.support, split.transform)


def random_part(split: Split, n: int, *, seed: int = 0) -> Split:
    """n examples of a split, drawn without replacement, in the split's order; all, uncopied, of n or fewer.

    Of a set in an order, as the grids of `published` are, the first n would be of few values of the factors.

    Raises:
      TypeError, ValueError: n is not an int of at least 1, or seed not one of at least 0.
    """
    check_positive_int(n, "n")
    check_seed(seed)
    if n >= split.size:
        return split
    rows = np.sort(np.random.default_rng(seed).permutation(split.size)[:n])
    arrays = jax.tree.map(lambda a: a[rows], dict(split.arrays))
    return Split(arrays, split.support, split.transform)


def sample(images: Any, n: int) -> Split:
    """n examples like those of `images.train`; of a set that draws its images, without making that split.

    Raises:
      TypeError, ValueError: anything but a data set, or n is not an int of at least 1.
    """
    if not hasattr(images, "sample_images"):
        if not hasattr(images, "train"):
            raise TypeError(f"images: expected a data set with a split `train`, got {type(images).__name__}")
        return first(images.train, n)
    check_positive_int(n, "n")
    x = images.sample_images(np.zeros((n, len(images.num_values)), np.int64))
    return Split({"x": x}, getattr(images, "pixels", "unit_interval"))


def pooled(split: Split, k: int) -> Split:
    """The same split with the means of squares of k x k pixels, rounded to bytes; x is uint8 [N, H, W, C].

    Raises:
      TypeError, ValueError: other arrays, or k is not an int of at least 1 that divides both sides.
    """
    check_split(split)
    check_positive_int(k, "k")
    x = split.arrays["x"]
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 4:
        got = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"split: expected x as uint8 [N, H, W, C], got {got}")
    n, height, width, channels = x.shape
    if height % k or width % k:
        raise ValueError(f"k: expected a divisor of the images' sides, {height} and {width}, got {k}")
    cut = x.reshape(n, height // k, k, width // k, k, channels)
    means = np.rint(cut.mean((2, 4), dtype=np.float32)).astype(np.uint8)
    return Split({**split.arrays, "x": means}, split.support, split.transform)
