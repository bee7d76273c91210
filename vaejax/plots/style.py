"""What all figures share: colours, sizes, axes, and writing a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaejax.files import expanded

DPI = 150
SMALL, NORMAL, LARGE = 8, 9, 10  # font sizes, points: ticks, axis labels, titles
# for text that users give: a $ in it is a dollar, and two are no formula
PLAIN: dict[str, Any] = {"parse_math": False}
INK, RULE, GRID = "0.15", "0.7", "0.92"  # greys: text, frames and spines, grid lines

# Okabe & Ito's colours, which survive colour blindness, without their yellow (too pale for a line).
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#333333",
    "#8C564B",
    "#7A7A00",
    "#999999",
)


def model_colors(labels: Iterable[str], colors: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give every label its colour: the given one, else the palette's by order of first appearance.

    Where several figures show different subsets of models, call this once with all labels and pass
    the result as `colors` to each figure.

    Args:
      labels: names of models.
      colors: {label: matplotlib colour}; must name every label when given.

    Returns:
      {label: colour}, one per distinct label.

    Raises:
      ValueError: a label without a colour, or more labels than the palette has colours.
    """
    distinct = list(dict.fromkeys(labels))
    if colors is None:
        if len(distinct) > len(PALETTE):
            raise ValueError(
                f"labels: expected at most {len(PALETTE)} (the palette), got {len(distinct)}; pass `colors`"
            )
        return dict(zip(distinct, PALETTE, strict=False))
    missing = [label for label in distinct if label not in colors]
    if missing:
        raise ValueError(f"colors: expected a colour for every label, got none for {missing}")
    return {label: colors[label] for label in distinct}


def check_mapping(value: Any, name: str) -> None:
    """Raise unless `value` is a mapping with at least one entry."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: expected a mapping from labels, got {type(value).__name__}")
    if not value:
        raise ValueError(f"{name}: expected at least one entry, got none")


def named(value: Any, name: str) -> dict[str, Any]:
    """What figures of models take: {label: v}, or one v, which is that of a model without a name, ""."""
    if not isinstance(value, Mapping):
        return {"": value}
    check_mapping(value, name)
    return dict(value)


def called(name: str, label: str) -> str:
    """How an error names the value of a label in an argument that `named` has read."""
    return f"{name}[{label!r}]" if label else name


def new_figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """An empty white figure of the given size in inches; "compressed" suits axes of fixed aspect."""
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def plain_axes(axes: Axes) -> None:
    """Left and bottom spines only, faint horizontal lines, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(which="both", labelsize=SMALL, length=3, color=RULE, labelcolor=INK)
    axes.grid(axis="y", which="both", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def with_unit(metric: str, units: Mapping[str, str] | str) -> str:
    """`metric (unit)`; `units` is one unit for all metrics or {metric: unit}; "" is no unit."""
    unit = units if isinstance(units, str) else units.get(metric, "")
    return f"{metric} ({unit})" if unit else metric


def save(figure: Figure, path: str | os.PathLike[str], *, note: str = "") -> Path:
    """Write the figure as a png (150 dpi, tight) and make the folders it needs.

    Args:
      figure: any of this package's figures.
      path: the file to write; its name ends in .png.
      note: a line for the foot of the figure, such as the seeds that it shows.

    Returns:
      The path written.

    Raises:
      ValueError: the name does not end in .png.
    """
    path = expanded(path, "path")
    if path.suffix != ".png":
        raise ValueError(f"path: expected a name ending in .png, got {str(path)!r}")
    if note:
        figure.set_figheight(figure.get_figheight() + 0.22)  # inches, for its line
        figure.supxlabel(note, x=0.99, ha="right", fontsize=SMALL, color="0.4", **PLAIN)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.06)
    return path
