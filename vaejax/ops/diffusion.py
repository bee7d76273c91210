"""Diffusion by log-SNR: u = a x + s eps with a^2 = sigmoid(-g), s^2 = sigmoid(g).

g grows with the noise; SNR = a^2 / s^2 = exp(-g). What predicts eps from u says where x is: (u - s eps) / a.

Source: Ho, Jain & Abbeel 2020, arXiv 2006.11239; Kingma et al. 2021, arXiv 2107.00630.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vaejax.types import Array

__all__ = [
    "cosine",
    "discrete_weight",
    "linear",
    "noised",
    "prior_kl",
    "step_back",
    "strata",
]

GOLDEN = (math.sqrt(5) - 1) / 2


def linear(t: Array, low: float | Array, high: float | Array) -> Array:
    """g(t) = low + (high - low) t, from t = 0 to 1.

    Args:
      t: [...] in [0, 1].
      low: g(0), the least noise.
      high: g(1).

    Returns:
      g, [...].
    """
    return low + (high - low) * t


def cosine(t: Array, low: float | Array, high: float | Array) -> Array:
    """g(t) = 2 log tan(v), v from atan(exp(low / 2)) to atan(exp(high / 2)): a = cos(v), s = sin(v).

    Args:
      t: [...] in [0, 1].
      low: g(0), the least noise.
      high: g(1).

    Returns:
      g, [...].

    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, whose offset is here `low`.
    """
    first, last = (jnp.arctan(jnp.exp(jnp.asarray(g) / 2)) for g in (low, high))
    return 2 * jnp.log(jnp.tan(first + (last - first) * t))


def noised(x: Array, eps: Array, g: Array) -> Array:
    """u = a x + s eps.

    Args:
      x: [..., *event].
      eps: the same shape, standard normal.
      g: [...], one for each example.

    Returns:
      u, the shape of x.
    """
    a, s = _scales(g, x)
    return a * x + s * eps


def prior_kl(x: Array, g: Array, event_ndims: int) -> Array:
    """KL(q(u_T|x) || N(0, I)) = 1/2 sum(a^2 x^2 + s^2 - 1 - log s^2), [...] nats.

    Args:
      x: [..., *event].
      g: of the last step, [...] or a scalar.
      event_ndims: how many axes an event has.

    Returns:
      [...] nats.
    """
    g = jnp.broadcast_to(g, x.shape[: x.ndim - event_ndims])
    of_scales = jax.nn.sigmoid(g) - 1 - jax.nn.log_sigmoid(g)  # s^2 - 1 - log s^2
    size = math.prod(x.shape[x.ndim - event_ndims :])
    squares = jnp.sum(x**2, tuple(range(-event_ndims, 0)))
    return 0.5 * (jax.nn.sigmoid(-g) * squares + size * of_scales)


def discrete_weight(g_before: Array, g: Array) -> Array:
    """The weight of E||eps - eps_hat||^2 in the bound of a chain: expm1(g_t - g_{t-1}) / 2, in nats.

    Args:
      g_before: [...], of step t - 1, the less noisy.
      g: [...], of step t.

    Returns:
      [...].

    Source: Kingma et al. 2021, arXiv 2107.00630, eq. 14; it equals Ho et al.'s weight
    beta_t^2 / (2 b_t alpha_t (1 - abar_t)) with the variance b_t of the posterior q(u_{t-1}|u_t, x).
    """
    return 0.5 * jnp.expm1(g - g_before)


def step_back(u: Array, eps_hat: Array, g: Array, g_next: Array, eta: float | Array, noise: Array) -> Array:
    """One step from log-SNR -g to the less noisy -g_next, by x_hat = (u - s eps_hat) / a.

    With s_eta^2 = eta^2 (s_n^2 / s^2) (1 - a^2 / a_n^2), n of the next:
    u_n = a_n x_hat + sqrt(s_n^2 - s_eta^2) eps_hat + s_eta noise. eta = 1 is the posterior
    q(u_n|u, x = x_hat), ancestral sampling; eta = 0 draws nothing.

    Args:
      u: [..., *event].
      eps_hat: the same shape, what the net says of u.
      g: [...] or a scalar.
      g_next: the same, g_next <= g.
      eta: in [0, 1].
      noise: the shape of u, standard normal.

    Returns:
      u_n, the shape of u.

    Source: Song, Meng & Ermon 2020, arXiv 2010.02502, eq. 12 and 16.
    """
    a, s = _scales(g, u)
    a_next, s_next = _scales(g_next, u)
    share = -jnp.expm1(2 * (jnp.log(a) - jnp.log(a_next)))  # 1 - a^2 / a_n^2
    drawn = eta**2 * (s_next / s) ** 2 * share
    kept = jnp.sqrt(jnp.maximum(s_next**2 - drawn, 0.0))
    return a_next * (u - s * eps_hat) / a + kept * eps_hat + jnp.sqrt(drawn) * noise


def strata(start: Array, index: Array) -> Array:
    """Times of low discrepancy over a batch: (start + index * golden ratio) mod 1, each uniform over start.

    Any run of indices is spread evenly, so that slices of a batch, too, have times of their own that
    together are the whole batch's. Kingma et al. take (start + index / B) mod 1, which asks for B.

    Args:
      start: a scalar in [0, 1), uniform.
      index: [B] ints, the places of the examples.

    Returns:
      [B] in [0, 1).

    Source: Kingma et al. 2021, arXiv 2107.00630, section I.1.
    """
    return (start + (index % 4096) * jnp.asarray(GOLDEN, start.dtype)) % 1.0


def _scales(g: Array, x: Array) -> tuple[Array, Array]:
    """a and s, with an axis for each one of an event's."""
    g = jnp.asarray(g)
    g = g.reshape(g.shape + (1,) * (x.ndim - g.ndim)) if g.ndim else g
    return jnp.sqrt(jax.nn.sigmoid(-g)), jnp.sqrt(jax.nn.sigmoid(g))
