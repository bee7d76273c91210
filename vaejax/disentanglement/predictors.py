"""Scores by classifiers from codes to factors: explicitness, SAP by support vectors, and DCI.

The classifiers are scikit-learn's, with its defaults where nothing else is said; its version stands in every
score's `library`, as such scores drift with it. All fit on some rows and score on others, drawn by the key or
given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.disentanglement.information import check_codes_and_factors
from vaejax.disentanglement.matrices import SAP_VARIANCE, sap_from
from vaejax.disentanglement.score import Score
from vaejax.hints import extra
from vaejax.keys import check_key, numpy_generator
from vaejax.types import Array

Rows = tuple[np.ndarray, np.ndarray]  # codes [n, d] and factors [n, F]
Chosen = int | Sequence[int] | np.ndarray  # a number of rows, or their places
TRAIN, TEST = 10_000, 5_000  # Locatello et al. 2019 (1811.12359)
_ITERATIONS = 10_000  # of the solvers: enough to converge; the default of 100 is not


def explicitness(
    key: Array, codes: np.ndarray, factors: np.ndarray, *, train: Chosen = TRAIN, test: Chosen = TEST
) -> Score:
    """Explicitness (Ridgeway & Mozer 2018, 1802.05312): how well all codes together tell each factor.

    For each factor a multinomial logistic regression from standardised codes; on other rows the area under
    the curve of each value against the rest; mean over values, then over factors. Chance is 1/2 (some papers
    rescale to [0, 1]), which is also the value, flagged, of constant codes.

    Args:
      key: typed PRNG key.
      codes: [n, d], posterior means unless stated.
      factors: [n, F] integers.
      train: the rows to fit on: how many, which the key draws, or their places, [m] integers in 0..n-1.
      test: the rows to score on, given in the same way; none is in both. If there are fewer rows than both
        numbers ask for, a third of them are scored and the others fitted.

    Returns:
      Score in [0, 1]; `parts` per factor [F].

    Raises:
      ImportError: scikit-learn is not installed.
      TypeError, ValueError: arguments of another kind, or fewer than three rows.
    """
    library = sklearn_version()
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    fit, held = split_rows(key, codes, factors, train, test)
    active, varies = np.ptp(fit[0], axis=0) > 0, np.ptp(fit[1], axis=0) > 0
    parts = np.where(varies, 0.5, np.nan)
    if not (active.any() and varies.any()):
        return Score(0.5 if varies.any() else 0.0, parts, True, int(active.sum()), library)
    scaler = StandardScaler().fit(fit[0][:, active])
    z, z_held = (scaler.transform(part[0][:, active]) for part in (fit, held))
    for k in np.flatnonzero(varies):
        model = LogisticRegression(max_iter=_ITERATIONS).fit(z, fit[1][:, k])
        chance = model.predict_proba(z_held)
        seen = [held[1][:, k] == value for value in model.classes_]
        areas = [
            roc_auc_score(is_value, p)
            for is_value, p in zip(seen, chance.T, strict=True)
            if is_value.any() and not is_value.all()
        ]
        parts[k] = np.mean(areas) if areas else np.nan
    scored = ~np.isnan(parts)
    if not scored.any():
        return Score(0.0, parts, True, int(active.sum()), library)
    return Score(float(parts[scored].mean()), parts, False, int(active.sum()), library)


def sap_svm(
    key: Array, codes: np.ndarray, factors: np.ndarray, *, train: Chosen = TRAIN, test: Chosen = TEST
) -> Score:
    """SAP for classes (Kumar et al. 2018, 1711.00848): mean_k (S_(1)k - S_(2)k) as in `sap_from`.

    S_jk is the accuracy on other rows with which a linear support vector machine (C = 0.01, classes balanced)
    tells factor k from code j alone; from a constant code it is that of naming one value always, the value's
    share of the rows, not 0. One against the rest on a line, it tells the outer ones of many ordered
    values and few of the inner: codes equal to a factor of 12 values reach about 0.25, not 1. `sap` is the
    form for values that have an order.

    Args, Raises: as `explicitness`.

    Returns:
      Score in [0, 1]; `parts` per factor [F].
    """
    library = sklearn_version()
    from sklearn.svm import LinearSVC

    fit, held = split_rows(key, codes, factors, train, test)
    active, varies = fit[0].var(axis=0) > SAP_VARIANCE, np.ptp(fit[1], axis=0) > 0
    accuracy = np.zeros((len(active), len(varies)))
    for j in range(len(active)):
        for k in np.flatnonzero(varies):
            # "auto" solves the primal for many rows: that has no randomness, and converges
            model = LinearSVC(C=0.01, class_weight="balanced", dual="auto", max_iter=_ITERATIONS)
            model.fit(fit[0][:, [j]], fit[1][:, k])
            accuracy[j, k] = model.score(held[0][:, [j]], held[1][:, k])
    return sap_from(accuracy, varies, active)._replace(library=library)


def sklearn_version() -> str:
    """scikit-learn and its version; ImportError that says what to install where it is missing."""
    try:
        import sklearn
    except ImportError as error:
        raise ImportError(
            "disentanglement: expected scikit-learn, which fits the classifiers of this score; "
            f"{extra('eval')}"
        ) from error
    return f"scikit-learn {sklearn.__version__}"


def split_rows(key: Array, codes: Any, factors: Any, train: Chosen, test: Chosen) -> tuple[Rows, Rows]:
    """(codes, factors) of the rows to fit and of those to score on; see `explicitness`."""
    codes, factors = check_codes_and_factors(codes, factors)
    fit, held = chosen_rows(key, len(codes), train, test)
    return (codes[fit], factors[fit]), (codes[held], factors[held])


def chosen_rows(key: Array, n: int, train: Chosen, test: Chosen) -> tuple[np.ndarray, np.ndarray]:
    """The places, among n, of the rows to fit and of those to score on; see `explicitness`."""
    check_key(key)
    counted = np.ndim(train) == 0
    if counted != (np.ndim(test) == 0):
        raise TypeError("train, test: expected two numbers of rows or the places of both, got one of each")
    if counted:
        check_positive_int(train, "train")
        check_positive_int(test, "test")
    return _drawn(key, n, train, test) if counted else _given(n, train, test)


def _drawn(key: Array, n: int, train: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    """The places of `train` rows and of `test` others, at random; fewer if there are fewer."""
    if n < 3:
        raise ValueError(f"codes: expected at least three rows to fit and to score on, got {n}")
    if train + test > n:
        test = n // 3
        train = n - test
    mixed = numpy_generator(key).permutation(n)
    return mixed[:train], mixed[train : train + test]


def _given(n: int, train: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    """The places that were asked for; raise unless they are rows, and no row is in both."""
    for name, places in (("train", train), ("test", test)):
        places = np.asarray(places)
        if places.ndim != 1 or len(places) == 0:
            raise ValueError(f"{name}: expected the places of one or more rows, got shape {places.shape}")
        if places.dtype.kind not in "iu":
            raise TypeError(f"{name}: expected the places of rows, integers, got {places.dtype}")
        if places.min() < 0 or places.max() >= n:
            raise ValueError(f"{name}: expected rows 0..{n - 1}, got {places.min()}..{places.max()}")
    both = np.intersect1d(train, test)
    if len(both):
        raise ValueError(f"test: expected rows that are not in train, got {len(both)} that are")
    return np.asarray(train), np.asarray(test)
