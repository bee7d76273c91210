"""Explicitness, SAP and DCI: golden matrices, hand-made codes, and rows that are held out."""

from __future__ import annotations

import sys
from functools import partial

import jax
import numpy as np
import pytest
import sklearn
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.svm import LinearSVC

from vaejax.disentanglement import DCI, dci, dci_from, dci_linear, explicitness, sap, sap_from, sap_svm
from vaejax.disentanglement.predictors import split_rows
from vaejax.keys import numpy_generator

KEY = jax.random.key(0)
N = 1500
VERSION = f"scikit-learn {sklearn.__version__}"


def _factors(*V: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, size=(n, len(V)))


def _noise(d: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, d))


def _rotated(factors: np.ndarray) -> np.ndarray:
    z = factors.astype(float)
    z[:, 0], z[:, 1] = factors[:, 0] + factors[:, 1], factors[:, 0] - factors[:, 1]
    return z


def _frozen(factors: np.ndarray) -> np.ndarray:
    return np.insert(factors, 1, 3, axis=1)


def test_sap_is_a_gap_of_squared_correlations():
    factors, z = _factors(5, 7), _noise(4) + 0.0
    z[:, 2] += _factors(5, 7)[:, 0]
    squared = np.corrcoef(z.T, factors.T)[:4, 4:] ** 2
    second, first = np.sort(squared, axis=0)[-2:]
    score = sap(z, factors)
    np.testing.assert_allclose(score.parts, first - second, rtol=1e-10)
    assert score.value == pytest.approx((first - second).mean())
    assert sap_from(np.array([[0.9, 0.1], [0.5, 0.3]]), *2 * [np.ones(2, bool)]).value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("codes", "value"),
    [
        (lambda v: 1.0 * v, 1.0),
        (lambda v: -3.0 * v[:, [2, 0, 1]] + 1, 1.0),
        (lambda v: np.hstack([v, v]), 0.0),
        (_rotated, 1 / 3),
        (lambda v: _noise(3, len(v)), 0.0),
        (lambda v: 1.0 * v[:, :1], 1 / 3),
    ],
    ids=["identity", "permuted", "duplicated", "rotated", "noise", "one code"],
)
def test_sap_of_hand_made_codes(codes, value):
    factors = _factors(6, 6, 6, n=20_000)
    assert sap(codes(factors), factors).value == pytest.approx(value, abs=0.02)


def test_sap_by_support_vectors_balances_the_classes():
    rng = np.random.default_rng(2)
    factors = (rng.random((N, 2)) < [0.1, 0.5]).astype(int)
    score = sap_svm(KEY, 1.0 * factors, factors)
    assert score.library == VERSION
    # the wrong code tells nothing: 1/2 with balanced classes, .9 for the rare one without
    np.testing.assert_allclose(score.parts, [0.5, 0.5], atol=0.05)
    assert sap_svm(KEY, np.hstack([factors, factors]), factors).value == 0.0
    frozen = sap_svm(KEY, 1.0 * factors, _frozen(factors))
    np.testing.assert_array_equal(frozen.parts, np.insert(score.parts, 1, np.nan))
    assert frozen.value == score.value


def test_a_constant_code_has_the_base_rate_of_the_classifier():
    """What a constant code tells is the share of one value, not 0: the gap is over that."""
    rng = np.random.default_rng(2)
    factors = (rng.random((N, 1)) < 0.2).astype(int)
    held = split_rows(KEY, factors, factors, 1000, 500)[1][1].mean()
    for still in (0.3, 0.0, 1e-7 * _noise(1)[:, 0]):  # below the variance that counts as active too
        codes = np.insert(1.0 * factors, 1, still, axis=1)
        score = sap_svm(KEY, codes, factors, train=1000, test=500)
        assert min(abs(score.value - held), abs(score.value - (1 - held))) < 1e-12
        assert (score.active_units, score.degenerate) == (1, False)
    quiet = sap_svm(KEY, np.insert(1.0 * factors, 1, 0.3, axis=1), np.hstack([factors, _factors(5)]))
    noisy = sap_svm(
        KEY, np.insert(1.0 * factors, 1, 1e-3 * _noise(1)[:, 0], axis=1), np.hstack([factors, _factors(5)])
    )
    assert quiet.parts[1] == pytest.approx(noisy.parts[1], abs=0.06)


