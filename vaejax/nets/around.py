"""What goes around another network to fit it to the data and the likelihood."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from vaejax.precision import at_least_float32
from vaejax.types import Array


def _check_net(net: nn.Module, name: str) -> None:
    if not isinstance(net, nn.Module):
        raise TypeError(f"{name}: expected a flax.linen.Module, got {net!r}")


class FromBytes(nn.Module):
    """A network that sees bytes 0..255 as x / 127.5 - 1 in [-1, 1]: what `net` gives, of any kind.

    Args:
      net: what takes x, and whatever else it is called with.

    Raises:
      TypeError: if net is not a Flax module.
    """

    net: nn.Module

    def __post_init__(self) -> None:
        _check_net(self.net, "net")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array):
        return self.net(at_least_float32(x) / 127.5 - 1, *others)


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
        _check_net(self.decoder, "decoder")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, *others: Array) -> Array:
        loc = at_least_float32(self.decoder(z, *others))
        log_scale = self.param("log_scale", nn.initializers.constant(self.start), (), jnp.float32)
        return jnp.concatenate([loc, jnp.full_like(loc, log_scale)], axis=-1)


class Constant(nn.Module):
    """A learned number, the same for every input: [..., d] -> [...]; as a head, a parameter of a term.

    Args:
      start: where it starts.
    """

    start: float = 0.0

    @nn.compact
    def __call__(self, z: Array) -> Array:
        value = self.param("value", nn.initializers.constant(self.start), (), jnp.float32)
        return jnp.broadcast_to(at_least_float32(value), z.shape[:-1])
