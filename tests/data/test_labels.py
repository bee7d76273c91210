"""Conditions and missing labels, by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vaejax import data
from vaejax.data import keep_labels, one_hot, with_condition
from vaejax.types import Split

KEY = jax.random.key(0)
Y = np.array([2, 0, 1, 2, 1, 0, 0], np.uint8)
X = np.arange(14, dtype=np.float32).reshape(7, 2)
SPLIT = Split({"x": X, "y": Y}, "real")
FACTORS = np.stack([Y, Y[::-1] % 2], axis=1).astype(np.int32)


def drops_all_but_x(key, batch):
    assert "c" not in batch
    return {"x": 2 * batch["x"]}


def test_a_one_hot_is_a_row_of_the_identity_and_several_stand_side_by_side():
    np.testing.assert_array_equal(one_hot(Y, 3), np.eye(3)[Y])
    assert one_hot(Y, 3).dtype == np.float32
    assert one_hot(1, 3).tolist() == [0, 1, 0]
    both = one_hot(FACTORS, (3, 2))
    np.testing.assert_array_equal(
        both, np.concatenate([np.eye(3)[FACTORS[:, 0]], np.eye(2)[FACTORS[:, 1]]], 1)
    )


def test_a_condition_stands_beside_x_whatever_the_transform_makes_of_it():
    split = with_condition(Split({"x": X, "y": Y}, "real", drops_all_but_x), "y", classes=3)
    np.testing.assert_array_equal(split.arrays["c"], np.eye(3)[Y])
    made = split.transform(KEY, {name: array[2:4] for name, array in split.arrays.items()})
    np.testing.assert_array_equal(made["x"], 2 * X[2:4])
    np.testing.assert_array_equal(made["c"], np.eye(3)[Y[2:4]])
    again = with_condition(Split({"x": X, "y": Y}, "real", drops_all_but_x), "y", classes=3)
    assert again.transform == split.transform  # what was compiled for one serves the other
    np.testing.assert_array_equal(SPLIT.arrays["y"], Y)
    assert "c" not in SPLIT.arrays


def test_a_condition_may_be_numbers_or_a_function_of_all_arrays():
    of_x = with_condition(SPLIT, lambda arrays: arrays["x"][:, :1] / 2)
    np.testing.assert_array_equal(of_x.arrays["c"], X[:, :1] / 2)
    np.testing.assert_array_equal(with_condition(SPLIT, "x").arrays["c"], X)
    parity = with_condition(SPLIT, lambda arrays: arrays["y"] % 2, classes=2)
    np.testing.assert_array_equal(parity.arrays["c"], np.eye(2)[Y % 2])
    missing = with_condition(
        Split({"x": X, "y": np.where(Y == 1, -1, Y.astype(int))}, "real"), "y", classes=3, missing=True
    )
    np.testing.assert_array_equal(missing.arrays["c"], np.eye(3)[Y] * (Y != 1)[:, None])


def test_all_splits_of_a_set_get_theirs():
    digits = data.digits()
    given = with_condition(digits, "y", classes=10)
    for name in ("train", "validation", "test"):
        split, before = getattr(given, name), getattr(digits, name)
        np.testing.assert_array_equal(split.arrays["c"].argmax(1), before.arrays["y"])
        assert split.arrays["x"] is before.arrays["x"]


def test_labels_are_kept_evenly_and_the_others_are_minus_one():
    few = keep_labels(SPLIT, 4, classes=3)
    y = few.arrays["y"]
    assert y.dtype == np.int32
    assert (y >= 0).sum() == 4
    np.testing.assert_array_equal(y[y >= 0], Y[y >= 0])
    assert set(np.bincount(y[y >= 0])) == {1, 2}
    np.testing.assert_array_equal(few.arrays["x"], X)
    np.testing.assert_array_equal(keep_labels(SPLIT, 4, classes=3).arrays["y"], y)
    others = [keep_labels(SPLIT, 3, classes=3, seed=seed).arrays["y"].tolist() for seed in range(5)]
    assert len(set(map(str, others))) > 1
    factors = keep_labels(Split({"x": X, "y": FACTORS}, "real"), 2, classes=(3, 2)).arrays["y"]
    known = (factors >= 0).all(1)
    assert known.sum() == 2
    assert (factors[~known] == -1).all()


def test_a_share_repeats_the_rows_with_labels():
    only = keep_labels(SPLIT, 3, classes=3, share=1.0)
    assert sorted(only.arrays["y"]) == [0, 1, 2]
    few = keep_labels(SPLIT, 3, classes=3, share=0.6)  # 4 others, 6 of 10
    y = few.arrays["y"]
    assert (y[:4] == -1).all()
    assert sorted(y[4:]) == [0, 0, 1, 1, 2, 2]
    rows = [np.flatnonzero((x == X).all(1))[0] for x in few.arrays["x"]]
    np.testing.assert_array_equal(Y[rows[4:]], y[4:])
    assert len(set(rows)) == 7


BAD = [
    (lambda: one_hot([0, 3], 3), ValueError, r"y: expected labels in 0\.\.2, got 0\.\.3"),
    (lambda: one_hot([0.0], 3), TypeError, r"y: expected integers 0\.\.2, got float64"),
    (lambda: one_hot([[0, 2]], (3, 2)), ValueError, r"y: expected labels in 0\.\.1, got 2\.\.2 in column 1"),
    (
        lambda: one_hot([[0]], (3, 2)),
        ValueError,
        r"y: expected \[\.\.\., 2\], one for each of classes; got \[1, 1\]",
    ),
    (lambda: one_hot([0], 0), ValueError, "classes: expected at least 1, got 0"),
    (lambda: one_hot([0], 2.0), TypeError, "classes: expected an int, got float"),
    (lambda: with_condition(SPLIT, "y"), TypeError, r"split: c: expected floats, or classes= for labels"),
    (
        lambda: with_condition(SPLIT, "z"),
        ValueError,
        r"of: expected an array of split, \['x', 'y'\]; got 'z'",
    ),
    (lambda: with_condition(SPLIT, 3), TypeError, "of: expected the name of an array or a function, got int"),
    (
        lambda: with_condition(SPLIT, "y", classes=2),
        ValueError,
        r"split: c: expected labels in 0\.\.1, got 0\.\.2",
    ),
    (lambda: with_condition(X, "y"), TypeError, "data: expected a Split, or a data set with"),
    (
        lambda: with_condition(SPLIT, lambda arrays: arrays["x"][:3]),
        ValueError,
        r"split: c: expected one for each of 7 rows, got \[3, 2\]",
    ),
    (
        lambda: with_condition(SPLIT, lambda arrays: arrays["x"] / 0),
        ValueError,
        "split: c: expected finite numbers, got 14 that are not",
    ),
    (lambda: with_condition(SPLIT, lambda arrays: 1), TypeError, "split: c: expected a numpy array"),
    (
        lambda: with_condition(SPLIT, "x", missing=True),
        ValueError,
        "missing: expected False for a condition of real",
    ),
    (
        lambda: with_condition(keep_labels(SPLIT, 3, classes=3), "y", classes=3),
        ValueError,
        r"split: c: expected labels in 0\.\.2, got -1\.\.2; -1, a missing label, needs missing=True",
    ),
    (
        lambda: keep_labels(SPLIT, 3, classes=2),
        ValueError,
        r"split: y: expected labels in 0\.\.1, got 0\.\.2",
    ),
    (lambda: keep_labels(SPLIT, 8, classes=3), ValueError, "n: expected at most the 7 rows, got 8"),
    (lambda: keep_labels(SPLIT, 4, classes=4), ValueError, "n: expected at most 0 labels of class 3, got 1"),
    (
        lambda: keep_labels(Split({"x": X}, "real"), 1, classes=3),
        ValueError,
        r"split: expected labels y, got \['x'\]",
    ),
    (
        lambda: keep_labels(SPLIT, 3, classes=3, share=0.2),
        ValueError,
        "share: expected at least that of the labels",
    ),
    (
        lambda: keep_labels(SPLIT, 3, classes=3, share=1.5),
        ValueError,
        r"share: expected a number in \(0, 1\]",
    ),
    (lambda: keep_labels(SPLIT, 3, classes=3, seed=-1), ValueError, "seed: expected at least 0, got -1"),
]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_what_is_no_label_or_condition_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
