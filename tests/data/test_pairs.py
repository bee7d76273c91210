"""Pairs that share factors: of a split, by its rows; of a set that draws its images, by its factors."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.monte_carlo import assert_counts
from vaejax import data
from vaejax.data.transforms import binarise
from vaejax.types import Split

NUM_VALUES = (3, 4, 5)
Y = np.stack(np.unravel_index(np.arange(60), NUM_VALUES), axis=1)
X = np.repeat(Y.astype(np.uint8) * 20, 2, axis=1)  # x says what its factors are
GRID = Split({"x": X, "y": Y}, "binary", binarise)


def factors(x):
    return x[:, ::2].astype(int) // 20


@pytest.mark.parametrize("k", [1, 2, None])
def test_partners_share_all_but_k_factors_and_are_other_rows(k):
    made = data.pairs(GRID, k, num_pairs=3000)
    first, second = factors(made.arrays["x"]), factors(made.arrays["x2"])
    np.testing.assert_array_equal(first, made.arrays["y"])
    differing = (first != second).sum(axis=1)
    assert set(differing) == {1: {1}, 2: {1, 2}, None: {1, 2}}[k]
    if k == 1:  # each factor as often, and each other value of it
        which = np.argmax(first != second, axis=1)
        assert_counts(which, np.full(3, 1 / 3))
        for f, V in enumerate(NUM_VALUES):
            step = (second - first)[which == f, f] % V
            assert_counts(step, np.r_[0, np.full(V - 1, 1 / (V - 1))])
    assert_counts(first[:, 0], np.full(3, 1 / 3))


def test_the_same_seed_makes_the_same_pairs_and_rows_without_a_partner_are_left_out():
    assert data.pairs(GRID).size == 60
    a, b, c = (data.pairs(GRID, 1, num_pairs=50, seed=s).arrays["x2"] for s in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    lonely = np.concatenate(
        [Y[Y[:, 0] == 0], [[1, 0, 0]]]
    )  # the last shares all but one with one row, by factor 0
    made = data.pairs(Split({"x": lonely.astype(np.uint8), "y": lonely}, "bytes"), 1, num_pairs=500)
    rows = made.arrays["x"][made.arrays["x"][:, 0] == 1]
    assert 0 < len(rows) < 30
    np.testing.assert_array_equal(
        made.arrays["x2"][made.arrays["x"][:, 0] == 1], np.tile([[0, 0, 0]], (len(rows), 1))
    )


def test_both_examples_are_transformed_with_noise_of_their_own():
    made = data.pairs(Split({"x": np.full((60, 500), 127, np.uint8), "y": Y}, "binary", binarise), 1)
    batch = made.transform(jax.random.key(0), {**made.arrays, "index": np.arange(60)})
    assert set(np.unique(batch["x"])) == set(np.unique(batch["x2"])) == {0.0, 1.0}
    assert 0.4 < np.mean(batch["x"] == batch["x2"]) < 0.6
    part = made.transform(
        jax.random.key(0), {k: a[[7]] for k, a in (made.arrays | {"index": np.arange(60)}).items()}
    )
    np.testing.assert_array_equal(part["x2"][0], batch["x2"][7])
    assert hash(made.transform) == hash(data.pairs(GRID, 2).transform)


class Drawn:
    """A set that draws its images; of its split no two rows share a factor."""

    num_values = NUM_VALUES
    train = Split({"x": X[:30], "y": np.stack([np.arange(30)] * 3, axis=1)}, "bytes")

    def sample_images(self, factors):
        return np.repeat(factors.astype(np.float32) * 20, 2, axis=1)


def test_of_a_set_that_draws_its_images_pairs_are_made():
    made = data.pairs(Drawn(), 1, num_pairs=2000)
    first, second = factors(made.arrays["x"]), factors(made.arrays["x2"])
    differing = (first != second).sum(axis=1)
    again = np.mean(1 / np.array(NUM_VALUES))  # a factor that is drawn again comes out as it was
    assert_counts(differing, np.array([again, 1 - again]))
    np.testing.assert_array_equal(first, made.arrays["y"])
    assert data.pairs(Drawn()).size == 30
    assert made.support == "unit_interval"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((GRID, 3), ValueError, "k: expected at most 2 of 3 factors"),
        ((GRID, 0), ValueError, "k: expected at least 1"),
        ((GRID, 1.0), TypeError, "k: expected an int"),
        (
            (Split({"x": X}, "binary"),),
            ValueError,
            r"images: expected factors y as integers \[N, F\], got none",
        ),
        ((Split({"x": X, "y": Y / 2}, "bytes"),), ValueError, r"images: expected factors y as integers"),
        ((Split({"x": X, "y": Y[:, :1]}, "bytes"),), ValueError, "y: expected two factors at least, got 1"),
        ((X,), TypeError, "images: expected a vaejax.Split"),
        ((Drawn.train, 1), ValueError, "images: expected rows that share factors with others"),
    ],
)
def test_what_has_no_pairs_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        data.pairs(*arguments)
