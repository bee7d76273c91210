"""The decoder's Jacobian as images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vaejax.plots.cells import (
    GAP,
    Limits,
    cell_inches,
    check_same_image,
    draw_image,
    finish_panel,
    finite_images,
    places,
    to_unit,
)
from vaejax.plots.style import INK, NORMAL, PLAIN, SMALL, called, named, new_figure

# Red raises a pixel, blue lowers it. RdBu's own centre is a light grey, and its even number of colours
# has none for 0: with these stops and an odd number 0 is exactly white.
_stops = colormaps["RdBu_r"](np.linspace(0, 1, 11))
_stops[5] = 1.0
CMAP = LinearSegmentedColormap.from_list("signed", _stops, N=257)

SHARE = 0.995  # of the entries of the model with the largest ones: what lies above saturates


def jacobian_columns(
    columns: Mapping[str, ArrayLike] | ArrayLike,
    *,
    images: ArrayLike | None = None,
    order_by_norm: bool = False,
    limit: float | None = None,
    limits: Limits = None,
) -> Figure:
    """Show the columns d mu_x / d z_j of every model's decoder at a few data points, as images.

    A panel per model, stacked: a row per data point, the data point first, then j = 0..d-1. All panels have
    one scale, so that models can be compared: colours are symmetric about 0, from -limit to limit, and what
    is larger has the darkest. RGB columns show 1/2 + J / (2 limit): grey is 0.

    Rhodes & Lee 2021, arXiv 2106.02923, figure 2.

    Args:
      columns: {label: [rows, d, H, W, C]}, or one model's without a name; d may differ between models.
      images: [rows, H, W, C], the data points.
      order_by_norm: put the latents with the largest sum_i |d mu_x,i / d z_j| (mean over rows)
        first, in each panel by itself; columns keep their index.
      limit: the largest |d mu_x / d z_j| with a colour of its own; None: the 99.5 % quantile of the model
        where that is largest, so that a few large entries do not pale all others.
      limits: of the data images, as in `image_grid`.

    Returns:
      A Figure with one panel per label, and one colour bar where C is 1.

    Raises:
      ValueError: no label, unequal rows or image shapes, or `limit` not positive and finite.
    """
    given = named(columns, "columns")
    blocks = {k: finite_images(v, called("columns", k), "rows d H W C") for k, v in given.items()}
    data = None if images is None else to_unit(images, "images", "rows H W C", limits)
    first = next(iter(blocks.values())) if data is None else data
    for label, block in blocks.items():
        check_same_image(first, block, called("columns", label))
        if len(block) != len(first):
            raise ValueError(f"{called('columns', label)}: expected {len(first)} rows, got {len(block)}")
    if limit is not None and not 0 < limit < np.inf:
        raise ValueError(f"limit: expected positive and finite, got {limit}")
    scale = limit or _scale(blocks)
    most, cell, height = max(b.shape[1] for b in blocks.values()), cell_inches(first.shape), first.shape[-3]
    panel_height = len(first) * (height / first.shape[-2] + GAP) * cell + 0.5
    figure = new_figure((most + 1.2) * (1 + GAP) * cell + 0.8, len(blocks) * panel_height, "compressed")
    panels = list(figure.subplots(len(blocks), squeeze=False)[:, 0])
    for axes, (label, block) in zip(panels, blocks.items(), strict=True):
        norms = np.abs(block).sum(axis=(2, 3, 4)).mean(axis=0)
        order = np.argsort(-norms, kind="stable") if order_by_norm else np.arange(len(norms))
        _panel(axes, label, block, data, order, scale, most)
    _show_scale(figure, panels, blocks, scale)
    figure.draw_without_rendering()  # the room of the colour bar is known after the first drawing
    return figure


def _scale(blocks: Mapping[str, np.ndarray]) -> float:
    """What has the darkest colours in all panels."""
    sizes = [np.abs(block) for block in blocks.values()]
    # where nearly all entries are 0 their quantile is; a decoder that ignores z has J = 0: any scale shows it
    return max(float(np.quantile(a, SHARE)) for a in sizes) or max(float(a.max()) for a in sizes) or 1.0


def _panel(
    axes: Axes,
    label: str,
    block: np.ndarray,
    data: np.ndarray | None,
    order: np.ndarray,
    scale: float,
    most: int,
) -> None:
    """One model: block [rows, d, H, W, C], its latents in the given order, with room for `most` of them."""
    height = block.shape[-3] / block.shape[-2]
    tops, lefts = places(len(block), height), places(most, 1)
    if data is not None:
        lefts = lefts + 1 + 3 * GAP
        for top, image in zip(tops, data, strict=True):
            draw_image(axes, image, 0.0, top)
    shown = block if block.shape[-1] == 1 else np.clip(0.5 + block / (2 * scale), 0.0, 1.0)
    for top, row in zip(tops, shown, strict=True):
        for left, j in zip(lefts, order, strict=False):
            draw_image(axes, row[j], left, top, cmap=CMAP, limits=(-scale, scale))
    finish_panel(axes, lefts[-1] + 1, tops[-1] + height)
    axes.set_title(label, fontsize=NORMAL + 1, color=INK, loc="left", pad=5, **PLAIN)
    names = [f"$z_{{{j}}}$" for j in order]
    centres = lefts[: len(order)] + 0.5
    if data is not None:
        names, centres = ["$x$", *names], np.concatenate([[0.5], centres])
    axes.set_xticks(centres, names)


def _show_scale(figure: Figure, panels: list[Axes], blocks: Mapping[str, np.ndarray], scale: float) -> None:
    """What the colours of all panels mean: a colour bar for grey models, a note for RGB."""
    if next(iter(blocks.values())).shape[-1] == 1:
        beyond = "both" if max(np.abs(block).max() for block in blocks.values()) > scale else "neither"
        colours = ScalarMappable(Normalize(-scale, scale), CMAP)
        narrow = figure.get_figheight() / 0.12  # inches
        bar = figure.colorbar(colours, ax=panels, fraction=0.03, pad=0.01, aspect=narrow, extend=beyond)
        bar.set_ticks([-scale, 0, scale], labels=[f"\N{MINUS SIGN}{scale:.2g}", "0", f"{scale:.2g}"])
        bar.set_label(r"$\partial \mu_x / \partial z_j$", fontsize=NORMAL, color=INK)
        bar.ax.tick_params(labelsize=SMALL, length=2, labelcolor=INK)
        bar.outline.set_visible(False)
    else:
        note = rf"$\partial \mu_x / \partial z_j$: grey 0, range $\pm${scale:.2g}"
        panels[0].set_title(note, fontsize=SMALL, color=INK, loc="right", pad=5)
