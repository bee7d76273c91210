"""Grids of images: data, reconstructions, samples, interpolations and traversals."""

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
from vaejax.plots.style import INK, LARGE, NORMAL, PLAIN, SMALL, check_mapping, new_figure

APART = 0.4  # between groups of columns, in widths of an image


def _fill(
    axes: Axes, images: np.ndarray, rows: int, columns: int, title: str | None = None, lift: float = 0.0
) -> None:
    """Lay images [n, H, W, C] out in a panel of rows x columns, `lift` of free room above each row."""
    height = images.shape[1] / images.shape[2]
    lefts, tops = places(columns, 1), places(rows, height + lift) + lift
    for i, image in enumerate(images):
        draw_image(axes, image, lefts[i % columns], tops[i // columns])
    finish_panel(axes, lefts[-1] + 1, tops[-1] + height, title=title)


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


def _name_columns(axes: Axes, values: np.ndarray, label: str) -> None:
    """Write a number under every column, and what the numbers are."""
    axes.set_xticks(places(len(values), 1) + 0.5, [f"{v:.3g}".replace("-", "\N{MINUS SIGN}") for v in values])
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel(label, fontsize=NORMAL, color=INK)


def image_grid(
    images: ArrayLike,
    *,
    columns: int,
    titles: Sequence[str] | None = None,
    limits: Limits = None,
) -> Figure:
    """Show images row by row.

    Args:
      images: [n, H, W, C], C of 1 (grey) or 3 (RGB).
      columns: images in a row; the last row may be shorter.
      titles: n short texts, written above the images.
      limits: (black, white); by default (0, 255) for uint8 (so 0/1 images kept as uint8 need (0, 1)),
        else (0, 1). Values beyond limits that are given saturate; beyond the default ones they raise.

    Returns:
      A Figure of one panel.

    Raises:
      ValueError: images of another shape or outside the default limits, `columns` below 1, or a
        number of titles other than n.
    """
    check_positive_int(columns, "columns")
    shown = to_unit(images, "images", "n H W C", limits)
    if titles is not None and len(titles) != len(shown):
        raise ValueError(f"titles: expected {len(shown)}, one per image, got {len(titles)}")
    columns = min(columns, len(shown))
    height, cell = shown.shape[1] / shown.shape[2], cell_inches(shown.shape)
    lift = 0.0 if titles is None else 0.16 / cell  # room for one line of text
    rows = math.ceil(len(shown) / columns)
    width, depth = columns * (1 + GAP) * cell + 0.1, rows * (height + GAP + lift) * cell + 0.1
    figure = new_figure(width, depth, "compressed")
    axes = figure.subplots()
    _fill(axes, shown, rows, columns, lift=lift)
    for i, text in enumerate(titles or ()):
        left, top = (1 + GAP) * (i % columns), lift + (height + lift + GAP) * (i // columns)
        axes.text(left + 0.5, top - 0.03, text, ha="center", va="bottom", fontsize=SMALL, color=INK, **PLAIN)
    return figure


def reconstructions(
    x: ArrayLike, reconstructions: Mapping[str, ArrayLike], *, data_label: str = "data",
    limits: Limits = None, groups: Sequence[tuple[str, int]] = (),
) -> Figure:  # fmt: skip
    """Show data in the first row and every model's reconstructions of them below.

    Args:
      x: [n, H, W, C].
      reconstructions: {label: [n, H, W, C]}.
      data_label: the name of the first row.
      limits: as in `image_grid`.
      groups: (title, number of columns) of groups of columns that are set apart; the numbers sum to n.

    Returns:
      A Figure of one panel, 1 + len(reconstructions) rows.

    Raises:
      ValueError: no model, images of another shape than x, or groups of another number of columns.
    """
    check_mapping(reconstructions, "reconstructions")
    rows = [to_unit(x, "x", "n H W C", limits)]
    for label, value in reconstructions.items():
        name = f"reconstructions[{label!r}]"
        rows.append(to_unit(value, name, "n H W C", limits))
        if rows[-1].shape != rows[0].shape:
            raise ValueError(f"{name}: expected the shape of x, {rows[0].shape}, got {rows[-1].shape}")
    sizes = [size for _, size in groups] or [len(rows[0])]
    if min(sizes) < 1 or sum(sizes) != len(rows[0]):
        raise ValueError(f"groups: expected sizes of at least 1 that sum to {len(rows[0])}, got {sizes}")
    lefts = places(len(rows[0]), 1) + APART * np.repeat(np.arange(len(sizes)), sizes)
    labels, height = [data_label, *reconstructions], rows[0].shape[1] / rows[0].shape[2]
    tops = places(len(rows), height)
    tops[1:] += 2 * GAP  # sets the data apart
    figure, axes = table(np.stack(rows), tops, labels, lefts=lefts)
    axes.set_yticks(tops + height / 2, labels, **PLAIN)
    for (title, size), end in zip(groups, np.cumsum(sizes), strict=False):
        middle = float(lefts[end - size] + lefts[end - 1] + 1) / 2
        axes.text(middle, -0.15, title, ha="center", va="bottom", fontsize=LARGE, color=INK, **PLAIN)
    return figure


def samples(samples: Mapping[str, ArrayLike], *, columns: int = 8, limits: Limits = None) -> Figure:
    """Show samples of every model as a grid of its own, up to three grids side by side.

    Args:
      samples: {label: [n, H, W, C]}; n may differ between models.
      columns: images in a row of a grid.
      limits: as in `image_grid`.

    Returns:
      A Figure with one panel per label, the label above it.

    Raises:
      ValueError: no model, images of another shape, or `columns` below 1.
    """
    check_mapping(samples, "samples")
    check_positive_int(columns, "columns")
    shown = {k: to_unit(v, f"samples[{k!r}]", "n H W C", limits) for k, v in samples.items()}
    first = next(iter(shown.values()))
    for label, images in shown.items():
        check_same_image(first, images, f"samples[{label!r}]")
    columns = min(columns, max(map(len, shown.values())))
    across = min(3, len(shown))
    down, rows = math.ceil(len(shown) / across), math.ceil(max(map(len, shown.values())) / columns)
    cell, height = cell_inches(first.shape, least=64), first.shape[1] / first.shape[2]
    figure = new_figure(
        across * (columns * (1 + GAP) * cell + 0.2),
        down * (rows * (height + GAP) * cell + 0.35),
        "compressed",
    )
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (label, images) in zip(panels, shown.items(), strict=False):
        _fill(axes, images, rows, columns, title=label)
    for axes in panels[len(shown) :]:
        axes.remove()
    return figure


def interpolations(
    images: Mapping[str, ArrayLike], *, t: ArrayLike | None = None, limits: Limits = None
) -> Figure:
    """Show paths between two latents, one row each, t from left to right.

    Args:
      images: {label: [steps, H, W, C]}, or {label: [rows, steps, H, W, C]} for several paths; a
        label says model and kind of path ("beta-VAE, slerp").
      t: [steps], where on the path each image lies; evenly from 0 to 1 by default.
      limits: as in `image_grid`.

    Returns:
      A Figure of one panel: the labels beside their rows, t below.

    Raises:
      ValueError: no label, images of another shape, or unequal numbers of steps.
    """
    check_mapping(images, "images")
    blocks = []
    for label, value in images.items():
        check_unmasked(value, f"images[{label!r}]")
        paths = np.asarray(value)
        paths = paths[None] if paths.ndim == 4 else paths
        blocks.append(to_unit(paths, f"images[{label!r}]", "rows steps H W C", limits))
        if blocks[-1].shape[1:] != blocks[0].shape[1:]:
            expected, got = blocks[0].shape[1:], blocks[-1].shape[1:]
            raise ValueError(f"images[{label!r}]: expected [steps, H, W, C] = {expected}, got {got}")
    rows, sizes = np.concatenate(blocks), [len(block) for block in blocks]
    at = np.linspace(0, 1, rows.shape[1]) if t is None else np.asarray(t, dtype=float)
    if at.shape != rows.shape[1:2]:
        raise ValueError(f"t: expected shape [steps] = {rows.shape[1:2]}, got {at.shape}")
    height = rows.shape[-3] / rows.shape[-2]
    block_of_row = np.repeat(np.arange(len(sizes)), sizes)
    tops = places(len(rows), height) + 2 * GAP * block_of_row
    figure, axes = table(rows, tops, list(images), below=0.4)
    middles = [tops[block_of_row == b].mean() + height / 2 for b in range(len(sizes))]
    axes.set_yticks(middles, list(images), **PLAIN)
    _name_columns(axes, at, "$t$")
    return figure


def traversals(
    images: ArrayLike,
    *,
    values: ArrayLike,
    kl: ArrayLike | None = None,
    order_by_kl: bool = False,
    top: int | None = None,
    label: str | None = None,
    limits: Limits = None,
) -> Figure:
    """Show what each latent does: row z_j, the decoded images as z_j takes each value, the others held.

    Args:
      images: [d, steps, H, W, C].
      values: [steps], what z_j is set to.
      kl: [d] nats, the mean KL of each latent, written at the end of its row.
      order_by_kl: put the latent with the largest KL first; each row keeps its index.
      top: how many rows are shown, the first after ordering.
      label: the model's name, above the panel.
      limits: as in `image_grid`.

    Returns:
      A Figure of one panel.

    Raises:
      ValueError: shapes that do not fit, `order_by_kl` without `kl`, or `top` outside 1..d.
    """
    rows = to_unit(images, "images", "d steps H W C", limits)
    at = np.asarray(values, dtype=float)
    if at.shape != rows.shape[1:2]:
        raise ValueError(f"values: expected shape [steps] = {rows.shape[1:2]}, got {at.shape}")
    nats = None if kl is None else np.asarray(kl, dtype=float)
    if nats is not None and nats.shape != rows.shape[:1]:
        raise ValueError(f"kl: expected shape [d] = {rows.shape[:1]}, got {nats.shape}")
    if order_by_kl and nats is None:
        raise ValueError("kl: expected [d] nats to order the rows by, got None")
    if top is not None and not 1 <= top <= len(rows):
        raise ValueError(f"top: expected 1..{len(rows)}, got {top}")
    order = np.arange(len(rows)) if not order_by_kl or nats is None else np.argsort(-nats, kind="stable")
    order = order[:top]
    height = rows.shape[-3] / rows.shape[-2]
    tops = places(len(order), height)
    figure, axes = table(rows[order], tops, ["z0"], right=0.0 if nats is None else 0.6, below=0.6)
    axes.set_yticks(tops + height / 2, [f"$z_{{{j}}}$" for j in order])
    _name_columns(axes, at, "value of $z_j$")
    if label is not None:
        axes.set_title(label, fontsize=NORMAL + 1, color=INK, pad=5, **PLAIN)
    if nats is not None:
        right = places(rows.shape[1], 1)[-1] + 1 + 2 * GAP
        for place, j in zip(tops, order, strict=True):
            axes.text(right, place + height / 2, f"{nats[j]:.2f}", va="center", fontsize=SMALL, color=INK)
        axes.text(right, -GAP, "KL (nats)", va="bottom", fontsize=SMALL, color=INK)
    return figure
