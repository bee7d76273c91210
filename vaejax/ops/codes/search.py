"""The nearest of V vectors, and in stages of what is left; gradients past the choice."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaejax.types import Array

_SCORES = 2**20  # scores |e|^2 / 2 - z.e that are held at a time: with what is made of them, 12 MiB


def nearest(z: Array, codebook: Array) -> Array:
    """The place of the vector nearest to z: argmin_k |z - e_k|^2 = argmin_k |e_k|^2 / 2 - z.e_k.

    By one matrix product for a chunk of vectors z: the temporaries are at most 16 MiB for any number of
    vectors, and of codes up to 2^20.

    Of several that are nearest it is the first. As in `jnp.argmin`, nan is the least of numbers: a z with a
    nan in it has code 0, and a codebook with a nan in row k assigns every z to it. Near ties may be decided
    by rounding, of the order of 1e-7 |z| |e|: a codebook far from 0 and narrow wants centring.

    Args:
      z: [..., D].
      codebook: e, [V, D].

    Returns:
      int32 [...] in 0 .. V - 1, without a gradient.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, eq. 1.
    """
    chex.assert_rank(codebook, 2)
    chex.assert_equal(z.shape[-1], codebook.shape[-1])
    z, e = jax.lax.stop_gradient((z, codebook))
    rows, V = z.reshape(-1, z.shape[-1]), len(e)
    N, n = len(rows), max(1, min(len(rows), _SCORES // V))
    half = jnp.sum(jnp.square(e), axis=-1, keepdims=True) / 2

    def of(rows: Array) -> Array:
        scores = half - jnp.matmul(e, rows.T, precision=jax.lax.Precision.HIGHEST)  # [V, n]: min down columns
        # two passes that vectorise, where argmin is one that does not
        is_least = (scores == jnp.min(scores, axis=0)) | jnp.isnan(scores)
        places = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 0)
        return jnp.min(jnp.where(is_least, places, V), axis=0)

    def chunk(i: Array, indices: Array) -> Array:
        start = jnp.minimum(i * n, N - n)  # the last chunk goes over some again
        found = of(jax.lax.dynamic_slice_in_dim(rows, start, n))
        return jax.lax.dynamic_update_slice_in_dim(indices, found, start, 0)

    chunks = -(-N // n)
    indices = of(rows) if chunks == 1 else jax.lax.fori_loop(0, chunks, chunk, jnp.zeros(N, jnp.int32))
    return indices.reshape(z.shape[:-1])


def residual(z: Array, codebooks: Array) -> tuple[Array, Array, Array]:
    """Codes in stages, each of what those before have left: r_0 = z, e_s = nearest to r_s, r_s+1 = r_s - e_s.

    Where 0 is in every codebook, |r_s| never increases.

    Args:
      z: [..., D].
      codebooks: [S, V, D].

    Returns:
      (r [S, ..., D], the gradient of each in z the identity; indices, int32 [S, ...]; e [S, ..., D], with a
      gradient in the codebooks alone). The sum of e is z less what the last stage leaves.

    Source: Zeghidour et al. 2021, arXiv 2107.03312, algorithm 1.
    """
    chex.assert_rank(codebooks, 3)

    def stage(r: Array, codebook: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        k = nearest(r, codebook)
        e = codebook[k]
        return r - jax.lax.stop_gradient(e), (r, k, e)

    _, (r, k, e) = jax.lax.scan(stage, jax.lax.stop_gradient(z), codebooks)
    return straight_through(z, r), k, e  # as the identity, not stage by stage backwards, with less memory


def straight_through(z: Array, e: Array) -> Array:
    """The value e with the gradient of z, that is de/dz = I and no gradient in e; nan where z is not finite.

    Args:
      z: what was quantised, [...].
      e: what became of it, [...].

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, section 3.2.
    """
    # what is added is 0 exactly, where z + (e - z) would be off by a last digit
    return jax.lax.stop_gradient(e) + (z - jax.lax.stop_gradient(z))


@jax.custom_jvp
def rotation(z: Array, e: Array) -> Array:
    """The value e with de/dz = (|e| / |z|) R, R the rotation of z onto e in their plane, held fixed.

        R = I - 2 r r^T + 2 e^ z^^T,   e^ = e / |e|,   z^ = z / |z|,   r = (e^ + z^) / |e^ + z^|

    So the angle between the gradient and the code arrives as the angle between the gradient and z. Where
    there is no one such rotation, as z or e is 0 or they are opposite but for two degrees, the gradient is
    that of `straight_through`.

    Args:
      z: what was quantised, [..., D].
      e: what became of it, [..., D].

    Source: Fifty et al. 2024, arXiv 2410.06424, section 4.
    """
    return straight_through(z, e)


@rotation.defjvp
def _rotation_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """e and (|e| / |z|) R dz, linear in dz; the value alone costs nothing of R."""
    z, e = jax.lax.stop_gradient(primals)
    dz = tangents[0]
    dot = lambda a, b: jnp.sum(a * b, axis=-1, keepdims=True)  # noqa: E731
    of_z, of_e = jnp.sqrt(dot(z, z)), jnp.sqrt(dot(e, e))
    product = of_z * of_e
    square = 2 + 2 * dot(z, e) / jnp.where(product > 0, product, 1)  # |e^ + z^|^2
    known = (product > 0) & (square > 1e-3)
    of_z, of_e, square = (jnp.where(known, a, 1) for a in (of_z, of_e, square))
    along_z, along_e = dot(z, dz) / of_z, dot(e, dz) / of_e
    both = 2 * (along_z + along_e) / square
    rotated = dz - (both / of_z) * z + ((2 * along_z - both) / of_e) * e
    return straight_through(z, e), jnp.where(known, of_e / of_z * rotated, dz)
