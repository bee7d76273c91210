"""The update by a gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaejax.checks import check_positive_int
from vaejax.hints import name_of, takes
from vaejax.train.optimizer import told_the_loss
from vaejax.train.shared import apart, shares
from vaejax.types import Array, Batch, Model, Params, PyTree, TrainState, Update

__all__ = ["gradient_update", "select"]


def gradient_update(
    objective: Callable[..., tuple[Array, tuple[dict[str, Array], Any]]],
    model: Model,
    optimizer: optax.GradientTransformation,
    wrt: tuple[str, ...] | None = None,
    microbatch: int | Callable[..., int] | None = None,
) -> Update:
    """One optimiser step on the gradient of an objective.

    Args:
      objective: `objective(key, vae, batch, step) -> (loss, (metrics, variables))`, as `compose` makes it;
        one written by hand is a mean over examples, or says what mixes them in `mixes_examples`, a tuple.
      model: the recipe that binds parameters.
      optimizer: an optax transformation; it sees the parameters of the groups it moves and, where it asks
        for `value`, the loss: `optax.contrib.reduce_on_plateau` follows that of the batches.
      wrt: the parameter groups to differentiate and move; the others are constants. None: all. Where
        "encoder" is not among them the model's variables stay, too.
      microbatch: examples per slice; the gradient is accumulated over the slices of a batch, with the
        draws and the result of the whole batch and the memory of a slice. A function says how many, from
        the loss of one example and the batch: `ops.chunks.automatic_chunk` takes what is fast on this device;
        it is asked for a divisor of the batch, and not asked where slicing is not allowed. None: no slicing.
        Where devices share the batch each slices what it has, and their gradients meet once a step.

    Returns:
      An Update; its metrics are the objective's, "loss", and "grad_norm", the global norm of the gradient.

    Raises:
      TypeError, ValueError: for a wrt without groups; for a microbatch that is not a positive int or meets a
        term that mixes examples; for another kind of optimizer. When traced, for a microbatch that does not
        divide the batch, or a model with variables; for groups that the parameters do not have; for an
        optimizer that asks for more (`optax.lbfgs`); for an objective that returns anything else, or a metric
        "grad_norm".
    """
    start, advance = told_the_loss(optimizer)
    mixing = tuple(getattr(objective, "mixes_examples", ()))
    _check(objective, model, microbatch, mixing)
    groups = _groups(wrt)

    def init(params: Params) -> PyTree:
        return start(select(params, groups))

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        del take
        moving = select(state.params, groups)

        def loss_fn(moving: Params, batch: Batch):
            vae = model.bind({**state.params, **moving}, state.variables, step=state.step)
            return _loss_of(objective(key, vae, batch, state.step))

        whole = bool(mixing) or state.variables is not None
        size = _slice_size(microbatch, whole, loss_fn, moving, batch)
        gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
        loss, metrics, variables, grads = _gradient(gradient_fn, state.variables, moving, batch, size)
        if groups is not None and "encoder" not in groups:
            variables = state.variables  # the encoder's, as the codes of a codebook: it moves once a step
        updates, opt_state = advance(grads, state.opt_state, moving, loss)
        norm = _norm(grads)
        moved: Any = _after(norm, optax.apply_updates(moving, updates), moving)
        params = {**state.params, **moved}
        metrics = {"loss": loss, **metrics, "grad_norm": norm}
        return state._replace(params=params, variables=variables, opt_state=opt_state), metrics

    return Update(init, apply, groups, mixing)


def _check(objective: Any, model: Any, microbatch: Any, mixing: tuple[str, ...]) -> None:
    """Raise for another kind of argument, or a microbatch where terms mix examples."""
    if not callable(objective):
        raise TypeError(f"objective: expected a function, as compose(...); got {type(objective).__name__}")
    if not takes(objective, 4):
        raise TypeError(
            "objective: expected a function (key, vae, batch, step), as compose(...) makes one of terms; got "
            f"{name_of(objective)}, which takes other arguments"
        )
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    if microbatch is None or callable(microbatch):
        return
    check_positive_int(microbatch, "microbatch")
    if mixing:
        raise ValueError(f"microbatch: expected None, since these terms mix examples: {', '.join(mixing)}")


def _groups(wrt: Any) -> tuple[str, ...] | None:
    """The names of the groups to move, None for all."""
    if isinstance(wrt, str):
        raise TypeError(f"wrt: expected a tuple of group names, got the string {wrt!r}")
    groups = None if wrt is None else tuple(wrt)
    if groups == ():
        raise ValueError("wrt: expected at least one group, or None for all; got ()")
    return groups


def select(params: Params, groups: tuple[str, ...] | None) -> dict[str, PyTree]:
    """The groups of params that move."""
    if groups is None:
        return dict(params)
    unknown = [g for g in groups if g not in params]
    if unknown:
        raise ValueError(f"wrt: expected groups among {sorted(params)}; got {unknown}")
    return {g: params[g] for g in groups}


def _loss_of(result: Any) -> tuple[Array, tuple[Mapping[str, Any], PyTree]]:
    """What an objective returned, (loss, (metrics, variables)), checked."""
    pair = result[1] if isinstance(result, tuple | list) and len(result) == 2 else None
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(
            "objective: expected to return (loss, (metrics, variables)), the variables None where there are "
            f"none, as (loss, ({{}}, None)); got {_kind_of(result)}"
        )
    loss, (metrics, variables) = result
    if not _is_number(loss):
        raise TypeError(f"objective: expected a loss that is one float; got {_kind_of(loss)}")
    if jnp.shape(loss) != () or not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        got = f"got {jnp.result_type(loss)} {list(jnp.shape(loss))}"
        raise ValueError(f"objective: expected a loss that is one float, the mean over examples; {got}")
    if not isinstance(metrics, Mapping):
        raise TypeError(f"objective: expected metrics as a dict, got {type(metrics).__name__}")
    if "grad_norm" in metrics:
        raise ValueError("metrics: expected names other than 'grad_norm', which the update adds")
    return loss, (metrics, variables)


def _is_number(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray | np.generic | float | int)


def _kind_of(result: Any) -> str:
    """What was returned, in words: the kinds of a tuple's entries, the shape of an array."""
    if isinstance(result, tuple | list):
        return f"({', '.join(map(_kind_of, result))}{',' * (len(result) == 1)})"
    if isinstance(result, jax.Array):
        return f"an array {list(result.shape)}"
    return "a dict" if isinstance(result, Mapping) else "None" if result is None else type(result).__name__


