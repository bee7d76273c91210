"""A likelihood of images whose pixels are not independent given z: each is conditioned on those before it."""

from __future__ import annotations

import math
from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp

from vaejax.distributions.likelihoods import Likelihood
from vaejax.precision import at_least_float32
from vaejax.types import Array, Distribution

__all__ = ["Autoregressive"]


class Autoregressive(distrax.Distribution):
    """log p(x) = sum_i log p(x_i | x_<i), i in raster order, each conditional of one and the same family.

    `network`: x [..., *event] -> the likelihood's parameters [..., *event], but for the last axis; those of
    x_i see x_<i alone. A `jax.tree_util.Partial` over its parameters and z, so that the distribution has them
    as its leaves. One pass scores an image; to draw one takes as many as it has values, in a scan.

    `likelihood`: the family of the conditionals; it treats the values of an event as independent.
    `shape`: [*batch, *event], the batch that of z.

    There is no closed form of the mean: `has_mean` is False. Samples are floats.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, arXiv 1601.06759; given z: Gulrajani et al. 2016,
    arXiv 1611.05013.
    """

    has_mean = False

    def __init__(
        self,
        network: Callable[[Array], Array],
        likelihood: Likelihood,
        shape: tuple[int, ...],
        event_ndims: int,
    ):
        super().__init__()
        self._network = network
        self._build = likelihood.build
        self._support = likelihood.support
        self._shape = tuple(shape)
        self._event_ndims = event_ndims

    @property
    def support(self) -> str:
        return self._support

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._shape[len(self._shape) - self._event_ndims :]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._shape[: len(self._shape) - self._event_ndims]

    def conditionals(self, value: Array) -> Distribution:
        """p(x_i | x_<i) for every i of the given x, as one distribution with independent values."""
        return self._build(self._parameters(value), self._event_ndims)

    def _parameters(self, value: Array) -> Array:
        return at_least_float32(self._network(value))

    def log_prob(self, value: Array) -> Array:
        return self.conditionals(value).log_prob(value)

    def mean(self) -> Array:
        raise TypeError("p(x|z): expected one with a mean; an autoregressive one has samples only")

    def _sample_n(self, key: Array, n: int) -> Array:
        *pixels, channels = self.event_shape
        shape = (n, *self._shape)
        flat = (n, *self.batch_shape, math.prod(pixels), channels)

        def draw(x: Array, i: Array) -> tuple[Array, None]:
            pixel, channel = i // channels, i % channels
            parameters = self._parameters(x.reshape(shape)).reshape(*flat[:-1], -1)
            of_pixel = jax.lax.dynamic_index_in_dim(parameters, pixel, axis=-2, keepdims=False)
            values = self._build(of_pixel, 1).sample(seed=jax.random.fold_in(key, i))
            value = jax.lax.dynamic_index_in_dim(values, channel, axis=-1, keepdims=False)
            return x.at[..., pixel, channel].set(value.astype(x.dtype)), None

        zeros = jnp.zeros(flat, jnp.result_type(jnp.float32, *jax.tree.leaves(self._network)))
        x, _ = jax.lax.scan(draw, zeros, jnp.arange(math.prod(self.event_shape)))
        return x.reshape(shape)
