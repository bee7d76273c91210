"""Aggressive training of the inference network: the encoder catches up before the decoder moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int
from vaejax.keys import named_key
from vaejax.train.combine import check_all_move, checked_held
from vaejax.train.updates import select
from vaejax.types import Array, Batch, Params, PyTree, TrainState, Update

__all__ = ["aggressive", "end_aggressive"]

Records = list[dict[str, Any]]


def aggressive(
    encoder: Update, decoder: Update, *, window: int = 10, most: int = 99, held: tuple[str, ...] = ()
) -> Update:
    """Move the encoder until its loss stops improving, then the decoder once; later both at once.

        while aggressive, at most `most` times:
          phi <- phi - step on X_i           X_1 = X, the step's batch; then fresh ones
          every `window` steps: end if the mean loss of the window is above that of the one before
        theta <- theta - step on X           seen with the new phi
        phi   <- phi - step on X             at the same point, only when no longer aggressive

    The state of the encoder's optimiser persists. It begins aggressive, and stays so until
    `opt_state["aggressive"]` is False: `fit(..., after_validation=end_aggressive())` sees to that, also where
    `sequence` or `averaged` is around it. KL annealing goes on meanwhile.

    Deviation: in the published code the norm of the whole gradient is clipped, phi and theta together; here
    each update clips its own. Its loop compares the first window with 1e4; here the first never ends it.

    Args:
      encoder: moves phi, as `gradient_update(objective, model, optimizer, wrt=("encoder",))`, and the group
        "posterior" where the model has one; its "loss" is what the windows compare.
      decoder: moves theta: the decoder, a learned prior.
      window: encoder steps in a window; 10 for images and 15 for text in the paper.
      most: encoder steps at most; 99 in the published code.
      held: the groups of the model that neither moves, as for `sequence`.

    Returns:
      An Update with the decoder's metrics, "inner_steps", the encoder's steps before the decoder's, and
      "aggressive", 1 or 0.

    Raises:
      TypeError, ValueError: for anything but Updates of named groups of their own, or counts below 1; when
        initialised, for a group that nobody moves and that is not held.

    Source: He, Spokoyny, Neubig & Berg-Kirkpatrick 2019, arXiv 1901.05534, algorithm 1.
    """
    check_positive_int(window, "window")
    check_positive_int(most, "most")
    window, most = int(window), int(most)
    groups = _check_groups(encoder=encoder, decoder=decoder)
    held = checked_held(held, groups)

    def init(params: Params) -> PyTree:
        check_all_move(params, groups, held)
        parts = (("encoder", encoder), ("decoder", decoder))
        states = {name: update.init(select(params, update.groups)) for name, update in parts}
        return {**states, "aggressive": jnp.ones((), bool)}

    def apply(state: TrainState, key: Array, batch: Batch, take: Callable) -> tuple[TrainState, dict]:
        opt_state, flag = state.opt_state, state.opt_state["aggressive"]
        inner = state._replace(opt_state=opt_state["encoder"])
        inner, n = _catch_up(encoder, window, most, inner, flag, named_key(key, "/inner"), batch, take)
        # both from the same point, with the same draws: one gradient
        key = named_key(key, "/outer")
        outer, metrics = decoder.apply(inner._replace(opt_state=opt_state["decoder"]), key, batch, take)
        joint, _ = encoder.apply(inner, key, batch, take)
        kept = (select(inner.params, encoder.groups), inner.opt_state, inner.variables)
        moved = (select(joint.params, encoder.groups), joint.opt_state, joint.variables)
        phi, phi_state, variables = jax.tree.map(lambda k, m: jnp.where(flag, k, m), kept, moved)
        opt_state = {"encoder": phi_state, "decoder": outer.opt_state, "aggressive": flag}
        metrics = {**metrics, "inner_steps": n, "aggressive": flag.astype(jnp.float32)}
        params = {**outer.params, **phi}
        return outer._replace(params=params, variables=variables, opt_state=opt_state), metrics

    return Update(init, apply, groups, encoder.mixes_examples + decoder.mixes_examples)


def end_aggressive(
    patience: int = 5, *, measure: str = "mutual_information"
) -> Callable[[Records, TrainState], TrainState]:
    """End aggressive training once the mutual information has stopped rising.

    It ends at the validation that is the `patience`-th to lie below the best before it: 5 is the rule of the
    paper's images, 1 that of its texts. They are counted over the run, not in a row, and it does not come
    back.

    Args:
      patience: how many validations, >= 1; the paper validates once an epoch.
      measure: its name in what `validate` returns, as `evaluation.elbo_parts` gives it.

    Returns:
      `after_validation` for `fit`, with an update made by `aggressive`.

    Raises:
      TypeError, ValueError: for a patience below 1; when called, for records without the measure or another
        update's state.

    Source: He et al. 2019, arXiv 1901.05534, section 4.2 and its published code.
    """
    check_positive_int(patience, "patience")

    def after_validation(records: Records, state: TrainState) -> TrainState:
        path = _path(state.opt_state)
        if path is None:
            raise ValueError("state: expected that of an update made by aggressive(...), got another")
        best, below = -float("inf"), 0
        for record in records:
            if measure not in record["validation"]:
                raise ValueError(f"measure: expected one of {sorted(record['validation'])}, got {measure!r}")
            value = record["validation"][measure]
            below, best = below + (value < best), max(best, value)
        return state._replace(opt_state=_ended(state.opt_state, path)) if below >= patience else state

    return after_validation


def _path(opt_state: PyTree) -> tuple[str, ...] | None:
    """The names, as of `sequence` and `averaged`, that lead to the state of an aggressive update."""
    if not isinstance(opt_state, dict):
        return None
    if not isinstance(opt_state.get("aggressive", {}), dict):
        return ()
    paths = ((name, _path(inner)) for name, inner in opt_state.items())
    return next(((name, *path) for name, path in paths if path is not None), None)


def _ended(opt_state: PyTree, path: tuple[str, ...]) -> PyTree:
    if not path:
        return {**opt_state, "aggressive": jnp.zeros((), bool)}
    return {**opt_state, path[0]: _ended(opt_state[path[0]], path[1:])}


def _catch_up(
    encoder: Update,
    window: int,
    most: int,
    state: TrainState,
    flag: Array,
    key: Array,
    batch: Batch,
    take: Callable,
) -> tuple[TrainState, Array]:
    """The inner loop: the state that it leaves, and the number of its steps."""

    def body(carry: tuple) -> tuple:
        state, batch, _, n, acc, before = carry
        key_n = jax.random.fold_in(key, n)
        state, metrics = encoder.apply(state, key_n, batch, take)
        n, acc = n + 1, acc + jnp.asarray(metrics["loss"], jnp.float32)
        full, mean = n % window == 0, acc / window
        go = ~(full & (mean > before)) & (n < most)
        acc, before = jnp.where(full, 0.0, acc), jnp.where(full, mean, before)
        return state, dict(take(named_key(key_n, "/take"))), go, n, acc, before

    start = (state, dict(batch), flag, jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.full((), jnp.inf))
    state, _, _, n, _, _ = jax.lax.while_loop(lambda carry: carry[2], body, start)
    return state, n


def _check_groups(**updates: Update) -> tuple[str, ...]:
    """The groups of all updates; raise unless each names its own."""
    groups: list[str] = []
    for name, update in updates.items():
        if not isinstance(update, Update):
            raise TypeError(f"{name}: expected a vaejax.Update, got {type(update).__name__}")
        if update.groups is None:
            raise ValueError(f"{name}: expected named groups (wrt=...), got None, which means all")
        groups += update.groups
    if len(set(groups)) != len(groups):
        raise ValueError(f"encoder, decoder: expected groups of their own, got {groups}")
    return tuple(groups)
