"""What each latent does to an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vaejax.plots.cells import (
    GAP,
    Limits,
    cell_inches,
    check_same_image,
    draw_image,
    finish_panel,
    places,
    to_unit,
)
from vaejax.plots.style import INK, LARGE, NORMAL, PLAIN, SMALL, called, named, new_figure

ACROSS = 3  # panels in a row
ROOM = 0.5  # for the names of the latents, in widths of an image


def traversals(
    images: Mapping[str, ArrayLike] | ArrayLike,
    *,
    values: ArrayLike,
    base: ArrayLike | None = None,
    kl: Mapping[str, ArrayLike] | ArrayLike | None = None,
    order_by_kl: bool = False,
    top: int | None = None,
    limits: Limits = None,
) -> Figure:
    """Show what each latent does: row z_j, the decoded images as z_j takes each value, the others held.

    A panel for each model, up to three side by side.

    Args:
      images: {label: [d, steps, H, W, C]}, or one model's without a name; d may differ between models.
      values: [steps], what z_j is set to, the same for all.
      base: [H, W, C], the image whose code the others are held at, shown at the left of each panel.
      kl: {label: [d]} nats, or one model's, the mean KL of each latent, written at the end of its row.
      order_by_kl: put the latent with the largest KL first; each row keeps its index.
      top: the most rows of a panel, the first after ordering; None: all.
      limits: as in `image_grid`.

    Returns:
      A Figure with one panel per label.

    Raises:
      ValueError: shapes that do not fit, `order_by_kl` without `kl`, or `top` below 1.
    """
    given = named(images, "images")
    rows = {k: to_unit(v, called("images", k), "d steps H W C", limits) for k, v in given.items()}
    ticks, first = np.asarray(values, dtype=float), next(iter(rows.values()))
    if top is not None and top < 1:
        raise ValueError(f"top: expected at least 1, got {top}")
    if order_by_kl and kl is None:
        raise ValueError("kl: expected [d] nats to order the rows by, got None")
    nats = {} if kl is None else named(kl, "kl")
    shown, texts = {}, {}
    for label, block in rows.items():
        check_same_image(first, block, called("images", label))
        if ticks.shape != block.shape[1:2]:
            raise ValueError(f"values: expected shape [steps] = {block.shape[1:2]}, got {ticks.shape}")
        own = None if kl is None else np.asarray(nats.get(label), dtype=float)
        if own is not None and own.shape != block.shape[:1]:
            raise ValueError(f"{called('kl', label)}: expected [d] = {block.shape[:1]} nats, got {own.shape}")
        order = np.argsort(-own, kind="stable") if order_by_kl and own is not None else np.arange(len(block))
        shown[label] = block[order[:top]]
        texts[label] = [(f"$z_{{{j}}}$", "" if own is None else f"{own[j]:.2f}") for j in order[:top]]
    left = None if base is None else to_unit(base, "base", "H W C", limits)
    if left is not None:
        check_same_image(first, left, "base")
    return _figure(shown, texts, ticks, left)


def _figure(
    shown: Mapping[str, np.ndarray],
    texts: Mapping[str, list[tuple[str, str]]],
    values: np.ndarray,
    base: np.ndarray | None,
) -> Figure:
    """Panels of [rows, steps, H, W, C], with the texts at the left and the right of each row."""
    first = next(iter(shown.values()))
    height, cell = first.shape[-3] / first.shape[-2], cell_inches(first.shape, 96 if len(shown) == 1 else 64)
    lefts = places(len(values), 1) + ROOM + (0 if base is None else 1)
    most, across = max(map(len, shown.values())), min(ACROSS, len(shown))
    with_kl = any(nats for rows in texts.values() for _, nats in rows)
    width = (lefts[-1] + 1) * cell + (0.6 if with_kl else 0.2)
    down = math.ceil(len(shown) / across)
    figure = new_figure(across * width, down * (most * (height + GAP) * cell + 0.8), "compressed")
    engine: Any = figure.get_layout_engine()
    engine.set(h_pad=0.1)  # inches between a panel's values and the title below
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (label, block) in zip(panels, shown.items(), strict=False):
        _panel(axes, block, texts[label], lefts, base, most)
        _name_values(axes, lefts, values)
        axes.set_title(label, fontsize=LARGE, color=INK, pad=12 if with_kl else 5, **PLAIN)
    for axes in panels[len(shown) :]:
        axes.remove()
    return figure


def _panel(
    axes: Axes,
    block: np.ndarray,
    texts: list[tuple[str, str]],
    lefts: np.ndarray,
    base: np.ndarray | None,
    most: int,
) -> None:
    """One model's rows, with room for `most` of them; the base image stands beside the first."""
    height = block.shape[-3] / block.shape[-2]
    tops, right = places(most, height), lefts[-1] + 1
    if base is not None:
        draw_image(axes, base, 0.0, 0.0)
        axes.text(0.5, height + GAP, "$x$", ha="center", va="top", fontsize=NORMAL, color=INK)
    for top, row in zip(tops, block, strict=False):
        for left, image in zip(lefts, row, strict=True):
            draw_image(axes, image, left, top)
    finish_panel(axes, right, tops[-1] + height)
    centres = tops[: len(block)] + height / 2
    for centre, (name, nats) in zip(centres, texts, strict=True):
        axes.text(lefts[0] - GAP, centre, name, ha="right", va="center", fontsize=NORMAL, color=INK)
        axes.text(right + 2 * GAP, centre, nats, va="center", fontsize=SMALL, color=INK)
    if any(nats for _, nats in texts):
        axes.text(right + 2 * GAP, -GAP, "KL (nats)", ha="center", va="bottom", fontsize=SMALL, color=INK)


def _name_values(axes: Axes, lefts: np.ndarray, values: np.ndarray) -> None:
    """A value below its column, as many as have room."""
    texts = [f"{v:.3g}".replace("-", "\N{MINUS SIGN}") for v in values]
    every = math.ceil((max(map(len, texts)) + 1) / 6.5)  # letters that a column has room for
    axes.set_xticks(lefts[::every] + 0.5, texts[::every])
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel("value of $z_j$", fontsize=NORMAL, color=INK)
