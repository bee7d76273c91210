"""Updates of updates: one after the other, several times, with an average beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vaejax.checks import check_positive_int, check_real
from vaejax.keys import named_key
from vaejax.train.updates import select
from vaejax.types import Array, Batch, Params, PyTree, TrainState, Update

__all__ = ["averaged", "repeat", "sequence"]


def _check_update(update: Any, name: str) -> None:
    """Raise TypeError unless `update` is an Update."""
    if not isinstance(update, Update):
        raise TypeError(f"{name}: expected a vaejax.Update, got {type(update).__name__}")


def checked_held(held: Any, moved: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the groups that stay; raise for anything but names of groups that no update moves."""
    if isinstance(held, str) or not all(isinstance(name, str) for name in held):
        raise TypeError(f"held: expected a tuple of group names, got {held!r}")
    both = sorted(set(held) & set(moved))
    if both:
        raise ValueError(f"held: expected groups that no update moves, got {both}")
    return tuple(held)


def check_all_move(params: Params, moved: tuple[str, ...], held: tuple[str, ...]) -> None:
    """Raise ValueError unless every group of the parameters is moved, or held.

    An update inside a sequence sees its own groups alone: what it holds besides is for the sequence to say.
    """
    still = sorted(set(params) - set(moved) - set(held))
    if still:
        raise ValueError(
            f"wrt: expected every group of the model to be moved by an update, or named in held=; {still} "
            f"are not, {sorted(moved)} move"
        )


def sequence(*, held: tuple[str, ...] = (), **updates: Update) -> Update:
    """Apply named updates one after the other, each on the same batch with a key of its own.

    Args:
      held: the groups of the model that stay as they are, whatever moves; those that no update moves.
      **updates: name=update; each names the groups it moves, and no two the same one.

    Returns:
      An Update whose optimiser states are a dict by name and whose metrics are "<name>/<metric>".

    Raises:
      TypeError: if one is no Update.
      ValueError: if there is none, one names no groups, or two move the same group; when initialised, if
        the parameters have a group that nobody moves and that is not held: a learned prior would stay as it
        began, in silence.
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
    held = checked_held(held, tuple(owner))

    def init(params: Params) -> PyTree:
        check_all_move(params, tuple(owner), held)
        return {name: update.init(select(params, update.groups)) for name, update in updates.items()}

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
    times = int(times)

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        state, metrics = update.apply(state, named_key(key, "/first"), batch, take)

        def body(carry: tuple, i: Array) -> tuple[tuple, None]:
            key_i = jax.random.fold_in(named_key(key, "/again"), i)
            fresh = take(named_key(key_i, "/take"))
            return update.apply(carry[0], key_i, fresh, take), None

        (state, metrics), _ = jax.lax.scan(body, (state, metrics), jnp.arange(times - 1))
        return state, metrics

    return update._replace(apply=apply)


def averaged(update: Update, decay: float, *, steps: int | None = None) -> Update:
    """Keep an exponential moving average of the parameters beside an update.

    ema_0 = params_0,  ema_t = decay ema_{t-1} + (1 - decay) params_t. Training does not see it; evaluate
    with `model.bind({**state.params, **state.opt_state["ema"]})`, or let `steps` put it in their place.

    Args:
      update: the update that moves the parameters.
      decay: in [0, 1); 0 keeps the last parameters.
      steps: how long the training is: its last step leaves the average as the parameters, so that a run
        folder holds it. None: no step does.

    Returns:
      An Update whose optimiser state is {"update": the inner one's, "ema": the averaged groups}.

    Raises:
      TypeError: if update is no Update, decay no number, or steps no int.
      ValueError: if decay is out of range, or steps below 1.

    Source: Polyak & Juditsky 1992, doi 10.1137/0330046, with exponential weights.
    """
    _check_update(update, "update")
    check_real(decay, "decay")
    if not 0 <= decay < 1:
        raise ValueError(f"decay: expected a number in [0, 1), got {decay!r}")
    decay = float(decay)
    if steps is not None:
        check_positive_int(steps, "steps")

    def init(params: Params) -> PyTree:
        return {"update": update.init(params), "ema": select(params, update.groups)}

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        inner = state._replace(opt_state=state.opt_state["update"])
        moved, metrics = update.apply(inner, key, batch, take)
        params = select(moved.params, update.groups)
        ema = optax.incremental_update(params, state.opt_state["ema"], 1 - decay)
        if steps is not None:
            last = state.step == steps - 1
            params = jax.tree.map(lambda a, own: jnp.where(last, a, own), ema, params)
            moved = moved._replace(params={**moved.params, **params})
        return moved._replace(opt_state={"update": moved.opt_state, "ema": ema}), metrics

    return update._replace(init=init, apply=apply)
