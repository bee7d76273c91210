"""Convolutional networks for images; any leading axes."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from vaejax.checks import check_choice, check_positive_int
from vaejax.nets.convolution import conv, conv_transpose
from vaejax.nets.dense import (
    ACTIVATIONS,
    GaussianHead,
    activation_of,
    check_context,
    check_floating,
    dtype_name,
)
from vaejax.nets.sides import check_side, check_width, cut, halved, pair, scaled
from vaejax.precision import at_least_float32
from vaejax.types import Array

_KERNEL, _STRIDE = (4, 4), (2, 2)


class Conv(nn.Module):
    """`flax.linen.Conv` in two dimensions, by `vaejax.nets.conv`: the same parameters, the same values.

    [..., H, W, in] -> [..., h, w, features]; `padding` is "VALID", "SAME" or ((low, high), (low, high)), and
    `mask`, of the kernel's shape, multiplies the kernel. `dtype` is what it computes in, None for what input
    and parameters have. With `zero` the kernel starts at 0.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME"
    mask: Array | None = None
    dtype: Any = None
    zero: bool = False

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        start = nn.initializers.zeros_init() if self.zero else nn.initializers.lecun_normal()
        kernel = self.param("kernel", start, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        if self.mask is not None:
            kernel = kernel * jnp.asarray(self.mask, kernel.dtype)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return conv(x, kernel, stride=self.strides, padding=self.padding) + bias


class EnlargedConv(nn.Module):
    """`Conv(features, (3, 3))` of `on_maps.enlarged(x, 2)`: the same parameters and values.

    [..., h, w, in] -> [..., 2 h, 2 w, features]. The enlarged x is not written down: it is x dilated, with
    2 x 2 ones over it, and these over the kernel make one of 4 x 4, of which a place meets four entries where
    there were nine. `dtype` as in `Conv`.
    """

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        shifts = [((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)) for i in (0, 1) for j in (0, 1)]
        over_ones = jnp.asarray(sum(jnp.pad(kernel, shift) for shift in shifts))
        return conv_transpose(x, over_ones, stride=(2, 2)) + bias


class ConvTranspose(nn.Module):
    """`flax.linen.ConvTranspose` in two dimensions with "SAME" padding: the same parameters and values.

    [..., h, w, in] -> [..., h stride, w stride, features]; `dtype` as in `Conv`.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return conv_transpose(x, kernel, stride=self.strides) + bias


class ConvEncoder(nn.Module):
    """The convolutional encoder of Rhodes & Lee, [..., H, W, C] -> (loc, logvar), each [..., d].

    Convolutions 4x4 of stride 2 with 32, 32, 64, 64, 64, ... channels, at least one and as many as leave
    both sides 2 or more; a dense layer of 256; an activation after each; two linear heads. At sides
    2^k >= 16 they are the paper's, k-2 without padding: 64, 31, 14, 6, 2, where the second leaves out the
    last of 31, and so all see nothing of the image's last two rows and columns. Any other side gets zeros at
    its end before each convolution, to be even and at least 4, and every pixel is seen: 28, 13, 6, 2.
    From Rhodes & Lee (2021), "Local Disentanglement in Variational Auto-Encoders Using Jacobian L1
    Regularization", arXiv 2106.02923; other sides and widths, and flax's initialisers, are ours.

    Args:
      latents: d.
      width: factor on the channels and on the dense layer (rounded, at least 1).
      activation: one of `ACTIVATIONS`; the paper has "relu".
      logvar_bias: where the bias of the log-variance starts.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.
      context: how many numbers the head gives beside, as `GaussianHead`.

    Raises:
      ValueError: d or width not positive, x without images of at least one pixel.
      TypeError: integer images.
    """

    latents: int
    width: float = 1.0
    activation: str = "relu"
    logvar_bias: float = -3.0
    dtype: Any = None
    context: int = 0

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.latents, "latents")
        check_context(self.context)
        check_width(self.width)
        check_choice(self.activation, ACTIVATIONS, "activation")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, ...]:
        check_floating(x, "x")
        if x.ndim < 3 or 0 in x.shape[-3:]:
            raise ValueError(f"x: expected images [..., H, W, C] of at least one pixel; got shape {x.shape}")
        act = activation_of(self.activation)
        paddings = _paddings(x.shape[-3], x.shape[-2])
        channels = scaled(self.width, *([32, 32] + [64] * len(paddings))[: len(paddings)])
        h = x
        for n, (c, padding) in enumerate(zip(channels, paddings, strict=True)):
            h = act(Conv(c, _KERNEL, _STRIDE, padding, dtype=self.dtype, name=f"conv_{n}")(h))
        h = h.reshape(*h.shape[:-3], math.prod(h.shape[-3:]))
        (dense,) = scaled(self.width, 256)
        h = act(nn.Dense(dense, dtype=self.dtype, name="dense")(h))
        return GaussianHead(self.latents, self.logvar_bias, self.context, name="head")(h)


def _paddings(height: int, width: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The zeros around each convolution of `ConvEncoder` for images of these sides."""
    sides, paddings = (height, width), []
    is_paper = [side >= 16 and side & (side - 1) == 0 for side in sides]
    while not paddings or min(sides) >= 5:  # 5 is the smallest that leaves 2
        fills = [
            0 if paper else max(4, side + side % 2) - side
            for side, paper in zip(sides, is_paper, strict=True)
        ]
        paddings.append(((0, fills[0]), (0, fills[1])))
        sides = tuple((side + fill - 4) // 2 + 1 for side, fill in zip(sides, fills, strict=True))
    return paddings


class ConvDecoder(nn.Module):
    """The convolutional decoder of Rhodes & Lee, [..., d] -> [..., H, W, C], for logits.

    Dense layers of 256 and h w 64, a grid h x w, then transposed convolutions 4x4 of stride 2, the last with
    C channels, those before with the last of ..., 64, 64, 32, 32; an activation between all, none at the end.
    The grid is H x W halved, rounded up, at least once and until neither side is above 4; each layer undoes
    one halving, and the row or column that this makes too many is cut off at the end. At side 2^k >= 8
    nothing is: k-2 layers from 4 x 4, the paper's. 28 comes from 4, 7, 14.
    From Rhodes & Lee (2021), arXiv 2106.02923; other sides and widths, and flax's initialisers, are ours.

    Args:
      side: of the images, H = W, or (H, W).
      channels: C.
      width: factor on the hidden channels and on the dense layers (rounded, at least 1).
      activation: one of `ACTIVATIONS`; the paper has "relu".
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      ValueError, TypeError: side, channels or width not positive; integer latents.
    """

    side: int | tuple[int, int]
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
        layers = max(1, (max(pair(self.side)) - 1).bit_length() - 2)
        start, *sides = halved(self.side, layers)
        act = activation_of(self.activation)
        dense, first = scaled(self.width, 256, 64)
        h = act(nn.Dense(dense, dtype=self.dtype, name="dense_0")(z))
        h = act(nn.Dense(math.prod(start) * first, dtype=self.dtype, name="dense_1")(h))
        h = h.reshape(*h.shape[:-1], *start, first)
        channels = scaled(self.width, *([64] * layers + [32, 32])[3:])
        for n, (c, side) in enumerate(zip(channels, sides, strict=False)):
            h = ConvTranspose(c, _KERNEL, _STRIDE, dtype=self.dtype, name=f"conv_{n}")(h)
            h = act(cut(h, side))
        out = ConvTranspose(self.channels, _KERNEL, _STRIDE, name="out")(at_least_float32(h))
        return cut(out, sides[-1])
