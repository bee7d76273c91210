"""Ticks of logarithmic axes."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator

__all__ = ["log_axis", "log_ticks"]

_LEAST, _MOST = 3, 7


def log_ticks(low: float, high: float) -> np.ndarray:
    """Round numbers of [low, high], 0 < low < high: powers of ten; between them more where three need it.

    Where even 1, 2, .., 9 times a power of ten are fewer than three, they are steps of equal size.
    """
    powers = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for leading in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        at = np.outer(powers, leading).ravel()
        at = at[(at >= low * (1 - 1e-9)) & (at <= high * (1 + 1e-9))]
        if len(at) >= _LEAST:
            return at[:: math.ceil(len(at) / _MOST)]
    for bins in (4, 6, 9, 12):
        at = np.asarray(MaxNLocator(bins).tick_values(low, high))
        at = at[(at >= low) & (at <= high)]
        if len(at) >= _LEAST:
            break
    return at


class _Log(Locator):
    """`log_ticks` of what is in view."""

    def __call__(self) -> np.ndarray:
        assert self.axis is not None
        return self.tick_values(*sorted(self.axis.get_view_interval()))

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        return log_ticks(vmin, vmax) if 0 < vmin < vmax else np.array([])


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with three ticks or more in whatever range it shows, and plain numbers."""
    scale: dict[str, Any] = {f"{which}scale": "log"}
    axes.set(**scale)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(_Log())
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
