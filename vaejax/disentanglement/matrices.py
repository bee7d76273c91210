"""MIG, modularity and SAP: scores of a matrix that says how much each code knows of each factor.

Degenerate inputs: a factor with one value in the sample is left out of the averages (its score would be
0/0), a constant code has no information, and where nothing is informative the score is 0 and flagged.
"""

from __future__ import annotations

import numpy as np

from vaejax.disentanglement.information import (
    binned_factors,
    check_codes_and_factors,
    discrete_entropy,
    discrete_mutual_information,
    discretise,
)
from vaejax.disentanglement.score import Score

SAP_VARIANCE = 1e-12


def mig(codes: np.ndarray, factors: np.ndarray, *, bins: int = 20, factor_bins: int | None = None) -> Score:
    """Mutual information gap, histogram form: see `mig_from`.

    The published setting is bins = 20 and n = 10 000 (Locatello et al. 2019, 1811.12359). It is not the
    form of Chen et al. 2018 (1802.04942), who integrate over q(z|x): name the form beside the number.

    Args:
      codes: [n, d], posterior means unless stated.
      factors: [n, F] integers; real numbers with `factor_bins`.
      bins: equal-width bins per code, over its own range.
      factor_bins: equal-width bins per factor too, over its own range; None takes every value by itself.

    Returns:
      Score in [0, 1]; `parts` per factor [F].

    Raises:
      TypeError, ValueError: see `discretise` and `discrete_mutual_information`.
    """
    return mig_from(*information_and_entropy(codes, factors, bins, factor_bins))


def modularity(
    codes: np.ndarray, factors: np.ndarray, *, bins: int = 20, factor_bins: int | None = None
) -> Score:
    """Modularity of binned codes over the factors that vary in the sample: see `modularity_from`.

    Args:
      codes: [n, d], posterior means unless stated.
      factors: as `mig`.
      bins: as `mig`.
      factor_bins: as `mig`.

    Returns:
      Score in [0, 1]; `parts` per code [d].

    Raises:
      TypeError, ValueError: see `discretise` and `discrete_mutual_information`.
    """
    information, entropies = information_and_entropy(codes, factors, bins, factor_bins)
    return modularity_from(information[:, entropies > 0])


def sap(codes: np.ndarray, factors: np.ndarray) -> Score:
    """Separated attribute predictability by correlation (Kumar et al. 2018, 1711.00848): see `sap_from`.

    S_jk = cov(z_j, v_k)^2 / (var z_j var v_k), 0 where var z_j <= 1e-12: for factors whose values have an
    order. `sap_svm` is the form for classes.

    Args:
      codes: [n, d], posterior means unless stated.
      factors: [n, F] integers.

    Returns:
      Score in [0, 1]; `parts` per factor [F]; `active_units`, the codes above that variance.

    Raises:
      TypeError, ValueError: codes or factors of another kind, or of different lengths.
    """
    z, v = check_codes_and_factors(codes, factors)
    z, v = z - z.mean(axis=0), v - v.mean(axis=0)
    var_z, var_v = np.mean(z**2, axis=0), np.mean(v**2, axis=0)
    active, varies = var_z > SAP_VARIANCE, discrete_entropy(factors) > 0
    spread = np.where(active[:, None] & varies, np.outer(var_z, var_v), 1.0)
    squared = np.where(active[:, None] & varies, (z.T @ v / len(z)) ** 2 / spread, 0.0)
    return sap_from(np.minimum(squared, 1.0), varies, active)  # rounding


