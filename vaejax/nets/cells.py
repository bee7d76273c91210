"""The residual cells of NVAE, on maps [..., H, W, C]: bodies of a level's nets (`vaejax.nets.blocks`).

The paper's cells have batch normalisation, which ties the examples of a batch together and needs state. Here
group normalisation stands in its place: mean and variance over the places and the channels of a group of one
example, in training and in evaluation alike. What the paper does about batch statistics when it samples has
no counterpart.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax.nn import swish

from vaejax.checks import check_positive_int
from vaejax.nets.convolutional import Conv
from vaejax.nets.dense import dtype_name
from vaejax.nets.on_maps import check_maps, group_norm
from vaejax.precision import at_least_float32
from vaejax.types import Array

_SHARE = 0.1  # of what a cell adds, as in the authors' code
_SIDE = 5  # of the depthwise kernel


class EncoderCell(nn.Module):
    """NVAE's cell of the encoder: x + .1 excite(conv_3x3 s norm conv_3x3 s norm x), s(v) = v sigmoid(v).

    excite multiplies each channel by a number in (0, 1) that two dense layers make of the means over places.

    Args:
      groups: of channels, which norm brings to mean 0 and variance 1; it divides C.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters, statistics and output stay float32.

    Raises:
      TypeError, ValueError: for groups that are no int of at least 1; when called, that do not divide C, or
        for anything but floating point maps.

    Source: Vahdat & Kautz 2020, arXiv 2007.03898, figure 3b; group normalisation: Wu & He 2018, arXiv
    1803.08494.
    """

    groups: int = 8
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.groups, "groups")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h, C = _checked(x, self.groups), x.shape[-1]
        for n in range(2):
            h = Conv(C, (3, 3), dtype=self.dtype, name=f"conv_{n}")(
                swish(group_norm(self.groups, f"norm_{n}")(h))
            )
        return x + _SHARE * _Excite(self.dtype, name="excite")(h)


class DecoderCell(nn.Module):
    """NVAE's cell of the decoder: x + .1 excite(norm conv_1x1 s norm depth_5x5 s norm conv_1x1 norm x).

    The first 1 x 1 makes E C channels; depth_5x5 convolves each by itself with a kernel of its own, so that a
    cell sees far at little cost; the second 1 x 1 makes C again. s and excite are as in `EncoderCell`.

    Args:
      expand: E; 3 or 6 in the paper.
      groups: of channels, which norm brings to mean 0 and variance 1; it divides C.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters, statistics and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1; when called, for groups that do not
        divide C, or anything but floating point maps.

    Source: Vahdat & Kautz 2020, arXiv 2007.03898, figure 3a.
    """

    expand: int = 6
    groups: int = 8
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.expand, "expand")
        check_positive_int(self.groups, "groups")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        norm, dense = partial(group_norm, self.groups), partial(nn.Dense, use_bias=False, dtype=self.dtype)
        h, C = _checked(x, self.groups), x.shape[-1]
        h = dense(self.expand * C, name="expand")(norm("norm_0")(h))
        h = _Depthwise(self.dtype, name="depthwise")(swish(norm("norm_1")(h)))
        h = dense(C, name="reduce")(swish(norm("norm_2")(h)))
        return x + _SHARE * _Excite(self.dtype, name="excite")(norm("norm_3")(h))


class _Excite(nn.Module):
    """Every channel times a number in (0, 1) that depends on the means of all of them over places."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        C = x.shape[-1]
        h = nn.Dense(max(C // 16, 4), dtype=self.dtype, name="squeeze")(jnp.mean(x, axis=(-3, -2)))
        share = jax.nn.sigmoid(nn.Dense(C, name="excite")(at_least_float32(jax.nn.relu(h))))
        return at_least_float32(x) * share[..., None, None, :]


class _Depthwise(nn.Module):
    """Every channel by itself, 5 x 5: out[i, j, c] = sum_{u, v} k[u, v, c] x[i + u - 2, j + v - 2, c].

    A sum of 25 products, which XLA makes one loop of; its grouped convolutions are slow on a CPU.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        H, W, C = x.shape[-3:]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (_SIDE, _SIDE, 1, C), jnp.float32)
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        r = _SIDE // 2
        around = jnp.pad(x, ((0, 0),) * (x.ndim - 3) + ((r, r), (r, r), (0, 0)))
        taps = [(u, v) for u in range(_SIDE) for v in range(_SIDE)]
        return sum(kernel[u, v, 0] * around[..., u : u + H, v : v + W, :] for u, v in taps)  # pyright: ignore


def _checked(x: Array, groups: int) -> Array:
    check_maps(x, "x")
    if x.shape[-1] % groups:
        raise ValueError(f"groups: expected a divisor of {x.shape[-1]} channels, got {groups}")
    return x
