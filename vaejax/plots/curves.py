"""Numbers over steps, and numbers of models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import ArrayLike

from vaejax.checks import check_positive_int
from vaejax.plots.panels import interval, legend, panels
from vaejax.plots.style import INK, NORMAL, PLAIN, SMALL, called, check_mapping, model_colors, with_unit
from vaejax.plots.ticks import log_axis

SLANT = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}  # of labels that have no room
GREY: dict[str, Any] = {"color": "0.4", "linestyle": ""}  # of marks of any model


def _smooth(curve: np.ndarray, window: int) -> np.ndarray:
    """Centred moving average [n] -> [n]; at the ends over the part of the window that exists."""
    ones, start = np.ones(window), (window - 1) // 2
    total = np.convolve(curve, ones)[start : start + len(curve)]
    return total / np.convolve(np.ones(len(curve)), ones)[start : start + len(curve)]


def _check_curve(value: ArrayLike, name: str, yscale: str = "linear") -> np.ndarray:
    """A curve as [seeds, n]."""
    array = np.asarray(value, dtype=float)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"{name}: expected shape [n] or [seeds, n], not empty; got {array.shape}")
    if yscale == "log" and (array <= 0).any():
        raise ValueError(f"{name}: expected values > 0 on a log scale, got {np.nanmin(array):.4g}")
    return np.atleast_2d(array)


def _check_steps(
    steps: Mapping[str, ArrayLike] | None, label: str, per_metric: Mapping[str, ArrayLike], n: int
) -> np.ndarray:
    """The step of each of a curve's n points, [n]: from `steps`, else the label's "step", else 0..n-1."""
    if steps is not None and label in steps:
        at, name = np.asarray(steps[label]), f"steps[{label!r}]"
    elif "step" in per_metric:
        name = f"{called('curves', label)}['step']"
        rows = _check_curve(per_metric["step"], name)
        at = rows[0]
        if (rows != at).any():
            raise ValueError(f"{name}: expected numbers, the same in every row, got rows that differ or NaN")
    elif steps is None:
        return np.arange(n)
    else:
        raise ValueError(f"steps: expected one array per label of curves, got none for {label!r}")
    if at.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), as its curves have, got {at.shape}")
    return at


def _dress(axes: Axes, ylabel: str, yscale: str) -> None:
    """The two axes of a panel of curves: names, scale and ticks."""
    if yscale == "log":
        log_axis(axes, "y")
    axes.set_xlabel("step", fontsize=NORMAL, color=INK)
    axes.set_ylabel(ylabel, fontsize=NORMAL, color=INK, **PLAIN)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(x=0.02)


def _by_label(curves: Mapping[str, Any]) -> Mapping[str, Mapping[str, ArrayLike]]:
    """{label: {metric: curve}}; metrics alone are those of a model without a name."""
    check_mapping(curves, "curves")
    if not any(isinstance(of, Mapping) for of in curves.values()):
        return {"": curves}
    for label, of in curves.items():
        check_mapping(of, f"curves[{label!r}]")
    return curves


def training_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]] | Mapping[str, ArrayLike],
    *,
    metrics: Sequence[str] | None = None,
    steps: Mapping[str, ArrayLike] | None = None,
    smooth: int | None = None,
    units: Mapping[str, str] | str = {},
    yscale: str = "linear",
    columns: int = 3,
    colors: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw metrics over training steps: a panel per metric, a colour per label.

    The raw curve of every seed is thin and light; the mean over seeds, smoothed, is bold. Points
    that are not finite are gaps. Where curves are smoothed, a panel shows the range of the bold ones
    and some more: raw points beyond it are cut off.

    Args:
      curves: {label: {metric: [n] or [seeds, n]}}, as `train.fit` returns in `metrics`; a label may
        lack some metrics. Or the metrics of one model without a name, as `fit.metrics`. An entry "step", [n]
        or the same [n] for every seed, is no metric but the step of each of the label's points.
      metrics: which, in order; by default all, as they first appear.
      steps: {label: [n]}, the step of each point; goes before the label's "step". A label has one of
        the two, or `steps` is None and its points are at 0, 1, ....
      smooth: points in the centred moving average, shortened at the ends; 1 is none, None a fiftieth of them.
      units: one unit for all metrics, or {metric: unit}; metrics it does not name have none, the default.
      yscale: "linear" or "log".
      columns: panels in a row.
      colors: {label: colour}; see `model_colors`.

    Returns:
      A Figure with one panel per metric and one legend.

    Raises:
      ValueError: no curves, a metric that no label has, "step" as a metric, seeds whose "step" differ,
        or shapes that do not fit.
    """
    curves = _by_label(curves)
    if smooth is not None:
        check_positive_int(smooth, "smooth")
    check_positive_int(columns, "columns")
    if yscale not in ("linear", "log"):
        raise ValueError(f"yscale: expected 'linear' or 'log', got {yscale!r}")
    known = [name for name in dict.fromkeys(chain.from_iterable(curves.values())) if name != "step"]
    names = known if metrics is None else list(metrics)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"metrics: expected some of {known}, got {unknown or names}")
    palette = model_colors(curves, colors)
    figure, grid = panels(len(names), columns, 3.3, 2.3)
    for axes, metric in zip(grid, names, strict=True):
        of = {label: per_metric for label, per_metric in curves.items() if metric in per_metric}
        bold = _lines(axes, metric, of, steps, smooth, yscale, palette)
        _dress(axes, with_unit(metric, units), yscale)
        if bold is not None:
            _frame(axes, bold)
    figure.align_ylabels(grid)
    handles = [Line2D([], [], color=palette[label], linewidth=1.5, label=label) for label in curves]
    legend(figure, handles)
    return figure


