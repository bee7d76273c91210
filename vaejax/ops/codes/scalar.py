"""Finite scalar quantisation: a grid of codes without a codebook."""

from __future__ import annotations

import math
from collections.abc import Sequence

import chex
import jax.numpy as jnp
import numpy as np

from vaejax.ops.codes.search import straight_through
from vaejax.types import Array

_WIDER = 1e-3  # by how much the bound is beyond the outermost levels, so that these can be reached


def fsq(z: Array, levels: Sequence[int]) -> Array:
    """Finite scalar quantisation: each dimension of z is bounded and rounded to one of L_i levels.

        code_i = round(b_i) / floor(L_i / 2),   b_i = h tanh(z_i + shift) - offset,   h = (L_i - 1) 1.001 / 2,
        odd L_i: offset = shift = 0;   even: offset = 1/2, shift = atanh(offset / h)

    with the gradient of b, straight through the rounding. There are exactly prod L_i codes, of
    -L_i/2 .. L_i/2 - 1 or -(L_i - 1)/2 .. (L_i - 1)/2 before the division, and z = 0 has code 0. A code is no
    fixed point: z passes tanh, a code does not. A nan stays one.

    Two levels are the signs of z, which is lookup-free quantisation, with -1 and 0 for - and +: there the
    shift is 0. The formula's would be 3.8 and put the only threshold at z = -3.8, where no encoder starts and
    tanh has hardly a slope.

    Deviation: the published code has tan for atanh in the shift, with which z = 0 is not at 0.

    Args:
      z: [..., d].
      levels: L, d ints of at least 2.

    Returns:
      codes, [..., d].

    Source: Mentzer et al. 2023, arXiv 2309.15505, appendix A.1; two levels: Yu et al. 2023, arXiv 2310.05737.
    """
    L = _levels(levels, z)
    h, offset = (L - 1) * (1 + _WIDER) / 2, np.where(L % 2 == 0, 0.5, 0.0)
    shift = np.where(L == 2, 0.0, np.arctanh(offset / h))
    h, offset, shift, half = (jnp.asarray(a, z.dtype) for a in (h, offset, shift, L // 2))
    b = h * jnp.tanh(z + shift) - offset
    return straight_through(b, jnp.round(b)) / half


def fsq_indices(code: Array, levels: Sequence[int]) -> Array:
    """The number of a code of `fsq`, its levels as digits, the first the lowest; of one with a nan: 0.

    Args:
      code: [..., d], as `fsq` gives it.
      levels: L, d ints of at least 2, whose product is below 2^31.

    Returns:
      int32 [...] in 0 .. prod L_i - 1.

    Source: Mentzer et al. 2023, arXiv 2309.15505, appendix A.1.
    """
    L = _levels(levels, code)
    half = jnp.asarray(L // 2, code.dtype)
    digits = jnp.clip(jnp.round(code * half + half), 0, jnp.asarray(L - 1, code.dtype))
    digits = jnp.where(jnp.isnan(code).any(axis=-1, keepdims=True), 0, digits).astype(jnp.int32)
    return jnp.sum(digits * jnp.asarray(_places(L), jnp.int32), axis=-1, dtype=jnp.int32)


def fsq_codes(indices: Array, levels: Sequence[int]) -> Array:
    """The code [..., d] of a number [...], float32: what `fsq_indices` takes back."""
    L = _levels(levels)
    digits = indices[..., None] // jnp.asarray(_places(L), jnp.int32) % jnp.asarray(L, jnp.int32)
    return (digits - jnp.asarray(L // 2, jnp.int32)).astype(jnp.float32) / jnp.asarray(L // 2, jnp.float32)


def _levels(levels: Sequence[int], of: Array | None = None) -> np.ndarray:
    L = np.asarray(levels)
    are_ints = L.ndim == 1 and L.size > 0 and L.dtype.kind in "iu"
    if not are_ints or L.min() < 2 or math.prod(L.tolist()) >= 2**31:
        raise ValueError(f"levels: expected ints of at least 2 with a product below 2^31, got {levels!r}")
    if of is not None:
        chex.assert_equal(of.shape[-1], len(L))
    return L


def _places(L: np.ndarray) -> np.ndarray:
    """What a digit counts: 1, L_1, L_1 L_2, ..."""
    return np.cumprod([1, *L[:-1].tolist()])
