"""Pairs of examples that have most of their factors in common, which ones is not said."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from vaejax.checks import check_positive_int, check_split
from vaejax.data.arrays import Transform
from vaejax.data.factored import check_seed, stream
from vaejax.fixed import Fixed
from vaejax.keys import named_key
from vaejax.types import Array, Batch, Split


def pairs(images: Any, k: int | None = None, *, num_pairs: int | None = None, seed: int = 0) -> Split:
    """Pairs (x, x2) of which k factors, drawn anew for each pair, take new values and the others stay.

    Of a split the partners are found among its rows: to a row and k of its factors, both at random, another
    row with the other factors the same, all such rows equally likely; a row that has no partner is drawn
    again. Of a set that draws its images they are made: factors at random, and again k of them. A factor that
    is drawn again may come out as it was, so that at most k differ. Which did is not kept: that is what
    `objectives.group` finds out.

    Args:
        images: a Split with factors y [N, F], integers; or a set with `sample_images` and `num_values`, such
            as `three_dots()`, of which the rows of a split hardly ever share factors.
        k: how many factors may differ, 1..F - 1; None: a number of these at random, for each pair.
        num_pairs: None: as many as the split, or the set's training split, has examples.
        seed: of the pairs, not negative.

    Returns:
        A `Split` with arrays x and x2, and y, the factors of x; its transform is the split's, of both, with
        noise of their own.

    Raises:
        TypeError, ValueError: arguments of another kind, factors that are no integers [N, F] of two at least,
            or no row with a partner.

    Source: Locatello et al. 2020, arXiv 2002.02886.
    """
    check_seed(seed)
    if num_pairs is not None:
        check_positive_int(num_pairs, "num_pairs")
    rng = stream(int(seed), 0)
    if not isinstance(images, Split) and hasattr(images, "sample_images"):
        return _made(rng, images, k, num_pairs)
    check_split(images, "images")
    x, y = images.arrays["x"], images.arrays.get("y")
    if not isinstance(x, np.ndarray):
        raise TypeError(f"images: expected an x that is one numpy array, got {type(x).__name__}")
    if y is None or y.ndim != 2 or not np.issubdtype(y.dtype, np.integer):
        got = "none" if y is None else f"{y.dtype} {list(y.shape)}"
        raise ValueError(f"images: expected factors y as integers [N, F], got {got}")
    first, second = _partners(rng, np.asarray(y), _number(k, y.shape[1]), num_pairs or len(y))
    arrays = {"x": x[first], "x2": x[second], "y": y[first]}
    return dataclasses.replace(images, arrays=arrays, transform=Fixed(_both, images.transform))


def _number(k: Any, F: int) -> int | None:
    """k, if it is a number of factors that may differ."""
    if F < 2:
        raise ValueError(f"y: expected two factors at least, got {F}")
    if k is None:
        return None
    check_positive_int(k, "k")
    if k > F - 1:
        raise ValueError(f"k: expected at most {F - 1} of {F} factors, so that one is shared; got {k}")
    return int(k)


def _changed(rng: np.random.Generator, n: int, F: int, k: int | None) -> np.ndarray:
    """Which factors take new values, [n, F]: k of each row, or 1..F - 1 of them."""
    number = np.full(n, k) if k is not None else rng.integers(1, F, size=n)
    return rng.random((n, F)).argsort(axis=1).argsort(axis=1) < number[:, None]


def _partners(
    rng: np.random.Generator, y: np.ndarray, k: int | None, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows [n] and, to each, another with the same factors but for k at most."""
    found = []
    for _ in range(100):
        left = n - sum(len(first) for first, _ in found)
        if left == 0:
            break
        first = rng.integers(len(y), size=left)
        second = _some_partner(rng, y, first, _changed(rng, left, y.shape[1], k))
        found.append((first[second >= 0], second[second >= 0]))
        if not found[0][0].size:
            break  # of a first try of many nobody has one
    if sum(len(first) for first, _ in found) < n:
        raise ValueError("images: expected rows that share factors with others, found none or hardly any")
    return tuple(np.concatenate(rows) for rows in zip(*found, strict=True))  # type: ignore[return-value]


def _some_partner(
    rng: np.random.Generator, y: np.ndarray, first: np.ndarray, changed: np.ndarray
) -> np.ndarray:
    """To each row one of those with the same factors where none changes, [n]; -1 where there is no other."""
    second = np.full(len(first), -1)
    for subset in np.unique(changed, axis=0):
        mine = np.flatnonzero((changed == subset).all(axis=1))
        group = np.unique(y[:, ~subset], axis=0, return_inverse=True)[1].ravel()
        order, counts = np.argsort(group, kind="stable"), np.bincount(group)
        start = np.cumsum(counts) - counts
        place = np.empty(len(y), np.int64)
        place[order] = np.arange(len(y)) - start[group[order]]  # of a row in its group
        of = group[first[mine]]
        several = counts[of] > 1
        other = rng.integers(np.maximum(counts[of] - 1, 1))
        other += other >= place[first[mine]]  # any but the row itself
        second[mine[several]] = order[(start[of] + other)[several]]
    return second


def _made(rng: np.random.Generator, images: Any, k: int | None, num_pairs: int | None) -> Split:
    """Pairs of a set that draws the images of any factors."""
    num_values = np.asarray(images.num_values)
    n, k = num_pairs or images.train.size, _number(k, len(num_values))
    y, again = (rng.integers(num_values, size=(n, len(num_values))) for _ in range(2))
    y2 = np.where(_changed(rng, n, len(num_values), k), again, y)
    arrays = {"x": images.sample_images(y), "x2": images.sample_images(y2), "y": y.astype(np.int32)}
    return Split(arrays, getattr(images, "pixels", "unit_interval"))


def _both(transform: Transform, key: Array, batch: Batch) -> Batch:
    """The transform of both examples of each pair."""
    one = {name: array for name, array in batch.items() if name != "x2"}
    second = transform(named_key(key, "x2"), {**one, "x": batch["x2"]})["x"]
    return {**transform(key, one), "x2": second}
