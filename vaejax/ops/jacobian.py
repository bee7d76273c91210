"""The decoder's Jacobian J(z) = d mu_x / d z, [D, d], and what is measured on it.

`decode` maps one latent [d] to one array of any shape, flattened here to [D]. What takes z [B, d] or J
[B, D, d] also takes one example, without B: a batch is its `vmap`. ||J||_{1,1} is the sum of absolute
entries and ||J||_F^2 the sum of squares: neither is an operator norm. What needs products J v only is in
`ops.probes`, what describes J^T J in `ops.metric`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import chex
import jax
import jax.numpy as jnp

from vaejax.ops.slopes import absolute, safe_norm
from vaejax.types import Array

__all__ = [
    "column_group_l1",
    "decoder_columns",
    "decoder_jacobian",
    "decoder_products",
    "finite_difference_jacobian",
    "jacobian_l1",
    "jacobian_l2",
    "orthogonality",
    "row_group_l1",
    "spectral_norm",
    "spread_columns",
]

Decode = Callable[[Array], Array]


def each(one: Callable[..., Array], z: Array, *rest: Array) -> Array:
    """`one(z, *rest)` for one latent [d], or its `vmap` for a batch [B, d].

    One example has no axis of size 1: XLA's reductions on a CPU are 30 times slower over such shapes.
    """
    chex.assert_rank(z, {1, 2})
    return one(z, *rest) if z.ndim == 1 else jax.vmap(one)(z, *rest)


def decoder_jacobian(decode: Decode, z: Array) -> Array:
    """The dense Jacobian of every example, exact, by forward mode (d tangents an example).

    Args:
      decode: one latent [d] -> one array.
      z: [B, d].

    Returns:
      J: [B, D, d].
    """

    def flat(z_i: Array) -> Array:
        return decode(z_i).ravel()

    return each(jax.jacfwd(flat), z)


def decoder_columns(decode: Decode, z: Array, columns: Array) -> Array:
    """Chosen columns J_:j of every example, exact, one tangent each.

    Args:
      decode: one latent [d] -> one array.
      z: [B, d].
      columns: [B, m] integers in 0..d-1.

    Returns:
      [B, D, m].
    """
    chex.assert_equal_rank([z, columns])
    return decoder_products(decode, z, jax.nn.one_hot(columns, z.shape[-1], dtype=z.dtype))


def decoder_products(decode: Decode, z: Array, v: Array) -> Array:
    """J v for chosen directions of every example, exact, one tangent each.

    Args:
      decode: one latent [d] -> one array.
      z: [B, d].
      v: [B, k, d].

    Returns:
      [B, D, k].
    """
    chex.assert_rank(v, z.ndim + 1)

    def product(z_i: Array, v_ik: Array) -> Array:
        return jax.jvp(decode, (z_i,), (v_ik,))[1].ravel()

    return each(partial(over_directions, product), z, v)


def over_directions(product: Callable[[Array, Array], Array], z: Array, v: Array) -> Array:
    """product(z, v_k) [D] for one latent z [d] and each direction of v [k, d]: [D, k]."""
    if v.shape[0] == 1:  # no axis of size 1, see `each`
        return product(z, v[0])[:, None]
    return jax.vmap(product, (None, 0), -1)(z, v)


def finite_difference_jacobian(decode: Decode, z: Array, eps: float = 1e-3) -> Array:
    """The one-sided difference (g(z + eps e_j) - g(z)) / eps, as the code of Rhodes & Lee has it.

    In float32 a value near 1 carries a rounding error of 6e-8, so an entry one of 6e-8 / eps; the
    truncation error is O(eps).

    Args:
      decode: g, one latent [d] -> one array.
      z: [B, d].
      eps: the step, > 0.

    Returns:
      [B, D, d], approximate.

    Source: the public code of Rhodes & Lee 2021, arXiv 2106.02923.
    """
    steps = eps * jnp.eye(z.shape[-1], dtype=z.dtype)

    def per_example(z_i: Array) -> Array:
        base = decode(z_i).ravel()
        moved = jax.vmap(lambda step: decode(z_i + step).ravel(), out_axes=-1)(steps)
        return (moved - base[:, None]) / eps

    return each(per_example, z)


def spread_columns(offset: Array, index: Array, latents: int, columns: int) -> Array:
    """m of the d columns for every example, spread evenly over the batch.

    S_i = {offset + m i + k mod d : k = 0..m-1}. With `offset` uniform on 0..d-1 every column is in
    S_i with probability m / d, so (d/m) sum_{j in S_i} f(J_:j) is an unbiased estimate of sum_j f(J_:j)
    for each example; a batch covers all columns evenly, which lowers the variance of its mean.

    Args:
      offset: scalar integer, shared by the batch.
      index: [B] the places i of the examples in the whole batch.
      latents: d.
      columns: m, 1..d.

    Returns:
      [B, m] integers in 0..d-1, distinct within an example.
    """
    return (offset + columns * index[:, None] + jnp.arange(columns)) % latents


def jacobian_l1(jac: Array) -> Array:
    """||J||_{1,1} = sum_ij |J_ij|.

    Not invariant to a rotation of the latents: J = I_2 gives 2, rotated by 45 degrees 2 sqrt 2.

    Args:
      jac: [B, D, d].

    Returns:
      [B]; the gradient of an entry of 0 is 0.

    Source: Rhodes & Lee 2021, arXiv 2106.02923, eq. 2.
    """
    return jnp.sum(absolute(_entries(jac)), axis=-1)


def jacobian_l2(jac: Array) -> Array:
    """||J||_F^2 = sum_ij J_ij^2, the squared Frobenius norm; invariant to rotations of the latents.

    Args:
      jac: [B, D, d].

    Returns:
      [B].
    """
    return jnp.sum(jnp.square(_entries(jac)), axis=-1)


def column_group_l1(jac: Array) -> Array:
    """sum_j ||J_:j||_2: a group lasso that switches latents off.

    Args:
      jac: [B, D, d].

    Returns:
      [B]; the gradient of a column of zeros is 0.
    """
    chex.assert_rank(jac, {2, 3})
    return jnp.sum(safe_norm(jac, -2), axis=-1)


def row_group_l1(jac: Array) -> Array:
    """sum_i ||J_i:||_2; invariant to rotations of the latents, as random projections are.

    It equals sqrt(pi/2) E_v ||J v||_1 for v ~ N(0, I): projections estimate this, not ||J||_{1,1}.

    Args:
      jac: [B, D, d].

    Returns:
      [B]; the gradient of a row of zeros is 0.
    """
    chex.assert_rank(jac, {2, 3})
    return jnp.sum(safe_norm(jac, -1), axis=-1)


def orthogonality(jac: Array) -> Array:
    """sum_{j != k} (J_:j^T J_:k)^2, which is 0 just where the columns are orthogonal (OroJaR).

    Args:
      jac: [B, D, d].

    Returns:
      [B].

    Source: Wei et al. 2021, arXiv 2108.07668.
    """
    chex.assert_rank(jac, {2, 3})
    g = jnp.einsum("...ij,...ik->...jk", jac, jac, precision="highest")
    return jnp.sum(jnp.square(jnp.where(jnp.eye(g.shape[-1], dtype=bool), 0.0, g)), axis=(-2, -1))


def spectral_norm(jac: Array) -> Array:
    """sigma_max(J), the largest singular value, by a full decomposition.

    Args:
      jac: [B, D, d].

    Returns:
      [B]; the gradient of J = 0 is 0.
    """
    chex.assert_rank(jac, {2, 3})
    largest = jnp.linalg.svd(jac, compute_uv=False)[..., 0]
    return jnp.where(largest == 0, 0.0, largest)  # at 0 the decomposition takes some direction for the first


def _entries(jac: Array) -> Array:
    """[..., D, d] -> [..., D d]; an axis of d = 1 would be summed slowly, see `each`."""
    chex.assert_rank(jac, {2, 3})
    return jac.reshape(*jac.shape[:-2], -1)
