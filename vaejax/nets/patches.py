"""Small convolutional networks for image patches; any leading axes."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn

from vaejax.checks import check_choice, check_positive_int
from vaejax.nets.convolutional import Conv, ConvTranspose
from vaejax.nets.dense import (
    ACTIVATIONS,
    GaussianHead,
    activation_of,
    check_context,
    check_floating,
    dtype_name,
)
from vaejax.nets.sides import check_side, check_width, cut, halved, scaled
from vaejax.precision import at_least_float32
from vaejax.types import Array

_KERNEL = (3, 3)


class PatchEncoder(nn.Module):
    """The natural-patch encoder of Rhodes & Lee, [..., side, side, C] -> (loc, logvar), each [..., d].

    Two unpadded convolutions 3x3 of stride 2 with 64 and 128 channels and a dense layer of 128, each with
    an activation; two linear heads. At side 16 the sides are 16, 7, 3.
    From the public code of Rhodes & Lee (2021), arXiv 2106.02923; other sides and widths, and flax's
    initialisers, are ours.

    Args:
      latents: d.
      width: factor on the channels and on the dense layer (rounded, at least 1).
      activation: one of `ACTIVATIONS`; the paper has "relu".
      logvar_bias: where the bias of the log-variance starts.
      offset, scale: the network sees (x - offset) / scale; the paper has 0 and 1, but whitened patches vary
        by a twentieth about .45, and standardised they are learned many times faster.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.
      context: how many numbers the head gives beside, as `GaussianHead`.

    Raises:
      ValueError: d, width or scale not positive, images with a side below 7.
      TypeError: integer images.
    """

    latents: int
    width: float = 1.0
    activation: str = "relu"
    logvar_bias: float = -3.0
    offset: float = 0.0
    scale: float = 1.0
    dtype: Any = None
    context: int = 0

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.latents, "latents")
        check_context(self.context)
        check_width(self.width)
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise ValueError(f"scale: expected a positive finite number, got {self.scale}")
        check_choice(self.activation, ACTIVATIONS, "activation")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, ...]:
        check_floating(x, "x")
        if x.ndim < 3 or min(x.shape[-3:-1]) < 7:
            raise ValueError(
                f"x: expected images [..., H, W, C] with sides of at least 7; got shape {x.shape}"
            )
        act = activation_of(self.activation)
        *channels, dense = scaled(self.width, 64, 128, 128)
        h = (at_least_float32(x) - self.offset) / self.scale
        for n, c in enumerate(channels):
            h = act(Conv(c, _KERNEL, (2, 2), "VALID", dtype=self.dtype, name=f"conv_{n}")(h))
        h = h.reshape(*h.shape[:-3], math.prod(h.shape[-3:]))
        h = act(nn.Dense(dense, dtype=self.dtype, name="dense")(h))
        return GaussianHead(self.latents, self.logvar_bias, self.context, name="head")(h)


class PatchDecoder(nn.Module):
    """The natural-patch decoder of Rhodes & Lee, [..., d] -> [..., H, W, C], for logits.

    Dense layers of 128 and (H/4) (W/4) 64, then transposed convolutions 3x3: to 64 and 32 channels with
    stride 2, to C with stride 1; an activation between all, none at the end. Where 4 does not divide a side,
    each of the two halves is rounded up, and the row too many is cut off after its layer.
    From the public code of Rhodes & Lee (2021), arXiv 2106.02923; other sides and widths, and flax's
    initialisers, are ours.

    Args:
      side: of the images, H = W, or (H, W); 16 in the paper.
      channels: C.
      width: factor on the hidden channels and on the dense layers (rounded, at least 1).
      activation: one of `ACTIVATIONS`; the paper has "relu".
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      ValueError, TypeError: side, channels or width not positive; integer latents.
    """

    side: int | tuple[int, int] = 16
    channels: int = 1
    width: float = 1.0
    activation: str = "relu"
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        self.side = check_side(self.side)
        check_positive_int(self.channels, "channels")
        check_width(self.width)
        check_choice(self.activation, ACTIVATIONS, "activation")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array) -> Array:
        check_floating(z, "z")
        act = activation_of(self.activation)
        start, *sides = halved(self.side, 2)
        dense, first, *hidden = scaled(self.width, 128, 64, 64, 32)
        h = act(nn.Dense(dense, dtype=self.dtype, name="dense_0")(z))
        h = act(nn.Dense(math.prod(start) * first, dtype=self.dtype, name="dense_1")(h))
        h = h.reshape(*h.shape[:-1], *start, first)
        for n, (c, side) in enumerate(zip(hidden, sides, strict=True)):
            h = ConvTranspose(c, _KERNEL, (2, 2), dtype=self.dtype, name=f"conv_{n}")(h)
            h = act(cut(h, side))
        return ConvTranspose(self.channels, _KERNEL, (1, 1), name="out")(at_least_float32(h))