def test_sap_by_support_vectors_has_the_published_regularisation():
    """On a small scale C = .01 holds the weights far below those of C = 1."""
    factors = _factors(5, 4)
    codes = 0.2 * factors @ np.array([[1.0, 0.5], [-0.3, 1.0]]) + 0.05 * _noise(2)
    (z, v), (z_held, v_held) = split_rows(KEY, codes, factors, 1000, 500)

    def by_hand(C):
        accuracy = np.empty((2, 2))
        for j, k in np.ndindex(2, 2):
            model = LinearSVC(C=C, class_weight="balanced", dual=False, max_iter=10_000)
            accuracy[j, k] = model.fit(z[:, [j]], v[:, k]).score(z_held[:, [j]], v_held[:, k])
        return np.abs(accuracy[0] - accuracy[1])

    score = sap_svm(KEY, codes, factors, train=1000, test=500)
    np.testing.assert_allclose(score.parts, by_hand(0.01), rtol=1e-9)
    assert np.abs(score.parts - by_hand(1.0)).max() > 0.05


def test_explicitness_of_hand_made_codes():
    factors = _factors(2, 4)
    whole = explicitness(KEY, 1.0 * factors, factors)
    assert whole.value > 0.9
    assert (whole.parts[0], whole.active_units, whole.library) == (1.0, 2, VERSION)
    half = explicitness(KEY, np.hstack([factors[:, :1], 0 * factors[:, 1:]]), factors)
    assert half.parts == pytest.approx([1.0, 0.5], abs=0.04)
    assert (half.active_units, half.degenerate) == (1, False)
    mixed = _rotated(factors)
    scaled = explicitness(KEY, mixed * [1000.0, 1e-3] + 5, factors)  # codes are standardised
    assert scaled.value == pytest.approx(explicitness(KEY, mixed, factors).value, abs=1e-9)


def test_explicitness_is_taken_on_rows_that_were_not_fitted():
    factors = _factors(3, n=2000)
    assert explicitness(KEY, _noise(40, 2000), factors, train=80, test=1900).value == pytest.approx(
        0.5, abs=0.04
    )
    few = explicitness(KEY, _noise(2, 9), _factors(3, n=9))  # some values may be in one part only
    assert 0 <= few.value <= 1


