"""The record of a family of posteriors, and how one draws unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int, plain
from vaejax.keys import example_keys
from vaejax.types import Array, Batch, Distribution, PyTree

__all__ = ["Drawn", "Posterior"]


class Drawn(NamedTuple):
    """What a family makes of the parameters of a batch: z ~ q(z|x), and what goes with it.

    z, log_q and q are tuples where the latents come in parts. log_q is taken at z, and log p will be; a
    family whose z is no point of its q, as a relaxed one-hot, says where instead.
    """

    z: PyTree  # [B, *event]
    log_q: PyTree  # log q(z|x), [B] nats
    q: Distribution  # batch shape [B]
    state: PyTree = None  # the new state in training; None where there is none or it did not move
    extra: Mapping[str, Any] | None = None  # [B, ...] each, for `Draw.extra`; the family documents it
    point: PyTree = None  # [B, *event], where log_q was taken and log p is; None: at z


def no_parameters(key: Array, parameters: PyTree) -> tuple[dict[str, Any], None]:
    """The `init` of a family with neither parameters nor state of its own."""
    del key, parameters
    return {}, None


def as_they_are(parameters: PyTree, p: Distribution) -> PyTree:
    """The `relative` of a family that does not look at the prior."""
    del p
    return parameters


def draw_per_example(
    posterior: Posterior, own: PyTree, state: PyTree, parameters: PyTree, key: Array, batch: Batch, step: Any
) -> Drawn:
    """z and log q(z|x) of q's own `sample_and_log_prob`, each example with noise of its own.

    q is built under the map and arrays cross it, since `vmap` breaks distributions; then once more for the
    batch, which XLA merges with the first.
    """
    del step

    def one(key: Array, parameters: PyTree) -> tuple[Array, Array]:
        return posterior.build(own, state, parameters).sample_and_log_prob(seed=key)

    z, log_q = jax.vmap(one)(example_keys(key, batch), parameters)
    return Drawn(z, log_q, posterior.build(own, state, parameters))


def draw_and_score(
    posterior: Posterior, own: PyTree, state: PyTree, parameters: PyTree, key: Array, batch: Batch, step: Any
) -> Drawn:
    """The same for a q whose density at z costs next to nothing: z by its `sample`, log q(z|x) by `log_prob`.

    Then z alone comes of the noise, which XLA else makes twice, once for each.
    """
    del step

    def one(key: Array, parameters: PyTree) -> Array:
        return posterior.build(own, state, parameters).sample(seed=key)

    z = jax.vmap(one)(example_keys(key, batch), parameters)
    q = posterior.build(own, state, parameters)
    return Drawn(z, q.log_prob(z), q)


def mean(q: Distribution) -> PyTree:
    """The `code` of a family whose q knows its mean."""
    return q.mean()


def identity(z: PyTree) -> PyTree:
    """The `inputs` of a family whose z the decoder eats as it is."""
    return z


def nothing_shared(own: PyTree, state: PyTree) -> None:
    """The `shared` of a family whose prior needs nothing of it."""
    del own, state


@dataclass(frozen=True)
class Posterior:
    """A family of posteriors q(z|x), as plain data and functions.

    `event`: the shape of z for one example, (d,) or (H, W, C); a tuple of shapes for latents in parts.
    `parameters`: the shapes that the encoder gives for one example, in a tree such as ((d,), (d,)) for
      (loc, logvar); checked when a model is initialised.
    `build(own, state, parameters) -> q`: the distribution, of batch shape [...] for parameters
      [..., *shape]; its `sample_and_log_prob` and `log_prob` are used. What q holds are arrays and
      `jax.tree_util.Partial`s, no closures: `stop_gradient(q)` misses what a closure holds, in silence. A q
      whose samples have no path derivative says `reparameterised = False`.
    `init(key, parameters) -> (own, state)`: parameters of its own that a gradient moves, as a dict, and state
      that none does, for the parameters of one example, zeros [1, *shape]; ({}, None) unless given.
    `relative(parameters, p) -> parameters`: what the prior p(z|c), or p(z|parents) in a hierarchy, adds to
      the encoder's parameters before `build`. Unless given: nothing.
    `draw(self, own, state, parameters, key, batch, step) -> Drawn`: z ~ q for a batch, the noise of example
      i from `keys.example_keys(key, batch)[i]`; `step` is None in evaluation, where draws are exact and no
      state moves, and the number of steps done in training, for temperatures. Unless given:
      `draw_per_example`, which maps `sample_and_log_prob`.
    `code(q) -> z` without noise, [..., *event]. Unless given: the mean of q.
    `inputs(z) -> array`: what the decoder's net eats, for any leading axes. Unless given: z.
    `shared(own, state)`: what the prior must share, such as a codebook; unless given: None.
    `options`: the keyword arguments of the factory `name`: plain data, nets, other families, or tuples of
      those; from name and options a model is built again.

    The results of one factory with equal options are equal, and hash so: functions are module-level ones, or
    `fixed.Fixed(function, *arguments)` where they need arguments. What is a closure is equal to itself alone,
    and a model of it compiles again wherever it is built again.
    """

    name: str
    event: Any
    parameters: Any
    build: Callable[..., Distribution] = field(repr=False)
    init: Callable[..., tuple[dict[str, Any], PyTree]] = field(default=no_parameters, repr=False)
    relative: Callable[..., PyTree] = field(default=as_they_are, repr=False)
    draw: Callable[..., Drawn] = field(default=draw_per_example, repr=False)
    code: Callable[[Distribution], PyTree] = field(default=mean, repr=False)
    inputs: Callable[[PyTree], Array] = field(default=identity, repr=False)
    shared: Callable[..., Any] = field(default=nothing_shared, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


def as_option(event: tuple[int, ...]) -> int | tuple[int, ...]:
    """The event as the option `latents`: a number where it is one axis."""
    return event[0] if len(event) == 1 else event


def shape_of(latents: int | tuple[int, ...], name: str = "latents") -> tuple[int, ...]:
    """The event of d latents, or of latents of a shape such as (H, W, C); each size at least 1."""
    sizes = tuple(latents) if isinstance(latents, tuple | list) else (latents,)
    for size in sizes:
        check_positive_int(size, name)
    if not sizes:
        raise ValueError(f"{name}: expected at least one axis, got ()")
    return tuple(map(plain, sizes))


def is_shape(node: Any) -> bool:
    """Whether this is a shape, a leaf of `Posterior.parameters`."""
    return isinstance(node, tuple) and all(isinstance(n, int) for n in node)


def zeros_of(posterior: Posterior) -> PyTree:
    """What an encoder gives for one example, zeros [1, *shape]."""
    return jax.tree.map(lambda shape: jnp.zeros((1, *shape)), posterior.parameters, is_leaf=is_shape)


def check_batch(posterior: Posterior, parameters: PyTree, x: PyTree) -> None:
    """Raise ValueError unless parameters are those of every example of x; nets take any leading axes."""
    B = jax.tree.leaves(x)[0].shape[0]
    needed = jax.tree.leaves(posterior.parameters, is_leaf=is_shape)
    given = [list(a.shape) for a in jax.tree.leaves(parameters)]
    if given != [[B, *shape] for shape in needed]:
        got = [jnp.shape(a) for a in jax.tree.leaves(x)]
        expected = f"[B, *event], of which the encoder gives {[[B, *shape] for shape in needed]}"
        raise ValueError(f"x: expected {expected}; got shapes {got} and {given}")


def check_encoder(posterior: Posterior, output: PyTree, net: Any, x: Any, name: str = "encoder") -> None:
    """Raise ValueError unless an encoder's output for one example x has the shapes that a family needs."""
    got = jax.tree.map(lambda a: tuple(a.shape), output)
    expected = jax.tree.map(lambda shape: (1, *shape), posterior.parameters, is_leaf=is_shape)
    if got != expected:
        raise ValueError(
            f"{name}: expected outputs of shapes {expected} for one example, which the posterior "
            f"{posterior.name} needs; got shapes {got}{_of_event(net, x)}"
        )


def _of_event(net: Any, x: Any) -> str:
    """What is to be said of a net that takes fewer axes for an example than x has."""
    while not hasattr(net, "event_ndims") and hasattr(net, "net"):
        net = net.net
    axes, given = getattr(net, "event_ndims", None), getattr(x, "ndim", 1) - 1
    if axes is None or axes >= given:
        return ""
    kind = type(net).__name__
    return f": {kind} takes the last {axes} of x {list(x.shape[1:])}; expected event_ndims={given} of it"
