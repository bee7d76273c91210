"""Priors that are a standard normal pushed through invertible maps."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import check_positive_int, plain
from vaejax.distributions import Flow, diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.models import flows
from vaejax.models.priors.family import Around, Prior, one_event
from vaejax.types import Array, Distribution, PyTree

__all__ = ["flow"]


def flow(
    steps: int, features: tuple[int, ...],
    *, kind: str = "affine", autoregressive: bool = False, bins: int | None = None,
    bound: float | None = None, activation: str = "relu",
) -> Prior:  # fmt: skip
    """p(z) or p(z|c): N(0, I) through a flow whose inverse is cheap, since z ~ q(z|x) is where it is scored.

    log p(z) = log N(f^-1(z); 0, I) + log|det df^-1/dz|. It starts as N(0, I). Where the model has a condition
    c, the nets of the flow see it, flattened.

    Args:
      steps: how many maps; they compile as one.
      features: widths of the nets' hidden layers; of an autoregressive one each at least d - 1, with a
        condition d.
      kind: of the maps, "affine" or "spline", rational-quadratic.
      autoregressive: False for couplings (RealNVP, neural spline flow), where scoring and sampling take one
        pass each; True for a masked autoregressive flow, which is more flexible: there a sample takes d.
      bins: of a spline; None is 8.
      bound: a spline is the identity beyond it, None is 5; or the log-scale of an affine step stays within
        it, None is 2.
      activation: of the nets.

    Returns:
      A Prior with the parameters of its nets, the group "prior".

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1, an unknown kind, bins of affine maps,
        a bound that is not positive; when initialised, for latents that are not one vector, for one latent
        without `autoregressive`, or for a condition of integers.

    Source: Dinh, Sohl-Dickstein & Bengio 2016, arXiv 1605.08803; Papamakarios et al. 2017, arXiv 1705.07057;
    Durkan et al. 2019, arXiv 1906.04032; as a prior: Chen et al. 2016, arXiv 1611.02731.
    """
    check_positive_int(steps, "steps")
    if not isinstance(autoregressive, bool):
        raise TypeError(f"autoregressive: expected True or False, got {autoregressive!r}")
    maps = flows.transform(kind, bins, bound)
    steps, features = plain(steps), tuple(map(plain, features))
    flows.check_net(features, activation)
    layer_of = Fixed(_layer, steps, features, maps, activation, autoregressive)
    options = {
        "steps": steps, "features": features, "kind": kind, "autoregressive": autoregressive,
        "bins": bins, "bound": bound, "activation": activation,
    }  # fmt: skip
    return Prior("flow", Fixed(_build, layer_of), Fixed(_init, layer_of), options)


def _layer(
    steps: int, features: tuple[int, ...], maps: flows.Transform, activation: str, autoregressive: bool,
    d: int, context: int,
) -> flows.Layer:  # fmt: skip
    if not autoregressive:
        return flows.coupling(d, steps, features, maps, context, activation)
    return flows.inverted(flows.autoregressive(d, steps, features, maps, context, activation))


def _init(layer_of: Fixed, key: Array, around: Around) -> dict[str, Any]:
    c, d = _condition(around), _size(around)
    init = layer_of(d, 0 if c is None else c.shape[-1]).init
    return init(key, None if c is None else c[0])


def _build(layer_of: Fixed, own: PyTree, around: Around) -> Distribution:
    c, d = _condition(around), _size(around)
    layer = layer_of(d, 0 if c is None else c.shape[-1])
    loc = jnp.zeros((d,) if c is None else (len(c), d), around.dtype)
    base = diagonal_gaussian(loc, jnp.ones_like(loc))
    return Flow(base, Partial(layer.forward, own, c), Partial(layer.inverse, own, c))


def _condition(around: Around) -> Array | None:
    """c as a vector for each example, [B, n]; None where the model has none."""
    c = around.c
    if c is None:
        return None
    if not jnp.issubdtype(c.dtype, jnp.floating):
        raise TypeError(f"c: expected floating point values, such as one-hot classes; got {c.dtype}")
    return c.reshape(len(c), -1)


def _size(around: Around) -> int:
    """d."""
    event = one_event(around, "flow()")
    if len(event) != 1:
        raise ValueError(f"prior: flow() needs latents that are a vector, [d]; got {list(event)}")
    return event[0]