def _lines(
    axes: Axes,
    metric: str,
    curves: Mapping[str, Mapping[str, ArrayLike]],
    steps: Mapping[str, ArrayLike] | None,
    smooth: int | None,
    yscale: str,
    palette: Mapping[str, Any],
) -> np.ndarray | None:
    """Draw a metric of every label; the points of all bold lines, None where no line is smoothed."""
    bold, smoothed = [], False
    for label, per_metric in curves.items():
        raw = _check_curve(per_metric[metric], f"{called('curves', label)}[{metric!r}]", yscale)
        at, window = (
            _check_steps(steps, label, per_metric, raw.shape[1]),
            smooth or max(1, raw.shape[1] // 50),
        )
        # The light lines of all labels lie below the bold ones of all labels.
        faint = min(0.25, 150 / raw.shape[1])  # many points lie on one another, and darken
        axes.plot(at, raw.T, color=palette[label], linewidth=0.5, alpha=faint, zorder=1.5)
        bold.append(_smooth(raw.mean(axis=0), window))
        axes.plot(at, bold[-1], color=palette[label], linewidth=1.5)
        smoothed |= window > 1
    return np.concatenate(bold) if smoothed else None


def _frame(axes: Axes, shown: np.ndarray) -> None:
    """Set the range of y to that of the finite points shown, and a quarter more at either end."""
    shown, scale = shown[np.isfinite(shown)], axes.yaxis.get_transform()
    if shown.size and shown.min() < shown.max():
        ends = scale.transform(np.array([shown.min(), shown.max()]))
        low, high = scale.inverted().transform(ends + np.array([-0.25, 0.25]) * np.diff(ends))
        axes.set_ylim(float(low), float(high))


def score_comparison(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    references: Mapping[str, Mapping[str, float]] | None = None,
    reference_label: str = "reported",
    units: Mapping[str, str] | str = "",
    columns: int = 3,
    colors: Mapping[str, Any] | None = None,
) -> Figure:
    """Compare models by scores: every seed a point, the mean and its 95 % interval beside them.

    Args:
      scores: {metric: {label: {"mean": m, "ci95": (low, high), "per_seed": [seeds]}}}; "ci95" is
        None, (None, None) or NaN where one seed leaves it undefined.
      references: {metric: {label: value}}, drawn as a dashed line across that label's place.
      reference_label: what the legend calls them.
      units: one unit for all metrics, or {metric: unit}; metrics it does not name have none.
      columns: panels in a row.
      colors: {label: colour}; see `model_colors`.

    Returns:
      A Figure with one panel per metric and one legend.

    Raises:
      ValueError: no scores, an entry without the three numbers, an interval that misses its mean,
        or a reference for a metric or label that has no score.
    """
    check_mapping(scores, "scores")
    check_positive_int(columns, "columns")
    references = references or {}
    for metric, per_label in references.items():
        missing = [label for label in per_label if label not in scores.get(metric, {})]
        if missing:
            raise ValueError(f"references[{metric!r}]: expected labels that have a score, got {missing}")
    labels = list(dict.fromkeys(label for per_label in scores.values() for label in per_label))
    palette = model_colors(labels, colors)
    width = max(3.0, 0.6 + 0.5 * len(labels))  # inches
    slant: dict[str, Any] = SLANT if 0.08 * max(map(len, labels)) > (width - 0.8) / len(labels) else {}
    figure, grid = panels(len(scores), columns, width, 3.2 if slant else 2.8)
    for axes, (metric, per_label) in zip(grid, scores.items(), strict=True):
        for label, entry in per_label.items():
            place, color = labels.index(label), palette[label]
            _score(axes, place, entry, color, f"scores[{metric!r}][{label!r}]")
            if label in references.get(metric, {}):
                value = references[metric][label]
                axes.hlines(value, place - 0.4, place + 0.4, color=INK, linestyle=(0, (3, 2)), linewidth=1.0)
        axes.set_xticks(range(len(labels)), labels, fontsize=SMALL, color=INK, **PLAIN, **slant)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_ylabel(with_unit(metric, units), fontsize=NORMAL, color=INK, **PLAIN)
        _one_tick(axes)
    handles = [
        Line2D([], [], marker="o", markersize=4, alpha=0.5, label="seed", **GREY),
        Line2D([], [], marker="D", markersize=5, label="mean, 95 % interval", **GREY),
    ]
    if references:
        handles.append(Line2D([], [], color=INK, linestyle=(0, (3, 2)), linewidth=1.0, label=reference_label))
    legend(figure, handles)
    return figure


def _one_tick(axes: Axes) -> None:
    """Where all is one number, no other stands at the axis."""
    if np.ptp(axes.dataLim.intervaly) == 0:
        axes.set_yticks(axes.dataLim.intervaly[:1])


def _score(axes: Axes, place: int, entry: Mapping[str, Any], color: Any, name: str) -> None:
    """Seeds to the left of `place`, the mean and its interval to the right."""
    mean, low, high = interval(entry, name, ("mean", "ci95", "per_seed"))
    seeds = np.asarray(entry["per_seed"], dtype=float)
    if seeds.ndim != 1 or seeds.size == 0:
        raise ValueError(f"{name}['per_seed']: expected shape [seeds], not empty; got {seeds.shape}")
    if not np.isnan([low, high]).any():
        axes.vlines(place + 0.15, low, high, color=color, linewidth=1.8)
    # Spread in the order given, not at random: the same report gives the same picture.
    spread = np.linspace(-0.28, -0.06, seeds.size) if seeds.size > 1 else np.array([-0.17])
    axes.plot(place + spread, seeds, "o", color=color, markersize=3.5, alpha=0.5, markeredgewidth=0)
    axes.plot([place + 0.15], [mean], "D", color=color, markersize=5)
