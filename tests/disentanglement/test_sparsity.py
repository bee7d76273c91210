"""Sparsity of columns: closed forms, invariances, errors."""

import numpy as np
import pytest

from vaejax.disentanglement import hoyer, kurtosis, main_share

RNG = np.random.default_rng(0)
FUNCTIONS = {"hoyer": hoyer, "kurtosis": kurtosis, "main_share": lambda a: main_share(a, np.arange(12) // 4)}


def test_hoyer_by_hand():
    assert hoyer([0, 0, -3, 0]) == 1
    assert hoyer([2, -2, 2, 2]) == pytest.approx(0, abs=1e-12)
    assert hoyer([3, 4, 0, 0]) == pytest.approx((2 - 7 / 5) / (2 - 1))
    np.testing.assert_allclose(hoyer(np.eye(9)[:2]), [1, 1])
    n = 400_000
    assert hoyer(RNG.normal(size=n)) == pytest.approx(1 - np.sqrt(2 / np.pi), abs=0.003)
    assert hoyer(RNG.laplace(size=n)) == pytest.approx(1 - np.sqrt(1 / 2), abs=0.003)


def test_kurtosis_by_hand():
    assert kurtosis([1, -1, 1, -1]) == pytest.approx(-2)  # two values: the least there is
    # one of D entries is 1: with p = 1/D, (1 - 3p + 3p^2) / (p (1 - p)) - 3
    p = 1 / 16
    assert kurtosis(np.eye(16)[3]) == pytest.approx((1 - 3 * p + 3 * p**2) / (p * (1 - p)) - 3)
    assert kurtosis(5 + np.eye(16)[3]) == pytest.approx(kurtosis(np.eye(16)[3]))  # about its own mean
    n = 400_000
    assert kurtosis(RNG.normal(size=n)) == pytest.approx(0, abs=0.05)
    assert kurtosis(RNG.laplace(size=n)) == pytest.approx(3, abs=0.2)


def test_main_share_by_hand():
    tiles = np.array([0, 1, 1, 2])
    assert main_share([1, -2, 3, 4], tiles) == pytest.approx(5 / 10)  # of magnitudes, not of sums
    assert main_share([0, -2, 3, 0], tiles) == 1
    assert main_share([6, 1, 1, 2], tiles) == pytest.approx(6 / 10)
    assert main_share([1, 1, 0, 1], tiles) == pytest.approx(1 / 3)
    np.testing.assert_allclose(main_share(np.ones((2, 3, 4)), tiles), np.full((2, 3), 0.5))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_columns_count_alone_and_whatever_their_scale_and_sign(name):
    function, a = FUNCTIONS[name], RNG.normal(size=(3, 2, 12))
    whole = function(a)
    assert whole.shape == (3, 2)
    assert whole.dtype == np.float64
    for i, j in np.ndindex(3, 2):
        assert whole[i, j] == pytest.approx(float(function(a[i, j])))
    for factor in (-2.5, 1e-200, 1e200):
        np.testing.assert_allclose(function(factor * a), whole, rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (np.ones((2, 1)), r"columns: expected \[..., D\] with D > 1, got shape \[2, 1\]"),
        (1.0, r"columns: expected \[..., D\] with D > 1, got shape \[\]"),
        ([[1.0] * 11 + [np.nan]], "columns: expected finite numbers, got 1 that are not"),
    ],
)
def test_bad_columns(name, columns, message):
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[name](columns)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_column_of_zeros_alone_has_no_value(name):
    values = FUNCTIONS[name](np.eye(3, 12) * [[1], [0], [1]])
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])


def test_a_constant_column_has_no_kurtosis():
    assert np.isnan(kurtosis(np.full((2, 3), 0.1))).all()  # the mean of three .1 is not .1


def test_bad_tiles():
    with pytest.raises(TypeError, match="tiles: expected integers, got float64"):
        main_share(np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"tiles: expected shape \[3\], got \[2\]"):
        main_share(np.ones(3), np.zeros(2, int))
    with pytest.raises(ValueError, match="tiles: expected 0 and up, got -1"):
        main_share(np.ones(3), np.array([0, -1, 1]))
