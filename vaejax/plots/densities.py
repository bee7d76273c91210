"""Densities in the plane, panel by panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vaejax.plots.style import INK, LARGE, NORMAL, PALETTE, PLAIN, RULE, SMALL, check_mapping, new_figure

CMAP = LinearSegmentedColormap.from_list("density", ["white", PALETTE[5], PALETTE[0], "#00223b"])

Limits = tuple[float, float]
Grid = Mapping[str, Mapping[str, Any]]  # {row: {column: value}}


def density_panels(
    densities: Mapping[str, Mapping[str, ArrayLike]],
    limits: Limits | Mapping[str, Limits],
    *,
    points: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    notes: Mapping[str, Mapping[str, str]] | None = None,
    side: float = 1.1,
) -> Figure:
    """Draw densities of two latents as a table of panels, z_1 to the right and z_2 upwards.

    White is 0, and the shade grows like the square root of the density, so that tails are seen. Each row has
    one scale, set by the largest value of its first panel; what is denser elsewhere in it saturates.

    Args:
      densities: {row: {column: [m, n]}}, on a grid with z_2 along the first axis and z_1 along the second, as
        `np.meshgrid` gives them. A row may lack some columns, but not that of its scale.
      limits: (low, high), of both axes; or {row: (low, high)}.
      points: {row: {column: [N, 2]}}, dots (z_1, z_2) on some of the panels.
      notes: {row: {column: text}}, a short text at the foot of some of the panels.
      side: of a panel, inches.

    Returns:
      A Figure with a panel for each density, row names at the left and column names above.

    Raises:
      TypeError, ValueError: no densities, one that is not a grid of finite numbers >= 0, a row without limits
        or whose first panel is 0, points of another shape, or points and notes of a panel that is not there.
    """
    grids = _grids(densities)
    columns = list(dict.fromkeys(column for row in grids.values() for column in row))
    ranges = {row: _limits(limits, row) for row in grids}
    dots = {place: _dots(value, place) for place, value in _cells(points, grids, "points").items()}
    texts = _cells(notes, grids, "notes")
    figure = new_figure(len(columns) * side + 0.4, len(grids) * side + 0.3, "compressed")
    table = figure.subplots(len(grids), len(columns), squeeze=False)
    for line, (row, cells) in zip(table, grids.items(), strict=True):
        top = next(iter(cells.values())).max()
        for axes, column in zip(line, columns, strict=True):
            if column not in cells:
                axes.remove()
                continue
            _panel(axes, cells[column], ranges[row], top, dots.get((row, column)), texts.get((row, column)))
        first = line[columns.index(next(iter(cells)))]
        first.set_ylabel(row, fontsize=NORMAL, color=INK, **PLAIN)
    for i, column in enumerate(columns):
        highest = next(table[r][i] for r, cells in enumerate(grids.values()) if column in cells)
        highest.set_title(column, fontsize=LARGE if side > 1.5 else NORMAL, color=INK, pad=4, **PLAIN)
    return figure


def _grids(densities: Any) -> dict[str, dict[str, np.ndarray]]:
    """Every density as a checked array [m, n]."""
    check_mapping(densities, "densities")
    grids: dict[str, dict[str, np.ndarray]] = {}
    for row, cells in densities.items():
        check_mapping(cells, f"densities[{row!r}]")
        grids[row] = {}
        for column, value in cells.items():
            grid = np.asarray(value, float)
            if grid.ndim != 2 or grid.size == 0 or not np.isfinite(grid).all() or grid.min() < 0:
                raise ValueError(
                    f"densities[{row!r}][{column!r}]: expected a grid [m, n] of finite values >= 0, "
                    f"got shape {grid.shape}, values {grid.min(initial=0):.4g} to {grid.max(initial=0):.4g}"
                )
            grids[row][column] = grid
        column, first = next(iter(grids[row].items()))
        if first.max() == 0:
            raise ValueError(f"densities[{row!r}][{column!r}]: expected a value > 0, its row's scale; got 0")
    return grids


def _limits(limits: Limits | Mapping[str, Limits], row: str) -> Limits:
    if isinstance(limits, Mapping) and row not in limits:
        raise ValueError(f"limits: expected (low, high) for every row, got none for {row!r}")
    low, high = limits[row] if isinstance(limits, Mapping) else limits
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"limits: expected finite (low, high) with low < high, got ({low}, {high})")
    return low, high


def _cells(values: Grid | None, grids: Grid, name: str) -> dict[tuple[str, str], Any]:
    """{(row, column): value}; ValueError for a panel that is not there."""
    found = {(row, column): v for row, cells in (values or {}).items() for column, v in cells.items()}
    for row, column in found:
        if column not in grids.get(row, {}):
            raise ValueError(f"{name}: expected panels of densities, got {row!r}, {column!r}, which is none")
    return found


def _dots(value: ArrayLike, place: tuple[str, str]) -> np.ndarray:
    at = np.asarray(value, float)
    if at.ndim != 2 or at.shape[1] != 2:
        raise ValueError(f"points[{place[0]!r}][{place[1]!r}]: expected shape [N, 2], got {at.shape}")
    return at


def _panel(
    axes: Axes, grid: np.ndarray, limits: Limits, top: float, points: np.ndarray | None, note: str | None
) -> None:
    axes.imshow(
        grid,
        cmap=CMAP,
        norm=PowerNorm(0.5, 0.0, top),
        extent=(*limits, *limits),
        origin="lower",
        interpolation="bilinear",
    )
    if points is not None:
        axes.plot(
            *points.T, "o", color=PALETTE[1], markersize=2.5, markeredgecolor="white", markeredgewidth=0.3
        )
    if note is not None:
        made = axes.text(0.5, 0.03, note, transform=axes.transAxes, ha="center", va="bottom", **PLAIN)
        made.set(
            fontsize=SMALL, color=INK, bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.8, "linewidth": 0}
        )
    axes.set(xlim=limits, ylim=limits, xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=RULE, linewidth=0.5)  # whatever rcParams say
