"""MIG, modularity and the plug-in information against hand computations and table values."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax.disentanglement import (
    discrete_entropy,
    discrete_mutual_information,
    discretise,
    mig,
    mig_from,
    modularity,
    modularity_from,
    sap,
    sap_from,
)

N = 10_000


def _factors(F: int, V: int = 10, n: int = N) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, size=(n, F))


def _rotated(factors: np.ndarray) -> np.ndarray:
    """Codes equal to the factors, the first two turned by 45 degrees."""
    codes = factors.astype(float)
    a, b = codes[:, 0], codes[:, 1]
    codes[:, 0], codes[:, 1] = a + b, a - b
    return codes


def test_discretise_puts_edges_right_and_the_maximum_last():
    codes = np.array([[0.0, 7.0], [1.9, 7.0], [2.0, 7.0], [9.9, 7.0], [10.0, 7.0]])
    binned = discretise(codes, 5)
    np.testing.assert_array_equal(binned[:, 0], [0, 0, 1, 4, 4])
    assert len(set(binned[:, 1])) == 1
    assert binned.min() >= 0
    assert binned.max() <= 4


def test_information_and_entropy_by_hand():
    code = np.array([0, 0, 0, 1, 1, 1, 1, 2])[:, None]
    factor = np.array([5, 5, 9, 9, 9, 9, 5, 5])[:, None]
    table = np.array([[2, 1], [1, 3], [1, 0]]) / 8
    product = np.outer(table.sum(1), table.sum(0))
    expected = sum(p * np.log(p / q) for p, q in zip(table.ravel(), product.ravel(), strict=True) if p > 0)
    np.testing.assert_allclose(discrete_mutual_information(code, factor), [[expected]], rtol=1e-14)
    np.testing.assert_allclose(
        discrete_entropy(np.hstack([code, factor])), [9.74315e-01, np.log(2)], rtol=1e-6
    )
    np.testing.assert_allclose(discrete_mutual_information(factor, factor), [[np.log(2)]], rtol=1e-14)


def test_information_of_far_apart_labels_and_of_independent_tables():
    a, b = (m.reshape(-1, 1) for m in np.meshgrid([0, 10**9, -7], [3, 4], indexing="ij"))
    assert discrete_mutual_information(a, b)[0, 0] == 0.0
    np.testing.assert_allclose(discrete_mutual_information(a, a), [[np.log(3)]], rtol=1e-14)


def test_information_bias_of_independent_variables():
    rng = np.random.default_rng(1)
    noise = discretise(rng.normal(size=(N, 6)) % 1, 20)
    bias = discrete_mutual_information(noise, _factors(10)).mean()
    np.testing.assert_allclose(bias, 19 * 9 / (2 * N), rtol=0.08)


@pytest.mark.parametrize(
    ("codes", "gap", "modular"),
    [
        (lambda v: v.astype(float), (0.998, 0.002), (1.0, 0.001)),
        (lambda v: np.hstack([v, v]).astype(float), (0.0, 1e-12), (1.0, 0.001)),
        (lambda v: np.random.default_rng(1).normal(size=(N, 10)), (0.0, 0.01), (0.28, 0.05)),
        (_rotated, (0.80, 0.01), (0.978, 0.005)),
    ],
    ids=["identity", "duplicated", "noise", "rotated"],
)
def test_table_with_twenty_bins(codes, gap, modular):
    factors = _factors(10)
    z = codes(factors)
    assert mig(z, factors).value == pytest.approx(gap[0], abs=gap[1])
    assert modularity(z, factors).value == pytest.approx(modular[0], abs=modular[1])


def test_golden_modularity():
    score = modularity_from(np.array([[1, 0.5], [0, 0.2], [0.3, 0.3], [0, 0]]))
    np.testing.assert_allclose(score.parts, [0.75, 1, 0, 0], atol=1e-15)
    assert score.value == pytest.approx(0.4375)
    assert not score.degenerate


def test_golden_mig():
    score = mig_from(np.array([[1.0, 0.2], [0.4, 0.5], [0.1, 0.1]]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(score.parts, [0.3, 0.3], rtol=1e-14)
    one_code = mig_from(np.array([[1.0, 0.2]]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(one_code.parts, [0.5, 0.2], rtol=1e-14)


def test_permutation_and_sign_of_codes_do_not_matter():
    factors = _factors(4, n=2000)
    codes = factors @ np.random.default_rng(2).normal(size=(4, 5)) + np.random.default_rng(3).normal(
        size=(2000, 5)
    )
    other = codes[:, [3, 0, 4, 2, 1]] * np.array([-1, 1, -1, -1, 1]) * 3 + 1
    for metric in (mig, modularity):
        assert metric(other, factors).value == pytest.approx(metric(codes, factors).value, rel=1e-12)
        assert 0.01 < metric(codes, factors).value < 1


def test_constant_codes_score_zero_with_a_flag():
    factors = _factors(3, n=500)
    for metric in (mig, modularity):
        score = metric(np.full((500, 2), 0.3), factors)
        assert score.value == 0.0
        assert score.degenerate


def test_a_frozen_factor_is_left_out():
    factors = _factors(3)
    frozen = np.hstack([factors, np.full((N, 1), 4)])
    codes = factors.astype(float)
    gap = mig(codes, frozen)
    assert gap.value == mig(codes, factors).value
    np.testing.assert_array_equal(np.isnan(gap.parts), [False, False, False, True])
    mixed = _rotated(factors)
    assert modularity(mixed, frozen).value == modularity(mixed, factors).value
    alone = np.full((N, 1), 4)
    assert mig(codes, alone).value == 0.0
    assert mig(codes, alone).degenerate
    assert modularity(codes, factors[:, :1]).degenerate


def test_bad_arguments_are_named():
    factors = _factors(2, n=10)
    with pytest.raises(ValueError, match="codes: expected finite"):
        mig(np.full((10, 2), np.nan), factors)
    with pytest.raises(ValueError, match=r"codes: expected shape \[n, d\]"):
        mig(np.zeros(10), factors)
    with pytest.raises(TypeError, match="factors: expected integers"):
        mig(np.zeros((10, 2)), factors.astype(float))
    with pytest.raises(ValueError, match="codes_binned: expected a row for each of the 10"):
        mig(np.zeros((9, 2)), factors)
    with pytest.raises(ValueError, match="bins"):
        mig(np.zeros((10, 2)), factors, bins=0)


def test_bounds_hold_to_the_last_digit():
    """0 <= I(c; v) <= H(c), H(v), and every score of such tables in [0, 1]."""
    rng = np.random.default_rng(5)
    for n in range(2, 120):
        v = rng.integers(0, rng.integers(2, 9), size=(n, 3))
        H, I = discrete_entropy(v), discrete_mutual_information(v, v)
        assert (I >= 0).all()
        assert (np.minimum(H, H[:, None]) >= I).all()
        for score in (mig, modularity, sap):
            made = score(v.astype(float), v)
            kept = made.parts[~np.isnan(made.parts)]
            assert kept.min(initial=0) >= 0
            assert kept.max(initial=0) <= 1


def test_modularity_of_matrices_with_small_numbers():
    golden = np.array([[1, 0.5], [0, 0.2], [0.3, 0.3], [0, 0]])
    np.testing.assert_allclose(modularity_from(1e-170 * golden).parts, [0.75, 1, 0, 0], atol=1e-15)


def test_matrices_are_checked():
    ones, bad = np.ones((2, 3)), np.array([[0.1, np.nan, 0.2], [0.0, 0.0, 0.0]])
    for call in (
        lambda matrix: mig_from(matrix, np.ones(3)),
        modularity_from,
        lambda matrix: sap_from(matrix, np.ones(3, bool), np.ones(2, bool)),
    ):
        with pytest.raises(ValueError, match=r"expected finite numbers \[d, F\]"):
            call(bad)
        with pytest.raises(ValueError, match=r"expected finite numbers \[d, F\]"):
            call(np.ones(3))
    with pytest.raises(ValueError, match="entropies: expected 3 finite numbers"):
        mig_from(ones, np.ones(2))
    with pytest.raises(ValueError, match=r"varies, active: expected \[F\] and \[d\]"):
        sap_from(ones, np.ones(2, bool), np.ones(2, bool))
    assert mig_from(ones, np.zeros(3))[:3:2] == (0.0, True)  # no factor varies
