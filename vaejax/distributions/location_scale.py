"""Likelihoods of real data: Gaussian and Laplace, with a fixed scale or one that the decoder gives."""

from __future__ import annotations

import math

import distrax
import jax
import jax.numpy as jnp

from vaejax.checks import check_finite, observed_mask, plain
from vaejax.distributions.likelihoods import Likelihood, split_channels, times
from vaejax.fixed import Fixed
from vaejax.ops.slopes import absolute
from vaejax.precision import at_least_float32
from vaejax.types import Array

__all__ = ["Gaussian", "Laplace", "gaussian", "gaussian_learned_scale", "laplace"]


class Gaussian(distrax.Independent):
    """N(mu, diag(sigma^2)) over the event, with its normalising constant sum 1/2 log(2 pi sigma^2).

    `scale`: sigma, one number or an array of the shape of mu.
    """

    support = "real"

    def __init__(self, loc: Array, scale: float | Array, event_ndims: int):
        loc = at_least_float32(loc)
        super().__init__(
            distrax.Normal(loc, jnp.broadcast_to(scale, loc.shape).astype(loc.dtype)), event_ndims
        )


class _NormalOfLog(distrax.Normal):
    """N(mu, sigma^2) scored by log sigma: finite, with its gradient, where exp(log sigma) is not."""

    def __init__(self, loc: Array, log_scale: Array):
        super().__init__(loc, jnp.exp(log_scale))
        self._log_scale = log_scale

    def log_prob(self, value: Array) -> Array:
        standard = (value - self.loc) * jnp.exp(-self._log_scale)
        return -0.5 * standard**2 - self._log_scale - 0.5 * math.log(2 * math.pi)


class _GaussianOfLog(Gaussian):
    """A `Gaussian` given by log sigma, an array of the shape of mu."""

    def __init__(self, loc: Array, log_scale: Array, event_ndims: int):
        base = _NormalOfLog(at_least_float32(loc), at_least_float32(log_scale))
        distrax.Independent.__init__(self, base, event_ndims)


class _Laplace(distrax.Laplace):
    """The base class's |x - mu| has the slope 1 at x = mu, where a black pixel meets an output of 0."""

    def log_prob(self, value: Array) -> Array:
        return -absolute((value - self.loc) / self.scale) - math.log(2) - jnp.log(self.scale)


class Laplace(distrax.Independent):
    """Independent Laplace densities over the event: -log p = sum log(2 b) + |x - mu| / b, slope 0 at mu."""

    support = "real"

    def __init__(self, loc: Array, scale: float, event_ndims: int):
        loc = at_least_float32(loc)
        super().__init__(_Laplace(loc, jnp.full_like(loc, scale)), event_ndims)


def root_mean_square(x: Array, mu: Array, observed: Array | None = None) -> Array:
    """The scale under which x is likeliest: sqrt of the mean of (x - mu)^2 over all that was observed."""
    if observed is None:
        return jnp.sqrt(jnp.mean(jnp.square(x - mu)))
    mask = observed_mask(observed, x)
    return jnp.sqrt(jnp.mean(jnp.square(jnp.where(mask, x, mu) - mu), where=mask))


def gaussian(scale: float = 1.0) -> Likelihood:
    """Gaussian with the decoder's output as its mean and one fixed scale.

    Args:
      scale: sigma in units of the data, > 0; sigma^2 acts as the beta of a unit-variance model.

    Raises:
      TypeError: if scale is not a number.
      ValueError: if scale is not positive and finite.
    """
    scale = _positive_scale(scale)
    return Likelihood(
        name="gaussian",
        support="real",
        build=Fixed(_gaussian, scale),
        options={"scale": scale},
    )


def _gaussian(scale: float, parameters: Array, event_ndims: int) -> Gaussian:
    return Gaussian(parameters, scale, event_ndims)


def gaussian_learned_scale(min_log_scale: float = -6.0) -> Likelihood:
    """Gaussian with a mean and a scale for every value, both from the decoder.

    The decoder gives 2 C channels: C means, then C numbers r with log sigma = m + softplus(r - m), a soft
    floor m below which the likelihood of data that are met exactly would have no bound. With
    `nets.SharedScale` around the decoder r is one learned number for all pixels and images.

    Args:
      min_log_scale: m; -6 is sigma > 0.0025 in units of the data.

    Raises:
      TypeError, ValueError: if min_log_scale is not a finite number.

    Source: Kingma & Welling 2013, arXiv 1312.6114, appendix C.2 (a scale per pixel); Rybkin, Daniilidis &
    Levine 2020, arXiv 2006.13202, and their public code (one scale, the soft floor).
    """
    check_finite(min_log_scale, "min_log_scale")
    min_log_scale = plain(min_log_scale)

    return Likelihood(
        name="gaussian_learned_scale",
        support="real",
        build=Fixed(_gaussian_of_log, min_log_scale),
        options={"min_log_scale": min_log_scale},
        channels=Fixed(times, 2),
    )


def _gaussian_of_log(min_log_scale: float, parameters: Array, event_ndims: int) -> Gaussian:
    loc, raw = split_channels(at_least_float32(parameters), event_ndims, 2)
    log_scale = min_log_scale + jax.nn.softplus(raw - min_log_scale)
    return _GaussianOfLog(loc, log_scale, event_ndims)


def laplace(scale: float = 1.0) -> Likelihood:
    """Laplace with the decoder's output as its mean and one fixed scale: an absolute error in nats.

    Args:
      scale: b in units of the data, > 0; the standard deviation is sqrt(2) b.

    Raises:
      TypeError, ValueError: as `gaussian`.
    """
    scale = _positive_scale(scale)
    return Likelihood(
        name="laplace",
        support="real",
        build=Fixed(_laplace, scale),
        options={"scale": scale},
    )


def _laplace(scale: float, parameters: Array, event_ndims: int) -> Laplace:
    return Laplace(parameters, scale, event_ndims)


def _positive_scale(scale: float) -> float:
    scale = plain(scale)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise TypeError(f"scale: expected a float, got {type(scale).__name__} ({scale!r})")
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale: expected a positive finite number, got {scale!r}")
    return scale