def sap_from(predictability: np.ndarray, varies: np.ndarray, active: np.ndarray) -> Score:
    """SAP = mean_k (S_(1)k - S_(2)k), the two largest over the codes; with one code the second is 0.

    Args:
      predictability: [d, F], S_jk.
      varies: [F] booleans; the other factors are left out.
      active: [d] booleans; where none is, the score is 0 and flagged.

    Returns:
      Score; `parts` per factor [F].

    Raises:
      ValueError: the predictability is not finite, or shapes do not fit together.
    """
    predictability = _check_matrix(predictability, "predictability")
    varies, active = np.asarray(varies, bool), np.asarray(active, bool)
    if (active.shape, varies.shape) != ((len(predictability),), predictability.shape[1:]):
        raise ValueError(
            f"varies, active: expected [F] and [d] for a predictability of shape {predictability.shape}, "
            f"got {varies.shape} and {active.shape}"
        )
    parts = np.where(varies, 0.0, np.nan)
    if not (active.any() and varies.any()):
        return Score(0.0, parts, True, int(active.sum()))
    second, first = _two_largest(predictability)
    parts[varies] = (first - second)[varies]
    return Score(float(parts[varies].mean()), parts, False, int(active.sum()))


def mig_from(information: np.ndarray, entropies: np.ndarray) -> Score:
    """MIG = mean_k (I_(1)k - I_(2)k) / H(v_k), the two largest over the codes.

    With one code the second is 0; a factor of entropy 0 is left out.

    Args:
      information: [d, F] nats, I(z_j; v_k).
      entropies: [F] nats, H(v_k).

    Returns:
      Score; `parts` per factor [F].

    Raises:
      ValueError: a number is not finite, or shapes do not fit together.
    """
    information, entropies = _check_matrix(information, "information"), np.asarray(entropies, np.float64)
    if entropies.shape != information.shape[1:] or not np.isfinite(entropies).all():
        raise ValueError(
            f"entropies: expected {information.shape[1]} finite numbers, one per factor; got {entropies!r}"
        )
    varies = entropies > 0
    parts = np.full(len(entropies), np.nan)
    if not (information.any() and varies.any()):
        parts[varies] = 0.0
        return Score(0.0, parts, True)
    second, first = _two_largest(information)
    parts[varies] = (first - second)[varies] / entropies[varies]
    return Score(float(parts[varies].mean()), parts, False)


def modularity_from(information: np.ndarray) -> Score:
    """Modularity (Ridgeway & Mozer 2018, 1802.05312): mean over all codes of the score of each.

    With m_j = max_k I_jk: 1 - (sum_k I_jk^2 - m_j^2) / (m_j^2 (F - 1)), and 0 if m_j = 0. A code that
    depends on no factor scores about 0.4, not 0, through the noise of the plug-in information; a code
    that mixes two factors evenly still scores about 0.8 with six.

    Args:
      information: [d, F] nats, with a column for every factor that varies.

    Returns:
      Score; `parts` per code [d]. Flagged, and 0, where fewer than two factors vary.

    Raises:
      ValueError: the information is not [d, F], or not finite.
    """
    information = _check_matrix(information, "information")
    d, F = information.shape
    if not information.any() or F < 2:
        return Score(0.0, np.zeros(d), True)
    m = information.max(axis=1)
    share = information / np.where(m > 0, m, 1.0)[:, None]  # squares of small numbers would be 0
    others = np.minimum((np.square(share).sum(axis=1) - 1) / (F - 1), 1.0)  # rounding
    parts = np.where(m > 0, 1 - others, 0.0)
    return Score(float(parts.mean()), parts, False)


def information_and_entropy(
    codes: np.ndarray, factors: np.ndarray, bins: int = 20, factor_bins: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """I(z_j; v_k) [d, F] of binned codes, and H(v_k) [F], nats."""
    binned, factors = discretise(codes, bins), binned_factors(factors, factor_bins)
    return discrete_mutual_information(binned, factors), discrete_entropy(factors)


def _check_matrix(matrix: np.ndarray, name: str) -> np.ndarray:
    """The matrix as float64 [d, F]; ValueError unless it is that, and finite."""
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"{name}: expected finite numbers [d, F], got {matrix!r}")
    return matrix


def _two_largest(matrix: np.ndarray) -> np.ndarray:
    """The second largest and the largest of every column, [2, F]; with one row the second is 0."""
    return np.sort(np.vstack([np.zeros(matrix.shape[1]), matrix]), axis=0)[-2:]
