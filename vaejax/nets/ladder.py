"""Gated dense blocks, and a ladder's way up: an activation of x for every level of latents."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax

from vaejax.checks import check_positive_int
from vaejax.nets.dense import GaussianHead, beside, check_context, dtype_name, flatten_event
from vaejax.precision import at_least_float32
from vaejax.types import Array


def _check_widths(features: tuple[int, ...], name: str = "features") -> None:
    for n, width in enumerate(features):
        check_positive_int(width, f"{name}[{n}]")
        if width < 2:
            raise ValueError(f"{name}[{n}]: expected at least 2, of one number a norm leaves nothing; got 1")


class _Gated(nn.Module):
    """Layers h <- LayerNorm(W h + b) sigmoid(V h + c): [..., D] -> [..., features[-1]], in `dtype`."""

    features: tuple[int, ...]
    dtype: str | None

    @nn.compact
    def __call__(self, h: Array) -> Array:
        for n, width in enumerate(self.features):
            gate = jax.nn.sigmoid(nn.Dense(width, dtype=self.dtype, name=f"gate_{n}")(h))
            h = nn.Dense(width, dtype=self.dtype, name=f"dense_{n}")(h)
            h = gate * nn.LayerNorm(dtype=self.dtype, name=f"norm_{n}")(h)
        return h


class GatedMLP(nn.Module):
    """Gated dense layers and a linear one: [..., *event] -> [..., *output_shape].

        h <- LayerNorm(W h + b) sigmoid(V h + c)

    The gates are those of Tomczak & Welling; the norm is over the units of one example, in the place of the
    batch normalisation that ladders were first trained with, which ties examples together. Further inputs,
    such as a condition c [..., *shape], stand beside the first, flattened.

    Args:
      features: widths of the gated layers, each at least 2.
      output_shape: the shape of one output, () for a scalar.
      event_ndims: how many of the last axes of the input make up one example.
      dtype: what the gated layers compute in, such as "bfloat16"; None for what input and parameters have.
        Parameters and output stay float32.

    Raises:
      ValueError, TypeError: a width below 2, a size below 1, integer input.

    Source: Tomczak & Welling 2017, arXiv 1705.07120 (gates); Ba, Kiros & Hinton 2016, arXiv 1607.06450.
    """

    features: tuple[int, ...]
    output_shape: tuple[int, ...]
    event_ndims: int = 1
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        _check_widths(self.features)
        for n, size in enumerate(self.output_shape):
            check_positive_int(size, f"output_shape[{n}]")
        check_positive_int(self.event_ndims, "event_ndims")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> Array:
        h = beside(flatten_event(x, self.event_ndims), others)
        h = _Gated(self.features, self.dtype, name="gated")(h)
        h = nn.Dense(math.prod(self.output_shape), name="out")(at_least_float32(h))
        return h.reshape(*h.shape[:-1], *self.output_shape)


class GatedEncoder(nn.Module):
    """`GatedMLP`'s layers and a Gaussian head: [..., *event] -> (loc, logvar), each [..., d].

    Further inputs, such as a condition c [..., *shape], stand beside the first, flattened.

    Args:
      latents: d.
      features: widths of the gated layers, each at least 2.
      event_ndims: how many of the last axes of the input make up one example.
      logvar_bias: where the bias of the log-variance starts.
      dtype: what the gated layers compute in, such as "bfloat16"; None for what input and parameters have.
        Parameters and output stay float32.
      context: how many numbers the head gives beside, as `GaussianHead`.

    Raises:
      ValueError, TypeError: a width below 2, a size below 1, integer input.

    Source: as `GatedMLP`.
    """

    latents: int
    features: tuple[int, ...]
    event_ndims: int = 1
    logvar_bias: float = 0.0
    dtype: Any = None
    context: int = 0

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.latents, "latents")
        check_context(self.context)
        _check_widths(self.features)
        check_positive_int(self.event_ndims, "event_ndims")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> tuple[Array, ...]:
        h = beside(flatten_event(x, self.event_ndims), others)
        h = _Gated(self.features, self.dtype, name="gated")(h)
        return GaussianHead(self.latents, self.logvar_bias, self.context, name="head")(h)


class DenseLadder(nn.Module):
    """A ladder's deterministic way up: [..., *event] -> (a_0, ..., a_L-1), the top first.

        a_L-1 = gated layers of x,    a_l = gated layers of a_l+1

    as `GatedMLP`'s. It is the encoder of `models.hierarchical_vae`. Further inputs, such as a condition
    c [..., *shape], stand beside x, flattened.

    Args:
      features: for every level, the top first, the widths of the layers that lead to its activation, each at
        least 2: with ((32, 32), (64, 64)) x goes through 64 and 64 to a_1, and from there through 32 and 32
        to a_0.
      event_ndims: how many of the last axes of x make up one example.
      dtype: what the layers compute in, such as "bfloat16"; None for what input and parameters have.
        Parameters and outputs stay float32.

    Raises:
      ValueError, TypeError: no level, one without layers, a width below 2, integer input.

    Source: Sonderby et al. 2016, arXiv 1602.02282, there with leaky rectifiers and batch normalisation.
    """

    features: tuple[tuple[int, ...], ...]
    event_ndims: int = 1
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        if not self.features:
            raise ValueError("features: expected the widths of at least one level, got ()")
        for i, widths in enumerate(self.features):
            if not widths:
                raise ValueError(f"features[{i}]: expected at least one width, got ()")
            _check_widths(widths, f"features[{i}]")
        check_positive_int(self.event_ndims, "event_ndims")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> tuple[Array, ...]:
        h, found = beside(flatten_event(x, self.event_ndims), others), []
        for i in reversed(range(len(self.features))):
            h = _Gated(self.features[i], self.dtype, name=f"level_{i}")(h)
            found.append(at_least_float32(h))
        return tuple(reversed(found))
