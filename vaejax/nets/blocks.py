"""The nets of deep hierarchies: bottleneck blocks on maps [..., H, W, C], any leading axes.

With g the GELU in its tanh form and F channels inside, fewer than the C outside,

    trunk(x) = conv_3x3 g conv_3x3 g conv_1x1 g x,      block(x) = x + conv_1x1 g trunk(x)

where 3 x 3 are 1 x 1 on maps with a side of at most 2. 1 x 1 are dense layers of the last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import gelu

from vaejax.checks import check_positive_int
from vaejax.nets.around import check_net
from vaejax.nets.convolutional import Conv
from vaejax.nets.dense import GaussianHead, dtype_name
from vaejax.nets.on_maps import check_head, check_maps, enlarged, soft_clamp
from vaejax.precision import at_least_float32
from vaejax.types import Array


class _Trunk(nn.Module):
    """The layers of a block before its last: [..., H, W, C] -> [..., H, W, features]."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = nn.Dense(self.features, dtype=self.dtype, name="reduce")(gelu(x))
        for n in range(2):
            if min(x.shape[-3:-1]) > 2:
                h = Conv(self.features, (3, 3), dtype=self.dtype, name=f"conv_{n}")(gelu(h))
            else:
                h = nn.Dense(self.features, dtype=self.dtype, name=f"conv_{n}")(gelu(h))
        return h


class Bottleneck(nn.Module):
    """A residual block of few channels inside: [..., H, W, C] -> [..., H, W, C].

    Args:
      features: F, the channels inside; a quarter of C in the paper.
      blocks: how many such blocks are summed in the whole net: the weights of the last layer start
        sqrt(1 / blocks) times as wide, so that the sum starts as wide as one.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1; when called, for integers, or what is
        no maps.

    Source: Child 2020, arXiv 2011.10650, section 3.1 and figure 3; flax's initialisers are ours.
    """

    features: int
    blocks: int = 1
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.features, "features")
        check_positive_int(self.blocks, "blocks")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        check_maps(x, "x")
        h = gelu(_Trunk(self.features, self.dtype, name="trunk")(x))
        last = nn.Dense(x.shape[-1], kernel_init=narrowed(self.blocks), name="expand")
        return x + last(at_least_float32(h))


def narrowed(blocks: int) -> Callable[..., Array]:
    """flax's own start of a kernel times sqrt(1 / blocks)."""
    return nn.initializers.variance_scaling(1 / blocks, "fan_in", "truncated_normal")


def _inside(net: BlockEncoder | BlockPrior, x: Array) -> Array:
    """A net's trunk of maps x, or 1 x 1 and what takes its place: [..., H, W, features]."""
    if net.body is None:
        return _Trunk(net.features, net.dtype, name="trunk")(x)
    return net.body(nn.Dense(net.features, dtype=net.dtype, name="reduce")(x))


class BlockEncoder(nn.Module):
    """What q of a level needs, of maps: (a, h), or a alone, -> (loc, logvar), each [..., H, W, channels].

    The encoder's map a and what comes from above, h, side by side go through trunk, GELU and 1 x 1.

    Args:
      channels: of z.
      features: F, the channels inside.
      body: a net of maps [..., H, W, features] that, behind a 1 x 1 to so many, takes the place of the
        trunk, as `EncoderCell()`; None: the trunk.
      clamp: t, of t tanh(v / t), which holds every output between -t and t; 5 in NVAE, None: as they are.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1, a body that is no Flax module, a clamp
        that is not positive; when called, for integers, or maps of other sizes.

    Source: Child 2020, arXiv 2011.10650. There h is what comes from above before the prior's net adds to it;
    in `models.hierarchical_vae` it is after.
    """

    channels: int
    features: int
    body: nn.Module | None = None
    clamp: float | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_head(self.channels, self.features, self.body, self.clamp)
        super().__post_init__()

    @nn.compact
    def __call__(self, a: Array, *h: Array) -> tuple[Array, ...]:
        check_maps(a, "a")
        for other in h:
            check_maps(other, "h")
            if other.shape[:-1] != a.shape[:-1]:
                raise ValueError(
                    f"h: expected {a.shape[:-1]} as of a, before its channels; got {other.shape}"
                )
        out = GaussianHead(self.channels, name="head")(gelu(_inside(self, jnp.concatenate([a, *h], axis=-1))))
        return tuple(soft_clamp(v, self.clamp) for v in out)