def _slice_size(
    microbatch: int | Callable[..., int] | None, whole: bool, loss_fn: Callable, moving: Params, batch: Batch
) -> int | None:
    """Examples per slice, None for the whole batch.

    A function gives the largest divisor of B up to what it says; it is not asked about a batch that must stay
    whole.
    """
    if not callable(microbatch):
        return None if microbatch is None else int(microbatch)
    if whole:
        return None
    B = jax.tree.leaves(batch["x"])[0].shape[0]
    batch = {"index": jnp.arange(B), **batch}
    most = microbatch(lambda example: loss_fn(moving, jax.tree.map(lambda a: a[None], example)), batch)
    check_positive_int(most, "what the function microbatch returns")
    size = max(m for m in range(1, min(most, B) + 1) if B % m == 0)
    return None if size == B and shares() == 1 else size


def _gradient(
    gradient_fn: Callable, variables: PyTree, moving: Params, batch: Batch, microbatch: int | None
) -> tuple[Array, Mapping[str, Any], PyTree, PyTree]:
    """(loss, metrics, new variables, gradients) of a batch, taken whole or in slices."""
    if microbatch is None:
        (loss, (metrics, new)), grads = gradient_fn(moving, batch)
        return loss, metrics, variables if new is None else new, grads
    if variables is not None:
        raise ValueError(
            "microbatch: expected None for a model with variables; its state needs the whole batch"
        )
    loss, metrics, grads = _accumulate(gradient_fn, moving, batch, microbatch)
    return loss, metrics, None, grads


def _accumulate(gradient_fn: Callable, moving: Params, batch: Batch, m: int) -> tuple[Array, dict, PyTree]:
    """Mean loss, metrics and gradients over the slices of m examples: those of the whole batch."""
    B = jax.tree.leaves(batch["x"])[0].shape[0]
    if B % m:
        raise ValueError(f"microbatch: expected a divisor of the batch of {B} examples, got {m}")
    own = B // shares()  # where devices share the batch, each slices what it has
    size = max(d for d in range(1, min(m, own) + 1) if own % d == 0)

    @partial(jax.jit, inline=True)  # traced once, for its shapes and for the loop
    def result(moving: Params, batch: Batch) -> PyTree:
        (loss, (metrics, _)), grads = gradient_fn(moving, batch)
        return loss, dict(metrics), grads

    def mean(moving: Params, batch: Batch) -> PyTree:
        slices = jax.tree.map(lambda a: a.reshape(own // size, size, *a.shape[1:]), batch)

        def body(total: PyTree, batch: Batch) -> tuple[PyTree, None]:
            return jax.tree.map(jnp.add, total, result(moving, batch)), None

        shapes = jax.eval_shape(result, moving, jax.tree.map(lambda a: a[0], slices))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        total, _ = jax.lax.scan(body, zeros, slices)
        return jax.tree.map(lambda a: a * (size / own), total)

    # a slice draws what its examples draw in the whole
    return apart(mean)(moving, {"index": jnp.arange(B), **batch})


def _norm(grads: PyTree) -> Array:
    """sqrt(sum g^2) over all of the gradient.

    Row by row, apart from the squares that Adam takes: XLA on CPU else writes those to memory and adds them
    slowly, which was 30 % of a small step.
    """

    def squared(g: Array) -> Array:
        g = jax.lax.optimization_barrier(jnp.atleast_1d(g))
        rows = jnp.sum(jnp.abs(g) ** 2, axis=-1)
        return jnp.sum(jax.lax.optimization_barrier(rows))

    return jnp.sqrt(sum(map(squared, jax.tree.leaves(grads)), jnp.zeros(())))


def _after(norm: Array, new: PyTree, old: PyTree) -> PyTree:
    """`new`, which no device may write over `old` before the norm of the whole gradient is known.

    A norm is never negative; but XLA does not know that, and so sees that the backward pass has read the
    weights by then. Else it copies them, each step of the loop: 2 to 6 % of a small step on CPU.
    """
    return jax.tree.map(lambda n, o: jnp.where(norm < 0, o, n), new, old)
