"""Intervals of shares, and of anything over raters."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from vaejax.checks import check_positive_int
from vaejax.hints import extra
from vaejax.keys import check_key, numpy_generator
from vaejax.types import Array, Progress

__all__ = ["over_raters", "proportion"]

LEVEL = 0.95
Entry = dict[str, Any]  # {"mean": m, "ci95": [low, high], ...}


def proportion(count: float, n: float) -> Entry:
    """A share count / n with Wilson's 95 % interval: {"mean", "ci95": [low, high], "n"}.

    centre (p + z^2/2n) / (1 + z^2/n), half-width z / (1 + z^2/n) sqrt(p (1 - p)/n + z^2/4n^2), p = count / n.
    It takes the n answers as independent. Of no answers mean and ends are None.

    Args:
      count: how often; a half where ties count half.
      n: of how many.

    Raises:
      ValueError: count is not in [0, n].

    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    if not 0 <= count <= n < np.inf:
        raise ValueError(f"count: expected a number in [0, n], got {count} of {n}")
    if n == 0:
        return {"mean": None, "ci95": [None, None], "n": n}
    if float(count).is_integer() and float(n).is_integer():
        found = stats.binomtest(int(count), int(n)).proportion_ci(LEVEL, method="wilson")
        low, high = found.low, found.high
    else:  # SciPy's takes whole numbers alone
        low, high = imported("statsmodels.stats.proportion").proportion_confint(count, n, method="wilson")
    return {"mean": count / n, "ci95": [float(low), float(high)], "n": n}


def over_raters(
    key: Array, raters: int, statistic: Callable[[np.ndarray], np.ndarray], *, resamples: int = 1000,
    progress: Progress = iter,
) -> np.ndarray | None:  # fmt: skip
    """Ends of 95 % intervals by a bootstrap that draws raters with replacement.

    The answers of one rater go together: they resemble each other more than those of two. The percentiles are
    those whose normal interval has the width of Student's with R - 1 degrees of freedom; those of 2.5 and
    97.5 % would be too near with few raters. Below six raters these are too near as well: no draw lies beyond
    the most extreme rater.

    Args:
      key: typed PRNG key.
      raters: their number, R.
      statistic: how often each rater is drawn, weights [R], -> an array.
      resamples: how many draws.
      progress: wraps the range of draws, as a progress bar does.

    Returns:
      [2, ...]; None of one rater, and where the statistic of a draw is not finite: raters who have not
      answered may be drawn alone.

    Source: Hesterberg 2015, arXiv 1411.5279, section 5.3 (the expanded percentile interval).
    """
    check_key(key)
    check_positive_int(raters, "raters")
    check_positive_int(resamples, "resamples")
    if raters == 1:
        return None
    weights = numpy_generator(key).multinomial(raters, np.full(raters, 1 / raters), size=resamples)
    drawn = np.stack([statistic(weights[b]) for b in progress(range(resamples))])
    if not np.isfinite(drawn).all():
        return None
    t = stats.t.ppf((1 + LEVEL) / 2, raters - 1)
    tail = stats.norm.cdf(-t * np.sqrt(raters / (raters - 1)))
    return np.quantile(drawn, [tail, 1 - tail], axis=0)


def imported(module: str) -> Any:
    """A module of the extra `human`.

    Raises:
      ImportError: it is not installed; the message says how.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(f"{package} is needed; {extra('human')}") from error
