"""What the figures of numbers share: rows of panels, one legend, a mean with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaejax.plots.style import INK, NORMAL, PLAIN, new_figure, plain_axes


def panels(n: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of n panels of the given size in inches, `columns` in a row."""
    across = min(columns, n)
    down = math.ceil(n / across)
    figure = new_figure(across * width, down * height + 0.4)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[n:]:
        axes.remove()
    for axes in grid[:n]:
        plain_axes(axes)
    return figure, list(grid[:n])


def legend(figure: Figure, handles: list[Line2D]) -> None:
    """One legend for all panels, above them, in as many columns as the figure's width takes."""
    handles = [handle for handle in handles if handle.get_label()]  # a model without a name has none
    if not handles:
        return
    longest = max(len(str(handle.get_label())) for handle in handles)
    across = int(figure.get_figwidth() / (0.6 + 0.075 * longest))
    made = figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=max(1, min(across, len(handles))),
        frameon=False,
        fontsize=NORMAL,
        labelcolor=INK,
    )
    for text in made.get_texts():
        text.update(PLAIN)


def interval(
    entry: Mapping[str, Any], name: str, fields: Sequence[str] = ("mean", "ci95")
) -> tuple[float, float, float]:
    """(mean, low, high) of an entry that has the fields; low and high are NaN where "ci95" is undefined.

    Raises:
      ValueError: a field that is missing, or an interval that is no pair or misses its mean.
    """
    missing = [field for field in fields if field not in entry]
    if missing:
        expected = f"{', '.join(fields[:-1])} and {fields[-1]}"
        raise ValueError(f"{name}: expected {expected}, got no {', '.join(missing)}")
    mean = float(entry["mean"])
    ends = np.asarray((np.nan, np.nan) if entry["ci95"] is None else entry["ci95"], dtype=float)
    if ends.shape != (2,):
        raise ValueError(f"{name}['ci95']: expected (low, high), got shape {ends.shape}")
    low, high = map(float, ends)
    if not (math.isnan(low) or math.isnan(high) or low <= mean <= high):
        raise ValueError(
            f"{name}['ci95']: expected low <= mean = {mean:.6g} <= high, got ({low:.6g}, {high:.6g})"
        )
    return mean, low, high
