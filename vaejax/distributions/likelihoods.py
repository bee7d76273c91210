"""Likelihoods p(x|z): distributions over data, and the factories that say which one a decoder feeds.

A factory such as `bernoulli()` returns a `Likelihood`; its `build`, called with the decoder's output array,
makes the distribution. Each sums log-densities over all event dimensions, in nats. Here are the record and
the Bernoulli family; `location_scale` has real data, `logistic` and `categorical` bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from vaejax.checks import plain
from vaejax.fixed import Fixed
from vaejax.precision import at_least_float32
from vaejax.types import Array, Distribution

__all__ = [
    "Bernoulli",
    "ContinuousBernoulli",
    "Likelihood",
    "bernoulli",
    "continuous_bernoulli",
    "logits",
    "mean",
]


def _same(channels: int) -> int:
    return channels


@dataclass(frozen=True)
class Likelihood:
    """The choice of p(x|z), as plain data and the function that builds it.

    `build(parameters, event_ndims) -> Distribution`, parameters from the decoder: [..., *event], but for the
    last axis, the channels, which holds all parameters of a pixel.
    `support`: the values it scores, a key of `vaejax.types.SUPPORTS`; of several modalities {name: key}.
    `channels(c)`: how many the decoder gives for data of c channels; ValueError for a c it cannot score.
    `decodes`: what a decoder must say that it is, by a class attribute of this name, where it is no net of
    parameters but sees x too; `of_network(network, batch, event) -> Distribution` then takes the place of
    `build`, the network being the decoder at a z, and both shapes those of x. Where it has an `in_training`,
    that takes the place of `of_network` in a model that is bound with a step.

    The results of one factory with equal options are equal.
    """

    name: str
    support: Any = field(hash=False)
    build: Callable[..., Distribution] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    channels: Callable[[int], int] = field(default=_same, repr=False)
    decodes: str | None = None
    of_network: Callable[..., Distribution] | None = field(default=None, repr=False)
    in_training: Callable[..., Distribution] | None = field(default=None, repr=False)

    def parameter_shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """What the decoder gives for one example of the shape `event`."""
        return (*event[:-1], *map(self.channels, event[-1:]))


def times(factor: int, channels: int) -> int:
    """Of a family with `factor` parameters a value: what the decoder gives for that many channels."""
    return factor * channels


def flat_event(array: Array, event_ndims: int) -> Array:
    """[..., *event] -> [..., D]: on a CPU, XLA sums over a last axis of 1 (grey images) 30 times slower."""
    return jnp.reshape(array, (*jnp.shape(array)[: jnp.ndim(array) - event_ndims], -1))


class Bernoulli(distrax.Independent):
    """Independent Bernoullis on logits l: log p = x l - softplus(l), summed over the event.

    softplus(l) = max(l, 0) + log1p(e^-|l|) keeps the digits of a small log p at large |l|.

    For x in {0, 1}. With `cross_entropy` grey x in [0, 1] are accepted and `log_prob` is minus the
    cross-entropy, which is not a log-likelihood: its best value is minus the entropy of x, not 0.
    """

    def __init__(self, logits: Array, event_ndims: int, cross_entropy: bool = False):
        super().__init__(distrax.Bernoulli(logits=at_least_float32(logits)), event_ndims)
        self._cross_entropy = cross_entropy

    def log_prob(self, value: Array) -> Array:
        return jnp.sum(self._flat(value), axis=-1)

    def log_prob_each(self, value: Array) -> Array:
        """log p of every value, [..., *event]."""
        return self._flat(value).reshape(jnp.shape(value))

    def _flat(self, value: Array) -> Array:
        l, x = (flat_event(a, len(self.event_shape)) for a in (self.logits, value))
        size = jnp.abs(l)
        # max(l, 0) = (l + |l|) / 2: the slope at 0 is x - 1/2 whatever that of |l| is, and XLA sums without
        # writing log p down
        return x * l - 0.5 * (l + size) - jnp.log1p(jnp.exp(-size))

    def mean(self) -> Array:
        l = self.logits
        return jax.nn.sigmoid(flat_event(l, len(self.event_shape))).reshape(l.shape)

    @property
    def support(self) -> str:
        return "binary_or_unit_interval" if self._cross_entropy else "binary"

    @property
    def logits(self) -> Array:
        base: Any = self.distribution
        return base.logits


class ContinuousBernoulli(distrax.Distribution):
    """The density on [0, 1] whose unnormalised form is the Bernoulli's.

    log p(x) = x l - softplus(l) + log C(l),  C(l) = l / tanh(l/2),  lambda = sigmoid(l).

    The mean is 1/(1 - e^-l) - 1/l, not sigmoid(l). Densities: log p may be positive, and over data with
    many pixels of exactly 0 or 1 it has no maximum.

    Source: Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845, eq. 5-8.
    """

    support = "unit_interval"

    def __init__(self, logits: Array, event_ndims: int):
        super().__init__()
        self._logits = at_least_float32(logits)
        self._event_ndims = event_ndims

    @property
    def logits(self) -> Array:
        return self._logits

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._logits.shape[self._logits.ndim - self._event_ndims :]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._logits.shape[: self._logits.ndim - self._event_ndims]

    def log_prob(self, value: Array) -> Array:
        return jnp.sum(self._flat(value), axis=-1)

    def log_prob_each(self, value: Array) -> Array:
        """log p of every value, [..., *event]."""
        return self._flat(value).reshape(jnp.shape(value))

    def _flat(self, value: Array) -> Array:
        l, x = (flat_event(a, self._event_ndims) for a in (self._logits, value))
        return x * l - jax.nn.softplus(l) + _log_normaliser(l)

    def mean(self) -> Array:
        l = self._logits
        near = jnp.abs(l) < 0.3
        # double where: no nan gradient from the unused branch
        safe, small = jnp.where(near, 1.0, l), jnp.where(near, l, 0.0)
        series = 0.5 + small / 12 - small**3 / 720 + small**5 / 30240
        # 1/(1 - e^-l) = (1 + coth(l/2)) / 2, whose gradient does not overflow
        return jnp.where(near, series, 0.5 + 0.5 / jnp.tanh(safe / 2) - 1 / safe)

    def _sample_n(self, key: Array, n: int) -> Array:
        l = self._logits
        u = jax.random.uniform(key, (n, *l.shape), l.dtype)
        a = jnp.abs(l)
        near = a < 1e-3  # there the density is flat to 1e-3 and the inverse cdf loses its digits
        safe = jnp.where(near, 1.0, a)
        x = 1 + jnp.log(u + (1 - u) * jnp.exp(-safe)) / safe  # inverse cdf for l > 0
        x = jnp.where(near, u, jnp.maximum(x, 0.0))  # u = 0 gives -inf where exp(-|l|) underflows
        return jnp.where(l < 0, 1 - x, x)


def _log_normaliser(l: Array) -> Array:
    """log C(l) = log(l / tanh(l/2)), even in l; a series near 0 also for its gradient."""
    a = jnp.abs(l)
    near = a < 0.3
    safe = jnp.where(near, 1.0, a)
    exact = jnp.log(safe) + jnp.log1p(jnp.exp(-safe)) - jnp.log(-jnp.expm1(-safe))
    l2 = jnp.where(near, jnp.square(l), 0.0)
    series = math.log(2) + l2 / 12 - 7 * l2**2 / 1440 + 31 * l2**3 / 90720
    return jnp.where(near, series, exact)


def bernoulli(cross_entropy: bool = False) -> Likelihood:
    """Bernoulli on the decoder's logits, for binary data.

    Args:
      cross_entropy: also score grey data in [0, 1]; what is then reported as log p(x|z) is minus a
        cross-entropy, as Rhodes & Lee 2021 (arXiv 2106.02923) train on three-dots; of binary data it is
        the likelihood.

    Raises:
      TypeError: if cross_entropy is not a bool.
    """
    cross_entropy = plain(cross_entropy)
    if not isinstance(cross_entropy, bool):
        raise TypeError(f"cross_entropy: expected a bool, got {cross_entropy!r}")
    return Likelihood(
        name="bernoulli",
        support="binary_or_unit_interval" if cross_entropy else "binary",
        build=Fixed(_bernoulli, cross_entropy),
        options={"cross_entropy": cross_entropy},
    )


def _bernoulli(cross_entropy: bool, parameters: Array, event_ndims: int) -> Bernoulli:
    return Bernoulli(parameters, event_ndims, cross_entropy)


def continuous_bernoulli() -> Likelihood:
    """Continuous Bernoulli on the decoder's logits, for grey data in [0, 1]."""
    return Likelihood(name="continuous_bernoulli", support="unit_interval", build=ContinuousBernoulli)


def split_channels(parameters: Array, event_ndims: int, parts: int) -> list[Array]:
    """[..., parts C] -> that many [..., C]; ValueError unless that is the event's last axis."""
    if event_ndims < 1 or parameters.shape[-1] % parts:
        raise ValueError(
            f"parameters: expected [..., {parts} C], C the channels of an event; "
            f"got {parameters.shape} with {event_ndims} event axes"
        )
    return jnp.split(parameters, parts, axis=-1)


def mean(px: Distribution) -> Array:
    """The mean of p(x|z), [..., *event]."""
    return px.mean()


def logits(px: Distribution) -> Array:
    """The logits of p(x|z), [..., *event].

    Raises:
      TypeError: if p(x|z) has none.
    """
    if not isinstance(px, Bernoulli | ContinuousBernoulli):
        raise TypeError(f"of=logits: expected a likelihood on logits, got {px.name}")
    return px.logits
