"""Mixtures: of a posterior's components, of a prior's, of a posterior at pseudo-inputs."""

from __future__ import annotations

from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp

from vaejax.distributions.gaussian import diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.ops import mixtures
from vaejax.precision import at_least_float32
from vaejax.types import Array, Distribution, PyTree

__all__ = ["GaussianMixture", "Mixture", "mixture_of"]


class Mixture(distrax.Distribution):
    """sum_r pi_r p_r, pi = softmax(logits) and p_r = build(parameters of r): log p(z) by one logsumexp.

    `logits`: [*batch, R]; -inf leaves a component out.
    `parameters`: a pytree of arrays [*batch, R, ...].
    `build`: parameters -> the distribution of them, with their leading axes as its batch shape. A function
      of parameters of its own, as a flow's nets are, is a `jax.tree_util.Partial` over them.

    A sample draws one component and builds only that. It carries no gradient to the weights, which nothing
    downstream would say: so `reparameterised` is False, and what needs a path refuses it.
    """

    reparameterised = False

    def __init__(self, logits: Array, parameters: PyTree, build: Callable[[PyTree], Distribution]):
        super().__init__()
        self._logits = at_least_float32(logits)
        self._parameters, self._build = jax.tree.map(at_least_float32, parameters), build
        if self.components.batch_shape != self._logits.shape:
            raise ValueError(
                f"logits: expected one for each component, {self.components.batch_shape}; "
                f"got {self._logits.shape}"
            )

    @property
    def log_weights(self) -> Array:
        """log pi, [*batch, R]."""
        return jax.nn.log_softmax(self._logits)

    @property
    def components(self) -> Distribution:
        """All p_r as one distribution of batch shape [*batch, R]."""
        return self._build(self._parameters)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.components.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._logits.shape[:-1]

    def log_prob(self, value: Array) -> Array:
        return jax.nn.logsumexp(self.log_weights + self._log_components(value), axis=-1)

    def _log_components(self, value: Array) -> Array:
        """log p_r(value), [..., R]."""
        return self.components.log_prob(jnp.expand_dims(value, value.ndim - len(self.event_shape)))

    def mean(self) -> Array:
        weights = jnp.exp(self.log_weights)
        weights = weights.reshape(*weights.shape, *[1] * len(self.event_shape))
        return jnp.sum(weights * self.components.mean(), axis=len(self.batch_shape))

    def _sample_n(self, key: Array, n: int) -> Array:
        of_component, of_sample = jax.random.split(key)
        r = jax.random.categorical(of_component, self.log_weights, shape=(n, *self.batch_shape))
        drawn = jax.tree.map(lambda a: _at(a, r), self._parameters)
        return self._build(drawn).sample(seed=of_sample)

    def _sample_n_and_log_prob(self, key: Array, n: int) -> tuple[Array, Array]:
        z = self._sample_n(key, n)
        return z, self.log_prob(z)


class GaussianMixture(Mixture):
    """sum_r pi_r N(loc_r, diag scale_r^2), whose samples carry the gradient to weights, means and scales.

    By implicit reparameterisation (`ops.mixtures.reparameterised`), so that whatever takes a path through
    z ~ q is right for it.

    `logits`: [*batch, R]; -inf leaves a component out.
    `loc`, `scale`: [*batch, R, *event], the last `event_ndims` axes an event.
    """

    reparameterised = True

    def __init__(self, logits: Array, loc: Array, scale: Array, event_ndims: int = 1):
        if loc.shape != scale.shape:
            raise ValueError(f"scale: expected the shape of loc, {loc.shape}; got {scale.shape}")
        super().__init__(logits, (loc, scale), Fixed(_gaussians, event_ndims))

    def stratified(self, noise: Array) -> Array:
        """loc_r + scale_r noise_r, a sample of every component: [..., *batch, R, *event], as the noise."""
        loc, scale = self._parameters
        return loc + scale * noise

    def _flat(self) -> tuple[Array, Array]:
        """loc and scale with one event axis: [*batch, R, d]."""
        return tuple(a.reshape(*self._logits.shape, -1) for a in self._parameters)

    def _log_components(self, value: Array) -> Array:
        value = value.reshape(*value.shape[: value.ndim - len(self.event_shape)], -1)
        return mixtures.log_components(value, *self._flat())

    def _sample_n(self, key: Array, n: int) -> Array:
        z = super()._sample_n(key, n)
        with_path = mixtures.reparameterised
        for _ in self.batch_shape:
            with_path = jax.vmap(with_path)
        flat = z.reshape(n, *self.batch_shape, -1)
        return jax.vmap(with_path, (0, None, None, None))(flat, self.log_weights, *self._flat()).reshape(
            z.shape
        )


def mixture_of(logits: Array, parameters: PyTree, build: Callable[[PyTree], Distribution]) -> Mixture:
    """The mixture of build(parameters): a `GaussianMixture` where the components are diagonal Gaussians.

    Args and Raises: as `Mixture`.
    """
    components = build(parameters)
    if isinstance(components, distrax.Independent) and isinstance(components.distribution, distrax.Normal):
        base = components.distribution
        loc, scale = jnp.asarray(base.loc), jnp.asarray(base.scale)
        return GaussianMixture(logits, loc, scale, len(components.event_shape))
    return Mixture(logits, parameters, build)


def _gaussians(event_ndims: int, parameters: tuple[Array, Array]) -> Distribution:
    return diagonal_gaussian(*parameters, event_ndims)


def _at(parameters: Array, r: Array) -> Array:
    """Of [*batch, R, ...] the rows r [n, *batch]: [n, *batch, ...]."""
    take = lambda a, r: a[r]  # noqa: E731
    for _ in r.shape[1:]:
        take = jax.vmap(take, in_axes=(0, 1), out_axes=1)
    return take(parameters, r)
