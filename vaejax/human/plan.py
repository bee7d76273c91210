"""How many raters and pairs an interval of a given width takes."""

from __future__ import annotations

from vaejax.checks import check_finite, check_positive_int
from vaejax.human.intervals import proportion

__all__ = ["expected_width"]


def expected_width(raters: int, pairs: int, *, rate: float = 0.5, correlation: float = 0.0) -> float:
    """Width of the 95 % interval of a win rate, of all that R raters say of m pairs each.

    Answers of one rater resemble each other: R m of them are worth R m / (1 + (m - 1) rho) independent ones,
    rho the correlation of two answers of one rater. The interval is Wilson's of so many.

    Args:
      raters: R.
      pairs: m, of two systems, for each rater.
      rate: the win rate; .5 has the widest interval.
      correlation: rho in [0, 1].

    Raises:
      TypeError, ValueError: an argument is of another kind or range.

    Source: Kish 1965, "Survey Sampling", section 5.4 (the design effect).
    """
    check_positive_int(raters, "raters")
    check_positive_int(pairs, "pairs")
    for name, value in (("rate", rate), ("correlation", correlation)):
        check_finite(value, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a number in [0, 1], got {value}")
    n = raters * pairs / (1 + (pairs - 1) * correlation)
    low, high = proportion(rate * n, n)["ci95"]
    return high - low
