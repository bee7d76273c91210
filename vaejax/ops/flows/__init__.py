"""Invertible maps of z and the logarithms of their determinants, in nats.

Each map takes z [..., d] and its parameters, whose leading axes may broadcast against those of z, and gives
(f(z) [..., d], log|det df/dz| [...]). Each inverse takes y = f(z) and the same parameters, and gives
(z, log|det dz/dy|), the negative of the other.
"""

from vaejax.ops.flows.elementwise import (
    affine,
    affine_inverse,
    gated,
    gated_inverse,
    spline,
    spline_inverse,
)
from vaejax.ops.flows.orthogonal import orthonormal_columns, sylvester, sylvester_inverse
from vaejax.ops.flows.planar_radial import planar, planar_inverse, radial, radial_inverse

__all__ = [
    "affine",
    "affine_inverse",
    "gated",
    "gated_inverse",
    "orthonormal_columns",
    "planar",
    "planar_inverse",
    "radial",
    "radial_inverse",
    "spline",
    "spline_inverse",
    "sylvester",
    "sylvester_inverse",
]
