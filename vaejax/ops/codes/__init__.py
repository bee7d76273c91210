"""Codes: the nearest of V vectors, running means of what is assigned, gradients past the choice, FSQ."""

from vaejax.ops.codes.means import ema_update, kmeans, perplexity, used_share
from vaejax.ops.codes.scalar import fsq, fsq_codes, fsq_indices
from vaejax.ops.codes.search import nearest, residual, rotation, straight_through

__all__ = [
    "ema_update",
    "fsq",
    "fsq_codes",
    "fsq_indices",
    "kmeans",
    "nearest",
    "perplexity",
    "residual",
    "rotation",
    "straight_through",
    "used_share",
]
