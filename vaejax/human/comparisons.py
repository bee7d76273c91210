"""What pairs say: how often one of two wins, strengths of all, and whether the left side wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse.csgraph import connected_components

from vaejax.checks import check_choice, check_unmasked
from vaejax.human.intervals import Entry, imported, over_raters, proportion
from vaejax.types import Array, Progress

__all__ = ["bradley_terry", "position_bias", "win_rate"]


def win_rate(wins: int, losses: int, ties: int = 0, *, count_ties: str = "half") -> Entry:
    """How often one of two is preferred, with Wilson's interval; see `proportion`.

    Args:
      wins: how often it was preferred.
      losses: how often the other was.
      ties: how often neither was.
      count_ties: "half", each is half a win, or "drop".
    """
    check_choice(count_ties, ("half", "drop"), "count_ties")
    share = 0.5 if count_ties == "half" else 0.0
    n = wins + losses + (ties if share else 0)
    return proportion(wins + share * ties, n)


def position_bias(left: int, right: int) -> Entry:
    """How often the left side wins, ties left out: {"mean", "ci95", "n", "p"}, p of the exact test of 1/2.

    Args:
      left: how often the left one was preferred.
      right: how often the right one was.
    """
    p = float(stats.binomtest(left, left + right).pvalue) if left + right else None
    return {**proportion(left, left + right), "p": p}


def bradley_terry(
    key: Array, wins: np.ndarray, names: Sequence[str], *, pseudo_wins: float = 0.5, resamples: int = 1000,
    progress: Progress = iter,
) -> dict[str, Entry]:  # fmt: skip
    """Strengths s of the Bradley-Terry model, P(i beats j) = s_i / (s_i + s_j), by maximum likelihood.

    Their geometric mean is 1. Intervals are of a bootstrap over raters, `over_raters`.

    Args:
      key: typed PRNG key.
      wins: [R, S, S], how often each rater preferred i to j; a tie is half a win of each.
      names: of the S systems.
      pseudo_wins: added to both sides of each pair that was compared, so that a system that always wins has
        a finite strength. 0: it is refused.
      resamples: of the bootstrap.
      progress: wraps their range.

    Returns:
      {name: {"mean": s, "ci95": [low, high]}}; the ends are None of one rater, and without pseudo-wins.

    Raises:
      ValueError: bad counts; systems that no chain of comparisons joins, named in groups; without
        pseudo-wins, a group that never lost to the others.

    Source: Bradley & Terry 1952, doi 10.2307/2334029; Maystre & Grossglauser 2015, arXiv 1505.00628 section 2
    (the algorithm, of the package choix).
    """
    check_unmasked(wins, "wins")
    wins = np.asarray(wins, float)
    if wins.ndim != 3 or wins.shape[1:] != (len(names),) * 2 or len(names) < 2 or not len(wins):
        raise ValueError(f"wins: expected [R, S, S] of {len(names)} systems, got {wins.shape}")
    if not (np.isfinite(wins).all() and (wins >= 0).all() and np.isfinite(pseudo_wins) and pseudo_wins >= 0):
        raise ValueError("wins, pseudo_wins: expected finite numbers of at least 0")
    total = wins.sum(axis=0)
    compared = (total + total.T) > 0
    np.fill_diagonal(compared, val=False)
    _check_joined(compared, names, "weak", "systems that comparisons join")
    added = pseudo_wins * compared
    if not pseudo_wins:
        _check_joined(total > 0, names, "strong", "every group to win and to lose, or pseudo_wins above 0")
    choix = imported("choix")

    def strengths(counts: np.ndarray) -> np.ndarray:
        log_s = choix.ilsr_pairwise_dense(counts + added)
        return log_s - log_s.mean()

    def resampled(weights: np.ndarray) -> np.ndarray:
        return strengths(np.tensordot(weights, wins, 1))

    found, ends = np.exp(strengths(total)), None
    if pseudo_wins:  # without them a resample may lack what joins its systems
        ends = over_raters(key, len(wins), resampled, resamples=resamples, progress=progress)
    limits = [[None, None]] * len(names) if ends is None else np.exp(ends).T.tolist()
    return {name: {"mean": float(s), "ci95": ci} for name, s, ci in zip(names, found, limits, strict=True)}


def _check_joined(joined: np.ndarray, names: Sequence[str], connection: Any, expected: str) -> None:
    """Raise unless the graph is one component."""
    number, of = connected_components(joined, connection=connection)
    if number > 1:
        groups = [[name for name, i in zip(names, of, strict=True) if i == c] for c in range(number)]
        raise ValueError(f"wins: expected {expected}, got the groups {groups}")
