"""Nets that predict the noise in u = a x + s eps from u, its log-SNR and z: decoders of a diffusion."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_finite, check_positive_int
from vaejax.nets.convolutional import Conv, EnlargedConv
from vaejax.nets.dense import beside, check_floating, dtype_name
from vaejax.nets.on_maps import enlarged, group_norm
from vaejax.nets.sides import cut
from vaejax.ops import diffusion
from vaejax.precision import at_least_float32
from vaejax.types import Array

SCHEDULES = ("linear", "cosine", "learned")


class Denoising(nn.Module):
    """What `Denoiser` and `UNet` share: the schedule, and features of time and z.

    `(z, *c, u, g) -> eps_hat`, and by the method `gamma` `(z, *c, t) -> g(t)`. A subclass has its own fields
    and `_predicted(u, h)`, h [..., embed] the features.
    """

    shape: tuple[int, ...]
    schedule: str = "linear"
    low: float = -13.3
    high: float = 5.0
    embed: int = 128
    dtype: Any = dataclasses.field(default=None, kw_only=True)

    decodes: ClassVar[str] = "diffusion"  # what a builder asks a decoder

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        for n, size in enumerate(self.shape):
            check_positive_int(size, f"shape[{n}]")
        check_choice(self.schedule, SCHEDULES, "schedule")
        check_finite(self.low, "low")
        check_finite(self.high, "high")
        if not self.low < self.high:
            raise ValueError(f"low, high: expected low < high, got {self.low!r} and {self.high!r}")
        check_positive_int(self.embed, "embed")
        if self.embed % 2:
            raise ValueError(f"embed: expected an even number, got {self.embed}")
        super().__post_init__()

    def setup(self) -> None:
        if self.schedule == "learned":
            self.monotone = _Monotone(self.low, self.high)

    def gamma(self, z: Array, *others: Array) -> Array:
        """(z, *c, t [...]) -> g(t), minus the log-SNR at a time in [0, 1]."""
        t = others[-1]
        if self.schedule == "learned":
            return self.monotone(t)
        return getattr(diffusion, self.schedule)(t, self.low, self.high)

    @nn.compact
    def __call__(self, z: Array, *others: Array) -> Array:
        *c, u, g = others
        if u.shape[u.ndim - len(self.shape) :] != tuple(self.shape):
            raise ValueError(f"x: expected [..., {', '.join(map(str, self.shape))}], got {u.shape}")
        check_floating(z, "z")
        if self.is_initializing():
            self.gamma(z, *c, g)  # that its parameters are there
        maps = [a for a in c if self._is_map(a, z)]
        c = [a for a in c if not self._is_map(a, z)]
        h = _waves((g - self.low) / (self.high - self.low), self.embed)
        dense = partial(nn.Dense, self.embed, dtype=self.dtype)
        h = jax.nn.swish(dense(name="of_time")(h) + dense(name="of_z")(beside(z, tuple(c))))
        h = jax.nn.swish(dense(name="features")(h))
        maps = [jnp.broadcast_to(a, (*u.shape[:-1], a.shape[-1])) for a in maps]
        return self._predicted(jnp.concatenate([at_least_float32(u), *maps], -1), h)

    def _is_map(self, c: Array, z: Array) -> bool:
        """Whether a condition stands beside u, and not beside z."""
        del c, z
        return False

    def _predicted(self, u: Array, h: Array) -> Array:
        raise NotImplementedError


class Denoiser(Denoising):
    """eps_hat of vectors by dense layers, for `distributions.diffusion`: (z, *c, u, g) -> [..., *shape].

    Every layer is h <- swish(W h (1 + scale) + shift), scale and shift linear in features of time and z
    (FiLM); the last starts at 0. Time enters as sines and cosines of (g - low) / (high - low).

    Args:
      shape: of x for one example.
      schedule: of g(t), minus the log-SNR: "linear", "cosine", or "learned", monotone with learned ends.
      low: g(0), the least noise; with "learned" where it starts. The bound has p(x|u_0) of variance
        exp(low): -13.3 is 1e-3 in standard deviations, right for bytes; for real data of few digits or on
        a manifold a larger one.
      high: g(1); 5 leaves .0067 of the variance of x.
      embed: how many features of time and z, even.
      features: widths of the layers.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1, an unknown schedule, low not below
        high; when called, for u of another shape.

    Source: Ho, Jain & Abbeel 2020, arXiv 2006.11239 (time); Perez et al. 2017, arXiv 1709.07871 (FiLM);
    Kingma et al. 2021, arXiv 2107.00630 (schedules).
    """

    features: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        for n, width in enumerate(self.features):
            check_positive_int(width, f"features[{n}]")
        super().__post_init__()

    def _predicted(self, u: Array, h: Array) -> Array:
        v = u.reshape(*u.shape[: u.ndim - len(self.shape)], -1)
        for n, width in enumerate(self.features):
            v = nn.Dense(width, dtype=self.dtype, name=f"dense_{n}")(v)
            v = jax.nn.swish(_film(h, v, self.dtype, f"film_{n}"))
        last = nn.Dense(math.prod(self.shape), kernel_init=nn.initializers.zeros_init(), name="out")
        return last(at_least_float32(v)).reshape(u.shape)


class UNet(Denoising):
    """eps_hat of images by a U-Net, for `distributions.diffusion`: (z, *c, u, g) -> [..., H, W, C].

    Residual blocks (norm, swish, 3x3, FiLM, swish, 3x3) with group normalisation over one example, sides
    halved by convolutions of stride 2 and doubled by repeating pixels; what is on the way down is put beside
    what comes up. Time and z, of which scale and shift are linear, as in `Denoiser`. A condition that is maps
    [..., H, W, n] stands beside u as channels, another beside z. The last layer of every block, and of the
    net, starts at 0.

    Args:
      shape: (H, W, C) of an image.
      schedule, low, high, embed: as for `Denoiser`.
      features: channels at every side, the full one first, each a multiple of `groups`.
      blocks: residual blocks at every side, each way.
      groups: of the normalisation.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      TypeError, ValueError: as `Denoiser`; features that groups do not divide.

    Source: Ho, Jain & Abbeel 2020, arXiv 2006.11239, appendix B, without attention; Dhariwal & Nichol 2021,
    arXiv 2105.05233 (scale and shift).
    """

    features: tuple[int, ...] = (32, 64, 64)
    blocks: int = 1
    groups: int = 8

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise ValueError(f"shape: expected (H, W, C), got {self.shape}")
        check_positive_int(self.groups, "groups")
        check_positive_int(self.blocks, "blocks")
        for n, width in enumerate(self.features):
            check_positive_int(width, f"features[{n}]")
            if width % self.groups:
                raise ValueError(f"features[{n}]: expected a multiple of {self.groups} groups, got {width}")
        if not self.features:
            raise ValueError("features: expected at least one side, got ()")
        super().__post_init__()

    def _is_map(self, c: Array, z: Array) -> bool:
        return c.ndim == z.ndim + 2 and c.shape[-3:-1] == tuple(self.shape[:2])

    def _predicted(self, u: Array, h: Array) -> Array:
        last, convolution = len(self.features) - 1, partial(Conv, dtype=self.dtype)
        block = partial(_Block, groups=self.groups, dtype=self.dtype)
        v = convolution(self.features[0], (3, 3), name="first")(u)
        kept = []
        for n, width in enumerate(self.features):
            if n:
                v = convolution(width, (3, 3), (2, 2), name=f"down_{n}")(v)
            for b in range(self.blocks):
                v = block(width, name=f"down_{n}_{b}")(v, h)
            kept.append(v)
        v = block(self.features[-1], name="middle")(v, h)
        for n, width in reversed(list(enumerate(self.features))):
            if n < last:
                v = _doubled(v, (kept[n].shape[-3], kept[n].shape[-2]), width, self.dtype, f"up_{n}")
            v = jnp.concatenate([v, kept[n]], -1)
            for b in range(self.blocks):
                v = block(width, name=f"up_{n}_{b}")(v, h)
        v = at_least_float32(jax.nn.swish(group_norm(self.groups, "norm")(v)))
        return Conv(self.shape[2], (3, 3), zero=True, name="out")(v)


class _Block(nn.Module):
    """v + conv_3x3 s film conv_3x3 s norm v; a 1x1 takes the place of v where the channels change."""

    features: int
    groups: int
    dtype: Any = None

    @nn.compact
    def __call__(self, v: Array, h: Array) -> Array:
        convolution = partial(Conv, self.features, (3, 3), dtype=self.dtype)
        r = convolution(name="conv_0")(jax.nn.swish(group_norm(self.groups, "norm_0")(v)))
        r = _film(h, group_norm(self.groups, "norm_1")(r), self.dtype, "film", axes=2)
        r = convolution(zero=True, name="conv_1")(jax.nn.swish(r))
        same = v.shape[-1] == self.features
        return r + (v if same else nn.Dense(self.features, dtype=self.dtype, name="skip")(v))


class _Monotone(nn.Module):
    """g(t) increasing from g(0) to g(1), which are learned as what lies between: a net of positive weights.

    Source: Kingma et al. 2021, arXiv 2107.00630, section D, with both ends outside of the net.
    """

    low: float
    high: float
    width: int = 64

    @nn.compact
    def __call__(self, t: Array) -> Array:
        low = self.param("low", nn.initializers.constant(self.low), (), jnp.float32)
        start = math.log(self.high - self.low)
        log_range = self.param("log_range", nn.initializers.constant(start), (), jnp.float32)
        kernel = nn.initializers.normal(1.0)
        parameters = [
            self.param(name, kernel, (self.width,), jnp.float32) for name in ("slope", "shift", "share")
        ]

        def inside(t: Array) -> Array:
            slope, shift, share = parameters
            bumps = jax.nn.sigmoid(4 * jax.nn.softplus(slope) * (t[..., None] - 0.5) + shift)
            return t + jnp.mean(jax.nn.softplus(share) * bumps, -1)

        first, end = (inside(jnp.full((), end, jnp.float32)) for end in (0, 1))
        return low + jnp.exp(log_range) * (inside(jnp.asarray(t)) - first) / (end - first)


def _doubled(v: Array, side: tuple[int, int], features: int, dtype: Any, name: str) -> Array:
    """3x3 of v with every pixel as a square of four, cut to a side that is one shorter where it was odd."""
    if side == (2 * v.shape[-3], 2 * v.shape[-2]):
        return EnlargedConv(features, dtype=dtype, name=name)(v)
    return Conv(features, (3, 3), dtype=dtype, name=name)(cut(enlarged(v, 2), side))


def _film(h: Array, v: Array, dtype: Any, name: str, axes: int = 0) -> Array:
    """v (1 + scale) + shift, both linear in h; v has so many `axes` before its channels."""
    zeros = nn.initializers.zeros_init()
    both = nn.Dense(2 * v.shape[-1], kernel_init=zeros, dtype=dtype, name=name)(h)
    scale, shift = jnp.split(both.reshape(*both.shape[:-1], *(1,) * axes, both.shape[-1]), 2, -1)
    return v * (1 + scale) + shift


def _waves(t: Array, size: int) -> Array:
    """Sines and cosines of 1000 t at frequencies from 1 down to 1e-4, [...] -> [..., size]."""
    frequencies = jnp.exp(jnp.arange(size // 2) * (-math.log(1e4) / (size // 2))).astype(t.dtype)
    angles = 1000 * t[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
