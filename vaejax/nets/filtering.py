"""Minimal filtering: nine products where the blocks of a strided convolution ask for sixteen.

Cut the large side y into blocks of s x s pixels. Where the kernel has two taps of blocks a side, the three
maps of `vaejax.nets.convolution` are those of a convolution of stride 1 with two taps. Along one side, at two
adjoining places x_0 and x_1, all three are derivatives of one trilinear form,

    sum_{i, j} y_{i + j} k_i x_j = sum_r Y_r K_r X_r    with
    Y = (y_0 - y_1, y_1, y_2 - y_1),  K = (k_0, k_0 + k_1, k_1),  X = (x_0, x_0 + x_1, x_1):

three products instead of four, and nine instead of sixteen along both sides. C is the derivative in x, T in
y, G in k: products of two of Y, K and X, then the transpose of what makes the third. The factors are 0 and
+-1, so that float32 loses no digit that the sums themselves do not lose.

Source: Winograd 1980, "Arithmetic Complexity of Computations", doi 10.1137/1.9781611970364, whose F(2, 2) it
is; Lavin & Gray 2016, arXiv 1509.09308, for convolutional networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from vaejax.nets.geometry import Geometry, join, pad, split
from vaejax.types import Array


def convolve(y: Array, kernel: Array, g: Geometry) -> Array:
    """C: [N, H, W, a], [p, q, a, b] -> [N, h, w, b]."""
    products = [y @ k for y, k in zip(_of_y(y, g), _of_kernel(kernel, g), strict=True)]
    return _into_x([m.reshape(y.shape[0], *g.tiles, -1) for m in products], g)


def transpose(x: Array, kernel: Array, g: Geometry) -> Array:
    """T: [N, h, w, b], [p, q, a, b] -> [N, H, W, a]."""
    products = [x @ k.T for x, k in zip(_of_x(x, g), _of_kernel(kernel, g), strict=True)]
    return _into_y([m.reshape(x.shape[0], *g.tiles, -1) for m in products], g)


def kernel_gradient(x: Array, y: Array, g: Geometry) -> Array:
    """G: [N, h, w, b], [N, H, W, a] -> [p, q, a, b]."""
    # x first, whose channels are the fewer; the barriers keep the turn of the small products out of them
    products = [lax.optimization_barrier(x.T @ y).T for x, y in zip(_of_x(x, g), _of_y(y, g), strict=True)]
    return _into_kernel(products, g)


def _sums(first: Array, second: Array) -> tuple[Array, Array, Array]:
    return first, first + second, second


def _of_x(x: Array, g: Geometry) -> list[Array]:
    """X, [N, h, w, b] -> nine of [N tiles, b]; a last odd place gets zeros beside it."""
    n, (h, w), (th, tw), b = x.shape[0], g.small, g.tiles, x.shape[-1]
    x = pad(x, (0, 2 * th - h), (0, 2 * tw - w)).reshape(n, th, 2, tw, 2, b)
    rows = _sums(x[:, :, 0], x[:, :, 1])
    return [part.reshape(-1, b) for row in rows for part in _sums(row[:, :, :, 0], row[:, :, :, 1])]


def _of_kernel(kernel: Array, g: Geometry) -> list[Array]:
    """K, [p, q, a, b] -> nine of [s s a, b]."""
    taps = split(kernel, g).reshape(2, 2, -1, kernel.shape[-1])
    return [part for row in _sums(taps[0], taps[1]) for part in _sums(row[0], row[1])]


def _of_y(y: Array, g: Geometry) -> list[Array]:
    """Y, [N, H, W, a] -> nine of [N tiles, s s a]."""
    n, (th, tw), (s, t), a = y.shape[0], g.tiles, g.stride, y.shape[-1]
    # always some zeros at the end: XLA writes down what is padded, and computes it once
    (top, bottom), (left, right) = _margins(g)
    y = pad(y, (top, bottom), (left, right)).reshape(n, th + 1, 2, s, tw + 1, 2, t, a)

    def differences(first: Array, second: Array, third: Array) -> tuple[Array, Array, Array]:
        return first - second, second, third - second

    return [
        part.transpose(0, 1, 3, 2, 4, 5).reshape(-1, s * t * a)
        for row in differences(y[:, :-1, 0], y[:, :-1, 1], y[:, 1:, 0])
        for part in differences(row[:, :, :, :-1, 0], row[:, :, :, :-1, 1], row[:, :, :, 1:, 0])
    ]


def _margins(g: Geometry) -> tuple[tuple[int, int], tuple[int, int]]:
    """(low, high) by which the blocks of all tiles and one more row of tiles reach over the large side."""
    rows, columns = (
        (lo, 2 * s * (tiles + 1) - lo - n)
        for n, (lo, _), s, tiles in zip(g.side, g.padding, g.stride, g.tiles, strict=True)
    )
    return rows, columns


def _halves(first: Array, second: Array, third: Array, axis: int) -> Array:
    """The transpose of `_sums`."""
    return jnp.stack([first + second, second + third], axis)


def _into_x(products: Sequence[Array], g: Geometry) -> Array:
    """The transpose of `_of_x`: nine of [N, tiles, b] -> [N, h, w, b]."""
    rows = [_halves(*products[r : r + 3], axis=3) for r in (0, 3, 6)]
    x = _halves(*rows, axis=2)  # [N, th, 2, tw, 2, b]
    n, th, _, tw, _, b = x.shape
    return x.reshape(n, 2 * th, 2 * tw, b)[:, : g.small[0], : g.small[1]]


def _into_kernel(products: Sequence[Array], g: Geometry) -> Array:
    """The transpose of `_of_kernel`: nine of [s s a, b] -> [p, q, a, b]."""
    rows = [_halves(*products[r : r + 3], axis=0) for r in (0, 3, 6)]
    taps = _halves(*rows, axis=0)
    return join(taps.reshape(2, 2, *g.stride, -1, taps.shape[-1]), g)


def _into_y(products: Sequence[Array], g: Geometry) -> Array:
    """The transpose of `_of_y`: nine of [N, tiles, s s a] -> [N, H, W, a]."""

    def overlap(first: Array, second: Array, third: Array, axis: int) -> Array:
        after, before = ([(0, 0)] * first.ndim for _ in range(2))
        after[axis], before[axis] = (0, 1), (1, 0)
        even = jnp.pad(first, after) + jnp.pad(third, before)
        return jnp.stack([even, jnp.pad(second - first - third, after)], axis + 1)

    rows = [overlap(*products[r : r + 3], axis=2) for r in (0, 3, 6)]
    y = overlap(*rows, axis=1)
    (n, u, _, v, _), (s, t) = y.shape[:5], g.stride
    y = y.reshape(n, 2 * u, 2 * v, s, t, -1).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * u * s, 2 * v * t, -1)
    (top, bottom), (left, right) = _margins(g)
    return pad(y, (-top, -bottom), (-left, -right))
