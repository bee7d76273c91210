"""The three maps of a strided convolution in the forms that XLA is fast at on a CPU.

C and G are native convolutions with N leading, or in G the contracted axis last, and nothing folded into
them. Other layouts, and dilated x as in T, fall back to loops of scalars, ten to fifty times slower.

For T, with stride s and a kernel of at most m s taps a side, cut the large side y into blocks of s x s
pixels. Between blocks and the small side x the convolution has stride 1 and m x m taps, which leaves two
forms: one native convolution, or one matrix product whose taps are added up.

    windows(x) [N, u, v, m m b]  to  blocks(y)   [N, u, v, s s a],      u = h + m - 1
    x          [N, h, w, b]      to  patches(y)  [N, h, w, m m s s a]

windows(x) are what the convolution walks over, at [u, v] and tap (i, j) x[u - i, v - j]; it does not write
them down. The smaller pair wins, since memory traffic and not arithmetic is what the two differ in.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
    def reach(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(low, high) by which the kernel reaches over the large side; negative where it stops short."""
        rows, columns = (
            (lo, k + s * (h - 1) - n - lo)
            for n, (lo, _), k, s, h in zip(
                self.side, self.padding, self.kernel, self.stride, self.small, strict=True
            )
        )
        return rows, columns

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


def _unblocks(blocks: Array, g: Geometry) -> Array:
    """Blocks laid out: [N, u, v, s s a] -> [N, H, W, a]."""
    (u, v), (s, t), n = g.blocks, g.stride, blocks.shape[0]
    a = blocks.shape[-1] // (s * t)
    y = blocks.reshape(n, u, v, s, t, a).transpose(0, 1, 3, 2, 4, 5).reshape(n, u * s, v * t, a)
    (top, bottom), (left, right) = g.crop
    return _pad(y, (-top, -bottom), (-left, -right))


def _unpatches(patches: Array, g: Geometry) -> Array:
    """[N, h, w, m m c] -> [N, u, v, c]: tap (i, j) of (h, w) is added to block (h + i, w + j)."""
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


def _times(array: Array, matrix: Array) -> Array:
    """[N, h, w, c] times [c, k]: one matrix product."""
    rows = math.prod(array.shape[:-1])
    return (array.reshape(rows, array.shape[-1]) @ matrix).reshape(*array.shape[:-1], matrix.shape[1])


def _on_small_side(g: Geometry, a: int, b: int) -> bool:
    """Whether windows(x) and blocks(y) are smaller together than patches(y)."""
    pixels, taps = math.prod(g.stride), math.prod(g.taps)
    return math.prod(g.blocks) * (pixels * a + taps * b) < math.prod(g.small) * taps * pixels * a


def convolve(y: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """C: [N, H, W, a], [p, q, a, b] -> [N, h, w, b]."""
    return _native(y, kernel, window_strides=geometry.stride, padding=geometry.reach)


def kernel_gradient(x: Array, y: Array, *, geometry: Geometry) -> Array:
    """G: [N, h, w, b], [N, H, W, a] -> [p, q, a, b]: y convolved with x dilated, summed over N."""
    image, kernel, g = y.transpose(3, 1, 2, 0), x.transpose(1, 2, 0, 3), geometry
    out = _native(image, kernel, window_strides=(1, 1), padding=g.reach, rhs_dilation=g.stride)
    return out.transpose(1, 2, 0, 3)


def _native(image: Array, kernel: Array, **options: Any) -> Array:
    # The barriers keep XLA from folding reversals and transpositions of the caller into the convolution.
    image, kernel = lax.optimization_barrier((image, kernel))
    out = lax.conv_general_dilated(image, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)
    return lax.optimization_barrier(out)


def transpose(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """T: [N, h, w, b], [p, q, a, b] -> [N, H, W, a]."""
    g, (a, b), taps = geometry, kernel.shape[2:], _split(kernel, geometry)
    if _on_small_side(g, a, b):
        (m, l), matrix = g.taps, taps.transpose(0, 1, 5, 2, 3, 4).reshape(*g.taps, b, -1)
        padding = (m - 1, m - 1), (l - 1, l - 1)
        return _unblocks(_native(x, jnp.flip(matrix, (0, 1)), window_strides=(1, 1), padding=padding), g)
    return _unblocks(_unpatches(_times(x, taps.reshape(-1, b).T), g), g)
