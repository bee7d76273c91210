"""Codes beside the prior, and traversals of several models beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from vaejax.plots.grids import samples
from vaejax.plots.panels import legend, panels
from vaejax.plots.style import PLAIN, SMALL, check_mapping, model_colors


def codes(z: Mapping[str, np.ndarray]) -> Figure:
    """Densities of the codes' coordinates, a line for each latent, and of their lengths, beside N(0, I)'s.

    Args:
      z: label -> codes [N, d].

    Returns:
      A Figure with a panel per label and one of the lengths of all.

    Raises:
      ValueError: no codes, or other shapes.
    """
    check_mapping(z, "z")
    sizes = {np.shape(v)[1:] for v in z.values()}
    if len(sizes) > 1 or any(np.ndim(v) != 2 for v in z.values()):
        raise ValueError(f"z: expected [N, d] with one d, got {[np.shape(v) for v in z.values()]}")
    d = next(iter(z.values())).shape[1]
    colors = model_colors([*z])
    figure, grid = panels(len(z) + 1, len(z) + 1, 2.2, 2.0)
    *each, lengths = grid
    bins, longest = np.linspace(-4, 4, 41), np.linspace(0, 2.2 * math.sqrt(d), 41)
    outline: dict[str, Any] = {"density": True, "histtype": "step", "linewidth": 1.0}
    for axes, (label, v) in zip(each, z.items(), strict=True):
        for column in v.T:
            axes.hist(column, bins.tolist(), color=colors[label], alpha=0.7, **outline)
        lengths.hist(np.linalg.norm(v, axis=1), longest.tolist(), color=colors[label], **outline)
    prior: dict[str, Any] = {"color": "0.15", "linewidth": 1.2, "linestyle": "--"}
    top = max(axes.get_ylim()[1] for axes in each)
    for axes in each:
        axes.plot(bins, np.exp(-(bins**2) / 2) / math.sqrt(2 * math.pi), **prior)
        axes.set(xlabel="$z_j$", ylim=(0, top))
    chi = longest ** (d - 1) * np.exp(-(longest**2) / 2 - (d / 2 - 1) * math.log(2) - math.lgamma(d / 2))
    lengths.plot(longest, chi, **prior)
    lengths.set_xlabel("$|z|$")
    each[0].set_ylabel("density")
    handles = [Line2D([], [], color=colors[label], label=label) for label in z]
    legend(figure, [*handles, Line2D([], [], label="prior", **prior)])
    return figure


def traversal_panels(
    images: Mapping[str, ArrayLike], kl: Mapping[str, ArrayLike], *, rows: int | None = None
) -> Figure:
    """A panel per model, a row per latent, those of the largest KL first; its nats stand at the left.

    Args:
      images: label -> [d, n, H, W, C], as `evaluation.traverse` returns them.
      kl: label -> [d] nats.
      rows: the most latents of a model; None: all.

    Raises:
      ValueError: labels or shapes that do not fit.
    """
    check_mapping(images, "images")
    grids, nats = {}, {}
    steps = {np.shape(of)[1:2] for of in images.values()}
    if len(steps) > 1 or any(np.ndim(of) != 5 for of in images.values()):
        raise ValueError(
            f"images: expected [d, n, H, W, C] of one n, got {[np.shape(i) for i in images.values()]}"
        )
    ((n,),) = steps
    for label, of in images.items():
        shown, own = np.asarray(of), np.asarray(kl.get(label))
        if own.shape != shown.shape[:1]:
            raise ValueError(f"kl[{label!r}]: expected [d] = {shown.shape[:1]} nats, got {kl.get(label)!r}")
        order = np.argsort(-own, kind="stable")[:rows]
        grids[label] = shown[order].reshape(-1, *shown.shape[2:])
        nats[label] = [f"{own[j]:.2f}" for j in order]
    figure = samples(grids, columns=n)
    for axes, (label, texts) in zip(figure.axes, nats.items(), strict=True):
        bottom, top = axes.get_ylim()
        places = top + (bottom - top) * (np.arange(len(texts)) + 0.5) / len(texts)
        axes.set_yticks(places, texts, fontsize=SMALL)
        axes.set_ylabel("KL of each latent (nats)", fontsize=SMALL)
        axes.set_title(label, **PLAIN)
    return figure
