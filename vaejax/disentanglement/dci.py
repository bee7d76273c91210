"""DCI: disentanglement, completeness and informativeness of a matrix of importances.

Eastwood & Williams 2018 (openreview By-7dz-AZ). Predict every factor from all codes; P_jk says how much code
j matters for factor k. Disentangled: each code matters for one factor; complete: each factor needs one code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vaejax.disentanglement.information import check_codes, check_same_length
from vaejax.disentanglement.predictors import (
    TEST,
    TRAIN,
    Chosen,
    Rows,
    chosen_rows,
    sklearn_version,
    split_rows,
)
from vaejax.disentanglement.score import Score
from vaejax.keys import named_key, numpy_generator
from vaejax.types import Array

_LEAST = 1e-11  # added to importances before they are normalised: all zero becomes uniform


class DCI(NamedTuple):
    """The three scores; `parts` per code [d], per factor [F] and per factor [F]."""

    disentanglement: Score
    completeness: Score
    informativeness: Score
    importance: np.ndarray  # [d, F], nan for factors that do not vary

    @property
    def values(self) -> dict[str, float]:
        """The three numbers by name."""
        return {name: score.value for name, score in self._asdict().items() if isinstance(score, Score)}


def dci(
    key: Array,
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    train: Chosen = TRAIN,
    test: Chosen = TEST,
    trees: int = 100,
) -> DCI:
    """DCI by gradient-boosted trees: for each factor a classifier, its importances a column of P.

    Informativeness is its accuracy on other rows, a mean over factors. Read it first: where little can be
    predicted, D and C are those of the noise that was fitted, and may be high. Time grows with rows, trees
    and values: about 75 s for a factor of 12 values and 8 codes at the default numbers, on one core; 16 s
    with train=2000.

    Args:
      key: typed PRNG key.
      codes: [n, d], posterior means unless stated.
      factors: [n, F] integers.
      train: rows to fit on, their number or their places; see `explicitness`.
      test: rows to score on, given in the same way.
      trees: boosting rounds, each of a tree per value.

    Returns:
      DCI; see `dci_from`.

    Raises:
      ImportError: scikit-learn is not installed.
      TypeError, ValueError: arguments of another kind, or fewer than three rows.
    """
    library = sklearn_version()
    from sklearn.ensemble import GradientBoostingClassifier

    seed = int(numpy_generator(named_key(key, "trees")).integers(2**31))

    def fit(z: np.ndarray, v: np.ndarray, z_held: np.ndarray, v_held: np.ndarray) -> tuple[np.ndarray, float]:
        model = GradientBoostingClassifier(n_estimators=trees, random_state=seed).fit(z, v)
        # trees that have nothing left to gain say -1e-19: rounding of a sum that is not negative
        return np.maximum(model.feature_importances_, 0.0), float(model.score(z_held, v_held))

    return _scores(fit, *split_rows(key, codes, factors, train, test), library)


def dci_linear(
    key: Array,
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    train: Chosen = TRAIN,
    test: Chosen = TEST,
    alpha: float = 0.02,
) -> DCI:
    """DCI by the lasso, the linear form: P_jk is |weight| from standardised codes to standardised factors.

    Informativeness is R^2 on other rows, a mean over factors; it may be negative. Values count as numbers, so
    factors without an order (a shape) are misjudged. Takes a second where `dci` takes minutes.

    Args:
      key: as `dci`.
      codes: as `dci`.
      factors: as `dci`.
      train: as `dci`.
      test: as `dci`.
      alpha: weight of the L1 norm.

    Returns, Raises: as `dci`.
    """
    library = sklearn_version()
    from sklearn.linear_model import Lasso

    def fit(z: np.ndarray, v: np.ndarray, z_held: np.ndarray, v_held: np.ndarray) -> tuple[np.ndarray, float]:
        z_held, v_held = (z_held - z.mean(axis=0)) / z.std(axis=0), (v_held - v.mean()) / v.std()
        z, v = (z - z.mean(axis=0)) / z.std(axis=0), (v - v.mean()) / v.std()
        model = Lasso(alpha=alpha).fit(z, v)
        # against the spread of the rows that were fitted, which is never 0
        error = np.mean((v_held - model.predict(z_held)) ** 2)
        return np.abs(model.coef_), float(1 - error)

    return _scores(fit, *split_rows(key, codes, factors, train, test), library)


def dci_real(
    key: Array,
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    train: Chosen = TRAIN,
    test: Chosen = TEST,
    trees: int = 100,
) -> DCI:
    """DCI by gradient-boosted trees for factors that are real numbers: a regression for each.

    Informativeness is R^2 on other rows, a mean over factors; it may be negative.

    Args:
      key: as `dci`.
      codes: as `dci`.
      factors: [n, F], integers or real numbers.
      train: as `dci`.
      test: as `dci`.
      trees: boosting rounds, each of one tree.

    Returns, Raises: as `dci`.
    """
    library = sklearn_version()
    from sklearn.ensemble import GradientBoostingRegressor

    seed = int(numpy_generator(named_key(key, "trees")).integers(2**31))

    def fit(z: np.ndarray, v: np.ndarray, z_held: np.ndarray, v_held: np.ndarray) -> tuple[np.ndarray, float]:
        model = GradientBoostingRegressor(n_estimators=trees, random_state=seed).fit(z, v)
        error = np.mean((v_held - model.predict(z_held)) ** 2) / v.var()
        return np.maximum(model.feature_importances_, 0.0), float(1 - error)  # as in `dci`

    codes, factors = check_codes(codes), check_codes(factors, "factors")
    check_same_length(codes, factors, "codes")
    rows, held = chosen_rows(key, len(codes), train, test)
    return _scores(fit, (codes[rows], factors[rows]), (codes[held], factors[held]), library)


def dci_from(importance: np.ndarray) -> tuple[Score, Score]:
    """Disentanglement and completeness of importances P [d, F], with 1e-11 added to each.

    D = sum_j rho_j (1 - H_F(P_j. / sum_k P_jk)), rho_j the share of row j in the sum of P; C = sum_k of the
    same for columns, with H_d. Entropies have base F and base d, so both scores are in [0, 1].

    Args:
      importance: [d, F], not negative.

    Returns:
      (disentanglement, completeness), `parts` per code [d] and per factor [F]; each is 0 and flagged where P
      is all zero, and where there is only one factor, or one code, to concentrate on.

    Raises:
      ValueError: P is not [d, F], or holds a negative number or one that is not finite.
    """
    P = np.asarray(importance, np.float64)
    if P.ndim != 2 or not (np.isfinite(P) & (P >= 0)).all():
        raise ValueError(f"importance: expected finite numbers [d, F], at least 0; got {importance!r}")
    return _concentration(P), _concentration(P.T)


def _concentration(P: np.ndarray) -> Score:
    """sum_i rho_i (1 - H(P_i.)) of rows, with entropies to the base of their length."""
    rows, base = P.shape
    if base < 2 or not P.any():
        return Score(0.0, np.zeros(rows), True)
    P = P + _LEAST
    p = P / P.sum(axis=1, keepdims=True)
    parts = np.maximum(1 + np.sum(p * np.log(p), axis=1) / np.log(base), 0.0)  # rounding
    return Score(float(P.sum(axis=1) / P.sum() @ parts), parts, False)


def _scores(fit: Callable[..., tuple[np.ndarray, float]], rows: Rows, held: Rows, library: str) -> DCI:
    """Fit every factor that varies from the codes that vary; the others get no importance."""
    (z, v), (z_held, v_held) = rows, held
    active, varies = (np.ptp(z, axis=0) > 0) & (z.std(axis=0) > 0), np.ptp(v, axis=0) > 0
    P = np.where(varies, 0.0, np.full((len(active), 1), np.nan))
    told = np.where(varies, 0.0, np.nan)
    nothing = not (active.any() and varies.any())
    for k in np.flatnonzero(varies) if active.any() else ():
        P[active, k], told[k] = fit(z[:, active], v[:, k], z_held[:, active], v_held[:, k])
    D, C = dci_from(P[:, varies])
    whole = np.full(len(varies), np.nan)
    whole[varies] = C.parts
    n = {"active_units": int(active.sum()), "library": library}
    value = 0.0 if nothing else float(told[varies].mean())
    return DCI(D._replace(**n), C._replace(parts=whole, **n), Score(value, told, nothing, **n), P)
