"""What goes around another network to fit it to the data and the likelihood."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from vaejax.checks import check_positive, check_positive_int
from vaejax.hints import described
from vaejax.nets.dense import activation_of, beside
from vaejax.precision import at_least_float32
from vaejax.types import Array


def check_net(net: nn.Module, name: str) -> None:
    """Raise TypeError unless `net` is a Flax module."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"{name}: expected a flax.linen.Module, got {described(net, nn.Module)}")


class Heads(nn.Module):
    """One body and several heads: a tuple of what each makes of the body's output, for latents in parts.

    `Heads(MLP((100,), (50,)), (GaussianHead(8), MLP((), (10,))))` gives ((loc, logvar), logits).

    Args:
      body: what takes x, and whatever else it is called with: -> [..., n].
      heads: nets [..., n] -> what a part of the posterior needs.
      activation: one of `ACTIVATIONS`, of the body's output.

    Raises:
      TypeError, ValueError: if one is not a Flax module, without heads, or for an unknown activation.
    """

    body: nn.Module
    heads: tuple[nn.Module, ...]
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_net(self.body, "body")
        for i, head in enumerate(self.heads):
            check_net(head, f"heads[{i}]")
        if not self.heads:
            raise ValueError("heads: expected at least one net, got ()")
        activation_of(self.activation)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> tuple:
        h = activation_of(self.activation)(self.body(x, *others))
        return tuple(head(h) for head in self.heads)

    @property
    def sees_observed(self) -> bool:
        """Whether the body wants the mask of data with holes."""
        return getattr(self.body, "sees_observed", False)


class Beside(nn.Module):
    """A network that sees a condition beside its input: what `net` gives, of any kind.

    The condition c [..., *shape], flattened, is appended to the last axis: to a vector z [..., d] as it is,
    to an image [..., H, W, C] as channels that are the same at every place.

    Args:
      net: what takes the two as one, and whatever else it is called with.
      event_ndims: how many of the last axes of the input make up one example: 1 for z, 3 for images.

    Raises:
      TypeError, ValueError: if net is not a Flax module; for a c that is not floating point, or of other
        leading axes than the input.
    """

    net: nn.Module
    event_ndims: int = 1

    def __post_init__(self) -> None:
        check_net(self.net, "net")
        check_positive_int(self.event_ndims, "event_ndims")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, c: Array, *others: Array):
        lead, places = x.shape[: x.ndim - self.event_ndims], x.shape[x.ndim - self.event_ndims : -1]
        c = beside(jnp.zeros((*lead, 0), x.dtype), (c,))
        c = jnp.broadcast_to(
            c.reshape(*lead, *(1,) * len(places), c.shape[-1]), (*lead, *places, c.shape[-1])
        )
        return self.net(jnp.concatenate([x, c], axis=-1), *others)

    @property
    def autoregressive(self) -> bool:
        """Whether the net is a decoder that sees x too."""
        return getattr(self.net, "autoregressive", False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x, where the net is such a decoder."""
        return self.net.shape  # type: ignore[attr-defined]


class First(nn.Module):
    """A network that sees the first of its inputs alone: what `net` gives, of any kind.

    In a hierarchy: a ladder's encoder, which sees x and not the levels above; a decoder of z alone, which
    makes p(z_l|z_<l) = p(z_l|z_l-1). In a conditional model: a prior of codes that does without c.

    Args:
      net: what takes the first input.

    Raises:
      TypeError: if net is not a Flax module.
    """

    net: nn.Module

    def __post_init__(self) -> None:
        check_net(self.net, "net")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array):
        del others
        return self.net(x)

    @property
    def autoregressive(self) -> bool:
        """Whether the net is one whose outputs see what comes before them alone."""
        return getattr(self.net, "autoregressive", False)


class SharedScale(nn.Module):
    """A decoder and one learned log-scale for all pixels and examples: [..., d] -> [..., 2 C].

    The decoder's [..., C], then C channels that all hold the parameter `log_scale`: what the likelihoods
    with a scale for every value read (`distributions.gaussian_learned_scale`, `discretised_logistic`).

    Args:
      decoder: gives the locations.
      start: where the log-scale starts.

    Raises:
      TypeError: if decoder is not a Flax module.

    Source: Rybkin, Daniilidis & Levine 2020, arXiv 2006.13202.
    """

    decoder: nn.Module
    start: float = 0.0

    def __post_init__(self) -> None:
        check_net(self.decoder, "decoder")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, *others: Array) -> Array:
        loc = at_least_float32(self.decoder(z, *others))
        log_scale = self.param("log_scale", nn.initializers.constant(self.start), (), jnp.float32)
        return jnp.concatenate([loc, jnp.full_like(loc, log_scale)], axis=-1)


class Constant(nn.Module):
    """A learned number, the same for every input: [..., d] -> [...]; as a head, a parameter of a term.

    Further inputs are not looked at.

    Args:
      start: where it starts.
    """

    start: float = 0.0

    @nn.compact
    def __call__(self, z: Array, *others: Array) -> Array:
        del others
        value = self.param("value", nn.initializers.constant(self.start), (), jnp.float32)
        return jnp.broadcast_to(at_least_float32(value), z.shape[:-1])


class Embeddings(nn.Module):
    """A learned place on its own axis for every value of every factor: [..., d] -> logits [..., F, V].

    -(z_j - e_jv)^2 / (2 s^2) for the first F of the d inputs: their softmax says which of its values a factor
    takes. A factor of fewer than V values leaves the others far away. The places start evenly on [-1, 1].

    Args:
      factors: F.
      values: V, of the factor with the most.
      scale: s.

    Raises:
      TypeError, ValueError: sizes that are no ints of at least 1, a scale that is not positive, fewer than F
        inputs.

    Source: Locatello et al. 2019, arXiv 1905.01258.
    """

    factors: int
    values: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive_int(self.factors, "factors")
        check_positive_int(self.values, "values")
        check_positive(self.scale, "scale")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, *others: Array) -> Array:
        del others
        if z.shape[-1] < self.factors:
            raise ValueError(f"z: expected at least {self.factors} latents, one a factor; got {z.shape}")
        even = jnp.linspace(-1.0, 1.0, self.values)
        e = self.param("places", lambda key: jnp.tile(even, (self.factors, 1)).astype(jnp.float32))
        apart = at_least_float32(z)[..., : self.factors, None] - e
        return -jnp.square(apart) / (2 * self.scale**2)
