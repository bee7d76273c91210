"""Gaussian latents."""

from __future__ import annotations

import math

import distrax
import jax
import jax.numpy as jnp

from vaejax.precision import at_least_float32
from vaejax.types import Array, Distribution

__all__ = ["FullGaussian", "GaussianOnPath", "diagonal_gaussian"]


def diagonal_gaussian(loc: Array, scale: Array, event_ndims: int = 1) -> Distribution:
    """N(loc, diag(scale^2)); the one convention for diagonal Gaussians in vaejax.

    Args:
      loc: [..., d]; half precision becomes float32, in all distributions of vaejax.
      scale: [..., d], standard deviations > 0.
      event_ndims: how many of the last axes make up one event; 1 for vectors.

    Returns:
      A distrax distribution with events [d] and batch shape [...].

    Raises:
      ValueError: if the shapes differ (distrax would broadcast them in silence).
    """
    if loc.shape != scale.shape:
        raise ValueError(f"scale: expected the shape of loc, {loc.shape}; got {scale.shape}")
    return distrax.Independent(distrax.Normal(at_least_float32(loc), at_least_float32(scale)), event_ndims)


class GaussianOnPath(distrax.Independent):
    """A diagonal Gaussian p(z|parents) whose parents were drawn from the z that it scores.

    Of levels that are drawn from x upwards E[log q(z|below) - log p(z|above)] is over both z and what was
    drawn above from that z. KL(q||p) given what is above would draw z a second time, and is something else:
    there is no closed form, and what asks for a KL takes log q - log p at the drawn z.
    """

    @classmethod
    def of(cls, p: Distribution) -> GaussianOnPath:
        """The same density as a `diagonal_gaussian`."""
        return cls(p.distribution, len(p.event_shape))


class FullGaussian(distrax.Distribution):
    """N(m, L L^T), L lower triangular: z = m + L eps, eps ~ N(0, I).

    log p = -1/2 |L^-1 (z - m)|^2 - log det L - d/2 log 2 pi

    Args:
      loc: m, [..., d].
      tril: L, [..., d, d], with positive diagonals; what stands above them is not read.

    Raises:
      ValueError: if the shapes do not fit.
    """

    def __init__(self, loc: Array, tril: Array):
        super().__init__()
        if tril.shape != (*loc.shape, *loc.shape[-1:]):
            raise ValueError(f"tril: expected {(*loc.shape, *loc.shape[-1:])}, got {tril.shape}")
        self._loc, self._tril = at_least_float32(loc), jnp.tril(at_least_float32(tril))

    @property
    def loc(self) -> Array:
        return self._loc

    @property
    def tril(self) -> Array:
        return self._tril

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._loc.shape[:-1]

    def log_prob(self, value: Array) -> Array:
        difference = value - self._loc
        tril = jnp.broadcast_to(self._tril, (*difference.shape, difference.shape[-1]))
        return self._of_noise(
            jax.scipy.linalg.solve_triangular(tril, difference[..., None], lower=True)[..., 0]
        )

    def _of_noise(self, eps: Array) -> Array:
        """log p of z = m + L eps."""
        log_det = jnp.sum(jnp.log(jnp.diagonal(self._tril, axis1=-2, axis2=-1)), axis=-1)
        constant = eps.shape[-1] / 2 * math.log(2 * math.pi)
        return -0.5 * jnp.sum(jnp.square(eps), axis=-1) - log_det - constant

    def mean(self) -> Array:
        return self._loc

    def stddev(self) -> Array:
        """Of each latent alone, [..., d]."""
        return jnp.sqrt(jnp.sum(jnp.square(self._tril), axis=-1))

    def _sample_n(self, key: Array, n: int) -> Array:
        return self._sample_n_and_log_prob(key, n)[0]

    def _sample_n_and_log_prob(self, key: Array, n: int) -> tuple[Array, Array]:
        eps = jax.random.normal(key, (n, *self._loc.shape), self._loc.dtype)
        z = self._loc + jnp.einsum("...ij,...j->...i", self._tril, eps)
        return z, self._of_noise(eps)  # without the triangular system that log_prob solves
