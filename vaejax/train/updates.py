"""Updates: pure ways to move a TrainState, and their combinators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vaejax.checks import check_positive_int
from vaejax.keys import named_key
from vaejax.types import Array, Batch, Model, Params, PyTree, TrainState, Update

__all__ = ["averaged", "gradient_update", "repeat", "sequence"]


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
      optimizer: an optax transformation; it sees the parameters of the groups it moves.
      wrt: the parameter groups to differentiate and move; the others are constants. None: all.
      microbatch: examples per slice; the gradient is accumulated over the slices of a batch, with the
        draws and the result of the whole batch and the memory of a slice. A function says how many, from
        the loss of one example and the batch: `ops.chunks.automatic_chunk` takes what is fast on this device;
        it is asked for a divisor of the batch, and not asked where slicing is not allowed. None: no slicing.

    Returns:
      An Update; its metrics are the objective's, "loss", and "grad_norm", the global norm of the gradient.

    Raises:
      TypeError, ValueError: for a wrt without groups; for a microbatch that is not a positive int or meets a
        term that mixes examples; when traced, for one that does not divide the batch, or a model with
        variables, for groups that the parameters do not have, and for a metric "grad_norm".
    """
    mixing = tuple(getattr(objective, "mixes_examples", ()))
    if microbatch is not None and not callable(microbatch):
        check_positive_int(microbatch, "microbatch")
        if mixing:
            raise ValueError(
                f"microbatch: expected None, since these terms mix examples: {', '.join(mixing)}"
            )
    if isinstance(wrt, str):
        raise TypeError(f"wrt: expected a tuple of group names, got the string {wrt!r}")
    groups = None if wrt is None else tuple(wrt)
    if groups == ():
        raise ValueError("wrt: expected at least one group, or None for all; got ()")

    def init(params: Params) -> PyTree:
        return optimizer.init(_select(params, groups))

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        del take
        moving = _select(state.params, groups)

        def loss_fn(moving: Params, batch: Batch):
            vae = model.bind({**state.params, **moving}, state.variables, train=True)
            return objective(key, vae, batch, state.step)

        if not callable(microbatch):
            size = microbatch
        elif mixing or state.variables is not None:
            size = None
        else:
            size = _chosen(microbatch, loss_fn, moving, batch)
        gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
        metrics, variables, grads = _gradient(gradient_fn, state.variables, moving, batch, size)
        updates, opt_state = optimizer.update(grads, state.opt_state, moving)
        norm = _norm(grads)
        moved: Any = _after(norm, optax.apply_updates(moving, updates), moving)
        params = {**state.params, **moved}
        if "grad_norm" in metrics:
            raise ValueError("metrics: expected names other than 'grad_norm', which the update adds")
        metrics = {**metrics, "grad_norm": norm}
        return state._replace(params=params, variables=variables, opt_state=opt_state), metrics

    return Update(init, apply, groups, mixing)


def _select(params: Params, groups: tuple[str, ...] | None) -> dict[str, PyTree]:
    """The groups of params that move."""
    if groups is None:
        return dict(params)
    unknown = [g for g in groups if g not in params]
    if unknown:
        raise ValueError(f"wrt: expected groups among {sorted(params)}; got {unknown}")
    return {g: params[g] for g in groups}


def _chosen(choose: Callable[..., int], loss_fn: Callable, moving: Params, batch: Batch) -> int | None:
    """The largest divisor of B up to what `choose` says; None for the whole batch."""
    B = batch["x"].shape[0]
    batch = {"index": jnp.arange(B), **batch}
    most = choose(lambda example: loss_fn(moving, jax.tree.map(lambda a: a[None], example)), batch)
    check_positive_int(most, "what the function microbatch returns")
    size = max(m for m in range(1, min(most, B) + 1) if B % m == 0)
    return None if size == B else size


def _gradient(
    gradient_fn: Callable, variables: PyTree, moving: Params, batch: Batch, microbatch: int | None
) -> tuple[dict, PyTree, PyTree]:
    """(metrics, new variables, gradients) of a batch, taken whole or in slices."""
    if microbatch is None:
        (loss, (metrics, new)), grads = gradient_fn(moving, batch)
        return {"loss": loss, **metrics}, variables if new is None else new, grads
    if variables is not None:
        raise ValueError(
            "microbatch: expected None for a model with variables; its state needs the whole batch"
        )
    metrics, grads = _accumulate(gradient_fn, moving, batch, microbatch)
    return metrics, None, grads


