"""What a score of disentanglement is: a number, its parts, and what is to be known beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Score(NamedTuple):
    """A score with the parts that it averages; its value is never nan."""

    value: float
    parts: np.ndarray  # one per factor (MIG) or per code (modularity); nan where left out of the average
    degenerate: bool  # nothing to measure, and the value is 0 by convention
    active_units: int | None = None  # codes that took part, for scores that leave out constant ones
    library: str = ""  # what fitted a classifier, with its version
