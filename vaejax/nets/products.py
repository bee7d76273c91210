"""Strided convolutions on a CPU: slices and one matrix product each, no gathers, no native convolution.

With stride s and a kernel of at most m s taps a side, cut the large side y into blocks of s x s pixels.
Between blocks and the small side x the convolution has stride 1 and m x m taps, which leaves two forms
of each map. Patches are taken either on the side of x or on the side of y:

    x side:  windows(x) [N, u, v, m m b]  and  blocks(y)  [N, u, v, s s a],      u = h + m - 1
    y side:  x          [N, h, w, b]      and  patches(y) [N, h, w, m m s s a]

The smaller pair wins, since memory traffic and not arithmetic is what the two differ in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from vaejax.types import Array


class Geometry(NamedTuple):
    """What is static about a strided convolution; pairs are (rows, columns)."""

    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]  # (low, high) of the large side
    side: tuple[int, int]  # H, W of the large side
    kernel: tuple[int, int]

    @property
    def small(self) -> tuple[int, int]:
        """h, w of the small side."""
        h, w = (
            (n + lo + hi - k) // s + 1
            for n, (lo, hi), k, s in zip(self.side, self.padding, self.kernel, self.stride, strict=True)
        )
        return h, w

    @property
    def taps(self) -> tuple[int, int]:
        """m: the taps between blocks and the small side."""
        return -(-self.kernel[0] // self.stride[0]), -(-self.kernel[1] // self.stride[1])

    @property
    def blocks(self) -> tuple[int, int]:
        """u, v: the blocks of the large side."""
        return self.small[0] + self.taps[0] - 1, self.small[1] + self.taps[1] - 1

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """All the taps, row by row."""
        return [(i, j) for i in range(self.taps[0]) for j in range(self.taps[1])]

    @property
    def crop(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(low, high) by which the blocks reach over the large side; negative where they stop short."""
        rows, columns = (
            (lo, s * u - lo - n)
            for n, (lo, _), s, u in zip(self.side, self.padding, self.stride, self.blocks, strict=True)
        )
        return rows, columns