def _accumulate(gradient_fn: Callable, moving: Params, batch: Batch, m: int) -> tuple[dict, PyTree]:
    """Mean metrics and gradients over the slices of m examples: those of the whole batch."""
    B = batch["x"].shape[0]
    if B % m:
        raise ValueError(f"microbatch: expected a divisor of the batch of {B} examples, got {m}")
    batch = {"index": jnp.arange(B), **batch}  # a slice draws what its examples draw in the whole
    # every (B/m)-th example: where devices share the batch, each has its part of every slice
    slices = jax.tree.map(lambda a: a.reshape(m, B // m, *a.shape[1:]).swapaxes(0, 1), batch)

    def result(batch: Batch) -> PyTree:
        (loss, (metrics, _)), grads = gradient_fn(moving, batch)
        return {"loss": loss, **metrics}, grads

    def body(total: PyTree, batch: Batch) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, result(batch)), None

    shapes = jax.eval_shape(result, jax.tree.map(lambda a: a[0], slices))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, _ = jax.lax.scan(body, zeros, slices)
    return jax.tree.map(lambda a: a * (m / B), total)


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


def _check_update(update: Any, name: str) -> None:
    """Raise TypeError unless `update` is an Update."""
    if not isinstance(update, Update):
        raise TypeError(f"{name}: expected a vaejax.Update, got {type(update).__name__}")


def sequence(**updates: Update) -> Update:
    """Apply named updates one after the other, each on the same batch with a key of its own.

    Args:
      **updates: name=update; each names the groups it moves, and no two the same one.

    Returns:
      An Update whose optimiser states are a dict by name and whose metrics are "<name>/<metric>".

    Raises:
      TypeError: if one is no Update.
      ValueError: if there is none, one names no groups, or two move the same group.
    """
    if not updates:
        raise ValueError("updates: expected at least one, as name=update; got none")
    owner: dict[str, str] = {}
    for name, update in updates.items():
        _check_update(update, f"update {name!r}")
        if update.groups is None:
            raise ValueError(f"update {name!r}: expected named groups (wrt=...), got None, which means all")
        for group in update.groups:
            if group in owner:
                raise ValueError(f"update {name!r}: group {group!r} is already moved by {owner[group]!r}")
            owner[group] = name

    def init(params: Params) -> PyTree:
        return {name: update.init(params) for name, update in updates.items()}

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        metrics, opt_states = {}, dict(state.opt_state)
        for name, update in updates.items():
            inner = state._replace(opt_state=opt_states[name])
            state, result = update.apply(inner, named_key(key, name), batch, take)
            opt_states[name] = state.opt_state
            metrics.update({f"{name}/{metric}": value for metric, value in result.items()})
        return state._replace(opt_state=opt_states), metrics

    mixing = tuple(term for update in updates.values() for term in update.mixes_examples)
    return Update(init, apply, tuple(owner), mixing)


def repeat(update: Update, times: int) -> Update:
    """Apply an update `times` times in a step: first on the step's batch, then on fresh ones.

    Args:
      update: the update to repeat.
      times: how often, >= 1; each application has a key of its own.

    Returns:
      An Update with the metrics of the last application.

    Raises:
      TypeError, ValueError: if update is no Update, or times is not an int of at least 1.
    """
    _check_update(update, "update")
    check_positive_int(times, "times")

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        state, metrics = update.apply(state, named_key(key, "/first"), batch, take)

        def body(carry: tuple, i: Array) -> tuple[tuple, None]:
            key_i = jax.random.fold_in(named_key(key, "/again"), i)
            fresh = take(named_key(key_i, "/take"))
            return update.apply(carry[0], key_i, fresh, take), None

        (state, metrics), _ = jax.lax.scan(body, (state, metrics), jnp.arange(times - 1))
        return state, metrics

    return update._replace(apply=apply)


def averaged(update: Update, decay: float) -> Update:
    """Keep an exponential moving average of the parameters beside an update.

    ema_0 = params_0,  ema_t = decay ema_{t-1} + (1 - decay) params_t. Training does not see it; evaluate
    with `model.bind({**state.params, **state.opt_state["ema"]})`.

    Args:
      update: the update that moves the parameters.
      decay: in [0, 1); 0 keeps the last parameters.

    Returns:
      An Update whose optimiser state is {"update": the inner one's, "ema": the averaged groups}.

    Raises:
      TypeError: if update is no Update.
      ValueError: if decay is out of range.

    Source: Polyak & Juditsky 1992, doi 10.1137/0330046, with exponential weights.
    """
    _check_update(update, "update")
    if not 0 <= decay < 1:
        raise ValueError(f"decay: expected a number in [0, 1), got {decay!r}")

    def init(params: Params) -> PyTree:
        return {"update": update.init(params), "ema": _select(params, update.groups)}

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        inner = state._replace(opt_state=state.opt_state["update"])
        moved, metrics = update.apply(inner, key, batch, take)
        params = _select(moved.params, update.groups)
        ema = optax.incremental_update(params, state.opt_state["ema"], 1 - decay)
        return moved._replace(opt_state={"update": moved.opt_state, "ema": ema}), metrics

    return update._replace(init=init, apply=apply)
