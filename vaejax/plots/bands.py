"""Scores of models along an axis of each model's own: steps, seconds, examples."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from vaejax.checks import check_choice, check_positive_int
from vaejax.plots.panels import legend, panels
from vaejax.plots.style import INK, NORMAL, PLAIN, called, check_mapping, model_colors, named, with_unit
from vaejax.plots.ticks import log_axis


def band_curves(
    curves: Mapping[str, Mapping[str, ArrayLike] | ArrayLike],
    at: Mapping[str, ArrayLike] | ArrayLike,
    xlabel: str,
    *,
    xscale: str = "linear",
    units: Mapping[str, str] | str = "",
    columns: int = 2,
    colors: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw metrics against what was spent: a panel per metric, a line per label, the range of its seeds.

    The line is the mean over seeds, the band reaches from the lowest seed to the highest at each point; with
    one seed there is none. Every label has places of its own, as trainings of different cost have.

    Args:
      curves: {metric: {label: [n] or [seeds, n]}}, or {metric: curve} of one model without a name; a label
        may lack some metrics.
      at: {label: [n]}, where its points lie, in increasing order; [n] of a model without a name.
      xlabel: the name of the horizontal axis, with its unit.
      xscale: "linear" or "log".
      units: one unit for all metrics, or {metric: unit}; metrics it does not name have none.
      columns: panels in a row.
      colors: {label: colour}; see `model_colors`.

    Returns:
      A Figure with one panel per metric and one legend.

    Raises:
      TypeError, ValueError: no curves, a label without places, or shapes that do not fit.
    """
    check_mapping(curves, "curves")
    each = {metric: named(of, f"curves[{metric!r}]") for metric, of in curves.items()}
    where = named(at, "at")
    check_choice(xscale, ("linear", "log"), "xscale")
    check_positive_int(columns, "columns")
    labels = list(dict.fromkeys(chain.from_iterable(each.values())))
    places = {label: _places(where, label, xscale) for label in labels}
    palette = model_colors(labels, colors)
    figure, grid = panels(len(each), columns, 3.6, 2.8)
    banded = False
    for axes, (metric, per_label) in zip(grid, each.items(), strict=True):
        for label, value in per_label.items():
            rows = _rows(value, len(places[label]), called(f"curves[{metric!r}]", label))
            _band(axes, places[label], rows, palette[label])
            banded |= len(rows) > 1
        _dress(axes, xlabel, with_unit(metric, units), xscale)
    figure.align_ylabels(grid)
    handles: list[Any] = [
        Line2D([], [], color=palette[label], linewidth=1.5, label=label) for label in labels
    ]
    if banded:
        handles.append(Patch(color="0.4", alpha=0.25, linewidth=0, label="lowest to highest seed"))
    legend(figure, handles)
    figure.draw_without_rendering()  # the room that ticks have is known after the first drawing
    return figure


def bound_curves(results: Mapping[str, Any]) -> Figure:
    """Draw how the bound tightens with its samples: -L_k against k, a line per label, on a log scale.

    Args:
      results: {label: what `evaluation.marginal_log_likelihood` returned, or a report that holds it}, or
        one of these without a name.

    Raises:
      TypeError, ValueError: no results, or shapes that do not fit.
    """
    check_mapping(results, "results")
    results = {"": results} if "curve_nll" in results else results
    curves = {label: result["curve_nll"] for label, result in results.items()}
    at = {label: result["curve_samples"] for label, result in results.items()}
    return band_curves(
        {"-L\N{LATIN SUBSCRIPT SMALL LETTER K}": curves},
        at,
        "samples k per image",
        xscale="log",
        units="nats",
    )


def _places(at: Mapping[str, ArrayLike], label: str, xscale: str) -> np.ndarray:
    """Where a label's points lie, [n]."""
    if label not in at:
        raise ValueError(f"at: expected an array for every label of curves, got none for {label!r}")
    places = np.asarray(at[label], dtype=float)
    if places.ndim != 1 or places.size == 0 or not (np.diff(places) > 0).all():
        raise ValueError(
            f"{called('at', label)}: expected numbers [n] in increasing order, got {at[label]!r}"
        )
    if xscale == "log" and places[0] <= 0:
        raise ValueError(f"{called('at', label)}: expected values > 0 on a log scale, got {places[0]:.4g}")
    return places


def _rows(value: ArrayLike, n: int, name: str) -> np.ndarray:
    """A curve as [seeds, n]."""
    rows = np.atleast_2d(np.asarray(value, dtype=float))
    if rows.ndim != 2 or rows.shape[1] != n or len(rows) == 0:
        raise ValueError(f"{name}: expected shape [{n}] or [seeds, {n}], as its places, got {rows.shape}")
    return rows


def _band(axes: Axes, x: np.ndarray, rows: np.ndarray, color: Any) -> None:
    """The mean of [seeds, n] over [n] places, and the range of the seeds where there are several."""
    if len(rows) > 1:
        # below the lines of all labels
        axes.fill_between(x, rows.min(0), rows.max(0), color=color, alpha=0.15, linewidth=0, zorder=1.5)
    axes.plot(x, rows.mean(0), color=color, linewidth=1.5, marker="o", markersize=2.5)


def _dress(axes: Axes, xlabel: str, ylabel: str, xscale: str) -> None:
    """The two axes of a panel: names, scale and ticks."""
    if xscale == "log":
        log_axis(axes, "x")
    else:
        whole = all(np.all(np.asarray(line.get_xdata()) % 1 == 0) for line in axes.lines)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
    axes.margins(x=0.02)
    axes.set_xlabel(xlabel, fontsize=NORMAL, color=INK, **PLAIN)
    axes.set_ylabel(ylabel, fontsize=NORMAL, color=INK, **PLAIN)
