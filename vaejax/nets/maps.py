"""Convolutional networks between images and maps of vectors, as quantised latents have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from vaejax.checks import check_choice, check_positive_int
from vaejax.nets.convolutional import Conv, ConvTranspose
from vaejax.nets.dense import ACTIVATIONS, activation_of, check_floating, dtype_name
from vaejax.nets.sides import check_side, cut, halved
from vaejax.precision import at_least_float32
from vaejax.types import Array

_KERNEL, _STRIDE = (4, 4), (2, 2)


class ConvDown(nn.Module):
    """Images to maps of vectors, [..., H, W, C] -> [..., h, w, channels]: the encoder of the VQ-VAE.

    Convolutions 4x4 of stride 2, an activation after each; residual blocks (activation, 3x3, activation,
    1x1), an activation, and a convolution 1x1. Each of the first halves the sides, rounded up.

    Args:
      channels: of a vector; `dim` of `posteriors.vq`, whose shape is (h, w).
      features: channels between; 256 in the paper.
      halvings: how often the sides are halved.
      blocks: how many residual blocks, 0 for none.
      activation: one of `ACTIVATIONS`; the paper has "relu".
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not such ints; integer images, or x without three axes.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, section 4.1; the last convolution as
      in their code. Initialisers are flax's.
    """

    channels: int
    features: int = 128
    halvings: int = 2
    blocks: int = 2
    activation: str = "relu"
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        _check(self, channels=self.channels)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = _images(x, "x")
        act = activation_of(self.activation)
        for n in range(self.halvings):
            h = act(Conv(self.features, _KERNEL, _STRIDE, dtype=self.dtype, name=f"conv_{n}")(h))
        h = act(_blocks(self, act, h))
        return Conv(self.channels, (1, 1), name="out")(at_least_float32(h))


class ConvUp(nn.Module):
    """Maps of vectors to images, [..., h, w, D] -> [..., H, W, channels], for logits: the VQ-VAE's decoder.

    A convolution 3x3, residual blocks as in `ConvDown`, an activation; transposed convolutions 4x4 of stride
    2, an activation between them and none at the end. h and w are H and W halved as often, rounded up; what
    doubling makes too many is cut off at the end.

    Args:
      side: of the images, H = W, or (H, W).
      channels: of the images.
      features: channels between; 256 in the paper.
      halvings: how many transposed convolutions.
      blocks, activation, dtype: as for `ConvDown`.

    Raises:
      TypeError, ValueError: for sizes that are not such ints; integer maps, or of other sides.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, section 4.1; the first convolution as
      in their code. Initialisers are flax's.
    """

    side: int | tuple[int, int]
    channels: int = 1
    features: int = 128
    halvings: int = 2
    blocks: int = 2
    activation: str = "relu"
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype, self.side = dtype_name(self.dtype), check_side(self.side)
        _check(self, channels=self.channels)
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array) -> Array:
        start, *sides = halved(self.side, self.halvings)
        h = _images(z, "z")
        if h.shape[-3:-1] != start:
            raise ValueError(f"z: expected maps [..., {start[0]}, {start[1]}, D], got shape {z.shape}")
        act = activation_of(self.activation)
        h = Conv(self.features, (3, 3), dtype=self.dtype, name="conv")(h)
        h = act(_blocks(self, act, h))
        for n, side in enumerate(sides[:-1]):
            layer = ConvTranspose(self.features, _KERNEL, _STRIDE, dtype=self.dtype, name=f"conv_{n}")
            h = act(cut(layer(h), side))
        return cut(ConvTranspose(self.channels, _KERNEL, _STRIDE, name="out")(at_least_float32(h)), sides[-1])


def _blocks(net: Any, act: Callable[[Array], Array], h: Array) -> Array:
    """h + 1x1(act(3x3(act(h)))), so many times; within the scope of the net that calls it."""
    for n in range(net.blocks):
        of_block = Conv(net.features, (3, 3), dtype=net.dtype, name=f"block_{n}_0")(act(h))
        h = h + Conv(net.features, (1, 1), dtype=net.dtype, name=f"block_{n}_1")(act(of_block))
    return h


def _check(net: Any, **sizes: Any) -> None:
    for name, size in {**sizes, "features": net.features, "halvings": net.halvings}.items():
        check_positive_int(size, name)
    if net.blocks != 0 or isinstance(net.blocks, bool):
        check_positive_int(net.blocks, "blocks")
    check_choice(net.activation, ACTIVATIONS, "activation")


def _images(x: Array, name: str) -> Array:
    check_floating(x, name)
    if x.ndim < 3 or 0 in x.shape[-3:]:
        raise ValueError(f"{name}: expected [..., H, W, C] of at least one pixel; got shape {x.shape}")
    return x
