"""Images as cells of a panel: one Axes holds a whole grid, its ticks name rows (y) and columns (x).

Lengths inside a panel are in widths of an image, so an image is 1 wide and H / W high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from vaejax.checks import check_unmasked
from vaejax.plots.style import DPI, INK, NORMAL, RULE

GAP = 0.07  # between images, in widths of an image
ROUNDING = 1e-5  # a decoder's mean, a float32 sum, may end so far outside of its range
Limits = tuple[float, float] | None


def finite_images(value: ArrayLike, name: str, axes: str) -> np.ndarray:
    """`value` as an array with the named axes (such as "n H W C"), C of 1 or 3; raise if it is not so."""
    check_unmasked(value, name)
    array = np.asarray(value)
    letters = axes.split()
    if array.ndim != len(letters) or 0 in array.shape or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name}: expected shape [{', '.join(letters)}], no axis empty, C of 1 or 3; got {array.shape}"
        )
    if array.dtype != np.uint8:
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values, got {np.sum(~np.isfinite(array))} that are not")
    return array


def check_same_image(a: np.ndarray, b: np.ndarray, name: str) -> None:
    """Raise unless the images of `b` have the [H, W, C] of those of `a`."""
    if a.shape[-3:] != b.shape[-3:]:
        raise ValueError(f"{name}: expected images [H, W, C] = {a.shape[-3:]}, got {b.shape[-3:]}")


def to_unit(value: ArrayLike, name: str, axes: str, limits: Limits) -> np.ndarray:
    """Images scaled to [0, 1]: `limits` = (black, white), by default (0, 255) for uint8, else (0, 1).

    Values outside limits that were given saturate; outside the default ones they raise.
    """
    array = finite_images(value, name, axes)
    if limits is None:
        low, high = (0.0, 255.0) if array.dtype == np.uint8 else (0.0, 1.0)
        if array.min() < low - ROUNDING or array.max() > high + ROUNDING:
            raise ValueError(
                f"{name}: expected values in [0, 1] (uint8: 0..255), "
                f"got [{array.min():.6g}, {array.max():.6g}]; pass limits=(black, white) to show them"
            )
    else:
        if not isinstance(limits, Sequence | np.ndarray) or len(limits) != 2:
            raise TypeError(f"limits: expected (black, white), got {limits!r}")
        low, high = limits
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"limits: expected finite (black, white) with black < white, got {limits}")
    return np.clip((array - low) / (high - low), 0.0, 1.0)


def cell_inches(image_shape: Sequence[int], least: int = 96) -> float:
    """Width of a cell such that an image's pixel is a whole number of the file's, `least` or more in all."""
    width = image_shape[-2]
    return math.ceil(least / width) * width / DPI


def label_inches(labels: Sequence[str]) -> float:
    """About the room that row labels take beside a panel."""
    return 0.15 + 0.07 * max(map(len, labels), default=0)


def places(n: int, step: float) -> np.ndarray:
    """Where n cells of length `step` begin, a gap between them: [n]."""
    return np.arange(n) * (step + GAP)


def draw_image(
    axes: Axes,
    image: np.ndarray,
    left: float,
    top: float,
    *,
    cmap: str | Colormap = "gray",
    limits: tuple[float, float] = (0.0, 1.0),
) -> AxesImage:
    """Draw one image [H, W, C] with its upper left corner at (left, top), in a thin frame."""
    height = image.shape[0] / image.shape[1]
    artist = axes.imshow(
        image[..., 0] if image.shape[-1] == 1 else image,
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        extent=(left, left + 1, top + height, top),
        origin="upper",
        interpolation="nearest",
    )
    # White images on a white page need an edge.
    axes.add_patch(Rectangle((left, top), 1, height, fill=False, edgecolor=RULE, linewidth=0.5))
    return artist


def finish_panel(axes: Axes, right: float, bottom: float) -> None:
    """Set the panel's extent, from the origin and with room for the frames; strip it of everything else.

    Panels of one figure get the same extent, so that all its images have one size.
    """
    edge = GAP / 2
    axes.set_xlim(-edge, right + edge)
    axes.set_ylim(bottom + edge, -edge)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0, pad=2, labelsize=NORMAL, labelcolor=INK)
    axes.spines[:].set_visible(False)