class BlockPrior(nn.Module):
    """p of a level, and what it adds to h: h -> (loc, logvar, h + f), the first two [..., H, W, channels].

    All three come from trunk, GELU and a 1 x 1 that starts at 0: p starts at N(0, I), and f at 0.

    Args:
      channels: of z.
      features: F, the channels inside.
      body: as for `BlockEncoder`.
      clamp: of loc and logvar, as for `BlockEncoder`.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      TypeError, ValueError: as for `BlockEncoder`.

    Source: Child 2020, arXiv 2011.10650.
    """

    channels: int
    features: int
    body: nn.Module | None = None
    clamp: float | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_head(self.channels, self.features, self.body, self.clamp)
        super().__post_init__()

    @nn.compact
    def __call__(self, h: Array) -> tuple[Array, Array, Array]:
        check_maps(h, "h")
        C = self.channels
        last = nn.Dense(2 * C + h.shape[-1], kernel_init=nn.initializers.zeros_init(), name="head")
        out = last(at_least_float32(gelu(_inside(self, h))))
        loc, logvar = (soft_clamp(v, self.clamp) for v in (out[..., :C], out[..., C : 2 * C]))
        return loc, logvar, h + out[..., 2 * C :]


class BlockDecoder(nn.Module):
    """What a level hands on: (z, h), or at the top z alone, -> the h of the level below.

        h' = block(h + conv_1x1 z),  and  enlarged(h') + b  where the next level has a finer map

    Without an h there is a learned map in its place, as b is one; both start at 0.

    Args:
      width: channels of h.
      body: block, a net of maps that keeps their shape, as `Bottleneck(F, blocks)` or `DecoderCell()`.
      blocks: how many levels there are: the weights of conv_1x1 start sqrt(1 / blocks) times as wide.
      up: how many times the sides of h the next level's are, 1 for as many; each pixel becomes a square.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1, or a body that is no Flax module; when
        called, for integers, or maps of other sizes.

    Source: Child 2020, arXiv 2011.10650.
    """

    width: int
    body: nn.Module
    blocks: int = 1
    up: int = 1

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "up"):
            check_positive_int(getattr(self, name), name)
        check_net(self.body, "body")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, *h: Array) -> Array:
        check_maps(z, "z")
        shape, zeros = (*z.shape[-3:-1], self.width), nn.initializers.zeros_init()
        start = h[0] if h else self.param("start", zeros, shape, jnp.float32)
        if start.shape[-3:] != shape:
            raise ValueError(f"h: expected [..., {', '.join(map(str, shape))}] beside z, got {start.shape}")
        project = nn.Dense(self.width, kernel_init=narrowed(self.blocks), name="project")
        out = at_least_float32(self.body(start + project(at_least_float32(z))))
        if out.shape[-3:] != shape:
            raise ValueError(f"body: expected a net that keeps the shape {shape}, got {out.shape[-3:]}")
        if self.up == 1:
            return out
        out = enlarged(out, self.up)
        return out + self.param("start_below", zeros, out.shape[-3:], jnp.float32)


class PixelHead(nn.Module):
    """The end of a deep decoder: [..., H, W, C] -> [..., H, W, channels], the likelihood's parameters.

    A gain and a bias for each channel, which start at 1 and 0, then 1 x 1, all in float32.

    Args:
      channels: as `likelihood.parameter_shape(event)` ends.

    Raises:
      TypeError, ValueError: for anything but an int of at least 1; when called, for integers or no maps.

    Source: Child 2020, arXiv 2011.10650, in the authors' code.
    """

    channels: int

    def __post_init__(self) -> None:
        check_positive_int(self.channels, "channels")
        super().__post_init__()

    @nn.compact
    def __call__(self, h: Array) -> Array:
        check_maps(h, "h")
        h = at_least_float32(h)
        gain = self.param("gain", nn.initializers.ones_init(), h.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), h.shape[-1:], jnp.float32)
        return nn.Dense(self.channels, name="out")(h * gain + bias)
