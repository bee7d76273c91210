"""What nets of maps [..., H, W, C] share: their checks, means and enlargements of them, bounded heads."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from vaejax.checks import check_positive, check_positive_int
from vaejax.nets.around import check_net
from vaejax.nets.dense import check_floating
from vaejax.types import Array


def check_maps(x: Array, name: str) -> None:
    """Raise unless `x` is floating point maps [..., H, W, C] of at least one place."""
    check_floating(x, name)
    if x.ndim < 3 or 0 in x.shape[-3:]:
        raise ValueError(f"{name}: expected maps [..., H, W, C] of at least one place; got shape {x.shape}")


def check_head(channels: int, features: int, body: nn.Module | None, clamp: float | None) -> None:
    """Raise for arguments of a level's encoder or prior that are of another kind."""
    check_positive_int(channels, "channels")
    check_positive_int(features, "features")
    if body is not None:
        check_net(body, "body")
    if clamp is not None:
        check_positive(clamp, "clamp")


def pooled(x: Array, times: int) -> Array:
    """The means of squares of times x times places: [..., H, W, C] -> [..., H / times, W / times, C]."""
    *lead, H, W, C = x.shape
    return jnp.mean(x.reshape(*lead, H // times, times, W // times, times, C), axis=(-4, -2))


def enlarged(x: Array, times: int) -> Array:
    """Every place as a square of times x times: [..., H, W, C] -> [..., H times, W times, C]."""
    *lead, H, W, C = x.shape
    squares = jnp.broadcast_to(x[..., :, None, :, None, :], (*lead, H, times, W, times, C))
    return squares.reshape(*lead, H * times, W * times, C)


def soft_clamp(v: Array, bound: float | None) -> Array:
    """t tanh(v / t), between -t and t and v where it is small; v itself where t is None."""
    return v if bound is None else bound * jnp.tanh(v / bound)


def group_norm(groups: int, name: str) -> nn.GroupNorm:
    """Over the places and a group of channels of one example, whatever the leading axes."""
    return nn.GroupNorm(groups, epsilon=1e-5, reduction_axes=(-3, -2, -1), name=name)
