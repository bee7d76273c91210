"""Fully connected networks over the last axes of their input; any leading axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive_int
from vaejax.precision import at_least_float32
from vaejax.types import Array

ACTIVATIONS = ("relu", "tanh", "gelu", "softplus", "elu", "leaky_relu", "swish")


def activation_of(name: str) -> Callable[[Array], Array]:
    """The function of `jax.nn` of that name; ValueError unless it is one of `ACTIVATIONS`."""
    check_choice(name, ACTIVATIONS, "activation")
    return getattr(jax.nn, name)


def dtype_name(dtype: Any) -> str | None:
    """The name of a floating point dtype, plain data for a net's field; None stays None.

    Raises:
      TypeError: for anything else.
    """
    if dtype is None:
        return None
    try:
        kind = jnp.dtype(dtype)
    except TypeError:
        kind = None
    if kind is None or not jnp.issubdtype(kind, jnp.floating):
        raise TypeError(f"dtype: expected a floating point dtype or None, got {dtype!r}")
    return kind.name


def check_floating(array: Array, name: str) -> None:
    """Raise TypeError unless the array holds floating point numbers."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name}: expected floating point values; got dtype {array.dtype}")


def check_features(features: tuple[int, ...]) -> None:
    """Raise unless widths are ints of at least 1."""
    for n, width in enumerate(features):
        check_positive_int(width, f"features[{n}]")


def flatten_event(x: Array, event_ndims: int) -> Array:
    """[..., *event] -> [..., D]."""
    check_floating(x, "x")
    if x.ndim < event_ndims:
        raise ValueError(f"x: expected at least event_ndims={event_ndims} axes; got shape {x.shape}")
    lead, event = x.shape[: x.ndim - event_ndims], x.shape[x.ndim - event_ndims :]
    return x.reshape(*lead, math.prod(event))


def beside(h: Array, others: tuple[Array, ...]) -> Array:
    """[..., D] and further inputs [..., *shape], each flattened, side by side: [..., D + ...].

    Raises:
      TypeError, ValueError: for further inputs that are not floating point, or of other leading axes than h.
    """
    flat = [h]
    for other in others:
        check_floating(other, "c")
        lead = h.shape[:-1]
        if other.shape[: len(lead)] != lead:
            raise ValueError(f"c: expected leading axes {lead}, as of the input beside it; got {other.shape}")
        flat.append(other.reshape(*lead, math.prod(other.shape[len(lead) :])))
    return jnp.concatenate(flat, axis=-1) if others else h


class MLP(nn.Module):
    """Dense layers with an activation between them: [..., *event] -> [..., *output_shape].

    Further inputs, such as a condition c [..., *shape], stand beside the first, flattened.

    Args:
      features: widths of the hidden layers, () for a linear map.
      output_shape: the shape of one output, () for a scalar.
      activation: one of `ACTIVATIONS`.
      event_ndims: how many of the last axes of the input make up one example.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      ValueError, TypeError: a width or size below 1, an unknown activation, integer input.
    """

    features: tuple[int, ...]
    output_shape: tuple[int, ...]
    activation: str = "relu"
    event_ndims: int = 1
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_features(self.features)
        for n, size in enumerate(self.output_shape):
            check_positive_int(size, f"output_shape[{n}]")
        check_choice(self.activation, ACTIVATIONS, "activation")
        check_positive_int(self.event_ndims, "event_ndims")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> Array:
        h = beside(flatten_event(x, self.event_ndims), others)
        for n, width in enumerate(self.features):
            h = activation_of(self.activation)(nn.Dense(width, dtype=self.dtype, name=f"dense_{n}")(h))
        h = nn.Dense(math.prod(self.output_shape), name="out")(at_least_float32(h))
        return h.reshape(*h.shape[:-1], *self.output_shape)


