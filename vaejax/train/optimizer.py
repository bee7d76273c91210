"""optax transformations as updates use them: told the loss, their states plain arrays."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vaejax.types import Array, Params, PyTree

__all__ = ["is_key", "told_the_loss"]

# how optax says that a transformation lacks an argument, pairs of parameters, gradients of each example
_LACKS = re.compile(
    r"required keyword-only argument|must be provided|has no attribute 'fast'|batch dimension in the 0th axis"
)


def told_the_loss(optimizer: optax.GradientTransformation) -> tuple[Callable, Callable]:
    """(init, update) of `optimizer`, as `update(grads, state, params, loss)`; its state holds plain arrays.

    So one may read the loss (`optax.contrib.reduce_on_plateau`, `optax.polyak_sgd`), or keep a typed key
    (`optax.add_noise`), which is stored as its words: what copies, stacks and saves states knows arrays.

    Raises:
      TypeError: for another kind; when traced, for one that asks for more than the loss.
    """
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        got = type(optimizer).__name__
        raise TypeError(f"optimizer: expected an optax transformation, as optax.adam(1e-3); got {got}")
    # its type does not say whether it takes more: MultiSteps does, contrib.sam does not
    takes = inspect.signature(optimizer.update).parameters
    if "value" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        told = optax.GradientTransformationExtraArgs(optimizer.init, optimizer.update)
    else:
        told = optax.with_extra_args_support(optax.GradientTransformation(optimizer.init, optimizer.update))

    def init(params: Params) -> PyTree:
        return jax.tree.map(lambda a: jax.random.key_data(a) if is_key(a) else a, told.init(params))

    def update(grads: PyTree, state: PyTree, params: Params, loss: Array) -> tuple[PyTree, PyTree]:
        impls = _impls(told, params)
        leaves, tree = jax.tree.flatten(state)
        keyed = [
            a if impl is None else jax.random.wrap_key_data(a, impl=impl)
            for a, impl in zip(leaves, impls, strict=True)
        ]
        try:
            updates, new = told.update(grads, tree.unflatten(keyed), params, value=loss)
        except (AttributeError, TypeError, ValueError) as error:
            if not _LACKS.search(str(error)):
                raise
            raise TypeError(
                "optimizer: expected one that takes the mean gradient, the parameters and, as `value`, the "
                "loss; L-BFGS with its line search asks for `value_fn`, Sophia for `obj_fn`, lookahead for "
                f"pairs of parameters, DP-SGD for a gradient of each example, which no step has: {error}"
            ) from error
        return updates, jax.tree.map(lambda a: jax.random.key_data(a) if is_key(a) else a, new)

    return init, update


def is_key(a: Any) -> bool:
    """Whether `a` is an array of typed keys."""
    return isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key)


def _impls(optimizer: optax.GradientTransformation, params: Params) -> list[str | None]:
    """For every leaf of the state the generator of its key, None where it is no key."""
    impls: list[str | None] = []

    def init(params: Params) -> None:
        leaves = jax.tree.leaves(optimizer.init(params))
        impls.extend(str(jax.random.key_impl(a)) if is_key(a) else None for a in leaves)

    jax.eval_shape(init, params)
    return impls
