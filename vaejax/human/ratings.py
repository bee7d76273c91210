"""What single items say: levels of a scale, and real from generated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from vaejax.checks import check_unmasked
from vaejax.human.intervals import Entry, over_raters, proportion
from vaejax.types import Array

__all__ = ["detection", "distribution", "superiority"]


def distribution(levels: np.ndarray, num_levels: int) -> dict[str, Any]:
    """Counts of every level, median, and the mean beside them: {"counts": [L], "median", "mean", "n"}.

    Args:
      levels: answers of 1 to L, of any shape; nan is none.
      num_levels: L.

    Raises:
      TypeError, ValueError: a masked array, or other numbers.
    """
    levels = _levels(levels, num_levels, "levels")
    given = levels[np.isfinite(levels)].astype(int)
    counts = np.bincount(given, minlength=num_levels + 1)[1:]
    middle = float(np.median(given)) if given.size else None
    mean = float(given.mean()) if given.size else None
    return {"counts": counts.tolist(), "median": middle, "mean": mean, "n": int(given.size)}


def superiority(key: Array, a: np.ndarray, b: np.ndarray, num_levels: int, *, resamples: int = 1000) -> Entry:
    """P(A > B) + P(A = B) / 2 of a rating of each, by ranks alone: {"mean", "ci95", "p"}.

    It is U / (n_A n_B) of Mann and Whitney; p is their test's, which takes all answers as independent. The
    interval is of a bootstrap over raters, `over_raters`.

    Args:
      key: typed PRNG key.
      a: levels of 1 to L that R raters gave items of A, [R, n_A]; nan is none.
      b: likewise of B, [R, n_B].
      num_levels: L.
      resamples: of the bootstrap.

    Raises:
      TypeError, ValueError: masked arrays, other numbers of raters, other levels, or no answers.

    Source: Mann & Whitney 1947, doi 10.1214/aoms/1177730491; Vargha & Delaney 2000, doi
    10.3102/10769986025002101 (the measure).
    """
    a, b = _levels(a, num_levels, "a"), _levels(b, num_levels, "b")
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise ValueError(f"a, b: expected [R, n] of as many raters, got {a.shape} and {b.shape}")
    counts = np.stack([[(x == level).sum(axis=1) for level in range(1, num_levels + 1)] for x in (a, b)])
    if not counts.sum(axis=(1, 2)).all():
        raise ValueError("a, b: expected answers of both, got none")

    def above(weights: np.ndarray) -> np.ndarray:
        p, q = counts @ weights  # [L] each
        with np.errstate(invalid="ignore"):  # nan of raters who have not answered
            return np.asarray(p @ (np.cumsum(q) - q / 2) / (p.sum() * q.sum()))

    of_a, of_b = (x[np.isfinite(x)] for x in (a, b))
    same = np.unique(np.concatenate([of_a, of_b])).size == 1  # no ranks, and no test
    p = 1.0 if same else float(stats.mannwhitneyu(of_a, of_b, method="asymptotic").pvalue)
    ends = over_raters(key, len(a), above, resamples=resamples)
    return {
        "mean": float(above(np.ones(len(a)))),
        "ci95": [None, None] if ends is None else ends.tolist(),
        "p": p,
    }


def _levels(given: Any, num_levels: int, name: str) -> np.ndarray:
    """Answers as floats; raise unless they are 1 to L, or nan."""
    check_unmasked(given, name)
    levels = np.asarray(given, float)
    answers = levels[~np.isnan(levels)]
    if not np.isin(answers, np.arange(1, num_levels + 1)).all():
        raise ValueError(f"{name}: expected levels of 1 to {num_levels}, or nan where there is no answer")
    return levels


def detection(hits: int, generated: int, false_alarms: int, real: int) -> dict[str, Any]:
    """How well generated items are told from real ones.

    Sensitivity is the share of generated items that were called so, specificity that of real ones; balanced
    accuracy is their mean, .5 by guessing. Its interval joins Wilson's of the two: of differences d_i between
    a share and its lower end, mean - sqrt(sum d_i^2) / 2, and likewise above.
    d' = z(H) - z(F),  H = (hits + .5) / (generated + 1),  F = (false alarms + .5) / (real + 1).

    Args:
      hits: generated items that were called generated.
      generated: how many there were.
      false_alarms: real items that were called generated.
      real: how many there were.

    Returns:
      {"sensitivity", "specificity", "balanced_accuracy": entries, "d_prime": number}.

    Raises:
      ValueError: a count is not in its range, or there are no items of one kind.

    Source: Newcombe 1998, Statistics in Medicine 17:873 (the interval, method 10); Hautus 1995, doi
    10.3758/BF03203619 (the log-linear correction).
    """
    if not (generated and real):
        raise ValueError(f"generated, real: expected items of both, got {generated} and {real}")
    both = [proportion(hits, generated), proportion(real - false_alarms, real)]
    mean = sum(entry["mean"] for entry in both) / 2
    down, up = (math.hypot(*(entry["mean"] - entry["ci95"][i] for entry in both)) / 2 for i in (0, 1))
    h, f = (hits + 0.5) / (generated + 1), (false_alarms + 0.5) / (real + 1)
    return {
        "sensitivity": both[0],
        "specificity": both[1],
        "balanced_accuracy": {"mean": mean, "ci95": [mean - down, mean + up], "n": generated + real},
        "d_prime": float(stats.norm.ppf(h) - stats.norm.ppf(f)),
    }
