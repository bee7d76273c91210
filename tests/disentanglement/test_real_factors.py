"""Scores of factors that are real numbers: the mean correlation coefficient, and DCI by regression."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vaejax.disentanglement import dci_real, mcc, mcc_linear

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
V = RNG.normal(size=(4000, 3)) @ np.array([[1, 0.6, 0], [0, 1, 0.3], [0, 0, 1]])  # correlated factors
MIXTURE = np.array([[1, 2, -1, 0.5], [0.5, -1, 1, 1], [2, 1, 1, -1]])
BOTH = pytest.mark.parametrize("correlation", ["pearson", "spearman"])


@BOTH
def test_order_sign_and_scale_do_not_matter(correlation):
    codes = V[:, [2, 0, 1]] * [-3, 0.1, 2] + [5, 0, -1]
    score = mcc(codes, V, correlation=correlation)
    assert score.value == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(score.parts, 1)
    assert (score.active_units, score.degenerate) == (3, False)


@BOTH
def test_codes_that_know_nothing_score_near_zero(correlation):
    codes = RNG.normal(size=(4000, 3))
    assert mcc(codes, V, correlation=correlation).value < 0.05
    assert mcc_linear(KEY, codes, V, correlation=correlation).value < 0.08


def test_it_is_the_best_assignment_of_the_correlations():
    # z_1 is the nearest to both, and v_1 needs it more
    z, other = V[:, [0, 2]], RNG.normal(size=4000)
    v = np.stack([z[:, 0] + 0.3 * other, z[:, 0] + 0.8 * other + 0.01 * z[:, 1]], axis=1)
    z = np.stack([z[:, 0], 0.9 * z[:, 0] + 0.5 * other], axis=1)
    table = np.abs(np.corrcoef(z.T, v.T)[:2, 2:])
    expected = max((table[0, 0], table[1, 1]), (table[1, 0], table[0, 1]), key=sum)
    np.testing.assert_allclose(mcc(z, v).parts, expected, rtol=1e-10)


def test_a_linear_mixture_is_seen_through_by_the_map_alone():
    codes = V @ MIXTURE
    assert mcc(codes, V).value < 0.9
    for correlation in ("pearson", "spearman"):
        assert mcc_linear(KEY, codes, V, correlation=correlation).value == pytest.approx(1, abs=1e-10)
    bent = np.stack([V[:, 0] ** 3, np.abs(V[:, 1]), V[:, 2]], axis=1)  # the sign of v_1 is lost
    assert mcc_linear(KEY, bent, V).value < 0.9


def test_the_map_is_judged_on_other_rows():
    places = np.arange(12)
    codes, few = RNG.normal(size=(12, 5)), V[:12]
    assert mcc_linear(KEY, codes, few, train=places[:6], test=places[6:]).value < 0.9
    fitted, *_ = np.linalg.lstsq(np.c_[np.ones(6), codes[:6]], few[:6])  # six weights through six rows
    told = np.c_[np.ones(6), codes[6:]] @ fitted
    expected = [abs(np.corrcoef(told[:, k], few[6:, k])[0, 1]) for k in range(3)]
    found = mcc_linear(KEY, codes, few, train=places[:6], test=places[6:])
    np.testing.assert_allclose(found.parts, expected, rtol=1e-6)


def test_a_monotone_function_of_each_factor_keeps_its_ranks():
    codes = np.stack([np.exp(3 * V[:, 1]), -(V[:, 0] ** 3), np.arctan(V[:, 2])], axis=1)
    assert mcc(codes, V, correlation="spearman").value == pytest.approx(1, abs=1e-12)
    assert mcc(codes, V).value < 0.9


def test_idle_codes_and_still_factors_are_left_out_and_a_factor_without_a_code_counts_zero():
    still = np.c_[V[:, :2], np.full(4000, 7.0)]
    score = mcc(np.c_[np.zeros(4000), V[:, :2]], still)
    np.testing.assert_allclose(score.parts, [1, 1, np.nan])
    assert (score.value, score.active_units) == (pytest.approx(1), 2)
    np.testing.assert_allclose(mcc_linear(KEY, V, still).parts, [1, 1, np.nan])
    few = mcc(V[:, :1], V)
    assert few.value == pytest.approx(1 / 3)
    np.testing.assert_allclose(few.parts, [1, 0, 0], atol=1e-12)
    for nothing in (mcc(np.zeros((4, 2)), V[:4]), mcc_linear(KEY, np.zeros((4, 2)), V[:4])):
        assert (nothing.value, nothing.degenerate, nothing.active_units) == (0.0, True, 0)


def test_integers_are_taken_and_what_is_no_score_of_them_is_refused():
    assert mcc(np.arange(6)[:, None], np.arange(6)[:, None] * 2).value == pytest.approx(1)
    with pytest.raises(ValueError, match="correlation: expected one of 'pearson', 'spearman'; got 'kendall'"):
        mcc(V, V, correlation="kendall")
    with pytest.raises(ValueError, match="codes: expected a row for each of the 3 rows of factors, got 4"):
        mcc(V[:4], V[:3])
    with pytest.raises(ValueError, match="factors: expected finite numbers"):
        mcc_linear(KEY, V[:3], np.full((3, 1), np.nan))
    with pytest.raises(ValueError, match="codes: expected at least three rows to fit"):
        mcc_linear(KEY, V[:2], V[:2])


def test_dci_of_real_factors_finds_the_codes_that_tell_them():
    rows = {"train": np.arange(400), "test": np.arange(400, 700), "trees": 30}
    codes = np.c_[RNG.normal(size=700), RNG.permuted(V[:700, 0]), V[:700, 0] ** 3, -2 * V[:700, 2]]
    made = dci_real(KEY, codes, V[:700, [0, 2]], **rows)
    assert made.disentanglement.value > 0.95
    assert made.completeness.value > 0.95
    assert made.informativeness.value > 0.9
    np.testing.assert_array_equal(made.importance.argmax(axis=0), [2, 3])
    mixed = dci_real(KEY, codes[:, 2:] @ np.array([[1, 1], [1, -1]]), V[:700, [0, 2]], **rows)
    assert mixed.disentanglement.value < 0.6
    assert mixed.importance.shape == (2, 2)
