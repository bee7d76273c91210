"""Networks for x in several named modalities: an encoder and a decoder for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict

from vaejax.nets.around import check_net
from vaejax.types import Array


def named_nets(nets: Any) -> FrozenDict[str, nn.Module]:
    """{name: net}, names in order, of a mapping or of pairs, as a spec has them; raise for anything else."""
    try:
        pairs = dict(nets)
    except (TypeError, ValueError) as error:
        raise TypeError(f"nets: expected a mapping {{name: net}}, got {nets!r}") from error
    if not pairs:
        raise ValueError("nets: expected one for each modality, at least one; got none")
    for name, net in pairs.items():
        if not isinstance(name, str):
            raise TypeError(f"nets: expected strings for names, got {name!r}")
        check_net(net, f"nets[{name!r}]")
    return FrozenDict({name: pairs[name] for name in sorted(pairs)})


class Modalities(nn.Module):
    """An encoder for each of M modalities: x {name: [..., *event]} -> (loc, logvar, present).

    loc and logvar are [..., M, d], an expert for each modality in the order of the names, and present [...,
    M] is 1 where there is one, 0 where not: what `posteriors.poe`, `moe` and `mopoe` take. A modality is
    absent for all examples where x lacks its name, and for some by a mask, which comes last: {name: [...]},
    booleans or 0 and 1, names that it lacks being there for all. What stands in x where it is absent, nan
    too, is not seen.

    Args:
      nets: {name: net}, each x_m [..., *event] -> (loc, logvar), such as `MLPEncoder(d, ...)`; all of one d.
        Further inputs, such as a condition, each gets too.

    Raises:
      TypeError, ValueError: for anything but named nets; when called, for modalities without a net, or none,
        for experts of different sizes or that are no (loc, logvar), or a mask of another shape; when
        initialised, for an x that lacks a modality.
    """

    nets: Any

    def __post_init__(self) -> None:
        self.nets = named_nets(self.nets)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Mapping[str, Array], *others: Any) -> tuple[Array, Array, Array]:
        _check_names(x, self.nets, self.is_initializing())
        observed: Mapping[str, Array] = {}
        if others and isinstance(others[-1], Mapping):
            *others, observed = others  # type: ignore[assignment]
        experts = {}
        for name in sorted(x):
            mask = _mask(observed[name], x[name], name) if name in observed else None
            expert = self.nets[name](_seen(x[name], mask), *others)
            experts[name] = (*_checked(expert, name), mask)
        first = next(iter(experts.values()))[0]
        if len({loc.shape for loc, *_ in experts.values()}) > 1:
            got = {name: loc.shape for name, (loc, *_) in experts.items()}
            raise ValueError(f"nets: expected experts of one shape, [..., d]; got {got}")
        absent = jnp.zeros_like(first), jnp.zeros_like(first), jnp.zeros(first.shape[:-1], bool)
        each = [experts.get(name, absent) for name in self.nets]
        lead = first.shape[:-1]
        there = [jnp.ones(lead, bool) if mask is None else _of_lead(mask, lead) for *_, mask in each]
        loc, logvar = (jnp.stack([expert[i] for expert in each], axis=-2) for i in (0, 1))
        return loc, logvar, jnp.stack(there, axis=-1).astype(loc.dtype)


class PerModality(nn.Module):
    """A decoder for each modality: z [..., d] -> {name: what the likelihood of it needs}, for `joint(...)`.

    A net may be one that its likelihood asks for, such as `UNet` for `distributions.diffusion`; a builder
    then takes the nets one by one.

    Args:
      nets: {name: net}, each of z. Further inputs, such as a condition, each gets too.

    Raises:
      TypeError, ValueError: for anything but named nets, or one that is autoregressive and would see x too.
    """

    nets: Any

    def __post_init__(self) -> None:
        self.nets = named_nets(self.nets)
        for name, net in self.nets.items():
            if getattr(net, "autoregressive", False):
                raise ValueError(f"nets[{name!r}]: expected a decoder of z alone, got an autoregressive one")
        super().__post_init__()

    @nn.compact
    def __call__(self, z: Array, *others: Array) -> dict[str, Any]:
        return {name: net(z, *others) for name, net in self.nets.items()}


def _check_names(x: Any, nets: Mapping[str, Any], initialising: bool) -> None:
    """Raise unless x is a mapping of modalities that have nets, of all when parameters are made."""
    if not isinstance(x, Mapping):
        raise TypeError(f"x: expected a mapping of {', '.join(nets)} to arrays, got {type(x).__name__}")
    unknown = sorted(set(x) - set(nets))
    if unknown or not x:
        raise ValueError(f"x: expected modalities among {', '.join(nets)}; got {unknown or 'none'}")
    if initialising and set(x) != set(nets):
        raise ValueError(
            f"x: expected all of {', '.join(nets)} to make parameters; got {', '.join(sorted(x))}"
        )


def _mask(mask: Any, x: Array, name: str) -> Array:
    """A mask as booleans; raise unless it is of leading axes of x."""
    shape = jnp.shape(mask)
    if not (mask.dtype == bool or jnp.issubdtype(mask.dtype, jnp.integer)) or shape != x.shape[: len(shape)]:
        raise ValueError(
            f"observed[{name!r}]: expected booleans or 0 and 1, one for each example of x, {x.shape}; "
            f"got {mask.dtype} {shape}"
        )
    return jnp.asarray(mask) != 0


def _of_lead(mask: Array, lead: tuple[int, ...]) -> Array:
    if mask.shape != lead:
        raise ValueError(f"observed: expected one for each example, {lead}; got {mask.shape}")
    return mask


def _seen(x: Array, mask: Array | None) -> Array:
    """x, and 0 where it is absent: a nan there would be in every gradient."""
    if mask is None:
        return x
    return jnp.where(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), x, jnp.zeros_like(x))


def _checked(expert: Any, name: str) -> tuple[Array, Array]:
    """The (loc, logvar) of a net."""
    if not isinstance(expert, tuple) or len(expert) != 2 or jnp.shape(expert[0]) != jnp.shape(expert[1]):
        raise ValueError(
            f"nets[{name!r}]: expected (loc, logvar) of one shape, [..., d]; got {type(expert).__name__}"
        )
    return expert
