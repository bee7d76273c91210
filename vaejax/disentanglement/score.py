"""What a score of disentanglement is: a number, its parts, and what is to be known beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_LONGEST = 200  # letters of a reason


class Score(NamedTuple):
    """A score with the parts that it averages; its value is nan only where `missing` says why."""

    value: float
    parts: np.ndarray  # one per factor (MIG) or per code (modularity); nan where left out of the average
    degenerate: bool  # nothing to measure, and the value is 0 by convention
    active_units: int | None = None  # codes that took part, for scores that leave out constant ones
    library: str = ""  # what fitted a classifier, with its version
    missing: str = ""  # why the score could not be taken, among others that could; "" where it was


def missing(error: Exception) -> Score:
    """What stands in the place of a score that could not be taken, while others stand."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    if len(reason) > _LONGEST:
        reason = f"{reason[:_LONGEST]} ..."
    return Score(float("nan"), np.zeros(0), False, missing=reason)
