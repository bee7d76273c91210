"""How far raters agree."""

from __future__ import annotations

import numpy as np

from vaejax.checks import check_choice, check_unmasked
from vaejax.human.intervals import imported

__all__ = ["fleiss_kappa", "krippendorff_alpha"]

LEVELS = ("nominal", "ordinal", "interval")


def fleiss_kappa(ratings: np.ndarray) -> float | None:
    """Fleiss' kappa: agreement beyond what the shares of the categories give by chance.

    P_i = (sum_j n_ij^2 - n) / (n (n - 1)),  kappa = (mean P_i - sum_j p_j^2) / (1 - sum_j p_j^2), of n raters
    of every item, n_ij of whom chose category j.

    Args:
      ratings: [R, U], categories as numbers, of two raters or more who all rated every item.

    Returns:
      At most 1; None where all answers are the same, and chance leaves nothing.

    Raises:
      ValueError: there is one rater, or an answer is missing.

    Source: Fleiss 1971, doi 10.1037/h0031619.
    """
    ratings = _checked(ratings)
    if not np.isfinite(ratings).all():
        raise ValueError("ratings: expected every item by every rater, got nan; see krippendorff_alpha")
    categories, codes = np.unique(ratings, return_inverse=True)
    if len(categories) == 1:
        return None
    inter_rater = imported("statsmodels.stats.inter_rater")
    counts, _ = inter_rater.aggregate_raters(codes.reshape(ratings.shape).T, len(categories))
    return float(inter_rater.fleiss_kappa(counts))


def krippendorff_alpha(ratings: np.ndarray, level: str = "nominal") -> float | None:
    """Krippendorff's alpha = 1 - D_o / D_e: disagreement observed over that expected, of any who rated.

    Args:
      ratings: [R, U], numbers; nan where a rater did not rate. Items that one rater rated say nothing.
      level: how far two answers are apart: "nominal", any two alike; "ordinal", by the answers that lie
        between them; "interval", by the square of their difference.

    Returns:
      At most 1, 0 by chance; None where all answers are the same, and nothing is expected.

    Raises:
      ValueError: there is one rater, no item by two, or another level.

    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".
    """
    check_choice(level, LEVELS, "level")
    ratings = _checked(ratings)
    shared = ratings[:, np.isfinite(ratings).sum(axis=0) > 1]
    if not shared.size:
        raise ValueError("ratings: expected items by two raters or more, got none")
    if np.unique(shared[np.isfinite(shared)]).size == 1:
        return None
    return float(imported("krippendorff").alpha(shared, level_of_measurement=level))


def _checked(ratings: np.ndarray) -> np.ndarray:
    check_unmasked(ratings, "ratings")  # nan is no answer
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2 or len(ratings) < 2 or not ratings.shape[1]:
        raise ValueError(f"ratings: expected [R, U] of two raters or more, got {ratings.shape}")
    return ratings
