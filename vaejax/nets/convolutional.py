"""Convolutional networks for square images of side 2^k; any leading axes."""

from __future__ import annotations

import math

import flax.linen as nn
from flax.linen.dtypes import promote_dtype

from vaejax.checks import check_choice, check_positive_int
from vaejax.nets.convolution import conv, conv_transpose
from vaejax.nets.dense import ACTIVATIONS, GaussianHead, activation_of, as_head, check_floating
from vaejax.types import Array

_KERNEL, _STRIDE = (4, 4), (2, 2)


class Conv(nn.Module):
    """`flax.linen.Conv` in two dimensions, by `vaejax.nets.conv`: the same parameters, the same values.

    [..., H, W, in] -> [..., h, w, features]; `padding` is "VALID", "SAME" or ((low, high), (low, high)), and
    `mask`, of the kernel's shape, multiplies the kernel.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME"
    mask: Array | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        if self.mask is not None:
            kernel = kernel * self.mask
        x, kernel, bias = promote_dtype(x, kernel, bias)
        return conv(x, kernel, stride=self.strides, padding=self.padding) + bias


class ConvTranspose(nn.Module):
    """`flax.linen.ConvTranspose` in two dimensions with "SAME" padding: the same parameters and values.

    [..., h, w, in] -> [..., h stride, w stride, features].
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias)
        return conv_transpose(x, kernel, stride=self.strides) + bias


def _log2_side(side: int, name: str) -> int:
    """k of side = 2^k; ValueError unless k >= 4."""
    if side < 16 or side & (side - 1):
        raise ValueError(f"{name}: expected a side that is a power of two and at least 16; got {side}")
    return side.bit_length() - 1


def _check_width(width: float) -> None:
    if not (width > 0 and math.isfinite(width)):
        raise ValueError(f"width: expected a positive finite factor; got {width}")


def _scaled(width: float, *sizes: int) -> tuple[int, ...]:
    return tuple(max(1, round(width * size)) for size in sizes)


class ConvEncoder(nn.Module):
    """The convolutional encoder of Rhodes & Lee, [..., side, side, C] -> (loc, logvar), each [..., d].

    For side 2^k: k-2 unpadded convolutions 4x4 of stride 2 with 32, 32, 64, 64, 64, ... channels, a dense
    layer of 256, each with an activation; two linear heads. At side 64 the sides are 64, 31, 14, 6, 2.
    From Rhodes & Lee (2021), "Local Disentanglement in Variational Auto-Encoders Using Jacobian L1
    Regularization", arXiv 2106.02923; other sides and widths, and flax's initialisers, are ours.

    Args:
      latents: d.
      width: factor on the channels and on the dense layer (rounded, at least 1).
      activation: one of `ACTIVATIONS`; the paper has "relu".
      logvar_bias: where the bias of the log-variance starts.

    Raises:
      ValueError: d or width not positive, images that are not square with side 2^k >= 16.
      TypeError: integer images.
    """

    latents: int
    width: float = 1.0
    activation: str = "relu"
    logvar_bias: float = -3.0

    def __post_init__(self) -> None:
        check_positive_int(self.latents, "latents")
        _check_width(self.width)
        check_choice(self.activation, ACTIVATIONS, "activation")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        check_floating(x, "x")
        if x.ndim < 3 or x.shape[-3] != x.shape[-2]:
            raise ValueError(f"x: expected square images [..., side, side, C]; got shape {x.shape}")
        layers = _log2_side(x.shape[-2], "x") - 2
        act = activation_of(self.activation)
        channels = _scaled(self.width, 32, 32, *[64] * (layers - 2))
        h = x
        for n, c in enumerate(channels):
            h = act(Conv(c, _KERNEL, _STRIDE, "VALID", name=f"conv_{n}")(h))
        h = h.reshape(*h.shape[:-3], math.prod(h.shape[-3:]))
        (dense,) = _scaled(self.width, 256)
        h = act(nn.Dense(dense, name="dense")(h))
        return GaussianHead(self.latents, self.logvar_bias, name="head")(h)


class ConvDecoder(nn.Module):
    """The convolutional decoder of Rhodes & Lee, [..., d] -> [..., side, side, C], for logits.

    For side 2^k: dense layers of 256 and 4*4*64, then k-3 transposed convolutions 4x4 of stride 2, with the
    last k-3 of ..., 64, 64, 32, 32 channels, and one to C; an activation between all, none at the end.
    From Rhodes & Lee (2021), arXiv 2106.02923; other sides and widths, and flax's initialisers, are ours.

    Args:
      side: of the images, 2^k >= 16.
      channels: C.
      width: factor on the hidden channels and on the dense layers (rounded, at least 1).
      activation: one of `ACTIVATIONS`; the paper has "relu".

    Raises:
      ValueError, TypeError: another side; channels or width not positive; integer latents.
    """

    side: int
    channels: int = 1
    width: float = 1.0
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_positive_int(self.side, "side")
        _log2_side(self.side, "side")
        check_positive_int(self.channels, "channels")
        _check_width(self.width)
        check_choice(self.activation, ACTIVATIONS, "activation")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array) -> Array:
        check_floating(z, "z")
        hidden = _log2_side(self.side, "side") - 3
        act = activation_of(self.activation)
        dense, first = _scaled(self.width, 256, 64)
        h = act(nn.Dense(dense, name="dense_0")(z))
        h = act(nn.Dense(16 * first, name="dense_1")(h))
        h = h.reshape(*h.shape[:-1], 4, 4, first)
        for n, c in enumerate(_scaled(self.width, *([64] * hidden + [32, 32])[-hidden:])):
            h = act(ConvTranspose(c, _KERNEL, _STRIDE, name=f"conv_{n}")(h))
        return as_head(ConvTranspose(self.channels, _KERNEL, _STRIDE, name="out")(h))
