"""Figures: arrays in, a `matplotlib.figure.Figure` out.

Nothing here touches pyplot or any global state: figures work without a display and are freed like
any object. In a notebook they show as pictures under `%matplotlib inline`. A label (a model's name)
has one colour in every figure; see `model_colors`. What several models have is given as {label: array};
one array alone is that of a model without a name. Images are [..., H, W, C], grey (C = 1) or RGB
(C = 3), and are shown pixel by pixel, without interpolation.
"""

from vaejax.plots.bands import band_curves, bound_curves
from vaejax.plots.curves import score_comparison, training_curves
from vaejax.plots.densities import density_panels
from vaejax.plots.grids import image_grid, interpolations, reconstructions
from vaejax.plots.jacobian import jacobian_columns
from vaejax.plots.latents import codes
from vaejax.plots.ratings import ratings
from vaejax.plots.rows import image_rows
from vaejax.plots.style import model_colors, save
from vaejax.plots.sweeps import sweep_curves
from vaejax.plots.traversals import traversals

__all__ = [
    "band_curves",
    "bound_curves",
    "codes",
    "density_panels",
    "image_grid",
    "image_rows",
    "interpolations",
    "jacobian_columns",
    "model_colors",
    "ratings",
    "reconstructions",
    "save",
    "score_comparison",
    "sweep_curves",
    "training_curves",
    "traversals",
]
