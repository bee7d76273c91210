"""A multi-scale flow of images, conditioned on z."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int
from vaejax.nets.convolutional import Conv
from vaejax.nets.dense import activation_of
from vaejax.nets.invertible import Invertible, check_count, moved, scanned, stacked
from vaejax.ops.flows.transforms import transform
from vaejax.precision import at_least_float32
from vaejax.types import Array


class ImageFlow(Invertible):
    """A flow of images for `distributions.flow`: couplings at several scales.

    `(z, *c, x) -> (u, log|det du/dx|)`, and by the method `generate` `(z, *c, u) -> (x, log|det dx/du|)`; z
    [..., d], c flattened beside it, x [..., H, W, C], u [..., H W C]. At each scale:

      1. `checkers` couplings in which the pixels of one colour of a chess board say how those of the other
         move, the colours in turn;
      2. squeeze: squares of 2 x 2 pixels become one of 4 C channels;
      3. `steps` times a convolution 1x1 and a coupling in which half of the channels moves the other;
      4. half of the channels are done, and the other goes on to the next scale.

    The nets are convolutions 3x3, 1x1, 3x3 that see z at every place; their last layer starts at 0, and the
    convolution 1x1, W = P L U with P the reversal of the channels, at P: p(x|z) starts as the Gaussian of
    `start`. Steps of one kind and scale are one scan.

    Args:
      start: a net z -> [..., H, W, 2 C] that gives the loc and the log-scale of an affine map as it would
        give those of `distributions.gaussian_learned_scale`.
      shape: (H, W, C), the sides divisible by 2^scales.
      steps: as above, 0 for none.
      kind, bins, bound: of the maps, as of `priors.flow`: "affine" or "spline", rational-quadratic.
      activation: one of `ACTIVATIONS`.
      alpha: for x in [0, 1]: the flow is of logit(alpha + (1 - 2 alpha) x), and gives x in about [0, 1].
      noise: for `distributions.flow("variational")`, a net of x in [-1, 1] -> [..., H, W, 2 C], the loc and
        log-scale of the logit of the noise.
      min_log_scale: the soft floor of the affine map's log-scale.
      features: channels of the nets.
      scales: how many.
      checkers: as above, 0 for none.
      dtype: what the layers before the last of each coupling's net compute in, such as "bfloat16"; None for
        what input and parameters have. Parameters, maps and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not such ints, an unknown kind or activation, an alpha outside
        of (0, .5); when called, for x, or an output of `start`, of another shape.

    Source: Dinh, Sohl-Dickstein & Bengio 2016, arXiv 1605.08803 (masks, squeeze, scales); Kingma & Dhariwal
    2018, arXiv 1807.03039 (1x1, eq. 10); without batch or activation normalisation, whose first values come
    from a batch: `start` and W scale instead.
    """

    features: int = 64
    scales: int = 2
    checkers: int = 2

    def __post_init__(self) -> None:
        for name in ("features", "scales"):
            check_positive_int(getattr(self, name), name)
        check_count(self.checkers, "checkers")
        if len(self.shape) != 3 or any(size % 2**self.scales for size in self.shape[:2]):
            raise ValueError(
                f"shape: expected (H, W, C), sides divisible by 2^scales = {2**self.scales}; got {self.shape}"
            )
        super().__post_init__()

    def _steps(self, h: Array, v: Array, back: bool) -> tuple[Array, Array]:
        lead, (H, W, C) = v.shape[:-1], self.shape
        sizes = [(H >> s, W >> s, C << s) for s in range(self.scales)]  # of what enters each scale
        total = jnp.zeros(lead, v.dtype)
        if not back:
            done, v = [], v.reshape(*lead, H, W, C)
            for s in range(self.scales):
                v, log_det = self._scale(s, h, v, False)
                total += log_det
                if s < self.scales - 1:
                    v, out = jnp.split(v, 2, -1)
                    done.append(out.reshape(*lead, -1))
            return jnp.concatenate([*done, v.reshape(*lead, -1)], -1), total
        ends = [math.prod(size) // 2 for size in sizes[:-1]]
        *done, v = jnp.split(v, [sum(ends[: n + 1]) for n in range(len(ends))], -1)
        for s in reversed(range(self.scales)):
            height, width, channels = sizes[s]
            last = s == self.scales - 1
            v = v.reshape(*lead, height // 2, width // 2, 4 * channels // (1 if last else 2))
            if not last:
                v = jnp.concatenate([v, done[s].reshape(v.shape)], -1)
            v, log_det = self._scale(s, h, v, True)
            total += log_det
        return v.reshape(*lead, -1), total

    def _scale(self, s: int, h: Array, v: Array, back: bool) -> tuple[Array, Array]:
        """One scale, or back: images of a scale <-> images of half the side and four times the channels."""
        if not back:
            v, first = self._checkers(s, h, v, False)
            v, second = self._channels(s, h, _squeezed(v), False)
            return v, first + second
        v, second = self._channels(s, h, v, True)
        v, first = self._checkers(s, h, _spread(v), True)
        return v, first + second

    def _checkers(self, s: int, h: Array, v: Array, back: bool) -> tuple[Array, Array]:
        if not self.checkers:
            return v, jnp.zeros(v.shape[:-3], v.dtype)
        H, W, C = v.shape[-3:]
        moves = transform(self.kind, self.bins, self.bound)
        net = _Convs(self.features, C * moves.numbers, self.activation, self.dtype, parent=None)
        init = stacked(net, self.checkers)
        params = self.param(f"checkers_{s}", init, jnp.zeros((H, W, C)), jnp.zeros(h.shape[-1]))
        colours = (jnp.arange(H)[:, None] + jnp.arange(W))[..., None] % 2  # [H, W, 1]

        def step(of_step: Any, v: Array) -> tuple[Array, Array]:
            params, turn = of_step
            stays = (colours == turn).astype(v.dtype)
            raw: Any = net.apply({"params": params}, v * stays, h)
            raw = raw.reshape(*raw.shape[:-1], C, moves.numbers) * (1 - stays)[..., None]  # 0: the identity
            return _each(moved(moves, back), raw, v)

        return scanned(step, (params, jnp.arange(self.checkers) % 2), v, back, 3)

    def _channels(self, s: int, h: Array, v: Array, back: bool) -> tuple[Array, Array]:
        if not self.steps:
            return v, jnp.zeros(v.shape[:-3], v.dtype)
        H, W, C = v.shape[-3:]
        moves = transform(self.kind, self.bins, self.bound)
        net = _Convs(self.features, (C // 2) * moves.numbers, self.activation, self.dtype, parent=None)
        init = stacked(net, self.steps)
        params = self.param(f"steps_{s}", init, jnp.zeros((H, W, C // 2)), jnp.zeros(h.shape[-1]))
        zeros, n = nn.initializers.zeros_init(), self.steps
        mix = {k: self.param(f"{k}_{s}", zeros, (n, C, C), jnp.float32) for k in ("lower", "upper")}
        mix |= {k: self.param(f"{k}_{s}", zeros, (n, C), jnp.float32) for k in ("log_scale", "bias")}

        def step(of_step: Any, v: Array) -> tuple[Array, Array]:
            params, mix = of_step
            log_det = H * W * jnp.sum(mix["log_scale"])
            v = v if back else _mixed(mix, v)
            a, b = jnp.split(v, 2, -1)
            raw: Any = net.apply({"params": params}, a, h)
            b, of_b = _each(moved(moves, back), raw.reshape(*b.shape, moves.numbers), b)
            v = jnp.concatenate([a, b], -1)
            return (_unmixed(mix, v), of_b - log_det) if back else (v, of_b + log_det)

        return scanned(step, (params, mix), v, back, 3)


class _Convs(nn.Module):
    """The numbers of a coupling from what stays and from z: convolutions 3x3, 1x1, 3x3."""

    features: int
    outputs: int
    activation: str
    dtype: Any = None

    @nn.compact
    def __call__(self, a: Array, h: Array) -> Array:
        act, dense = activation_of(self.activation), partial(nn.Dense, dtype=self.dtype)
        of_z = dense(2 * self.features, use_bias=False, name="z")(h)[..., None, None, :]
        first, second = jnp.split(of_z, 2, -1)
        a = act(Conv(self.features, (3, 3), dtype=self.dtype, name="conv")(a) + first)
        a = act(dense(self.features, name="dense")(a) + second)
        return Conv(self.outputs, (3, 3), name="out")(at_least_float32(a))


def _each(move: Any, raw: Array, v: Array) -> tuple[Array, Array]:
    """Every value of an image moved by its numbers, [..., H, W, C, numbers]: the image, and log|det|."""
    flat = v.reshape(*v.shape[:-3], -1)
    y, log_det = move(raw.reshape(*raw.shape[:-4], flat.shape[-1], raw.shape[-1]), flat)
    return y.reshape(*y.shape[:-1], *v.shape[-3:]), log_det


def _factors(mix: dict[str, Array]) -> tuple[Array, Array]:
    """L and U of W = P L U."""
    one = jnp.eye(mix["lower"].shape[-1], dtype=mix["lower"].dtype)
    return jnp.tril(mix["lower"], -1) + one, jnp.triu(mix["upper"], 1) + one * jnp.exp(mix["log_scale"])


def _mixed(mix: dict[str, Array], v: Array) -> Array:
    """W v + bias at every place, P the reversal of the channels."""
    lower, upper = _factors(mix)
    return (v @ (lower @ upper).T)[..., ::-1] + mix["bias"]


def _unmixed(mix: dict[str, Array], y: Array) -> Array:
    lower, upper = _factors(mix)
    one = jnp.eye(lower.shape[-1], dtype=lower.dtype)
    inverse = jax.scipy.linalg.solve_triangular(lower, one, lower=True, unit_diagonal=True)
    inverse = jax.scipy.linalg.solve_triangular(upper, inverse)
    return (y - mix["bias"])[..., ::-1] @ inverse.T


def _squeezed(v: Array) -> Array:
    """[..., H, W, C] -> [..., H / 2, W / 2, 4 C]: squares of 2 x 2 pixels."""
    *lead, H, W, C = v.shape
    v = v.reshape(*lead, H // 2, 2, W // 2, 2, C)
    return jnp.moveaxis(v, -4, -3).reshape(*lead, H // 2, W // 2, 4 * C)


def _spread(v: Array) -> Array:
    """The inverse of `_squeezed`."""
    *lead, H, W, C = v.shape
    v = v.reshape(*lead, H, W, 2, 2, C // 4)
    return jnp.moveaxis(v, -3, -4).reshape(*lead, 2 * H, 2 * W, C // 4)
