"""Masked dense layers: what comes i-th out depends on what came before i, and on a context."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from vaejax.checks import check_choice, check_positive_int
from vaejax.nets.dense import ACTIVATIONS, activation_of, check_floating, dtype_name
from vaejax.precision import at_least_float32
from vaejax.types import Array


class MADE(nn.Module):
    """Numbers for every z_i from z_1 .. z_{i-1} alone: (z [..., d], context [..., H]?) -> [..., d, outputs].

    Each hidden unit has a degree in 1 .. d - 1, the degrees spread evenly over a layer, and sees the units of
    a degree no higher; those of z_i see the degrees below i. A context is added before the first activation;
    with one there are units of degree 0 too, which see it alone, so that the numbers of z_1 depend on it. To
    have another order, reverse z before and after.

    Args:
      features: widths of the hidden layers, at least one, each of at least d - 1, with a context d: below
        that some of the numbers of z_i would miss some of z_1 .. z_{i-1}.
      outputs: how many numbers for each z_i.
      activation: one of `ACTIVATIONS`.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      ValueError, TypeError: a size below 1, no hidden layer, an unknown activation; when called, a layer
        too narrow or integer input.

    Source: Germain et al. 2015, arXiv 1502.03509, eq. 8-13; the context as in Kingma et al. 2016, arXiv
    1606.04934, and in Papamakarios et al. 2017, arXiv 1705.07057.
    """

    features: tuple[int, ...]
    outputs: int
    activation: str = "relu"
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        if not self.features:
            raise ValueError("features: expected at least one hidden layer, got ()")
        for n, width in enumerate(self.features):
            check_positive_int(width, f"features[{n}]")
        check_positive_int(self.outputs, "outputs")
        check_choice(self.activation, ACTIVATIONS, "activation")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, context: Array | None = None) -> Array:
        check_floating(z, "z")
        d = z.shape[-1]
        lowest = 1 if context is None else 0
        degrees, h = np.arange(1, d + 1), z
        for n, width in enumerate(self.features):
            if width < d - lowest:
                raise ValueError(f"features[{n}]: expected at least {d - lowest} for {d} values, got {width}")
            units = lowest + np.arange(width) * (d - lowest) // width
            h = _Masked(width, degrees[:, None] <= units, self.dtype, name=f"dense_{n}")(h)
            if n == 0 and context is not None:
                h = h + nn.Dense(width, use_bias=False, dtype=self.dtype, name="context")(context)
            h, degrees = activation_of(self.activation)(h), units
        of_outputs = np.repeat(np.arange(1, d + 1), self.outputs)
        mask = degrees[:, None] < of_outputs
        h = _Masked(d * self.outputs, mask, name="out")(at_least_float32(h))
        return h.reshape(*h.shape[:-1], d, self.outputs)


class _Masked(nn.Module):
    """A dense layer of which the mask, [in, out], says which inputs an output sees."""

    features: int
    mask: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), self.mask.shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        x, kernel, bias = promote_dtype(x, jnp.where(self.mask, kernel, 0.0), bias, dtype=self.dtype)
        return x @ kernel + bias
