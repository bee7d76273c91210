"""All mass at one point."""

from __future__ import annotations

import distrax
import jax.numpy as jnp

from vaejax.precision import at_least_float32
from vaejax.types import Array

__all__ = ["Point"]


class Point(distrax.Distribution):
    """The code of a deterministic encoder: a sample is `loc`, and its density there is infinite.

    So are the KL to any density and the log-weights: there is no bound on log p(x), and what asks for one
    says so by an infinite number.

    `loc`: [..., *event], the last `event_ndims` axes an event.
    """

    def __init__(self, loc: Array, event_ndims: int = 1):
        super().__init__()
        self._loc, self._event_ndims = at_least_float32(loc), event_ndims

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._loc.shape[self._loc.ndim - self._event_ndims :]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._loc.shape[: self._loc.ndim - self._event_ndims]

    def log_prob(self, value: Array) -> Array:
        there = jnp.all(value == self._loc, axis=tuple(range(-self._event_ndims, 0)))
        return jnp.where(there, jnp.inf, -jnp.inf).astype(self._loc.dtype)

    def mean(self) -> Array:
        return self._loc

    def _sample_n(self, key: Array, n: int) -> Array:
        del key
        return jnp.broadcast_to(self._loc, (n, *self._loc.shape))
