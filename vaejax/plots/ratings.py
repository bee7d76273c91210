"""What raters said of systems: strengths, levels of a scale, and real told from generated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vaejax.plots.panels import interval, legend, panels
from vaejax.plots.style import GRID, INK, LARGE, NORMAL, PLAIN, SMALL, check_mapping, model_colors
from vaejax.plots.ticks import log_axis

WHERE = {"axis": "x", "which": "both", "color": GRID, "linewidth": 0.8}


def ratings(
    report: Mapping[str, Any], *, columns: int = 3, colors: Mapping[str, Any] | None = None
) -> Figure:
    """Draw what `human.report` found, a panel for each question, a line for each system.

    Of pairs: Bradley-Terry strengths, 1 their geometric mean. Of "likert": the share of each level, and the
    median's level by its number. Of "turing": balanced accuracy, .5 by guessing. Intervals are of 95 %.

    Args:
      report: from `human.report`.
      columns: panels in a row.
      colors: {system: colour}; see `model_colors`.

    Returns:
      A Figure with one panel for each question.

    Raises:
      TypeError, ValueError: no report, or one without a question.
    """
    check_mapping(report, "report")
    drawn: list[tuple[str, list[str], Callable[[Axes, Mapping[str, Any]], None]]] = []
    for task in ("ab", "diversity"):
        for name, scores in report.get(task, {}).items():
            of = scores["strengths"]
            drawn.append((f"{name}: strength", list(of), partial(_strengths, of)))
    for name, scores in report.get("likert", {}).items():
        of = scores["systems"]
        drawn.append((f"{name}: share of each level", list(of), partial(_levels, of)))
    for name, scores in report.get("turing", {}).items():
        of = {system: found["balanced_accuracy"] for system, found in scores["systems"].items()}
        drawn.append((f"{name}: told from real", list(of), partial(_told, of)))
    if not drawn:
        raise ValueError("report: expected scores of a question, got none")
    systems = list(dict.fromkeys(system for _, of, _ in drawn for system in of))
    palette = model_colors(systems, colors)
    room = 0.07 * max(map(len, systems))
    figure, grid = panels(len(drawn), columns, 2.8 + room, 1.0 + 0.36 * len(systems))
    for axes, (title, names, draw) in zip(grid, drawn, strict=True):
        draw(axes, palette)
        _dress(axes, title, names)
    if report.get("likert"):
        shades = _shades(len(report["scale"]))
        named = zip(shades, report["scale"], strict=True)
        handles: list[Any] = [
            Patch(facecolor=shade, edgecolor=INK, linewidth=0.5, label=f"{i} {name}")
            for i, (shade, name) in enumerate(named, 1)
        ]
        legend(figure, handles)
    return figure


def _dress(axes: Axes, title: str, names: list[str]) -> None:
    """The title, and a line for each system, the first on top."""
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left", **PLAIN)
    axes.set_yticks(range(len(names)), names, fontsize=SMALL, color=INK, **PLAIN)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _strengths(of: Mapping[str, Any], axes: Axes, palette: Mapping[str, Any]) -> None:
    log_axis(axes, "x")
    _points(of, axes, palette, 1.0)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.45), max(high, 2.2))
    axes.set_xlabel("Bradley-Terry strength, 1: geometric mean", fontsize=NORMAL, color=INK)


def _told(of: Mapping[str, Any], axes: Axes, palette: Mapping[str, Any]) -> None:
    _points(of, axes, palette, 0.5)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.35), max(high, 1.0))
    axes.set_xlabel("balanced accuracy, .5: by guessing", fontsize=NORMAL, color=INK)


def _points(of: Mapping[str, Any], axes: Axes, palette: Mapping[str, Any], neutral: float) -> None:
    """A mean with its interval for each system, and a dashed line where nothing differs."""
    axes.grid(visible=False, axis="y")
    axes.grid(**WHERE)
    axes.axvline(neutral, color=INK, linewidth=1.0, linestyle=(0, (3, 2)))
    for place, (name, entry) in enumerate(of.items()):
        mean, low, high = interval(entry, name)
        axes.plot([mean], [place], "D", color=palette[name], markersize=5)
        if not np.isnan([low, high]).any():
            axes.hlines(place, low, high, color=palette[name], linewidth=1.8)


def _levels(of: Mapping[str, Any], axes: Axes, palette: Mapping[str, Any]) -> None:
    """Bars of shares, the lowest level at the left; a line at one half, and the median as a number."""
    del palette
    axes.grid(visible=False)
    for place, found in enumerate(of.values()):
        shares = np.asarray(found["counts"], float) / max(1, found["n"])
        starts = np.cumsum(shares) - shares
        axes.barh(
            np.full(len(shares), place),
            shares,
            0.62,
            starts,
            color=_shades(len(shares)),
            edgecolor=INK,
            linewidth=0.5,
        )
        if found["median"] is not None:
            axes.plot([0.5, 0.5], [place - 0.4, place + 0.4], color=INK, linewidth=1.2)
            axes.text(1.02, place, f"{found['median']:g}", va="center", fontsize=SMALL, color=INK)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of answers; at the right the median", fontsize=NORMAL, color=INK)


def _shades(number: int) -> list[Any]:
    """Colours of levels, the lowest dark: they differ in lightness, also without colour."""
    return list(matplotlib.colormaps["cividis"](np.linspace(0.1, 1.0, number)))