def _pad(array: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """Pad [N, H, W, c] with zeros; negative numbers cut."""
    return lax.pad(array, jnp.zeros((), array.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


def _blocks(y: Array, g: Geometry) -> Array:
    """[N, H, W, a] -> [N, u, v, s s a]."""
    (u, v), (s, t), n, a = g.blocks, g.stride, y.shape[0], y.shape[-1]
    y = _pad(y, *g.crop).reshape(n, u, s, v, t, a)
    return y.transpose(0, 1, 3, 2, 4, 5).reshape(n, u, v, s * t * a)


def _unblocks(blocks: Array, g: Geometry) -> Array:
    """The transpose of `_blocks`: [N, u, v, s s a] -> [N, H, W, a]."""
    (u, v), (s, t), n = g.blocks, g.stride, blocks.shape[0]
    a = blocks.shape[-1] // (s * t)
    y = blocks.reshape(n, u, v, s, t, a).transpose(0, 1, 3, 2, 4, 5).reshape(n, u * s, v * t, a)
    (top, bottom), (left, right) = g.crop
    return _pad(y, (-top, -bottom), (-left, -right))


def _windows(x: Array, g: Geometry) -> Array:
    """[N, h, w, b] -> [N, u, v, m m b]: tap (i, j) at block (u, v) is x[u - i, v - j]."""
    m, l = g.taps
    return jnp.concatenate([_pad(x, (i, m - 1 - i), (j, l - 1 - j)) for i, j in g.offsets], axis=-1)


def _unwindows(windows: Array, g: Geometry) -> Array:
    """The transpose of `_windows`: [N, u, v, m m b] -> [N, h, w, b]."""
    (h, w), b = g.small, windows.shape[-1] // len(g.offsets)
    return sum(windows[:, i : i + h, j : j + w, n * b : (n + 1) * b] for n, (i, j) in enumerate(g.offsets))  # pyright: ignore


def _patches(blocks: Array, g: Geometry) -> Array:
    """[N, u, v, c] -> [N, h, w, m m c]: tap (i, j) at (h, w) is blocks[h + i, w + j]."""
    h, w = g.small
    return jnp.concatenate([blocks[:, i : i + h, j : j + w] for i, j in g.offsets], axis=-1)


def _unpatches(patches: Array, g: Geometry) -> Array:
    """The transpose of `_patches`: [N, h, w, m m c] -> [N, u, v, c]."""
    (m, l), c = g.taps, patches.shape[-1] // len(g.offsets)
    return sum(
        _pad(patches[..., n * c : (n + 1) * c], (i, m - 1 - i), (j, l - 1 - j))
        for n, (i, j) in enumerate(g.offsets)
    )  # pyright: ignore


def _split(kernel: Array, g: Geometry) -> Array:
    """[p, q, a, b] -> [m, m, s, s, a, b]: a tap of blocks, then a pixel of the block; zeros fill up."""
    (m, l), (s, t), (p, q), (a, b) = g.taps, g.stride, g.kernel, kernel.shape[2:]
    kernel = jnp.pad(kernel, ((0, m * s - p), (0, l * t - q), (0, 0), (0, 0)))
    return kernel.reshape(m, s, l, t, a, b).transpose(0, 2, 1, 3, 4, 5)


def _join(taps: Array, g: Geometry) -> Array:
    """The transpose of `_split`: [m, m, s, s, a, b] -> [p, q, a, b]."""
    (m, l), (s, t), (p, q), (a, b) = g.taps, g.stride, g.kernel, taps.shape[4:]
    return taps.transpose(0, 2, 1, 3, 4, 5).reshape(m * s, l * t, a, b)[:p, :q]


def _times(array: Array, matrix: Array) -> Array:
    """[N, h, w, c] times [c, k]: one matrix product."""
    rows = math.prod(array.shape[:-1])
    return (array.reshape(rows, array.shape[-1]) @ matrix).reshape(*array.shape[:-1], matrix.shape[1])


def _gram(left: Array, right: Array) -> Array:
    """[N, h, w, c] and [N, h, w, k] to their product [c, k], summed over the rest."""
    rows = math.prod(left.shape[:-1])
    # Without the barriers XLA folds this transposition, or the caller's, into a slower product.
    transposed = lax.optimization_barrier(left.reshape(rows, left.shape[-1]).T)
    return lax.optimization_barrier(transposed @ right.reshape(rows, right.shape[-1]))


def _on_small_side(g: Geometry, a: int, b: int) -> bool:
    """Whether windows(x) and blocks(y) are smaller together than patches(y)."""
    pixels, taps = math.prod(g.stride), math.prod(g.taps)
    return math.prod(g.blocks) * (pixels * a + taps * b) < math.prod(g.small) * taps * pixels * a


def convolve(y: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """C: [N, H, W, a], [p, q, a, b] -> [N, h, w, b]."""
    g, (a, b), taps = geometry, kernel.shape[2:], _split(kernel, geometry)
    if _on_small_side(g, a, b):
        matrix = taps.transpose(2, 3, 4, 0, 1, 5).reshape(math.prod(g.stride) * a, -1)
        return _unwindows(_times(_blocks(y, g), matrix), g)
    return _times(_patches(_blocks(y, g), g), taps.reshape(-1, b))


def transpose(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """T: [N, h, w, b], [p, q, a, b] -> [N, H, W, a]."""
    g, (a, b), taps = geometry, kernel.shape[2:], _split(kernel, geometry)
    if _on_small_side(g, a, b):
        matrix = taps.transpose(0, 1, 5, 2, 3, 4).reshape(-1, math.prod(g.stride) * a)
        return _unblocks(_times(_windows(x, g), matrix), g)
    return _unblocks(_unpatches(_times(x, taps.reshape(-1, b).T), g), g)


def kernel_gradient(x: Array, y: Array, *, geometry: Geometry) -> Array:
    """G: [N, h, w, b], [N, H, W, a] -> [p, q, a, b]."""
    g, a, b = geometry, y.shape[-1], x.shape[-1]
    blocks, (m, l), (s, t) = _blocks(y, geometry), geometry.taps, geometry.stride
    if _on_small_side(g, a, b):
        taps = _gram(_windows(x, g), blocks).reshape(m, l, b, s, t, a).transpose(0, 1, 3, 4, 5, 2)
        return _join(taps, g)
    patches = _patches(blocks, g)
    # The narrower operand on the left: the other order is up to ten times slower.
    narrow = patches.shape[-1] <= b
    product = _gram(patches, x) if narrow else _gram(x, patches).T
    return _join(product.reshape(m, l, s, t, a, b), g)
