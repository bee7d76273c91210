"""Grids of images: data, samples, reconstructions and interpolations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vaejax.checks import check_positive_int, check_unmasked
from vaejax.plots.cells import (
    GAP,
    Limits,
    cell_inches,
    check_same_image,
    draw_image,
    finish_panel,
    label_inches,
    places,
    to_unit,
)
from vaejax.plots.style import INK, LARGE, NORMAL, PLAIN, SMALL, called, named, new_figure

ACROSS = 24  # images across a figure of several grids
APART = 0.4  # between groups of columns, in widths of an image


def table(
    rows: np.ndarray, tops: np.ndarray, labels: Sequence[str], *, right: float = 0.0, below: float = 0.0,
    lefts: np.ndarray | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """A figure of one panel: images [R, columns, H, W, C], row r at tops[r], column c at lefts[c].

    `labels` will stand at the left; `right` and `below` are inches of room for other text.
    """
    height, cell = rows.shape[-3] / rows.shape[-2], cell_inches(rows.shape)
    lefts = places(rows.shape[1], 1) if lefts is None else lefts
    width, bottom = lefts[-1] + 1, tops[-1] + height
    figure = new_figure(
        width * cell + label_inches(labels) + right + 0.1, bottom * cell + below + 0.15, "compressed"
    )
    axes = figure.subplots()
    for top, row in zip(tops, rows, strict=True):
        for left, image in zip(lefts, row, strict=True):
            draw_image(axes, image, left, top)
    finish_panel(axes, width, bottom)
    return figure, axes


def image_grid(
    images: Mapping[str, ArrayLike] | ArrayLike,
    *,
    columns: int = 8,
    titles: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    limits: Limits = None,
) -> Figure:
    """Show images row by row: a grid for every label, side by side as many as have room.

    Args:
      images: {label: [n, H, W, C]}, or one array without a name; C of 1 (grey) or 3 (RGB), n may differ.
      columns: images in a row of a grid; the last row may be shorter.
      titles: {label: n short texts}, or those of the one array, written above the images.
      limits: (black, white); by default (0, 255) for uint8 (so 0/1 images kept as uint8 need (0, 1)),
        else (0, 1). Values beyond limits that are given saturate; beyond the default ones they raise.

    Returns:
      A Figure with one panel per label, the label above it.

    Raises:
      ValueError: no label, images of another shape or outside the default limits, `columns` below 1, or
        a number of titles other than n.
    """
    check_positive_int(columns, "columns")
    given = named(images, "images")
    shown = {k: to_unit(v, called("images", k), "n H W C", limits) for k, v in given.items()}
    first = next(iter(shown.values()))
    above = {} if titles is None else named(titles, "titles")
    for label, block in shown.items():
        check_same_image(first, block, called("images", label))
        if titles is not None and len(above.get(label, ())) != len(block):
            got = len(above.get(label, ()))
            raise ValueError(f"{called('titles', label)}: expected {len(block)}, one per image, got {got}")
    columns = min(columns, max(map(len, shown.values())))
    across = max(1, min(len(shown), ACROSS // columns))
    down, rows = math.ceil(len(shown) / across), math.ceil(max(map(len, shown.values())) / columns)
    cell = cell_inches(first.shape, 96 if across * columns <= 10 else 64)
    lift = 0.0 if titles is None else 0.16 / cell  # room for one line of text
    height = first.shape[1] / first.shape[2] + GAP + lift
    figure = new_figure(
        across * (columns * (1 + GAP) * cell + 0.15), down * (rows * height * cell + 0.35), "compressed"
    )
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (label, block) in zip(panels, shown.items(), strict=False):
        _fill(axes, block, rows, columns, above.get(label, ()), lift)
        axes.set_title(label, fontsize=LARGE, color=INK, pad=5, **PLAIN)
    for axes in panels[len(shown) :]:
        axes.remove()
    return figure


def _fill(
    axes: Axes, images: np.ndarray, rows: int, columns: int, titles: Sequence[str], lift: float
) -> None:
    """Lay images [n, H, W, C] out in a panel of rows x columns, `lift` of room for titles above each row."""
    height = images.shape[1] / images.shape[2]
    lefts, tops = places(columns, 1), places(rows, height + lift) + lift
    for i, image in enumerate(images):
        draw_image(axes, image, lefts[i % columns], tops[i // columns])
    for i, text in enumerate(titles):
        left, top = lefts[i % columns], tops[i // columns]
        axes.text(left + 0.5, top - 0.03, text, ha="center", va="bottom", fontsize=SMALL, color=INK, **PLAIN)
    finish_panel(axes, lefts[-1] + 1, tops[-1] + height)


def reconstructions(
    x: ArrayLike, reconstructions: Mapping[str, ArrayLike] | ArrayLike, *, data_label: str = "data",
    limits: Limits = None, groups: Sequence[tuple[str, int]] = (),
) -> Figure:  # fmt: skip
    """Show data in the first row and every model's reconstructions of them below.

    Args:
      x: [n, H, W, C].
      reconstructions: {label: [n, H, W, C]}, or one model's without a name.
      data_label: the name of the first row.
      limits: as in `image_grid`.
      groups: (title, number of columns) of groups of columns that are set apart; the numbers sum to n.

    Returns:
      A Figure of one panel, 1 + len(reconstructions) rows.

    Raises:
      ValueError: no model, images of another shape than x, or groups of another number of columns.
    """
    given = named(reconstructions, "reconstructions")
    rows = [to_unit(x, "x", "n H W C", limits)]
    for label, value in given.items():
        name = called("reconstructions", label)
        rows.append(to_unit(value, name, "n H W C", limits))
        if rows[-1].shape != rows[0].shape:
            raise ValueError(f"{name}: expected the shape of x, {rows[0].shape}, got {rows[-1].shape}")
    sizes = [size for _, size in groups] or [len(rows[0])]
    if min(sizes) < 1 or sum(sizes) != len(rows[0]):
        raise ValueError(f"groups: expected sizes of at least 1 that sum to {len(rows[0])}, got {sizes}")
    lefts = places(len(rows[0]), 1) + APART * np.repeat(np.arange(len(sizes)), sizes)
    labels, height = [data_label, *given], rows[0].shape[1] / rows[0].shape[2]
    tops = places(len(rows), height)
    tops[1:] += 2 * GAP  # sets the data apart
    figure, axes = table(np.stack(rows), tops, labels, below=0.25 if groups else 0.0, lefts=lefts)
    axes.set_yticks(tops + height / 2, labels, **PLAIN)
    for (title, size), end in zip(groups, np.cumsum(sizes), strict=False):
        middle = float(lefts[end - size] + lefts[end - 1] + 1) / 2
        axes.text(middle, -0.15, title, ha="center", va="bottom", fontsize=LARGE, color=INK, **PLAIN)
    return figure


def interpolations(
    images: Mapping[str, ArrayLike] | ArrayLike, *, t: ArrayLike | None = None, limits: Limits = None
) -> Figure:
    """Show paths between two latents, one row each, t from left to right.

    Args:
      images: {label: [steps, H, W, C]}, or {label: [rows, steps, H, W, C]} for several paths; a
        label says model and kind of path ("beta-VAE, slerp"). Or one such array without a name.
      t: [steps], where on the path each image lies; evenly from 0 to 1 by default.
      limits: as in `image_grid`.

    Returns:
      A Figure of one panel: the labels beside their rows, t below.

    Raises:
      ValueError: no label, images of another shape, or unequal numbers of steps.
    """
    given, blocks = named(images, "images"), []
    for label, value in given.items():
        check_unmasked(value, called("images", label))
        paths = np.asarray(value)
        paths = paths[None] if paths.ndim == 4 else paths
        blocks.append(to_unit(paths, called("images", label), "rows steps H W C", limits))
        if blocks[-1].shape[1:] != blocks[0].shape[1:]:
            expected, got = blocks[0].shape[1:], blocks[-1].shape[1:]
            raise ValueError(f"{called('images', label)}: expected [steps, H, W, C] = {expected}, got {got}")
    rows, sizes = np.concatenate(blocks), [len(block) for block in blocks]
    along = np.linspace(0, 1, rows.shape[1]) if t is None else np.asarray(t, dtype=float)
    if along.shape != rows.shape[1:2]:
        raise ValueError(f"t: expected shape [steps] = {rows.shape[1:2]}, got {along.shape}")
    height = rows.shape[-3] / rows.shape[-2]
    block_of_row = np.repeat(np.arange(len(sizes)), sizes)
    tops = places(len(rows), height) + 2 * GAP * block_of_row
    figure, axes = table(rows, tops, list(given), below=0.4)
    middles = [tops[block_of_row == b].mean() + height / 2 for b in range(len(sizes))]
    axes.set_yticks(middles, list(given), **PLAIN)
    texts = [f"{v:.3g}".replace("-", "\N{MINUS SIGN}") for v in along]
    axes.set_xticks(places(len(along), 1) + 0.5, texts)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel("$t$", fontsize=NORMAL, color=INK)
    return figure
