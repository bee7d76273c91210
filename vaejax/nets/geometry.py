"""What is static about a strided convolution, and the cuts of its operands into blocks of a stride."""

from __future__ import annotations

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

    @property
    def tiles(self) -> tuple[int, int]:
        """Pairs of places on the small side, the last one half empty where that is odd."""
        return -(-self.small[0] // 2), -(-self.small[1] // 2)


def pad(array: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """Pad [N, H, W, c] with zeros; negative numbers cut."""
    return lax.pad(array, jnp.zeros((), array.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


def split(kernel: Array, g: Geometry) -> Array:
    """[p, q, a, b] -> [m, m, s, s, a, b]: a tap of blocks, then a pixel of the block; zeros fill up."""
    (m, l), (s, t), (p, q), (a, b) = g.taps, g.stride, g.kernel, kernel.shape[2:]
    kernel = jnp.pad(kernel, ((0, m * s - p), (0, l * t - q), (0, 0), (0, 0)))
    return kernel.reshape(m, s, l, t, a, b).transpose(0, 2, 1, 3, 4, 5)


def join(taps: Array, g: Geometry) -> Array:
    """The transpose of `split`: [m, m, s, s, a, b] -> [p, q, a, b]."""
    (m, l), (s, t), (p, q), (a, b) = g.taps, g.stride, g.kernel, taps.shape[4:]
    return taps.transpose(0, 2, 1, 3, 4, 5).reshape(m * s, l * t, a, b)[:p, :q]
