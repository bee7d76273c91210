"""Layers of flows: invertible maps with the parameters that they need, for posteriors and priors."""

from vaejax.models.flows.amortised import planar, radial, sylvester
from vaejax.models.flows.conditioned import autoregressive, check_net, coupling
from vaejax.models.flows.layer import Layer, chained, inverted
from vaejax.ops.flows.transforms import Transform, gate, transform

__all__ = [
    "Layer",
    "Transform",
    "autoregressive",
    "chained",
    "check_net",
    "coupling",
    "gate",
    "inverted",
    "planar",
    "radial",
    "sylvester",
    "transform",
]
