"""Mixtures as priors: of free Gaussians, of the posteriors at pseudo-inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int, plain
from vaejax.distributions import GaussianMixture, Mixture, Point, mixture_of
from vaejax.fixed import Fixed
from vaejax.models.priors.family import Around, Prior, one_event
from vaejax.types import Array, PyTree

__all__ = ["gaussian_mixture", "vamp"]

RANGES = {  # of the values of x by the support of the likelihood; any number where none is named
    "binary": (0.0, 1.0),
    "unit_interval": (0.0, 1.0),
    "binary_or_unit_interval": (0.0, 1.0),
    "bytes": (0.0, 255.0),
}


def gaussian_mixture(components: int) -> Prior:
    """p(z) = sum_r pi_r N(loc_r, diag(exp(logvar_r))), with learned weights, means and variances.

    It starts at equal weights, means drawn from N(0, I) and variances 1. The KL is by Monte Carlo.

    Args:
      components: R.

    Returns:
      A Prior for latents of any shape; its parameters are logits [R], loc and logvar [R, *event].

    Raises:
      TypeError, ValueError: for anything but an int of at least 1.

    Source: Tomczak & Welling 2017, arXiv 1705.07120, section 3 (their "MoG").
    """
    check_positive_int(components, "components")
    R = plain(components)
    return Prior("gaussian_mixture", _gaussians, Fixed(_init_gaussians, R), {"components": R})


def _init_gaussians(R: int, key: Array, around: Around) -> dict[str, Array]:
    shape = (R, *one_event(around, "gaussian_mixture()"))
    zeros = {"logits": jnp.zeros(R, jnp.float32), "logvar": jnp.zeros(shape, jnp.float32)}
    return {**zeros, "loc": jax.random.normal(key, shape, jnp.float32)}


def _gaussians(own: PyTree, around: Around) -> GaussianMixture:
    event_ndims = len(one_event(around, "gaussian_mixture()"))
    return GaussianMixture(own["logits"], own["loc"], jnp.exp(own["logvar"] / 2), event_ndims)


def vamp(pseudo_inputs: int) -> Prior:
    """p(z) = (1/R) sum_r q(z|u_r): the posteriors at R pseudo-inputs u_r, which are learned.

    Gradients reach the pseudo-inputs and, through p too, the encoder. A sample is of one component, drawn
    uniformly. Where the likelihood bounds the values of x, u is low + (high - low) sigmoid(v) with v free, or
    e^v of counts, so that it stays among them; else it is v. They start as noise, v from N(0, I), or by
    `models.pseudo_inputs_from` at rows of the data. With u = the data it is the aggregate posterior; many
    rows that are copied over-fit.

    In a conditional model the condition of an example goes with all pseudo-inputs: B R calls of the encoder.

    Deviation: the authors' clip to [0, 1] has no gradient where it holds, and they start at N(-.05, .01^2),
    where it holds for almost all: those pseudo-inputs never move.

    Args:
      pseudo_inputs: R; 500 in the paper.

    Returns:
      A Prior; its parameters are "inputs", v [R, *shape of x]. The KL is by Monte Carlo.

    Raises:
      TypeError, ValueError: for anything but an int of at least 1; when a model is initialised, for an x that
        is not one array, and for a posterior that is relative to its prior or has no density.

    Source: Tomczak & Welling 2017, arXiv 1705.07120, eq. 9.
    """
    check_positive_int(pseudo_inputs, "pseudo_inputs")
    R = plain(pseudo_inputs)
    return Prior("vamp", _vamp, Fixed(_init_inputs, R), {"pseudo_inputs": R})


def _init_inputs(R: int, key: Array, around: Around) -> dict[str, Array]:
    if not hasattr(around.x, "shape"):
        raise TypeError(f"prior: vamp() expected an x that is one array, got {type(around.x).__name__}")
    return {"inputs": jax.random.normal(key, (R, *around.x.shape[1:]), jnp.float32)}


def _vamp(own: PyTree, around: Around) -> Mixture:
    one_event(around, "vamp()")
    u, c = in_range(around.support, own["inputs"]), around.c
    lead = u.shape[:1]
    if c is not None:
        lead = (len(c), *lead)
        c = jnp.broadcast_to(c[:, None], (*lead, *c.shape[1:]))
        u = jnp.broadcast_to(u, (*lead, *u.shape[1:]))
    p = mixture_of(jnp.zeros(lead, around.dtype), around.parameters(u, c), around.build)
    if isinstance(p.components, Point):
        raise ValueError("prior: vamp() expected a posterior with a density; got points")
    return p


def in_range(support: str, v: Array) -> Array:
    """Values of x, of the same shape as the free numbers v."""
    if support == "counts":
        return jnp.exp(v)
    if support not in RANGES:
        return v
    low, high = RANGES[support]
    return low + (high - low) * jax.nn.sigmoid(v)


def free(support: str, x: Array, margin: float = 0.01) -> Array:
    """What `in_range` makes x of; at least `margin` of the range from its ends, where v would be infinite."""
    if support == "counts":
        return jnp.log(jnp.maximum(x, margin))
    if support not in RANGES:
        return x
    low, high = RANGES[support]
    share = jnp.clip((x - low) / (high - low), margin, 1 - margin)
    return jnp.log(share) - jnp.log1p(-share)
