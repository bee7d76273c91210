"""Latents that are codes: at each place of a grid one of V values, which stands for a vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp

from vaejax.precision import at_least_float32
from vaejax.types import Array

__all__ = ["AutoregressiveCodes", "CodePoint", "Codes", "Coding"]


class Coding(NamedTuple):
    """How vectors and indices of codes belong together: what a quantised posterior shares with its prior.

    `places`: the shape of the indices of one example, (P,), (H, W) or, where a vector is the sum or the row
      of several codes, (H, W, S).
    `values`: V, the same at every place.
    `index`: a `jax.tree_util.Partial`, z [..., *event] -> indices, integers [..., *places] in 0 .. V - 1.
    `vector`: a `Partial`, indices [..., *places] -> z [..., *event]; `index` takes it back, but for codes of
      equal vectors.
    """

    places: tuple[int, ...]
    values: int
    index: Callable[[Array], Array]
    vector: Callable[[Array], Array]


class Codes(distrax.Distribution):
    """Codes of which all are alike: log p(z) = -P log V, P the number of places.

    A sample is vectors z, [..., *event]; `log_prob` takes those, of which it finds the indices, or the
    indices themselves, integers [..., *places]. Samples carry no gradient: `reparameterised` is False, and
    what needs a path refuses it. Other distributions of codes derive from this one.

    `coding`: a `Coding`.
    `batch_shape`: of the distribution.
    """

    reparameterised = False

    def __init__(self, coding: Coding, batch_shape: tuple[int, ...] = ()):
        super().__init__()
        if not isinstance(coding, Coding):
            raise TypeError(f"coding: expected a distributions.Coding, got {type(coding).__name__}")
        self._coding, self._batch_shape = coding, tuple(batch_shape)

    @property
    def coding(self) -> Coding:
        return self._coding

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._batch_shape

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._vector.shape

    @property
    def _vector(self) -> jax.ShapeDtypeStruct:
        """What the vectors of all places are."""
        indices = jax.ShapeDtypeStruct(self._coding.places, jnp.int32)
        return jax.eval_shape(lambda k: self._coding.vector(k), indices)

    def indices(self, value: Array) -> Array:
        """k [..., *places] of vectors z [..., *event]; integers are indices as they are.

        Raises:
          ValueError: if the last axes are not the places.
        """
        value = jnp.asarray(value)
        k = value if jnp.issubdtype(value.dtype, jnp.integer) else self._coding.index(value)
        places = self._coding.places
        if k.shape[max(0, k.ndim - len(places)) :] != places:
            raise ValueError(f"value: expected indices [..., {', '.join(map(str, places))}], got {k.shape}")
        return k

    def log_prob(self, value: Array) -> Array:
        k, places = self.indices(value), self._coding.places
        lead = jnp.broadcast_shapes(k.shape[: k.ndim - len(places)], self._batch_shape)
        k = jnp.broadcast_to(k, (*lead, *places))
        known = jnp.all((k >= 0) & (k < self._coding.values), axis=self._axes)
        log_p = self._log_mass(jnp.clip(k, 0, self._coding.values - 1))
        return jnp.where(known, log_p, -jnp.inf)

    @property
    def _axes(self) -> tuple[int, ...]:
        """Those of the places."""
        return tuple(range(-len(self._coding.places), 0))

    def _log_mass(self, k: Array) -> Array:
        """log p of indices [..., *places], [...]."""
        nats = math.prod(self._coding.places) * math.log(self._coding.values)
        dtype = jnp.promote_types(self._vector.dtype, jnp.float32)
        return jnp.full(k.shape[: k.ndim - len(self._coding.places)], -nats, dtype)

    def _draw(self, key: Array, n: int) -> Array:
        """n draws of indices, [n, *batch, *places]."""
        shape = (n, *self._batch_shape, *self._coding.places)
        return jax.random.randint(key, shape, 0, self._coding.values, jnp.int32)

    def _sample_n(self, key: Array, n: int) -> Array:
        return self._coding.vector(self._draw(key, n))

    def _sample_n_and_log_prob(self, key: Array, n: int) -> tuple[Array, Array]:
        k = self._draw(key, n)
        return self._coding.vector(k), self._log_mass(k)


class AutoregressiveCodes(Codes):
    """log p(z) = sum_i log softmax(logits_i(k_<i))_{k_i}, i over the places in raster order.

    `network`: indices k [..., *places] -> logits [..., *places, V], those of place i of the indices before i
      alone: a `jax.tree_util.Partial` over its parameters and its condition, so that the distribution has
      them as its leaves. One pass scores all places; to draw takes as many as there are, in a scan.
    `batch_shape`: of the condition; the network takes k of any axes before it.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, section 3.3.
    """

    def __init__(self, coding: Coding, network: Callable[[Array], Array], batch_shape: tuple[int, ...] = ()):
        super().__init__(coding, batch_shape)
        self._network = network

    def logits(self, k: Array) -> Array:
        """Of p(k_i|k_<i) for every place i of indices [*sample, *batch, *places]: [.., *places, V]."""
        return at_least_float32(self._network(k))

    def _log_mass(self, k: Array) -> Array:
        log_p = jax.nn.log_softmax(self.logits(k))
        return jnp.sum(jnp.take_along_axis(log_p, k[..., None], axis=-1)[..., 0], axis=self._axes)

    def _draw(self, key: Array, n: int) -> Array:
        places, P = self._coding.places, math.prod(self._coding.places)
        lead = (n, *self._batch_shape)

        def draw(k: Array, i: Array) -> tuple[Array, None]:
            logits = self.logits(k.reshape(*lead, *places)).reshape(*lead, P, -1)
            of_place = jax.lax.dynamic_index_in_dim(logits, i, axis=-2, keepdims=False)
            value = jax.random.categorical(jax.random.fold_in(key, i), of_place)
            return k.at[..., i].set(value.astype(k.dtype)), None

        k, _ = jax.lax.scan(draw, jnp.zeros((*lead, P), jnp.int32), jnp.arange(P))
        return k.reshape(*lead, *places)


class CodePoint(Codes):
    """All mass on one code: what a quantiser makes of the encoder's output.

    The mass there is 1: log q = 0, elsewhere -inf. So KL(q||p) = -log p(k), and there is a bound on log p(x).

    `indices`: k [*batch, *places].
    """

    def __init__(self, coding: Coding, indices: Array):
        super().__init__(coding)
        self._k = self.indices(indices)
        self._batch_shape = self._k.shape[: self._k.ndim - len(coding.places)]

    @property
    def point(self) -> Array:
        """The indices, [*batch, *places]."""
        return self._k

    def mean(self) -> Array:
        """The vectors, [*batch, *event]."""
        return self._coding.vector(self._k)

    def _log_mass(self, k: Array) -> Array:
        return jnp.where(jnp.all(k == self._k, axis=self._axes), 0.0, -jnp.inf)

    def _draw(self, key: Array, n: int) -> Array:
        del key
        return jnp.broadcast_to(self._k, (n, *self._k.shape))
