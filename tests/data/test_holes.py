"""Splits with holes: what is hidden stays hidden, what is missing is told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import data
from vaejax.data.transforms import binarise
from vaejax.types import Split

KEY = jax.random.key(0)
X = np.random.default_rng(0).integers(0, 256, (50, 8, 9, 1)).astype(np.uint8)
TABLE = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)


def batch_of(split):
    return split.transform(KEY, {name: a for name, a in split.arrays.items()})


def test_a_fraction_is_missing_at_random_and_the_arrays_stay():
    split = data.with_holes(Split({"x": TABLE}, "real", data.transforms.cast), 0.3, seed=4)
    seen = split.arrays["observed"]
    assert (seen.dtype, seen.shape) == (bool, TABLE.shape)
    assert abs(seen.mean() - 0.7) < 4 * np.sqrt(0.3 * 0.7 / seen.size)
    assert split.arrays["x"] is TABLE
    batch = batch_of(split)
    np.testing.assert_array_equal(np.isnan(batch["x"]), ~seen)
    np.testing.assert_array_equal(np.where(seen, batch["x"], 0), np.where(seen, TABLE, 0))
    np.testing.assert_array_equal(batch["observed"], seen)
    again, other = (data.with_holes(Split({"x": TABLE}, "real"), 0.3, seed=s) for s in (4, 5))
    np.testing.assert_array_equal(again.arrays["observed"], seen)
    assert (other.arrays["observed"] != seen).any()


def test_nothing_hidden_reaches_what_is_seen():
    """A transform that mixes places gets 0 for what is hidden, and draws what it would without holes."""
    mixing = lambda key, batch: {"x": jnp.cumsum(batch["x"], axis=1)}  # noqa: E731
    missing = np.zeros(TABLE.shape, bool)
    missing[:, 1] = True
    split = data.with_holes(Split({"x": TABLE}, "real", mixing), missing)
    batch = batch_of(split)
    x = np.asarray(batch["x"])
    np.testing.assert_array_equal(batch["observed"], ~missing)
    np.testing.assert_allclose(x[:, 2], TABLE[:, 0] + TABLE[:, 2], rtol=1e-5, atol=1e-6)
    assert np.isnan(x[:, 1]).all()
    images = Split({"x": X}, "binary", binarise)
    holed = data.with_holes(images, 0.5)
    seen = holed.arrays["observed"]
    np.testing.assert_array_equal(
        np.asarray(batch_of(holed)["x"])[seen], np.asarray(batch_of(images)["x"])[seen]
    )


def test_nan_is_missing_where_holes_are_asked_for_and_an_error_where_not():
    x = TABLE.copy()
    x[3, 1] = x[7, 0] = x[190, 4] = np.nan
    with pytest.raises(
        ValueError, match=r"train: expected finite float32 values, got nan\.\.nan; with holes=True"
    ):
        data.from_arrays(x[:150], x[150:], support="real")
    made = data.from_arrays(x[:150], x[150:], support="real", holes=True)
    for split, rows in ((made.train, x[:135]), (made.validation, x[135:150]), (made.test, x[150:])):
        np.testing.assert_array_equal(split.arrays["observed"], ~np.isnan(rows))
        np.testing.assert_array_equal(batch_of(split)["x"], rows)
    fewer = data.with_holes(made.train, 0.5)  # holes come to holes
    assert not fewer.arrays["observed"][3, 1]
    assert fewer.transform == made.train.transform
    with pytest.raises(ValueError, match=r"train: expected values in \[0, 1\] for support 'unit_interval'"):
        data.from_arrays(x[:150], x[150:], support="unit_interval", holes=True)
    with pytest.raises(TypeError, match="holes: expected a bool"):
        data.from_arrays(x[:150], x[150:], support="real", holes=1)


def test_one_square_of_every_image_is_missing_at_every_place():
    images = np.zeros((3000, 5, 6, 2), np.uint8)
    split = data.with_holes(Split({"x": images}, "bytes"), data.missing_squares(3), seed=1)
    missing = ~split.arrays["observed"]
    assert (missing.sum((1, 2, 3)) == 18).all()
    assert (missing.any((2, 3)).sum(1) == 3).all()
    assert (missing.any((1, 3)).sum(1) == 3).all()
    top, left = missing.any((2, 3)).argmax(1), missing.any((1, 3)).argmax(1)
    counts = np.histogram2d(top, left, bins=(3, 4))[0]
    assert (np.abs(counts - 250) < 4 * np.sqrt(250)).all()


@pytest.mark.parametrize(
    ("missing", "error", "message"),
    [
        (1.0, ValueError, r"missing: expected a fraction in \(0, 1\), got 1.0"),
        (True, TypeError, "missing: expected a fraction, an array"),
        ("half", TypeError, "missing: expected a fraction, an array"),
        (
            np.zeros((200, 4), bool),
            ValueError,
            r"missing: expected the shape of x, \[200, 5\]; got \[200, 4\]",
        ),
        (np.full((200, 5), 2), ValueError, r"missing: expected 0 and 1, got 2..2"),
        (np.full((200, 5), 0.5), TypeError, "missing: expected booleans, or 0 and 1 as integers"),
        (lambda rng, x: [1], TypeError, "missing: expected a fraction, an array"),
        (data.missing_squares(2), ValueError, r"x: expected images \[N, H, W, C\] of sides above 2"),
    ],
)
def test_bad_holes_are_named(missing, error, message):
    with pytest.raises(error, match=message):
        data.with_holes(Split({"x": TABLE}, "real"), missing)


def test_a_split_with_a_bad_mask_or_a_transform_of_another_shape_is_refused():
    with pytest.raises(
        ValueError, match=r"split: observed: expected the shape of x, \[200, 5\]; got \[200\]"
    ):
        data.with_holes(Split({"x": TABLE, "observed": np.ones(200, bool)}, "real"))
    wider = lambda key, batch: {**batch, "x": jnp.tile(batch["x"], 2)}  # noqa: E731
    split = data.with_holes(Split({"x": TABLE}, "real", wider), 0.5)
    with pytest.raises(ValueError, match=r"transform: expected one that keeps the shape of x, \(200, 5\)"):
        batch_of(split)
    for side, error in ((0, ValueError), (True, TypeError)):
        with pytest.raises(error, match="side: expected"):
            data.missing_squares(side)


def test_counts_are_whole_numbers():
    counts = np.float32([[0, 3], [7, 1], [2, 2], [5, 0]])
    assert data.from_arrays(counts, counts, support="counts", validation=0.25).train.support == "counts"
    for wrong in (counts - 1, counts + 0.5):
        with pytest.raises(
            ValueError, match="train: expected whole numbers of at least 0 for support 'counts'"
        ):
            data.from_arrays(wrong, wrong, support="counts", validation=0.25)