def test_golden_dci():
    D, C = dci_from(np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert (D.value, C.value) == pytest.approx((0.4045382, 0.3973126), abs=1e-7)
    D, C = dci_from(np.array([[1.0, 0], [0, 1], [0, 1]]))
    assert (D.value, C.value) == pytest.approx((1.0, 0.5793802), abs=1e-7)
    for P in (np.zeros((3, 2)), np.ones((3, 1))):
        assert dci_from(P)[0][:3:2] == (0.0, True)
    D, C = dci_from(np.array([[2.0, 2], [0, 0]]))  # a row without importance is uniform and weighs nothing
    assert (D.value, C.value) == pytest.approx((0.0, 1.0), abs=1e-9)
    with pytest.raises(ValueError, match="importance: expected finite numbers"):
        dci_from(np.array([[1.0, -1.0]]))


def test_dci_by_trees():
    factors = _factors(3, 4)
    one = dci(KEY, 1.0 * factors[:, ::-1], factors, trees=8)
    assert (one.disentanglement.value, one.completeness.value) == pytest.approx((1, 1), abs=0.01)
    assert one.informativeness.value == 1.0
    assert (one.importance.argmax(axis=0) == [1, 0]).all()
    assert list(one.values) == ["disentanglement", "completeness", "informativeness"]
    assert one.values["completeness"] == one.completeness.value
    assert {s.library for s in one[:3]} == {VERSION}
    two = dci(KEY, 1.0 * np.hstack([factors, factors]), factors, trees=8)
    assert two.disentanglement.value == pytest.approx(1, abs=0.01)
    assert two.completeness.value < 0.85  # 1/2 where the two copies share evenly
    frozen = dci(KEY, np.insert(1.0 * factors[:, ::-1], 0, 0.3, axis=1), _frozen(factors), trees=8)
    assert frozen.disentanglement.value == pytest.approx(one.disentanglement.value, abs=1e-6)
    assert np.isnan(frozen.informativeness.parts).tolist() == [False, True, False]
    assert np.isnan(frozen.completeness.parts).tolist() == [False, True, False]
    assert frozen.completeness.active_units == 2
    noise = dci(KEY, _noise(3), _factors(4, 4), trees=8, train=300, test=1000)
    assert noise.informativeness.value == pytest.approx(0.25, abs=0.05)


def test_dci_by_the_lasso_soft_thresholds_orthogonal_codes():
    factors = _factors(8, 8, 8, n=15_000)
    score = dci_linear(KEY, _rotated(factors), factors)
    w = np.sqrt(0.5) - 0.02
    expected = dci_from(np.array([[w, w, 0], [w, w, 0], [0, 0, 0.98]]))[0].value
    assert score.disentanglement.value == pytest.approx(expected, abs=0.01)
    np.testing.assert_allclose(score.importance, [[w, w, 0], [w, w, 0], [0, 0, 0.98]], atol=0.02)
    lost = [2 * 0.02**2, 2 * 0.02**2, 0.02**2]  # of variance, by the threshold
    np.testing.assert_allclose(score.informativeness.parts, 1 - np.array(lost), atol=1e-3)


def test_importances_that_rounding_made_negative_count_as_none(monkeypatch):
    """scikit-learn's importances of trees with nothing left to gain are -1e-19; a user's are refused."""
    factors = _factors(3, 4)
    codes = np.hstack([factors, _noise(2)])
    plain = GradientBoostingClassifier.feature_importances_.fget

    def rounded(model):
        share = plain(model).copy()
        share[2:] = [-1e-19, -3e-17]
        return share

    monkeypatch.setattr(GradientBoostingClassifier, "feature_importances_", property(rounded))
    made = dci(KEY, codes, factors, trees=4)
    assert made.disentanglement.value == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(made.importance[2:], 0.0)
    with pytest.raises(ValueError, match="importance: expected finite numbers"):
        dci_from(np.array([[1.0, 0.0], [-1e-19, 1.0]]))


FITTED = [explicitness, sap_svm, partial(dci, trees=3), dci_linear]


@pytest.mark.parametrize("score", FITTED, ids=["explicitness", "sap_svm", "dci", "dci_linear"])
def test_rows_to_fit_and_to_score_on_may_be_given(score):
    codes, factors = _factors(3, 4, n=150) + 0.5 * _noise(2, 150), _factors(3, 4, n=150)
    mixed = numpy_generator(KEY).permutation(150)
    train, test = mixed[:90], mixed[90:140]
    given = score(KEY, codes, factors, train=train, test=test.tolist())
    drawn = score(KEY, codes, factors, train=90, test=50)  # the rows that the key draws
    jax.tree.map(np.testing.assert_array_equal, given, drawn)
    codes[mixed[140:]], factors[mixed[140:]] = 1e3, 2  # rows that were not asked for do not count
    again = score(KEY, codes, factors, train=train, test=jax.numpy.asarray(test))
    jax.tree.map(np.testing.assert_array_equal, given, again)
    codes[test[:25]] *= -1.0
    moved = score(KEY, codes, factors, train=train, test=test)
    assert _values(moved) != _values(given)


def _values(made):
    return [score.value for score in made[:3]] if isinstance(made, DCI) else made.value


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ({"train": [0, 1, 2], "test": [2, 3]}, ValueError, "test: expected rows that are not in train"),
        ({"train": [0, 1, 90], "test": [2]}, ValueError, r"train: expected rows 0..89, got 0..90"),
        ({"train": [0, 1], "test": [-1]}, ValueError, r"test: expected rows 0..89, got -1..-1"),
        ({"train": [0, 1], "test": []}, ValueError, "test: expected the places of one or more rows"),
        ({"train": [[0, 1]], "test": [2]}, ValueError, r"train: expected the places .* got shape \(1, 2\)"),
        ({"train": np.arange(90) < 50, "test": [2]}, TypeError, "train: expected the places of rows"),
        ({"train": [0, 1], "test": 5}, TypeError, "train, test: expected two numbers of rows or"),
        ({"train": [0, 1]}, TypeError, "train, test: expected two numbers of rows or"),
    ],
)  # fmt: skip
def test_rows_that_are_none_are_refused(rows, error, message):
    for score in FITTED:
        with pytest.raises(error, match=message):
            score(KEY, _noise(2, 90), _factors(3, n=90), **rows)


@pytest.mark.parametrize("score", [explicitness, sap_svm, lambda *a: dci(*a, trees=2), dci_linear])
@pytest.mark.parametrize("case", ["constant codes", "constant factors"])
def test_nothing_to_measure_is_flagged_and_never_nan(score, case):
    codes, factors = _noise(2, 60), _factors(3, 3, n=60)
    if case == "constant codes":
        codes = np.full_like(codes, 0.3)
    else:
        factors = np.full_like(factors, 2)
    made = score(KEY, codes, factors)
    for one in made[:3] if isinstance(made, DCI) else [made]:
        assert one.degenerate
        assert one.value == (0.5 if score is explicitness and case == "constant codes" else 0.0)


def test_the_key_decides_and_bad_arguments_are_named(monkeypatch):
    codes, factors = _noise(2, 90), _factors(3, n=90)
    first, again = (explicitness(KEY, codes, factors).value for _ in range(2))
    assert first == again != explicitness(jax.random.key(1), codes, factors).value
    with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
        sap_svm(0, codes, factors)
    with pytest.raises(ValueError, match="at least three rows"):
        explicitness(KEY, codes[:2], factors[:2])
    with pytest.raises(ValueError, match="codes: expected a row for each of the 89"):
        sap(codes, factors[:89])
    with pytest.raises(TypeError, match="factors: expected integers"):
        dci(KEY, codes, 1.0 * factors)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"expected scikit-learn, .*pip install .*-e '\.\[eval\]'"):
        dci(KEY, codes, factors)
