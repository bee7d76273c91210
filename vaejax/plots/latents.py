"""Codes beside the prior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from vaejax.plots.panels import legend, panels
from vaejax.plots.style import INK, NORMAL, model_colors, named


def codes(z: Mapping[str, ArrayLike] | ArrayLike) -> Figure:
    """Densities of the codes' coordinates, a line for each latent, and of their lengths, beside N(0, I)'s.

    Args:
      z: {label: codes [N, d]}, or those of one model without a name.

    Returns:
      A Figure with a panel per label and one of the lengths of all.

    Raises:
      ValueError: no codes, or other shapes.
    """
    each_z = {label: np.asarray(v) for label, v in named(z, "z").items()}
    shapes = [v.shape for v in each_z.values()]
    if len({shape[1:] for shape in shapes}) > 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"z: expected [N, d] with one d, got {shapes}")
    d = shapes[0][1]
    colors = model_colors([*each_z])
    figure, grid = panels(len(each_z) + 1, min(4, len(each_z) + 1), 2.3, 2.0)
    *each, lengths = grid
    bins, longest = np.linspace(-4, 4, 41), np.linspace(0, 2.2 * math.sqrt(d), 41)
    outline: dict[str, Any] = {"density": True, "histtype": "step", "linewidth": 1.0}
    for axes, (label, v) in zip(each, each_z.items(), strict=True):
        for column in v.T:
            axes.hist(column, bins.tolist(), color=colors[label], alpha=0.7, **outline)
        lengths.hist(np.linalg.norm(v, axis=1), longest.tolist(), color=colors[label], **outline)
    prior: dict[str, Any] = {"color": "0.15", "linewidth": 1.2, "linestyle": "--"}
    top = max(axes.get_ylim()[1] for axes in each)
    for axes in each:
        axes.plot(bins, np.exp(-(bins**2) / 2) / math.sqrt(2 * math.pi), **prior)
        axes.set(ylim=(0, top))
        axes.set_xlabel("$z_j$", fontsize=NORMAL, color=INK)
    chi = longest ** (d - 1) * np.exp(-(longest**2) / 2 - (d / 2 - 1) * math.log(2) - math.lgamma(d / 2))
    lengths.plot(longest, chi, **prior)
    lengths.set_xlabel("$|z|$", fontsize=NORMAL, color=INK)
    each[0].set_ylabel("density", fontsize=NORMAL, color=INK)
    handles = [Line2D([], [], color=colors[label], label=label) for label in each_z]
    legend(figure, [*handles, Line2D([], [], label="prior", **prior)])
    return figure
