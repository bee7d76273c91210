"""A decoder whose every output sees the latents through a mask of its own."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_choice, check_positive_int
from vaejax.nets.dense import ACTIVATIONS, activation_of, check_features, check_floating, dtype_name
from vaejax.precision import at_least_float32
from vaejax.types import Array


class SparseDecoder(nn.Module):
    """x_j = f(w_j * z)_j: one dense net f for all D features, each of which masks z by its row of W.

    [..., d] -> [..., D]; its parameters are those of `MLP`, and W [D, d], standard normal at the start. The
    hidden layers run D times for each z, as one product; of the last layer each run has its own output only.
    With rows of ones it is the `MLP`. What holds W sparse is a prior on it, `models.spike_and_slab`.

    Deviations from the authors' code: features are an axis, not a loop; the first layer has a bias; rows
    of |W| are not normalised to sum 1, as in their simulation: where their code does so its penalty is on the
    W before, which may then shrink and change nothing.

    Args:
      features: widths of the hidden layers, () for a linear map.
      outputs: D, the number of features of the data.
      activation: one of `ACTIVATIONS`.
      anchors: (feature, latent) pairs, for features that are known to depend on one latent alone: the other
        weights of these rows are 0 and stay so.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      ValueError, TypeError: a size below 1, an unknown activation, integer input; anchors that are not pairs
        of a feature, each once, and a latent; when called, of latents that there are not.

    Source: Moran et al. 2021, arXiv 2110.10804, eq. 1, and the authors' code.
    """

    features: tuple[int, ...]
    outputs: int
    activation: str = "relu"
    anchors: tuple[tuple[int, int], ...] = ()
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_features(self.features)
        check_positive_int(self.outputs, "outputs")
        check_choice(self.activation, ACTIVATIONS, "activation")
        self.anchors = _checked_anchors(self.anchors, self.outputs)
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array) -> Array:
        check_floating(z, "z")
        free = _free(self.anchors, (self.outputs, z.shape[-1]))
        W = self.param("W", lambda key: jax.random.normal(key, free.shape, jnp.float32) * free)
        h = (W * free) * z[..., None, :]  # [..., D, d]
        for n, width in enumerate(self.features):
            h = activation_of(self.activation)(nn.Dense(width, dtype=self.dtype, name=f"dense_{n}")(h))
        return _EachItsOwn(name="out")(at_least_float32(h))


class _EachItsOwn(nn.Module):
    """[..., D, n] -> [..., D], the j-th of D linear maps of row j; parameters of a dense layer n -> D."""

    @nn.compact
    def __call__(self, h: Array) -> Array:
        D, n = h.shape[-2:]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (n, D), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (D,), jnp.float32)
        return jnp.einsum("...jn,nj->...j", h, kernel) + bias


def _free(anchors: tuple[tuple[int, int], ...], shape: tuple[int, int]) -> np.ndarray:
    """[D, d] of ones, and of zeros beside the latent of an anchor feature."""
    free = np.ones(shape, np.float32)
    for feature, latent in anchors:
        if latent >= shape[1]:
            raise ValueError(f"anchors: expected latents below {shape[1]}, got {latent}")
        free[feature] = np.arange(shape[1]) == latent
    return free


def _checked_anchors(anchors: Any, outputs: int) -> tuple[tuple[int, int], ...]:
    """Pairs of ints; raise unless each feature is one of the outputs and there once."""
    pairs = tuple(map(tuple, anchors))
    if not all(len(pair) == 2 and all(isinstance(n, int | np.integer) for n in pair) for pair in pairs):
        raise TypeError(f"anchors: expected pairs (feature, latent) of ints, got {anchors!r}")
    pairs = tuple((int(j), int(k)) for j, k in pairs)
    features = [j for j, _ in pairs]
    if not all(0 <= j < outputs and k >= 0 for j, k in pairs) or len(set(features)) < len(features):
        raise ValueError(f"anchors: expected features 0..{outputs - 1}, each once, and latents; got {pairs}")
    return pairs
