"""Numbers of models against a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation

from vaejax.checks import check_positive_int
from vaejax.plots.panels import interval, legend, panels
from vaejax.plots.style import INK, NORMAL, PALETTE, PLAIN, SMALL, check_mapping, model_colors, with_unit

_STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # line and marker, when colours come again
_WIDTH = 3.3  # of a panel, inches

_BAR: dict[str, Any] = {"linestyle": "", "marker": "|", "markersize": 9, "markeredgewidth": 1.5}
_CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": 6, "markeredgewidth": 1.5}


def sweep_curves(
    scores: Mapping[str, Mapping[str, Mapping[Any, Mapping[str, Any]]]],
    field: str,
    *,
    units: Mapping[str, str] | str = "",
    columns: int = 2,
    colors: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw scores against a setting: a panel per metric, a line per label, means with 95 % intervals.

    The values are the ticks. Numbers lie on a linear axis, on a logarithmic one where the largest is at least
    ten times the smallest (linear around zero where a value is zero or less). Where a value is no finite
    number (a text, None, a bool), all are categories, in order of first appearance and without lines between
    them. Labels stand a few points apart, so that intervals at one value do not cover each other.

    Args:
      scores: {metric: {label: {value: {"mean": m, "ci95": (low, high)}}}}; "ci95" is None, (None, None) or
        NaN where one seed leaves it undefined; a label may lack some values. An entry {"missing": why}, as of
        a training that diverged, is a cross at the foot of the panel.
      field: the name of the setting.
      units: one unit for all metrics, or {metric: unit}; metrics it does not name have none.
      columns: panels in a row.
      colors: {label: colour}; by default those of `model_colors`, from its eleventh label on again with other
        lines and markers.

    Returns:
      A Figure with one panel per metric and one legend.

    Raises:
      ValueError: no scores or values, an entry without the two numbers, or an interval that misses its mean.
    """
    check_mapping(scores, "scores")
    check_positive_int(columns, "columns")
    for metric, per_label in scores.items():
        check_mapping(per_label, f"scores[{metric!r}]")
    labels = list(dict.fromkeys(chain.from_iterable(scores.values())))
    places, numeric = _places(scores)
    styles = _styles(labels, colors, numeric)
    gap = min(4.0, 12.0 / max(1, len(labels) - 1))  # points between two labels
    figure, grid = panels(len(scores), columns, _WIDTH, 2.3)
    bars, missing = False, dict[str, None]()
    for axes, (metric, per_label) in zip(grid, scores.items(), strict=True):
        for label, points in per_label.items():
            shift = gap * (labels.index(label) - (len(labels) - 1) / 2)
            known = {v: e for v, e in points.items() if "missing" not in e}
            bars |= _line(axes, known, places, styles[label], shift, f"scores[{metric!r}][{label!r}]")
            lost = {v: e["missing"] for v, e in points.items() if "missing" in e}
            _crosses(axes, [places[v] for v in lost], styles[label]["color"], shift)
            missing |= dict.fromkeys(lost.values())
        _dress(axes, places, numeric)
        axes.set_xlabel(field, fontsize=NORMAL, color=INK, **PLAIN)
        axes.set_ylabel(with_unit(metric, units), fontsize=NORMAL, color=INK, **PLAIN)
    figure.align_ylabels(grid)
    handles = [Line2D([], [], label=label, **style) for label, style in styles.items()]
    if bars:
        handles.append(Line2D([], [], color="0.4", label="95 % interval", **_BAR))
    if missing:
        handles.append(Line2D([], [], color="0.4", label=", ".join(missing), **_CROSS))
    legend(figure, handles)
    return figure


def _places(
    scores: Mapping[str, Mapping[str, Mapping[Any, Mapping[str, Any]]]],
) -> tuple[dict[Any, float], bool]:
    """Where each value of the setting lies, and whether all are numbers, which lie at themselves."""
    points = chain.from_iterable(per_label.values() for per_label in scores.values())
    values = list(dict.fromkeys(chain.from_iterable(points)))
    if not values:
        raise ValueError("scores: expected at least one value of the setting, got none")
    if all(_is_number(v) for v in values):
        return {v: float(v) for v in sorted(values)}, True
    return {v: float(i) for i, v in enumerate(values)}, False


def _crosses(axes: Axes, at: Sequence[float], color: Any, shift: float) -> None:
    """Crosses at the foot of the panel, `shift` points to the right; whole at its edge too."""
    if at:
        offset = ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
        transform = axes.get_xaxis_transform() + offset
        axes.plot(at, [0.04] * len(at), color=color, transform=transform, clip_on=False, **_CROSS)


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _styles(
    labels: Sequence[str], colors: Mapping[str, Any] | None, lines: bool
) -> dict[str, dict[str, Any]]:
    """How each label is drawn: its colour, marker and, between numbers, line."""
    n = len(PALETTE)
    if colors is None:
        palette = {label: PALETTE[i % n] for i, label in enumerate(labels)}
    else:
        palette = model_colors(labels, colors)
    styles = {}
    for i, label in enumerate(labels):
        line, marker = _STYLES[i // n % len(_STYLES)]
        styles[label] = {
            "color": palette[label], "linestyle": line if lines else "", "linewidth": 1.2,
            "marker": marker, "markersize": 4,
        }  # fmt: skip
    return styles


def _line(
    axes: Axes,
    points: Mapping[Any, Mapping[str, Any]],
    places: Mapping[Any, float],
    style: Mapping[str, Any],
    shift: float,
    name: str,
) -> bool:
    """Draw means and intervals of one label, `shift` points to the right; say whether it has intervals."""
    at = [v for v in places if v in points]
    x = np.array([places[v] for v in at])
    mean, low, high = np.array([interval(points[v], f"{name}[{v!r}]") for v in at]).reshape(-1, 3).T
    (line,) = axes.plot(x, mean, **style)
    known = ~np.isnan(low + high)
    bars = axes.vlines(x[known], low[known], high[known], color=style["color"], linewidth=1.5, alpha=0.6)
    # set afterwards: the limits are those of the data
    moved = axes.transData + ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
    line.set_transform(moved)
    bars.set_transform(moved)
    return bool(known.any())


def _dress(axes: Axes, places: Mapping[Any, float], numeric: bool) -> None:
    """The axis of the setting: its scale, and a tick at every value."""
    at = np.array(list(places.values()))
    sizes = np.abs(at[at != 0])
    if not numeric:
        axes.set_xlim(-0.6, len(at) - 0.4)
    elif sizes.size and sizes.max() >= 10 * sizes.min():
        if at.min() > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=sizes.min())
    axes.margins(x=0.08)
    texts = [f"{v:g}" if isinstance(v, float) else str(v) for v in places]
    along = np.sort(axes.xaxis.get_transform().transform(at))
    room = 0.7 * 72 * _WIDTH * np.diff(along).min(initial=np.inf) / max(np.ptp(along), 1e-12)
    slant: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    crowded = room < 5 * max(map(len, texts))  # points
    axes.set_xticks(at, texts, fontsize=SMALL, color=INK, **PLAIN, **(slant if crowded else {}))
    axes.xaxis.set_minor_locator(NullLocator())
