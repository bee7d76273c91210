"""The gated PixelCNN: the parameters of every pixel from the pixels before it and from z."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int
from vaejax.hints import described
from vaejax.nets.convolutional import Conv
from vaejax.nets.dense import check_floating, dtype_name
from vaejax.precision import at_least_float32
from vaejax.types import Array


class GatedPixelCNN(nn.Module):
    """A decoder that sees x too: (z [..., d], x [..., H, W, C]) -> [..., H, W, C P], P numbers a value.

    Values come in raster order: row by row, in a row pixel by pixel, in a pixel channel by channel. The
    numbers of value i depend on z and on the values before i alone, so that one pass over x gives every
    p(x_i | x_<i, z). A builder that is given this decoder makes p(x|z) `distributions.Autoregressive`.

    Each layer, with k its kernel:

        a = conv_{k x k, rows above}(v) + V z,    b = conv_{1 x k, left}(h) + U a + W z
        v = tanh(a_1) sigmoid(a_2),               h = h + R tanh(b_1) sigmoid(b_2)

    The vertical stack v sees all of the rows above, the horizontal stack h its own row, so none of the
    pixels above and to the right is lost, as one stack of masked convolutions would lose them. Kernels end
    where the mask would begin: v starts from x moved down one row, and only the tap at the pixel itself has
    a mask (A in the first layer, B in the others). At the end come relu, 1 x 1, relu, 1 x 1.

    A pixel sees sum_l k_l // 2 pixels far to the left, as many to either side, and one row more upwards.

    Args:
      shape: (H, W, C) of an image.
      features: channels of each stack, a multiple of C.
      kernels: k of each layer, odd, at least 3; (7,) * 5 + (5,) * 4 + (3,) * 4 in He et al. 2019, arXiv
        1901.05534.
      values: how many a channel can take: 2 (0 and 1), P = 1 logit each, for `distributions.bernoulli`, or
        256 bytes, P = 256 logits each, for `distributions.categorical`. The net sees them in [-1, 1].
      context: a net z -> maps [..., H, W, F] that takes the place of z in every layer, for a z that means
        something else in every place; None for z itself, the same everywhere.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      TypeError, ValueError: for sizes below 1, features that C does not divide, no or even kernels, another
        number of values; when called, for x or maps of another shape, or integer z.

    Source: van den Oord et al. 2016, arXiv 1606.05328 (the gates, both stacks, conditioning); Gulrajani et
    al. 2016, arXiv 1611.05013 (in a VAE). The order of channels: van den Oord, Kalchbrenner & Kavukcuoglu
    2016, arXiv 1601.06759.
    """

    shape: tuple[int, int, int]
    features: int
    kernels: tuple[int, ...]
    values: int = 2
    context: nn.Module | None = None
    dtype: Any = None

    autoregressive: ClassVar[bool] = True  # what a builder asks a decoder

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        if len(self.shape) != 3:
            raise ValueError(f"shape: expected (H, W, C), got {self.shape}")
        for n, size in enumerate(self.shape):
            check_positive_int(size, f"shape[{n}]")
        check_layers(self.features, self.kernels, self.shape[2], "channels")
        if self.values not in (2, 256):
            raise ValueError(f"values: expected 2 or 256, got {self.values!r}")
        if not (self.context is None or isinstance(self.context, nn.Module)):
            raise TypeError(f"context: expected a flax.linen.Module or None, got {described(self.context)}")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, x: Array) -> Array:
        check_floating(z, "z")
        if x.shape[-3:] != tuple(self.shape):
            raise ValueError(f"x: expected [..., {', '.join(map(str, self.shape))}], got {x.shape}")
        h = at_least_float32(x) / ((self.values - 1) / 2) - 1  # divided first: bytes must not wrap around
        C = self.shape[2]
        numbers = C * (1 if self.values == 2 else self.values)
        return gated_layers(h, self._maps(z), self.features, self.kernels, C, numbers, self.dtype)

    def _maps(self, z: Array) -> Array:
        """What conditions every place, [..., H or 1, W or 1, F]."""
        if self.context is None:
            return z[..., None, None, :]
        maps = self.context(z)
        if maps.shape[:-1] != (*z.shape[:-1], *self.shape[:2]):
            raise ValueError(
                f"context: expected maps [..., {self.shape[0]}, {self.shape[1]}, F], got {maps.shape}"
            )
        return maps


def check_layers(features: int, kernels: tuple[int, ...], groups: int, of: str) -> None:
    """Raise unless `gated_layers` takes these; `of` says what the groups are."""
    check_positive_int(features, "features")
    if features % groups:
        raise ValueError(f"features: expected a multiple of {groups} {of}, got {features}")
    if not kernels:
        raise ValueError("kernels: expected at least one, got ()")
    for n, k in enumerate(kernels):
        check_positive_int(k, f"kernels[{n}]")
        if k < 3 or k % 2 == 0:
            raise ValueError(f"kernels[{n}]: expected an odd number of at least 3, got {k}")


def gated_layers(
    h: Array, s: Array | None, features: int, kernels: tuple[int, ...], groups: int, numbers: int, dtype: Any
) -> Array:
    """The layers of `GatedPixelCNN`: h [..., H, W, in] -> [..., H, W, numbers]; modules of who calls.

    `s` [..., H or 1, W or 1, n] is what conditions every place, None for nothing. The channels of input,
    output and stacks are in `groups` equal groups, of which each sees at its own place those before it.
    """
    dense = partial(nn.Dense, 2 * features, use_bias=False, dtype=dtype)
    row = partial(_row_conv, dtype=dtype)
    of_s = (lambda name: 0) if s is None else (lambda name: dense(name=name)(s))
    v = jnp.pad(h, ((0, 0),) * (h.ndim - 3) + ((1, 0), (0, 0), (0, 0)))[..., :-1, :, :]  # the row above
    for n, k in enumerate(kernels):
        r, first = k // 2, n == 0
        a = Conv(2 * features, (r + 1, k), padding=((r, 0), (r, r)), dtype=dtype, name=f"vertical_{n}")(v)
        a = a + of_s(f"vertical_z_{n}")
        b = row(2 * features, groups, r, inputs=h.shape[-1], strict=first, name=f"horizontal_{n}")(h)
        b = b + dense(name=f"down_{n}")(a) + of_s(f"horizontal_z_{n}")
        gated = row(features, groups, inputs=features, name=f"out_{n}")(_gated(b, groups))
        h = gated if first else h + gated  # x itself must not pass around the mask
        v = _gated(a, groups)  # after the last layer nobody reads it
    h = jax.nn.relu(row(features, groups, inputs=features, name="hidden")(jax.nn.relu(h)))
    return _row_conv(numbers, groups, inputs=features, name="head")(at_least_float32(h))


def _row_conv(
    features: int, groups: int, reach: int = 0,
    *, inputs: int, strict: bool = False, dtype: Any = None, name: str,
):  # fmt: skip
    """A convolution over a pixel and `reach` pixels left of it, [..., H, W, in] -> [..., H, W, features].

    The channels on either side are in `groups` equal groups. At the pixel itself group g sees the groups up
    to g (mask B) or, if strict, those before g (mask A).
    """
    source, target = (np.arange(n) * groups // n for n in (inputs, features))  # the group of each channel
    mask = np.ones((1, reach + 1, inputs, features), np.float32)
    mask[0, -1] = source[:, None] < target if strict else source[:, None] <= target
    padding = ((0, 0), (reach, 0))
    return Conv(features, (1, reach + 1), padding=padding, mask=jnp.asarray(mask), dtype=dtype, name=name)


def _gated(a: Array, groups: int) -> Array:
    """tanh(a_1) sigmoid(a_2), a_1 and a_2 the halves of every group: [..., 2 F] -> [..., F]."""
    a = a.reshape(*a.shape[:-1], groups, 2, -1)
    return (jnp.tanh(a[..., 0, :]) * jax.nn.sigmoid(a[..., 1, :])).reshape(*a.shape[:-3], -1)