class Critic(nn.Module):
    """A classifier of codes with one logit: z [..., d] -> [...]; dense layers with leaky ReLU between.

    As it stands it is FactorVAE's; WAE-GAN's on MNIST is `features=(512,) * 4, slope=0.0`, the adversarial
    autoencoder's `features=(1000,) * 2, slope=0.0`. FactorVAE has two logits, of which only the difference
    counts: it is the logit here. Further inputs, as the other levels of a hierarchy, stand beside z.

    Args:
      features: widths of the hidden layers, () for a linear classifier.
      slope: of the leaky ReLU below 0; 0 is the ReLU.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.

    Raises:
      ValueError, TypeError: a width below 1, a slope outside [0, 1), integer input.

    Source: Kim & Mnih 2018, arXiv 1802.05983, appendix A; Tolstikhin et al. 2018, arXiv 1711.01558,
    appendix C; Makhzani et al. 2015, arXiv 1511.05644, appendix A.
    """

    features: tuple[int, ...] = (1000,) * 6
    slope: float = 0.2
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_features(self.features)
        if not 0 <= self.slope < 1:
            raise ValueError(f"slope: expected a number in [0, 1), got {self.slope!r}")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, *others: Array) -> Array:
        check_floating(z, "z")
        h = beside(z, others)
        for n, width in enumerate(self.features):
            h = jax.nn.leaky_relu(nn.Dense(width, dtype=self.dtype, name=f"dense_{n}")(h), self.slope)
        return nn.Dense(1, name="out")(at_least_float32(h))[..., 0]


class GaussianHead(nn.Module):
    """Linear maps [..., n] -> (loc, logvar), each [..., d]; or (loc, logvar, context).

    What a context, [..., context], is the posterior says: off-diagonals of a covariance, what steers a flow.

    Args:
      latents: d.
      logvar_bias: where the bias of the log-variance starts.
      context: how many numbers beside, 0 for none.

    Raises:
      ValueError, TypeError: for sizes that are not ints, latents below 1, a context below 0.
    """

    latents: int
    logvar_bias: float = 0.0
    context: int = 0

    def __post_init__(self) -> None:
        check_positive_int(self.latents, "latents")
        check_context(self.context)
        super().__post_init__()

    @nn.compact
    def __call__(self, h: Array) -> tuple[Array, ...]:
        h, start = at_least_float32(h), nn.initializers.constant(self.logvar_bias)
        loc = nn.Dense(self.latents, name="loc")(h)
        logvar = nn.Dense(self.latents, bias_init=start, name="logvar")(h)
        return (loc, logvar, nn.Dense(self.context, name="context")(h)) if self.context else (loc, logvar)


def check_context(context: int) -> None:
    """Raise unless `context` is an int of at least 0."""
    if context != 0 or isinstance(context, bool):
        check_positive_int(context, "context")


class MLPEncoder(nn.Module):
    """Dense layers and a Gaussian head: [..., *event] -> (loc, logvar), each [..., d].

    Further inputs, such as a condition c [..., *shape], stand beside the first, flattened.

    Args:
      latents: d.
      features: widths of the hidden layers, () for a linear encoder.
      activation: one of `ACTIVATIONS`, after every hidden layer.
      event_ndims: how many of the last axes of the input make up one example.
      logvar_bias: where the bias of the log-variance starts.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for what input and
        parameters have. Parameters and output stay float32.
      context: how many numbers the head gives beside, as `GaussianHead`.

    Raises:
      ValueError, TypeError: a size below 1, an unknown activation, integer input.
    """

    latents: int
    features: tuple[int, ...]
    activation: str = "relu"
    event_ndims: int = 1
    logvar_bias: float = 0.0
    dtype: Any = None
    context: int = 0

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_positive_int(self.latents, "latents")
        check_context(self.context)
        check_features(self.features)
        check_choice(self.activation, ACTIVATIONS, "activation")
        check_positive_int(self.event_ndims, "event_ndims")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> tuple[Array, ...]:
        h = beside(flatten_event(x, self.event_ndims), others)
        for n, width in enumerate(self.features):
            h = activation_of(self.activation)(nn.Dense(width, dtype=self.dtype, name=f"dense_{n}")(h))
        return GaussianHead(self.latents, self.logvar_bias, self.context, name="head")(h)
