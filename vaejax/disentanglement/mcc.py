"""The mean correlation coefficient: are the codes the factors, each by itself, up to order and sign?"""

from __future__ import annotations

import numpy as np

from vaejax.checks import check_choice
from vaejax.disentanglement.information import check_codes, check_same_length
from vaejax.disentanglement.predictors import TEST, TRAIN, Chosen, chosen_rows
from vaejax.disentanglement.score import Score
from vaejax.types import Array

__all__ = ["mcc", "mcc_linear"]

CORRELATIONS = ("pearson", "spearman")


def mcc(codes: np.ndarray, factors: np.ndarray, *, correlation: str = "pearson") -> Score:
    """MCC = mean_k |corr(z_j(k), v_k)|, each factor k with a code j(k) of its own, as is best for the sum.

    1 for codes that are the factors up to order, sign and scale ("pearson"), or up to order and a monotone
    function of each ("spearman": of ranks). A factor that is left without a code, where there are fewer codes
    than factors, counts 0. The mean over n examples of codes that know nothing is not 0 but of order
    1 / sqrt(n), and more where there are many codes to choose from. Values of factors count as numbers: those
    without an order (a shape) are misjudged.

    Args:
      codes: [n, d], posterior means unless stated.
      factors: [n, F], integers or real numbers.
      correlation: "pearson" or "spearman".

    Returns:
      Score in [0, 1]; `parts` per factor [F]; `active_units`, the codes that vary.

    Raises:
      TypeError, ValueError: codes or factors of another kind or of different lengths, another correlation.

    Source: Hyvarinen & Morioka 2016, arXiv 1605.06336; Khemakhem et al. 2020, arXiv 1907.04809.
    """
    from scipy.optimize import linear_sum_assignment  # a tenth of a second of `import vaejax.evaluation`

    z, v = _checked(codes, factors, correlation)
    z, v = _standard(z, correlation), _standard(v, correlation)
    active, varies = z.any(axis=0), v.any(axis=0)
    parts = np.where(varies, 0.0, np.nan)
    if not (active.any() and varies.any()):
        return Score(0.0, parts, True, int(active.sum()))
    correlations = np.minimum(np.abs(z.T @ v), 1.0)  # rounding
    places = np.flatnonzero(varies)
    j, k = linear_sum_assignment(correlations[:, places], maximize=True)
    parts[places[k]] = correlations[j, places[k]]
    return Score(float(parts[varies].mean()), parts, False, int(active.sum()))


def mcc_linear(
    key: Array, codes: np.ndarray, factors: np.ndarray, *, correlation: str = "pearson",
    train: Chosen = TRAIN, test: Chosen = TEST,
) -> Score:  # fmt: skip
    """MCC after a linear map: mean_k |corr(A_k z + c_k, v_k)| on other rows than the least squares saw.

    1 for codes that are any invertible linear mixture of the factors: beside `mcc` it tells what a rotation
    costs from what is lost. Each factor has a prediction of its own, so nothing is assigned.

    Args:
      key: typed PRNG key.
      codes: as `mcc`.
      factors: as `mcc`.
      correlation: as `mcc`.
      train: rows to fit on, their number or their places; see `explicitness`.
      test: rows to score on, given in the same way.

    Returns:
      Score in [0, 1]; `parts` per factor [F]; `active_units`, the codes that vary among the rows to fit.

    Raises:
      TypeError, ValueError: as `mcc`; rows as `explicitness`.

    Source: Roeder, Metz & Kingma 2021, arXiv 2007.00810 (identifiability up to a linear map).
    """
    z, v = _checked(codes, factors, correlation)
    fit, held = chosen_rows(key, len(z), train, test)
    active = np.ptp(z[fit], axis=0) > 0
    varies = (np.ptp(v[fit], axis=0) > 0) & (np.ptp(v[held], axis=0) > 0)
    parts = np.where(varies, 0.0, np.nan)
    if not (active.any() and varies.any()):
        return Score(0.0, parts, True, int(active.sum()))
    mean = z[fit].mean(axis=0)
    weights, *_ = np.linalg.lstsq(z[fit] - mean, v[fit] - v[fit].mean(axis=0))
    told = _standard((z[held] - mean) @ weights, correlation)
    parts[varies] = np.minimum(np.abs(np.sum(told * _standard(v[held], correlation), axis=0)), 1.0)[varies]
    return Score(float(parts[varies].mean()), parts, False, int(active.sum()))


def _checked(codes: np.ndarray, factors: np.ndarray, correlation: str) -> tuple[np.ndarray, np.ndarray]:
    check_choice(correlation, CORRELATIONS, "correlation")
    codes, factors = check_codes(codes), check_codes(factors, "factors")
    check_same_length(codes, factors, "codes")
    return codes, factors


def _standard(columns: np.ndarray, correlation: str) -> np.ndarray:
    """Columns, or their ranks, with mean 0 and length 1; 0 where one is constant."""
    if correlation == "spearman":
        from scipy.stats import rankdata  # two tenths of it

        columns = rankdata(columns, axis=0)
    varies = np.ptp(columns, axis=0) > 0
    columns = np.where(varies, columns - columns.mean(axis=0), 0.0)
    length = np.linalg.norm(columns, axis=0)
    return columns / np.where(length > 0, length, 1.0)
