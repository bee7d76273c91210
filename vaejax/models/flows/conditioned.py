"""Layers in which nets say, from some of z, how the rest of it is moved: couplings and autoregressive flows.

All steps of a layer are one scan over the stacked parameters of their nets. Between two steps z is reversed,
and the order at the end is that of the start. The last layer of every net starts at 0.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vaejax.fixed import Fixed
from vaejax.models.apply import apply
from vaejax.models.flows.layer import Layer, scanned
from vaejax.nets import MADE, MLP
from vaejax.ops.flows.transforms import Transform
from vaejax.types import Array, PyTree

__all__ = ["autoregressive", "check_net", "coupling"]


def check_net(features: tuple[int, ...], activation: str) -> None:
    """Raise TypeError or ValueError unless a net may have these widths, at least one, and this activation."""
    MADE(features, 1, activation)


def coupling(
    d: int, steps: int, features: tuple[int, ...], transform: Transform, context: int, activation: str
) -> Layer:
    """The first d // 2 of z and the context say how the others are moved; both directions take one pass.

    Raises:
      ValueError: for one latent.

    Source: Dinh, Sohl-Dickstein & Bengio 2016, arXiv 1605.08803; Durkan et al. 2019, arXiv 1906.04032.
    """
    if d < 2:
        raise ValueError(f"latents: expected at least 2, which a coupling takes apart; got {d}")
    fixed = d // 2
    net = MLP(tuple(features), (d - fixed, transform.numbers), activation)
    return Layer(
        context,
        Fixed(_init_coupling, net, steps, fixed),
        Fixed(_through, Fixed(_couple, net, transform.forward), False),
        Fixed(_through, Fixed(_couple, net, transform.inverse), True),
    )


def autoregressive(
    d: int, steps: int, features: tuple[int, ...], transform: Transform, context: int, activation: str
) -> Layer:
    """z_1 .. z_{j-1} and the context say how z_j is moved: one pass forwards, d passes back.

    Source: Kingma et al. 2016, arXiv 1606.04934; the other way round Papamakarios et al. 2017, arXiv
    1705.07057.
    """
    net = MADE(tuple(features), transform.numbers, activation)
    return Layer(
        context,
        Fixed(_init_autoregressive, net, steps, d),
        Fixed(_through, Fixed(_move, net, transform.forward), False),
        Fixed(_through, Fixed(_move_back, net, transform.inverse), True),
    )


def _init_coupling(net: nn.Module, steps: int, fixed: int, key: Array, given: Array | None) -> dict[str, Any]:
    return _stacked(net, steps, key, _beside(jnp.zeros(fixed), given))


def _init_autoregressive(
    net: nn.Module, steps: int, d: int, key: Array, given: Array | None
) -> dict[str, Any]:
    return _stacked(net, steps, key, jnp.zeros(d), *(() if given is None else (given,)))


def _stacked(net: nn.Module, steps: int, key: Array, *inputs: Array) -> dict[str, Any]:
    """The parameters of the nets of all steps, [steps, ...]; `vmap` over an init would compile longer."""
    params = jax.lax.map(lambda k: net.init(k, *inputs)["params"], jax.random.split(key, steps))
    return {**params, "out": jax.tree.map(jnp.zeros_like, params["out"])}


def _through(step: Fixed, back: bool, own: PyTree, given: Array | None, z: Array) -> tuple[Array, Array]:
    steps = jax.tree.leaves(own)[0].shape[0]

    def turned(params: PyTree, z: Array) -> tuple[Array, Array]:
        z, log_det = step(params, given, z[..., ::-1] if back else z)
        return z if back else z[..., ::-1], log_det

    z = z if given is None else z.astype(jnp.result_type(z, given))
    z = z[..., ::-1] if back and steps % 2 else z
    z, log_det = scanned(turned, own, z, back)
    return z[..., ::-1] if not back and steps % 2 else z, log_det


def _couple(
    net: nn.Module, move: Fixed, params: PyTree, given: Array | None, z: Array
) -> tuple[Array, Array]:
    fixed, moved = jnp.split(z, [z.shape[-1] // 2], -1)
    moved, log_det = move(apply(net, params, _beside(fixed, given)), moved)
    return jnp.concatenate([fixed, moved], -1), log_det


def _move(net: nn.Module, move: Fixed, params: PyTree, given: Array | None, z: Array) -> tuple[Array, Array]:
    return move(_numbers(net, params, given, z), z)


def _move_back(
    net: nn.Module, move: Fixed, params: PyTree, given: Array | None, y: Array
) -> tuple[Array, Array]:
    """z_1, then z_2 that z_1 moved, and so on: after pass j the first j are right, with their log-slopes."""

    def again(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        return move(_numbers(net, params, given, carry[0]), y), None

    start = (jnp.zeros_like(y), jnp.zeros(y.shape[:-1], y.dtype))
    return jax.lax.scan(again, start, None, length=y.shape[-1])[0]


def _numbers(net: nn.Module, params: PyTree, given: Array | None, z: Array) -> Array:
    return apply(net, params, z, *(() if given is None else (given,)))


def _beside(z: Array, given: Array | None) -> Array:
    """z and what is given, side by side."""
    if given is None:
        return z
    return jnp.concatenate([z, jnp.broadcast_to(given, (*z.shape[:-1], given.shape[-1]))], -1)
