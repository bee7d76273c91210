"""VDVAE: a hierarchy of bottleneck blocks, by its layers as the authors write them."""

from __future__ import annotations

import re

from vaejax.checks import check_positive_int
from vaejax.distributions import Likelihood
from vaejax.models.hierarchy import hierarchical_vae
from vaejax.models.levels import Level
from vaejax.models.posteriors import gaussian
from vaejax.nets import BlockDecoder, BlockEncoder, BlockPrior, Bottleneck, FromBytes, PixelHead, Pyramid
from vaejax.types import Model

__all__ = ["vdvae"]

_LAYER = re.compile(r"([1-9]\d*)([xmd])([1-9]\d*)")


def vdvae(
    shape: tuple[int, int, int], levels: str, encoder: str, *,
    width: int, channels: int, likelihood: Likelihood, dtype: str | None = None,
) -> Model:  # fmt: skip
    """Build the very deep VAE: `hierarchical_vae` of `nets.Pyramid` and the levels of `vaejax.nets.blocks`.

    Layers are written as the authors do, "1x1,4m1,4x2" and "4x3,4d4,1x3". In `levels` 4x2 are two at side 4,
    and 4m1 one there behind an enlargement from side 1; in `encoder` 4x3 are three residual blocks at side 4,
    and 4d4 one before the means over squares of 4 x 4. What is said twice, as from where a level is enlarged,
    follows from the sides.

    Args:
      shape: (H, W, C) of the images, H = W.
      levels: the levels at each side, the top first.
      encoder: the blocks of the encoder at each side.
      width: channels of all maps; a quarter of them inside the blocks.
      channels: of z at every level.
      likelihood: a factory's result; of bytes, the encoder sees them in [-1, 1].
      dtype: of the layers inside blocks, as for `nets.Bottleneck`.

    Returns:
      A Model, as of `hierarchical_vae`; the levels of a side are one scan, but for the last, which enlarges.

    Raises:
      TypeError, ValueError: for layers that are not written so, or other sides in the two; sizes that are not
        ints of at least 1; when initialised, for a shape of another side.

    Source: Child 2020, arXiv 2011.10650. The top's prior is N(0, I) and its encoder sees x alone, where the
    paper learns both beside a constant; weights start as flax's.
    """
    check_positive_int(width, "width")
    n_levels, n_blocks = _counts(levels, "levels"), _counts(encoder, "encoder")
    if [*n_levels] != [*n_blocks]:
        raise ValueError(f"encoder: expected blocks at sides {[*n_levels]} as the levels, got {[*n_blocks]}")
    F, sides = max(1, width // 4), tuple(n_levels)
    pyramid = Pyramid(width, F, sides, tuple(n_levels.values()), tuple(n_blocks.values()), dtype)
    *_, out = likelihood.parameter_shape(tuple(shape))
    return hierarchical_vae(
        encoder=FromBytes(pyramid) if likelihood.support == "bytes" else pyramid,
        levels=_levels(n_levels, width, F, channels, dtype),
        decoder=PixelHead(out),
        likelihood=likelihood,
    )


def _counts(layers: str, name: str) -> dict[int, int]:
    """{side: how many there}, the smallest side first; a side of a "d" alone has none beside that block."""
    sides: dict[int, int] = {}
    for layer in layers.split(","):
        match = _LAYER.fullmatch(layer)
        if match is None or match[2] == {"levels": "d", "encoder": "m"}[name]:
            form = {"levels": "8x5 or 8m4", "encoder": "8x6 or 8d2"}[name]
            raise ValueError(f"{name}: expected layers as {form}, got {layer!r}")
        side, n = int(match[1]), {"x": int(match[3]), "m": 1, "d": 0}[match[2]]
        sides[side] = sides.get(side, 0) + n
    return dict(sorted(sides.items()))


def _levels(counts: dict[int, int], width: int, F: int, channels: int, dtype: str | None) -> list[Level]:
    n, sides, levels = sum(counts.values()), [*counts], []
    for side, below in zip(sides, [*sides[1:], sides[-1]], strict=True):
        for up in [1] * (counts[side] - 1) + [below // side]:
            encoder = BlockEncoder(channels, F, dtype=dtype)
            decoder = BlockDecoder(width, Bottleneck(F, n, dtype), n, up)
            prior = BlockPrior(channels, F, dtype=dtype) if levels else None
            levels.append(Level(gaussian((side, side, channels)), encoder, decoder, prior))
    return levels
