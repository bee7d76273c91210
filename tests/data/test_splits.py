"""Splits made of splits, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax.data import Dataset, first, mini_sprites, pooled, random_part, sample, three_dots
from vaejax.types import Split

X = np.arange(2 * 4 * 6 * 2, dtype=np.uint8).reshape(2, 4, 6, 2)
Y = np.array([3, 5])
SPLIT = Split({"x": X, "y": Y}, "bytes", lambda key, batch: batch)


def test_the_first_examples_are_those_with_their_labels():
    few = first(SPLIT, 1)
    np.testing.assert_array_equal(few.arrays["x"], X[:1])
    np.testing.assert_array_equal(few.arrays["y"], [3])
    assert (few.support, few.transform) == (SPLIT.support, SPLIT.transform)
    assert first(SPLIT, np.int64(99)).size == 2
    for n, error, message in (
        (0, ValueError, "n: expected at least 1, got 0"),
        (1.0, TypeError, "n: expected an"),
    ):
        with pytest.raises(error, match=message):
            first(SPLIT, n)


def test_a_random_part_has_each_example_once_in_order_and_all_alike():
    x = np.arange(60, dtype=np.uint8).reshape(20, 3)
    split = Split({"x": x, "y": np.arange(20)}, "bytes", lambda key, batch: batch)
    seen = np.zeros(20)
    for seed in range(400):
        part = random_part(split, 5, seed=seed)
        y = part.arrays["y"]
        assert (np.diff(y) > 0).all()
        np.testing.assert_array_equal(part.arrays["x"], x[y])
        seen[y] += 1
    np.testing.assert_allclose(seen, 100, atol=5 * np.sqrt(400 * 0.25 * 0.75))
    assert (part.support, part.transform) == (split.support, split.transform)
    assert random_part(split, 20) is split
    np.testing.assert_array_equal(
        random_part(split, 5).arrays["y"], random_part(split, 5, seed=0).arrays["y"]
    )
    for options, message in (
        ({"n": 0}, "n: expected at least 1"),
        ({"n": 2, "seed": -1}, "seed: expected at least"),
    ):
        with pytest.raises(ValueError, match=message):
            random_part(split, **options)


def test_pooled_images_are_rounded_means_of_squares():
    pool = pooled(SPLIT, 2)
    expected = [
        [
            [[X[i, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2, k].mean() for k in range(2)] for c in range(3)]
            for r in (0, 1)
        ]
        for i in range(2)
    ]
    assert pool.arrays["x"].dtype == np.uint8
    np.testing.assert_array_equal(pool.arrays["x"], expected)  # 7 = (0 + 2 + 12 + 14) / 4 and so on: whole
    np.testing.assert_array_equal(pool.arrays["y"], Y)
    assert (pool.support, pool.transform) == (SPLIT.support, SPLIT.transform)
    np.testing.assert_array_equal(pooled(SPLIT, 1).arrays["x"], X)
    bright = Split({"x": np.array([[255, 255], [255, 252]], np.uint8)[None, ..., None]}, "bytes")
    assert pooled(bright, 2).arrays["x"].item() == 254  # 254.25; sums do not wrap around


@pytest.mark.parametrize(
    ("x", "k", "error", "message"),
    [
        (X, 3, ValueError, "k: expected a divisor of the images' sides, 4 and 6, got 3"),
        (X, 0, ValueError, "k: expected at least 1, got 0"),
        (X / 255, 2, TypeError, "split: expected x as uint8 .*, got float64"),
        (X[0], 2, TypeError, r"split: expected x as uint8 \[N, H, W, C\], got uint8 \(4, 6, 2\)"),
    ],
)
def test_what_cannot_be_pooled_is_refused(x, k, error, message):
    with pytest.raises(error, match=message):
        pooled(Split({"x": x}, "bytes"), k)


def test_examples_of_a_set_that_draws_its_images_need_no_split():
    dots = three_dots(16)
    few = sample(dots, 3)
    assert "train" not in vars(dots)
    assert few.support == "unit_interval"
    np.testing.assert_array_equal(few.arrays["x"], dots.sample_images(np.zeros((3, 6), np.int64)))
    grid = sample(mini_sprites(16, pixels="binary"), 2)
    assert (grid.size, grid.support) == (2, "binary")
    assert sample(Dataset(SPLIT, SPLIT, SPLIT), 1).size == 1
