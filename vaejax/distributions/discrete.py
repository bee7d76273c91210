"""One-hot latents."""

from __future__ import annotations

from typing import Any

import distrax
import jax
import jax.numpy as jnp

from vaejax.precision import at_least_float32
from vaejax.types import Array

__all__ = ["OneHot"]


class OneHot(distrax.Distribution):
    """M independent categoricals of V values, as one-hot rows: log p(z) = sum_mv z_mv log softmax(logits)_mv.

    `logits`: [..., M, V]; an event is [M, V], of the dtype of the logits.

    Samples are exact and carry no gradient: `reparameterised` is False, and what needs a path refuses it. In
    training `relaxed` gives them one. `log_prob` is linear in z; at a relaxed point, which the distribution
    never draws, it is that linear function and no density.
    """

    reparameterised = False

    def __init__(self, logits: Array):
        super().__init__()
        if logits.ndim < 2:
            raise ValueError(f"logits: expected [..., variables, values], got {logits.shape}")
        self._logits = at_least_float32(logits)

    @property
    def logits(self) -> Array:
        """As given, [..., M, V]."""
        return self._logits

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._logits.shape[-2:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._logits.shape[:-2]

    def log_prob(self, value: Array) -> Array:
        return jnp.sum(value * jax.nn.log_softmax(self._logits), axis=(-2, -1))

    def mean(self) -> Array:
        return jax.nn.softmax(self._logits)

    def mode(self) -> Array:
        return self._one_hot(jnp.argmax(self._logits, axis=-1))

    def entropy(self) -> Array:
        log_p = jax.nn.log_softmax(self._logits)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=(-2, -1))

    def _one_hot(self, value: Array) -> Array:
        return jax.nn.one_hot(value, self._logits.shape[-1], dtype=self._logits.dtype)

    def _sample_n(self, key: Array, n: int) -> Array:
        return self._one_hot(jax.random.categorical(key, self._logits, shape=(n, *self._logits.shape[:-1])))

    def relaxed(self, key: Array, temperature: Any, *, hard: bool = True) -> Array:
        """One relaxed sample, [..., M, V], through which a gradient reaches the logits.

        y = softmax((log p + g) / temperature), g of Gumbel's distribution. Hard, the value is the one-hot of
        the largest, a sample of the distribution, and the gradient that of y (straight-through). The gradient
        is biased, less so as the temperature falls; its variance grows like 1/temperature.

        Args:
          key: typed PRNG key.
          temperature: > 0.
          hard: whether the value is a one-hot.

        Source: Jang, Gu & Poole 2016, arXiv 1611.01144; Maddison, Mnih & Teh 2016, arXiv 1611.00712.
        """
        noise = jax.random.gumbel(key, self._logits.shape, self._logits.dtype)
        scores = jax.nn.log_softmax(self._logits) + noise
        y = jax.nn.softmax(scores / temperature)
        if not hard:
            return y
        # what is added is 0 exactly, where (one-hot - y) + y would be off by a last digit
        return self._one_hot(jnp.argmax(scores, axis=-1)) + (y - jax.lax.stop_gradient(y))
