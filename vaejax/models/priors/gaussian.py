"""Gaussian priors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vaejax.distributions import diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.hints import described
from vaejax.models.apply import apply, initialised
from vaejax.models.priors.family import Around, Prior, needs_condition, one_event
from vaejax.types import Array, Distribution, PyTree

__all__ = ["conditional", "standard"]


def standard() -> Prior:
    """p(z) = N(0, I), for latents of any shape; it learns nothing."""
    return Prior("standard", _standard)


def _standard(own: PyTree, around: Around) -> Distribution:
    del own
    loc = jnp.zeros(one_event(around, "standard()"), around.dtype)
    return diagonal_gaussian(loc, jnp.ones_like(loc), loc.ndim)


def conditional(net: nn.Module) -> Prior:
    """p(z|c) = N(loc(c), diag(exp(logvar(c)))), (loc, logvar) from a net; for models with a condition.

    Args:
      net: a Flax module, c [..., *shape] -> (loc, logvar), each [..., *event], such as `nets.MLPEncoder`.

    Returns:
      A Prior, whose parameters are the net's.

    Raises:
      TypeError: for anything but a Flax module.
      ValueError: when a model is initialised, if it has no condition, or the net's output is not of the shape
        of the latents.

    Source: Sohn, Lee & Yan 2015 (CVAE), eq. 4.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected a flax.linen.Module, got {described(net, nn.Module)}")
    return Prior("conditional", Fixed(_conditional, net), Fixed(_init_net, net), {"net": net})


def _conditional(net: nn.Module, own: PyTree, around: Around) -> Distribution:
    c, event = needs_condition(around, "conditional(net)"), one_event(around, "conditional(net)")
    parameters: Any = apply(net, own, c)
    _check_net(parameters, (len(c), *event))
    loc, logvar = parameters
    return diagonal_gaussian(loc, jnp.exp(logvar / 2), len(event))


def _init_net(net: nn.Module, key: Array, around: Around) -> dict[str, Any]:
    c, event = needs_condition(around, "conditional(net)"), one_event(around, "conditional(net)")
    output, params = initialised("prior", net, key, c)
    _check_net(output, (1, *event))
    return dict(params)


def _check_net(output: PyTree, shape: tuple[int, ...]) -> None:
    got = jax.tree.map(lambda a: tuple(a.shape), output)
    if got != (shape, shape):
        raise ValueError(f"prior: expected (loc, logvar) of shape {shape} from its net, got shapes {got}")
