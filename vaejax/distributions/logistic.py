"""Logistic likelihoods of bytes: one discretised logistic, and mixtures of them that couple the channels.

Inside, the byte k is v = 2 k / 255 - 1 in [-1, 1], the unit of locations and scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid

from vaejax.checks import check_finite, check_positive_int, plain
from vaejax.distributions.categorical import ByteDistribution
from vaejax.distributions.likelihoods import Likelihood, split_channels, times
from vaejax.fixed import Fixed
from vaejax.precision import at_least_float32
from vaejax.types import Array

__all__ = [
    "DiscretisedLogistic",
    "DiscretisedLogisticMixture",
    "discretised_logistic",
    "discretised_logistic_mixture",
]


class DiscretisedLogistic(ByteDistribution):
    """Independent logistics, each cut into 256 bins whose outer two reach to infinity.

    P(k) = sigmoid((v + 1/255 - m) / s) - sigmoid((v - 1/255 - m) / s), without the second at k = 0 and
    with 1 for the first at k = 255.

    The mean is that of the logistic clipped to [-1, 1], which is smooth in m; rounding to bytes moves it by
    at most 0.15 of a byte at log s = -7 and by less than 0.02 for log s >= -5.

    `loc`, `log_scale`: [..., *event], m and log s.
    """

    def __init__(self, loc: Array, log_scale: Array, event_ndims: int):
        super().__init__(loc.shape, event_ndims)
        self._loc, self._log_scale = at_least_float32(loc), at_least_float32(log_scale)

    def _log_mass(self, x: Array) -> Array:
        return _log_mass(x, self._loc, self._log_scale)

    def mean(self) -> Array:
        return _to_bytes(_clipped_mean(self._loc, self._log_scale))

    def _sample_n(self, key: Array, n: int) -> Array:
        noise = jax.random.logistic(key, (n, *self._shape), self._loc.dtype)
        return jnp.round(_to_bytes(self._loc + jnp.exp(self._log_scale) * noise))


class DiscretisedLogisticMixture(ByteDistribution):
    """A mixture of R discretised logistics a pixel, with one component for its channels together.

    log P(pixel) = lse_m [ log_softmax(logits)_m + sum_c log P_cm(x_c) ], with the locations of component m
    m_r, m_g + k0 r and m_b + k1 r + k2 g at the pixel's own r and g in [-1, 1].

    A sample is exact: one component by Gumbel-max, then r, then g given the byte that r became, then b. The
    mean puts the means of r and g for themselves into the locations; that is exact, up to the rounding
    described at `DiscretisedLogistic`, where no mass of g and b is clipped at 0 or 255. Over random pixels
    with scales around e^-1, much of whose mass is, it is off by one byte on average and by fifteen at most.

    `logits`: [..., H, W, R]; `loc`, `log_scale`: [..., H, W, C, R]; `coupling`: [..., H, W, 3, R], k0, k1 and
    k2, or None for grey images, C = 1.
    """

    def __init__(self, logits: Array, loc: Array, log_scale: Array, coupling: Array | None, event_ndims: int):
        super().__init__(loc.shape[:-1], event_ndims)
        self._log_weights = jax.nn.log_softmax(at_least_float32(logits))
        self._loc, self._log_scale = at_least_float32(loc), at_least_float32(log_scale)
        self._coupling = at_least_float32(coupling)

    def _log_mass(self, x: Array) -> Array:
        v = [_to_unit(x[..., c, None]) for c in range(self._shape[-1])]
        loc = [_conditional_loc(self._loc, self._coupling, v[:c]) for c in range(len(v))]
        loc = jnp.stack(jnp.broadcast_arrays(*loc), axis=-2)
        log_p = jnp.sum(_log_mass(x[..., None], loc, self._log_scale), axis=-2)
        return jax.nn.logsumexp(self._log_weights + log_p, axis=-1, keepdims=True)

    def mean(self) -> Array:
        means: list[Array] = []  # of r, g, b, [..., R] each, in [-1, 1]
        for c in range(self._shape[-1]):
            loc = _conditional_loc(self._loc, self._coupling, means)
            means.append(_clipped_mean(loc, self._log_scale[..., c, :]))
        weights = jnp.exp(self._log_weights)
        return _to_bytes(jnp.stack([jnp.sum(weights * mean, axis=-1) for mean in means], axis=-1))

    def _sample_n(self, key: Array, n: int) -> Array:
        key_component, key_noise = jax.random.split(key)
        shape = (n, *self._log_weights.shape[:-1])
        m = jax.random.categorical(key_component, self._log_weights, shape=shape)[..., None, None]

        def chosen(a: Array) -> Array:  # [..., C, R] -> [n, ..., C, 1]
            return jnp.take_along_axis(jnp.broadcast_to(a, (n, *a.shape)), m, axis=-1)

        loc, scale = chosen(self._loc), jnp.exp(chosen(self._log_scale))
        coupling = None if self._coupling is None else chosen(self._coupling)
        noise = jax.random.logistic(key_noise, loc.shape, loc.dtype)
        x: list[Array] = []
        for c in range(self._shape[-1]):
            loc_c = _conditional_loc(loc, coupling, [_to_unit(e) for e in x])
            x.append(jnp.round(_to_bytes(loc_c + scale[..., c, :] * noise[..., c, :])))
        return jnp.concatenate(x, axis=-1)


def _to_unit(x: Array) -> Array:
    """0..255 -> [-1, 1]."""
    return x / 127.5 - 1


def _to_bytes(v: Array) -> Array:
    """[-1, 1] -> 0..255, what lies outside to the ends."""
    return jnp.clip((v + 1) * 127.5, 0.0, 255.0)


def _conditional_loc(loc: Array, coupling: Array | None, earlier: Sequence[Array]) -> Array:
    """m_r, or m_g + k0 r, or m_b + k1 r + k2 g: [..., R], by how many channels [..., R or 1] came earlier."""
    c = len(earlier)
    at = loc[..., c, :]
    if coupling is None:
        return at
    first = c * (c - 1) // 2  # g has k0, b has k1 and k2
    return at + sum(coupling[..., first + j, :] * value for j, value in enumerate(earlier))


def _log_mass(x: Array, loc: Array, log_scale: Array) -> Array:
    """log P(x) of the logistic cut into 256 bins, without cancelling digits.

    With p > q the bin's two edges,

    sigmoid(p) - sigmoid(q) = sigmoid(p) sigmoid(-q) (1 - e^(q - p)),   p - q = 2 / (255 s).
    """
    inverse = jnp.exp(-log_scale)
    p = inverse * (_to_unit(x) - loc + 1 / 255)
    q = inverse * (_to_unit(x) - loc - 1 / 255)
    inside = log_sigmoid(p) + log_sigmoid(-q) + _log1m_exp(math.log(2 / 255) - log_scale)
    return jnp.where(x < 0.5, log_sigmoid(p), jnp.where(x > 254.5, log_sigmoid(-q), inside))


def _log1m_exp(log_d: Array) -> Array:
    """log(1 - e^-d), d > 0; for small d from log d, since d itself underflows for a wide logistic."""
    near = log_d < -7.0
    d, small = jnp.exp(jnp.where(near, 0.0, log_d)), jnp.exp(jnp.minimum(log_d, -7.0))
    return jnp.where(near, log_d - small / 2 + small**2 / 24, jnp.log(-jnp.expm1(-d)))


def _clipped_mean(loc: Array, log_scale: Array) -> Array:
    """E[clip(V, -1, 1)] = s log((1 + e^(b + 2/s)) / (1 + e^b)) - 1,  b = (m - 1) / s,  V ~ Logistic(m, s)."""
    wide = log_scale > 0
    # s <= 1: the quotient is (1 - sigmoid(b)) + sigmoid(b) e^(2/s), whose last factor may overflow
    s = jnp.exp(jnp.where(wide, 0.0, log_scale))
    b = (loc - 1) / s
    narrow_mean = s * jnp.logaddexp(log_sigmoid(-b), log_sigmoid(b) + 2 / s) - 1
    # s > 1: it is near 1. Beyond s = e^20 the mean is 0 to 1e-8, and s may overflow
    s = jnp.exp(jnp.clip(log_scale, 0.0, 20.0))
    wide_mean = s * jnp.log1p(sigmoid((loc - 1) / s) * jnp.expm1(2 / s)) - 1
    return jnp.where(wide, wide_mean, narrow_mean)


def discretised_logistic(min_log_scale: float = -7.0) -> Likelihood:
    """One logistic a value, cut into 256 bins, on bytes; probabilities, in nats per value.

    The decoder gives 2 C channels: C locations m, for data on [-1, 1], then C log-scales, which are not let
    below `min_log_scale`. With `nets.SharedScale` around the decoder there is one scale for all; with
    `nets.FromBytes` around the encoder it sees [-1, 1].

    Args:
      min_log_scale: the floor of log s; log s = -7 is 0.12 of a bin.

    Raises:
      TypeError, ValueError: if min_log_scale is not a finite number.

    Source: Kingma et al. 2016, arXiv 1606.04934; the bins and their ends are those of Salimans et al. 2017,
    arXiv 1701.05517, eq. 2, and there is no epsilon in the logarithm, so it sums to 1.
    """
    check_finite(min_log_scale, "min_log_scale")
    min_log_scale = plain(min_log_scale)

    return Likelihood(
        name="discretised_logistic",
        support="bytes",
        build=Fixed(_logistic, min_log_scale),
        options={"min_log_scale": min_log_scale},
        channels=Fixed(times, 2),
    )


def _logistic(min_log_scale: float, parameters: Array, event_ndims: int) -> DiscretisedLogistic:
    loc, log_scale = split_channels(at_least_float32(parameters), event_ndims, 2)
    return DiscretisedLogistic(loc, jnp.maximum(log_scale, min_log_scale), event_ndims)


def discretised_logistic_mixture(components: int = 10, min_log_scale: float = -7.0) -> Likelihood:
    """The mixture of R discretised logistics of PixelCNN++, on images of bytes [..., H, W, C].

    The decoder gives 10 R channels for C = 3, packed as the authors do, R numbers each of:
    logits; for r, g and b in turn locations m, log-scales, and one of k0, k1, k2 before its tanh.
    For C = 1 it gives 3 R: logits, locations, log-scales. With `nets.FromBytes` around the encoder it sees
    [-1, 1].

    Args:
      components: R.
      min_log_scale: the floor of log s, the authors' -7.

    Raises:
      TypeError, ValueError: if components is not an int of at least 1 or min_log_scale not a finite number;
        when a model is initialised, for images of other than 1 or 3 channels.

    Source: Salimans, Karpathy, Chen & Kingma 2017, arXiv 1701.05517, eq. 1-3. Their code swaps in the density
    at the bin's centre where a probability is small, and samples g and b given r before it is rounded; this
    is exact in both.
    """
    check_positive_int(components, "components")
    components = plain(components)
    check_finite(min_log_scale, "min_log_scale")
    min_log_scale = plain(min_log_scale)

    return Likelihood(
        name="discretised_logistic_mixture",
        support="bytes",
        build=Fixed(_mixture, components, min_log_scale),
        options={"components": components, "min_log_scale": min_log_scale},
        channels=Fixed(_mixture_channels, components),
    )


def _mixture_channels(components: int, channels: int) -> int:
    if channels not in (1, 3):
        raise ValueError(f"x: expected images of 1 or 3 channels for a mixture of logistics, got {channels}")
    return (3 if channels == 1 else 10) * components


def _mixture(R: int, min_log_scale: float, parameters: Array, event_ndims: int) -> DiscretisedLogisticMixture:
    if event_ndims < 1 or parameters.shape[-1] not in (3 * R, 10 * R):
        raise ValueError(
            f"parameters: expected [..., {3 * R}] for grey images or [..., {10 * R}] for RGB; "
            f"got {parameters.shape} with {event_ndims} event axes"
        )
    parameters = at_least_float32(parameters)  # tanh and the floor, too, are not taken in half precision
    is_grey = parameters.shape[-1] == 3 * R
    parts = (1, 2, R) if is_grey else (3, 3, R)
    rest = parameters[..., R:].reshape(*parameters.shape[:-1], *parts)
    coupling = None if is_grey else jnp.tanh(rest[..., 2, :])
    log_scale = jnp.maximum(rest[..., 1, :], min_log_scale)
    return DiscretisedLogisticMixture(parameters[..., :R], rest[..., 0, :], log_scale, coupling, event_ndims)
