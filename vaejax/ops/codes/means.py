"""Running means of what is assigned to each code, and how far the codes are used."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaejax.ops.codes.search import nearest
from vaejax.types import Array


def _assigned(z: Array, indices: Array, V: int) -> tuple[Array, Array]:
    """How many vectors have each code, [V], and their sum, [V, D]; indices V and beyond count nowhere."""
    rows, k = z.reshape(-1, z.shape[-1]), indices.reshape(-1)
    counts = jnp.zeros(V, z.dtype).at[k].add(1, mode="drop")
    return counts, jnp.zeros((V, rows.shape[-1]), z.dtype).at[k].add(rows, mode="drop")


def ema_update(
    counts: Array, sums: Array, z: Array, indices: Array, decay: float | Array, eps: float
) -> tuple[Array, Array, Array]:
    """Running means of the vectors that are assigned to each code: e_k = m_k / n^_k.

        n_k <- g n_k + (1 - g) #{i: k_i = k},   m_k <- g m_k + (1 - g) sum_{i: k_i = k} z_i,
        n^_k = (n_k + eps) / (sum_j n_j + V eps) sum_j n_j

    With g = 0 and eps = 0 the codebook is the means, and 0 where nothing is assigned.

    Args:
      counts: n, [V].
      sums: m, [V, D].
      z: [..., D].
      indices: k, [...]; what is V or beyond is left out.
      decay: g, in [0, 1).
      eps: >= 0, which holds codes back that hardly occur.

    Returns:
      (counts, sums, codebook), [V], [V, D], [V, D].

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, appendix A.1.
    """
    chex.assert_equal_shape_prefix([counts, sums], 1)
    V = len(counts)
    now, of_z = _assigned(z, indices, V)
    n, m = decay * counts + (1 - decay) * now, decay * sums + (1 - decay) * of_z
    total = jnp.sum(n)
    smooth = (n + eps) / jnp.maximum(total + V * eps, jnp.finfo(n.dtype).tiny) * total
    return n, m, m / jnp.where(smooth > 0, smooth, 1)[:, None]


def kmeans(z: Array, codebook: Array, iterations: int | Array) -> Array:
    """Lloyd's algorithm from a given codebook: each code becomes the mean of what it is nearest to, in turn.

    sum_i min_k |z_i - e_k|^2 never increases. A code to which nothing is nearest stays.

    Args:
      z: [..., D].
      codebook: [V, D].
      iterations: how many times; it may be traced.

    Returns:
      [V, D], without a gradient.

    Source: Lloyd 1982, "Least squares quantization in PCM".
    """
    z, start = jax.lax.stop_gradient((z, codebook))

    def again(_: Array, e: Array) -> Array:
        counts, sums = _assigned(z, nearest(z, e), len(e))
        return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1)[:, None], e)

    return jax.lax.fori_loop(0, iterations, again, start)


def _shares(indices: Array, V: int) -> Array:
    counts = jnp.zeros(V, jnp.float32).at[indices.reshape(-1)].add(1, mode="drop")
    return counts / jnp.maximum(jnp.sum(counts), 1)


def perplexity(indices: Array, V: int) -> Array:
    """exp(-sum_k p_k log p_k), p_k the share of code k among the indices: V where all occur alike, 1 of one.

    Args:
      indices: [...]; what is V or beyond is left out.
      V: the number of codes.

    Returns:
      A number in [1, V].
    """
    return jnp.exp(jnp.sum(jax.scipy.special.entr(_shares(indices, V))))


def used_share(indices: Array, V: int) -> Array:
    """The share of the V codes that occur among the indices, in (0, 1].

    Args:
      indices: [...]; what is V or beyond is left out.
      V: the number of codes.
    """
    return jnp.mean(_shares(indices, V) > 0, dtype=jnp.float32)
