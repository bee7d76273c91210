"""A model with further networks on its latents, or on x."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.checks import check_choice
from vaejax.fixed import Fixed
from vaejax.hints import described
from vaejax.keys import check_key, named_key
from vaejax.models.apply import apply, initialised
from vaejax.models.spec import net_spec
from vaejax.types import VAE, Array, Batch, Model, PyTree

__all__ = ["with_heads"]


def with_heads(model: Model, *, on: str = "z", **heads: nn.Module) -> Model:
    """Give a model networks that see its latents, or x: a critic, a regression, a classifier q(y|x).

    Each is a parameter group and a head of its name, `vae.heads[name](z)`; encoder and decoder start as in
    the model without. A critic learns by an update of its own, beside the model's in `train.sequence`
    (docs/training.md).

    Args:
      model: the model.
      on: "z", or "x" for heads `vae.heads[name](x)`, which see what the encoder sees but for a condition.
        For some of each wrap the model twice.
      **heads: name=net, z [..., d] or x [..., *event] -> what the terms that use it expect. Of latents in
        parts or levels a net sees each as an input of its own, net(z_0, z_1, ...), as `nets.MLP` takes them
        side by side.

    Returns:
      A Model with one more parameter group and head for each.

    Raises:
      TypeError, ValueError: for anything but a Model and Flax modules, no heads, another `on`, or a name that
        a spec means otherwise ("builder", "likelihood"); when initialised, for the name of a group of the
        model or a net with variables beside its parameters (BatchNorm) or a random key (Dropout).
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    check_choice(on, ("z", "x"), "on")
    if not heads:
        raise ValueError("heads: expected at least one, as name=net; got none")
    for name, net in heads.items():
        if name in ("builder", "likelihood"):
            raise ValueError(f"heads: expected names other than 'builder' and 'likelihood', got {name!r}")
        if not isinstance(net, nn.Module):
            raise TypeError(f"{name}: expected a flax.linen.Module, got {described(net, nn.Module)}")
    functions = {name: Fixed(_of_latents if on == "z" else apply, net) for name, net in heads.items()}
    return Model(
        init=partial(_init, model, on, heads),
        bind=partial(_bind, model, functions),
        support=model.support,
        spec={
            "builder": "with_heads",
            "model": model.spec,
            **({} if on == "z" else {"on": on}),  # the specs of runs from before heads saw x stay theirs
            **{name: net_spec(net) for name, net in heads.items()},
        },
        groups=(*model.groups, *heads) if model.groups else (),
    )


def _of_latents(net: nn.Module, params: PyTree, z: PyTree) -> Any:
    return apply(net, params, *(z if isinstance(z, tuple) else (z,)))


def _bind(
    model: Model, functions: Mapping[str, Callable],
    params: Mapping[str, PyTree], variables: PyTree = None, *, step: Any = None,
) -> VAE:  # fmt: skip
    vae = model.bind(params, variables, step=step)
    heads = {name: Partial(function, params[name]) for name, function in functions.items()}
    return vae._replace(heads={**vae.heads, **heads})


def _init(
    model: Model, on: str, heads: Mapping[str, nn.Module], key: Array, batch: Batch
) -> tuple[dict[str, PyTree], PyTree]:
    check_key(key)
    params, variables = model.init(key, batch)
    taken = sorted(set(heads) & set(params))
    if taken:
        raise ValueError(f"heads: expected names other than the model's groups {sorted(params)}, got {taken}")

    def latents() -> PyTree:
        return model.bind(params, variables).encode(key, one).z

    one = jax.tree.map(lambda a: a[:1], batch)
    seen = jax.tree.map(jnp.asarray, one["x"]) if on == "x" else _zeros(jax.eval_shape(latents))
    inputs = seen if isinstance(seen, tuple) else (seen,)
    of_heads = {name: initialised(name, net, named_key(key, name), *inputs)[1] for name, net in heads.items()}
    return {**params, **of_heads}, variables


def _zeros(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
