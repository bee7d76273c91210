"""A distribution pushed through invertible maps."""

from __future__ import annotations

from collections.abc import Callable

import distrax
import jax.numpy as jnp

from vaejax.types import Array, Distribution

__all__ = ["Flow"]


class Flow(distrax.Distribution):
    """z = f(z0), z0 ~ base, of density log q(z) = log base(z0) - log|det df/dz0|.

    `base`: a distribution of vectors, events [d]. `event`: the shape of z where it is none of a vector; the
    maps then take z0 [..., d] to z [..., *event], and back.
    `forward`: z0 [..., d] -> (z [..., d], log|det| [...]). `inverse`: z -> (z0, log|det dz0/dz|), or None.
    Both take whatever axes lead, with the batch of the base last among them, and are
    `jax.tree_util.Partial`s over all that they depend on: so the distribution has their parameters as its
    leaves, and `jax.lax.stop_gradient(q)` stops them. In a closure they would be moved by every gradient.

    A draw knows its density from the pass that made it; at any other point the density takes the inverse.
    There is no closed form of the mean: `has_mean` is False, and `centre` is a point without noise.

    Source: Rezende & Mohamed 2015, arXiv 1505.05770, eq. 5-7.
    """

    has_mean = False

    def __init__(
        self,
        base: Distribution,
        forward: Callable[[Array], tuple[Array, Array]],
        inverse: Callable[[Array], tuple[Array, Array]] | None = None,
        event: tuple[int, ...] | None = None,
    ):
        super().__init__()
        if len(base.event_shape) != 1:
            raise ValueError(f"base: expected a distribution of vectors, got events {base.event_shape}")
        self._base = base
        self._forward = forward
        self._inverse = inverse
        self._event = None if event is None else tuple(event)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._base.event_shape if self._event is None else self._event

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._base.batch_shape

    @property
    def has_inverse(self) -> bool:
        """Whether there is a density at points that were not drawn."""
        return self._inverse is not None

    def log_prob(self, value: Array) -> Array:
        """The density of z, [..., *event], for each member of the batch; [*event] is one z for all of them.

        Raises:
          TypeError: if the flow has no inverse.
          ValueError: if z has other events.
        """
        if self._inverse is None:
            raise TypeError(
                "log_prob: expected a flow with an inverse; this one has a density at its own samples alone, "
                "as sample_and_log_prob gives it"
            )
        axes = value.ndim - len(self.event_shape)
        if value.shape[axes:] != self.event_shape:
            raise ValueError(
                f"z: expected [..., {', '.join(map(str, self.event_shape))}], got {list(value.shape)}"
            )
        lead = jnp.broadcast_shapes(value.shape[:axes], self.batch_shape)
        z0, log_det = self._inverse(jnp.broadcast_to(value, (*lead, *self.event_shape)))
        return self._base.log_prob(z0) + log_det

    def centre(self) -> Array:
        """f(mean of the base), [*batch, *event]: a code without noise, and not the mean."""
        return self._forward(self._base.mean())[0]

    def mean(self) -> Array:
        raise TypeError(
            "q: expected one with a mean; a flow has samples and the image of its base's mean only"
        )

    def _sample_n(self, key: Array, n: int) -> Array:
        return self._sample_n_and_log_prob(key, n)[0]

    def _sample_n_and_log_prob(self, key: Array, n: int) -> tuple[Array, Array]:
        z0, log_base = self._base._sample_n_and_log_prob(key, n)
        z, log_det = self._forward(z0)
        return z, log_base - log_det
