"""The record of a family of priors, and what a prior may see of the model that it stands in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vaejax.models.latents import in_parts
from vaejax.types import Array, Distribution, PyTree

__all__ = ["Around", "Prior"]


class Around(NamedTuple):
    """What a prior may see of its model.

    `event`: the shape of z for one example; a tuple of shapes where the latents come in parts.
    `dtype`: of z, as the encoder gives its parameters; float32 where the prior is sampled.
    `support`: the values of x, a key of `types.SUPPORTS`: where pseudo-inputs must stay.
    `x`: one example of the data, [1, *shape], when initialised; None after.
    `c`: the condition, [B, ...]; None where the model has none.
    `parameters(x, c)`: what the encoder gives for x [..., *shape] and c of the same leading axes or None,
      with the parameters that the model has now, through which gradients go.
    `build(parameters) -> q(z|x, c)`: the posterior of them, of as many leading axes; a `Partial`.
    `shared`: what the posterior shares, such as a codebook; None where it shares nothing.
    """

    event: Any
    dtype: Any
    support: str
    x: PyTree
    c: Array | None
    parameters: Callable[..., PyTree]
    build: Callable[..., Distribution]
    shared: Any = None


def no_parameters(key: Array, around: Around) -> dict[str, Any]:
    """The `init` of a prior that does not learn."""
    del key, around
    return {}


@dataclass(frozen=True)
class Prior:
    """A family of priors p(z) or p(z|c), as plain data and functions.

    `build(own, around) -> p`: the distribution, of batch shape [], or [B] where it depends on c: its
      `log_prob` takes z [B, *event] (and broadcasts z [*event] against [B]), its `sample` is the model's
      `sample_prior`. A tuple of distributions for latents in parts. Arrays and `jax.tree_util.Partial`s, no
      closures, as for `posteriors.Posterior`.
    `init(key, around) -> own`: the parameters that a gradient moves, as a dict, the group "prior" of a model.
      Where it has none, the default stays: whether there is a group is read from that.
    `options`: the keyword arguments of the factory `name`, as for `posteriors.Posterior`.

    Equality is that of `posteriors.Posterior`: functions are module-level ones or `fixed.Fixed`.
    """

    name: str
    build: Callable[..., Distribution] = field(repr=False)
    init: Callable[..., dict[str, Any]] = field(default=no_parameters, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


def one_event(around: Around, name: str) -> tuple[int, ...]:
    """The event of latents in one part; ValueError where there are several, each of which wants a prior."""
    if in_parts(around.event):
        raise ValueError(
            f"prior: expected priors.product of one prior for each of {len(around.event)} parts, got {name}"
        )
    return around.event


def needs_condition(around: Around, name: str) -> Array:
    """c; ValueError where the model has none."""
    if around.c is None:
        raise ValueError(f"prior: {name} needs a condition, as in vae(..., conditional=True); got none")
    return around.c
