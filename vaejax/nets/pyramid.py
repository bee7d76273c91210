"""The bottom-up encoder of a deep hierarchy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import flax.linen as nn

from vaejax.checks import check_positive_int
from vaejax.nets.blocks import Bottleneck
from vaejax.nets.convolutional import Conv
from vaejax.nets.dense import dtype_name
from vaejax.nets.on_maps import check_maps, pooled
from vaejax.precision import at_least_float32
from vaejax.types import Array


class _InScan(nn.Module):
    """A block as the body of a scan."""

    features: int
    blocks: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, _: None) -> tuple[Array, None]:
        return Bottleneck(self.features, self.blocks, self.dtype, name="block")(x), None


class Pyramid(nn.Module):
    """The bottom-up encoder of a deep hierarchy: [..., H, W, C] -> a tuple of one map for every level.

    A 3 x 3 convolution, then at each resolution residual blocks, and between two a further block and the mean
    over squares. The levels of a resolution share one map, the last there: `models.hierarchical_vae` keeps
    it once. The blocks of a resolution are one scan over stacked parameters: they compile like one, and the
    backward pass holds the memory of one.

    Args:
      width: channels of all maps.
      features: F, those inside the blocks.
      sides: of the maps, the smallest first, each a divisor of the next; the last is the images'.
      levels: how many levels each resolution has, 0 for none.
      blocks: how many residual blocks each resolution has beside that before a mean.
      dtype: what the layers before the last of each block compute in, such as "bfloat16"; None for what input
        and parameters have. Parameters and maps stay float32.

    Raises:
      TypeError, ValueError: for sizes that are no such ints, or not as many of each; when called, for integer
        images or ones of another side.

    Source: Child 2020, arXiv 2011.10650; "32x11,32d2,16x6,16d2,8x6,8d2,4x3,4d4,1x3" of the authors' code is
    sides (1, 4, 8, 16, 32) and blocks (3, 3, 6, 6, 11).
    """

    width: int
    features: int
    sides: tuple[int, ...]
    levels: tuple[int, ...]
    blocks: tuple[int, ...]
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.width, "width")
        check_positive_int(self.features, "features")
        _check_resolutions(self.sides, self.levels, self.blocks)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, ...]:
        check_maps(x, "x")
        if x.shape[-3:-1] != (self.sides[-1],) * 2:
            raise ValueError(f"x: expected images of side {self.sides[-1]}, got shape {x.shape}")
        total = sum(self.blocks) + len(self.sides) - 1
        h = at_least_float32(Conv(self.width, (3, 3), dtype=self.dtype, name="first")(x))
        found: list[Array] = []
        for n in reversed(range(len(self.sides))):
            side = self.sides[n]
            if self.blocks[n]:
                body = nn.remat(_InScan, prevent_cse=False)
                scan = nn.scan(body, {"params": 0}, split_rngs={"params": True}, length=self.blocks[n])
                h, _ = scan(self.features, total, self.dtype, name=f"blocks_{side}")(h, None)
            found = [h] * self.levels[n] + found
            if n:
                h = Bottleneck(self.features, total, self.dtype, name=f"down_{side}")(h)
                h = pooled(h, side // self.sides[n - 1])
        return tuple(found)


def _check_resolutions(sides: tuple[int, ...], levels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    """Raise unless there are as many of each, sides divide the next, and counts are ints of at least 0."""
    for n, side in enumerate(sides):
        check_positive_int(side, f"sides[{n}]")
    if not sides or any(b % a or a == b for a, b in pairwise(sides)):
        raise ValueError(f"sides: expected some, the smallest first, each a divisor of the next; got {sides}")
    for name, counts in (("levels", levels), ("blocks", blocks)):
        if len(counts) != len(sides):
            raise ValueError(f"{name}: expected one for each of {len(sides)} sides, got {counts}")
        for n, count in enumerate(counts):
            if count != 0 or isinstance(count, bool):
                check_positive_int(count, f"{name}[{n}]")
    if not any(levels):
        raise ValueError(f"levels: expected at least one level, got {levels}")
