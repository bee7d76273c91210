"""Nets of the user's own, which are to take any leading axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
from flax import linen as nn

from vaejax import nets
from vaejax.types import Array, PyTree

__all__ = ["over_lead", "own_net"]


def own_net(net: nn.Module) -> nn.Module | None:
    """The first net that is none of vaejax's, of this one and those that are its fields; None: all are."""
    if getattr(nets, type(net).__name__, None) is not type(net):
        return net
    for field in dataclasses.fields(net):
        value = getattr(net, field.name) if field.name not in ("parent", "name") else None
        several = value.values() if isinstance(value, Mapping) else value
        for one in several if isinstance(several, Iterable) else (several,):
            if isinstance(one, nn.Module) and (own := own_net(one)) is not None:
                return own
    return None


def over_lead(net: Callable[..., Any], own: nn.Module, params: PyTree, z: Array, lead: int, *c: Array) -> Any:
    """`net(params, z, *c)` of z [*lead, *event]: what it is for one z, behind the leading axes.

    Raises:
      ValueError: if it is not, or the net fails where it does not for a batch [1, *event].
    """
    kind, axes, event = type(own).__name__, z.shape[:lead], ", ".join(map(str, z.shape[lead:]))
    expected = f"decoder: expected a net that takes any leading axes, z [..., {event}]; {kind} of z {z.shape}"
    advice = "where it reshapes, z.shape[:-1] are the leading axes, and not z.shape[0] or -1"
    try:
        output = net(params, z, *c)
    except Exception as error:
        if _of_batch(net, params, z, lead, c) is None:
            raise  # another fault, which has its own words
        raise ValueError(f"{expected} raises {type(error).__name__}: {error}; {advice}") from error
    one = _of_batch(net, params, z, lead, c)
    wanted = jax.tree.map(lambda a: (*axes, *a.shape[1:]), one)
    got = jax.tree.map(lambda a: a.shape, output)
    if one is not None and got != wanted:
        raise ValueError(f"{expected} gives shape {got} in the place of {wanted}; {advice}")
    return output


def _of_batch(net: Callable[..., Any], params: PyTree, z: Array, lead: int, c: tuple[Array, ...]) -> Any:
    """The shapes of the net's output for a batch of one; None where it fails there too."""
    inputs = [jax.ShapeDtypeStruct((1, *a.shape[lead:]), a.dtype) for a in (z, *c)]
    try:
        return jax.eval_shape(net, params, *inputs)
    except Exception:
        return None
