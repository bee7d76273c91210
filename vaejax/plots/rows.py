"""Rows of images with a name each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vaejax.plots.cells import Limits, check_same_image, places, to_unit
from vaejax.plots.grids import table
from vaejax.plots.style import INK, NORMAL, PLAIN, called, named


def image_rows(
    images: Mapping[str, ArrayLike] | ArrayLike, *, title: str | None = None, limits: Limits = None
) -> Figure:  # fmt: skip
    """Show a row of images for every label: of all classes what a conditional model makes of them.

    Args:
      images: {label: [n, H, W, C]}, of one shape, or one row without a name.
      title: above the panel.
      limits: as in `image_grid`.

    Returns:
      A Figure of one panel, the labels beside their rows.

    Raises:
      ValueError: no label, images of another shape, or unequal numbers of them.
    """
    given = named(images, "images")
    rows = [to_unit(value, called("images", label), "n H W C", limits) for label, value in given.items()]
    for label, row in zip(given, rows, strict=True):
        check_same_image(rows[0], row, called("images", label))
        if len(row) != len(rows[0]):
            raise ValueError(f"{called('images', label)}: expected {len(rows[0])} images, got {len(row)}")
    height = rows[0].shape[1] / rows[0].shape[2]
    tops = places(len(rows), height)
    figure, axes = table(np.stack(rows), tops, list(given), below=0.0 if title is None else 0.3)
    axes.set_yticks(tops + height / 2, list(given), **PLAIN)
    if title is not None:
        axes.set_title(title, fontsize=NORMAL + 1, color=INK, pad=5, **PLAIN)
    return figure
