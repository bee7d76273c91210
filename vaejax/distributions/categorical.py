"""Likelihoods of bytes: what they share, and a free probability for each of the 256 values."""

from __future__ import annotations

import abc

import distrax
import jax
import jax.numpy as jnp

from vaejax.distributions.likelihoods import Likelihood, split_channels, times
from vaejax.fixed import Fixed
from vaejax.precision import at_least_float32
from vaejax.types import Array

__all__ = ["ByteDistribution", "Categorical", "categorical"]


class ByteDistribution(distrax.Distribution):
    """Probabilities of the values 0..255, in nats per value: no dequantisation, no 8 bits to add.

    Values are numbers of any type; samples and means are floats, as data of support "bytes" are after
    their transform. Elsewhere than at whole numbers 0..255 the probability is 0 and `log_prob` -inf.

    `shape`: [..., *event]. A subclass gives `_log_mass(value)`, [..., *event] or with a last axis of 1.
    """

    support = "bytes"

    def __init__(self, shape: tuple[int, ...], event_ndims: int):
        super().__init__()
        self._shape = tuple(shape)
        self._event_ndims = event_ndims

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._shape[len(self._shape) - self._event_ndims :]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._shape[: len(self._shape) - self._event_ndims]

    def log_prob(self, value: Array) -> Array:
        x = at_least_float32(jnp.asarray(value))  # x / 127.5 - 1 needs more digits than the byte x
        axes = tuple(range(-self._event_ndims, 0))
        log_prob = jnp.sum(self._log_mass(x), axis=axes)
        return jnp.where(jnp.all(_is_byte(x), axis=axes), log_prob, -jnp.inf)

    def log_prob_each(self, value: Array) -> Array:
        """log P of every value, [..., *event]; of every pixel, with a last axis of 1, where it is coupled."""
        x = at_least_float32(jnp.asarray(value))
        log_mass = self._log_mass(x)
        is_byte = _is_byte(x)
        if log_mass.shape != x.shape:
            is_byte = jnp.all(is_byte, axis=-1, keepdims=True)
        return jnp.where(is_byte, log_mass, -jnp.inf)

    @abc.abstractmethod
    def _log_mass(self, x: Array) -> Array:
        """log P(x) of every value of the event, or of groups of them."""


def _is_byte(x: Array) -> Array:
    return (x >= 0) & (x <= 255) & (x == jnp.round(x))


class Categorical(ByteDistribution):
    """Independent values with probabilities softmax(logits): log p(x) = sum logits_x - lse(logits).

    `logits`: [..., *event, 256].
    """

    def __init__(self, logits: Array, event_ndims: int):
        super().__init__(logits.shape[:-1], event_ndims)
        self._log_p = jax.nn.log_softmax(at_least_float32(logits))

    def _log_mass(self, x: Array) -> Array:
        k = x.astype(jnp.int32)[..., None]
        log_p = jnp.broadcast_to(self._log_p, (*x.shape, 256))
        return jnp.take_along_axis(log_p, k, axis=-1, mode="clip")[..., 0]

    def mean(self) -> Array:
        return jnp.sum(jnp.exp(self._log_p) * jnp.arange(256), axis=-1)

    def _sample_n(self, key: Array, n: int) -> Array:
        # by the inverse cdf: one uniform a value, where Gumbel-max takes 256
        cdf = jnp.cumsum(jnp.exp(self._log_p), axis=-1)
        u = jax.random.uniform(key, (n, *self._shape), cdf.dtype)[..., None] * cdf[..., -1:]
        return jnp.sum(cdf[..., :-1] <= u, axis=-1).astype(cdf.dtype)


def categorical() -> Likelihood:
    """Categorical over the 256 values of a byte: 256 logits a value, with no order among them.

    The decoder gives 256 C channels, the logits of one channel after those of another: the largest output
    of all, and what the logistic families are measured against. With `nets.FromBytes` around the encoder it
    sees [-1, 1].

    Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, arXiv 1601.06759, section 2.3.
    """
    return Likelihood(name="categorical", support="bytes", build=_categorical, channels=Fixed(times, 256))


def _categorical(parameters: Array, event_ndims: int) -> Categorical:
    split_channels(parameters, event_ndims, 256)
    return Categorical(parameters.reshape(*parameters.shape[:-1], -1, 256), event_ndims)
