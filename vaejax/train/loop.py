"""The training loop: chunks of steps on the device, metrics, checkpoints, exact resume."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp

from vaejax.checks import check_split, check_support
from vaejax.files import expanded
from vaejax.hints import extra
from vaejax.keys import check_key, named_key
from vaejax.machine import compiler_options
from vaejax.train.callbacks import Adjust, Callbacks, Progress, Stop, Validate, reporting
from vaejax.train.checkpoint import check_savable
from vaejax.train.feed import chunk_program, is_resident, like_chunk
from vaejax.train.folder import Description
from vaejax.train.interrupt import deferred, interrupted
from vaejax.train.optimizer import is_key
from vaejax.train.runs import Counts, Run, check_seeds, open_runs, place, results, steps_of, train
from vaejax.train.store import Fit
from vaejax.types import Array, Device, Model, Split, TrainState, Update

__all__ = ["fit"]

Folder = str | os.PathLike[str] | None


@overload
def fit(
    key: Array, model: Model, update: Update, data: Split, steps: int | None = ..., *, batch_size: int,
    epochs: int | None = ..., chunk: int = ...,
    validate: Validate | None = ..., stop: Stop | None = ..., after_validation: Adjust | None = ...,
    folder: Folder = ..., resume: bool = ..., save_every: int = ..., log_every: int = ...,
    tensorboard: bool = ..., progress: bool | Progress = ...,
    seeds: None = None, devices: Sequence[Device] | None = ..., resident: bool | Literal["auto"] = ...,
) -> Fit: ...  # fmt: skip
@overload
def fit(
    key: Array, model: Model, update: Update, data: Split, steps: int | None = ..., *, batch_size: int,
    epochs: int | None = ..., chunk: int = ...,
    validate: Validate | None = ..., stop: Stop | None = ..., after_validation: Adjust | None = ...,
    folder: Folder = ..., resume: bool = ..., save_every: int = ..., log_every: int = ...,
    tensorboard: bool = ..., progress: bool | Progress = ...,
    seeds: Iterable[int], devices: Sequence[Device] | None = ..., resident: bool | Literal["auto"] = ...,
) -> dict[int, Fit]: ...  # fmt: skip
def fit(
    key: Array, model: Model, update: Update, data: Split, steps: int | None = None, *, batch_size: int,
    epochs: int | None = None, chunk: int = 100, validate: Validate | None = None, stop: Stop | None = None,
    after_validation: Adjust | None = None, folder: Folder = None, resume: bool = False,
    save_every: int = 10, log_every: int = 1, tensorboard: bool = False, progress: bool | Progress = True,
    seeds: Iterable[int] | None = None, devices: Sequence[Device] | None = None,
    resident: bool | Literal["auto"] = "auto",
) -> Fit | dict[int, Fit]:  # fmt: skip
    """Train a model.

    Every step is a pure function of the key, its number and the data: it does not matter where a run was
    cut into chunks or resumed.

    Args:
      key: the root key of the run; step t uses fold_in(key, t), the data order is another child of it. One of
        another generator than Threefry is turned into one of Threefry before anything is drawn.
      model: the recipe.
      update: how a step moves the state.
      data: the training split.
      steps: the number of steps in all, also when resuming; not less than were done. None: `epochs` says it.
      batch_size: B, examples per step; the ragged rest of an epoch is dropped.
      epochs: in the place of `steps`, how often the data are gone through: epochs * (N // B) steps.
      chunk: steps per program on the device; metrics, bar and interrupts come at its end.
      validate: `validate(key, vae) -> {name: value}`, called every `save_every` chunks and at the end; its
        "neg_elbo" (nats, beta = 1, no penalty) chooses the best state; arrays in it are not recorded.
      stop: `stop(records) -> bool`, called after each validation with all of them so far, as `Fit.validation`
        holds them; True ends the run there.
      after_validation: `after_validation(records, state) -> state`, called after each validation with the
        records so far; training goes on from the state that it returns. A resumed run calls it once more with
        the records that it has, so it must depend on its arguments alone. The checkpoint of that step and the
        best state are the ones before it.
      folder: where metrics.jsonl, checkpoints, and what `runs.load` reads beside them go: model.json, the
        model's spec, config.json, how `fit` was called (one that `runs.create` made stays as it is), and
        transform.json, what `data.standardised` did to the data. None keeps everything in memory.
      resume: continue from the newest checkpoint in `folder` if there is one; key, batch size, number of
        examples and model must be those of the run, with other values in the data there is a RuntimeWarning;
        the objective is the caller's to keep (`runs.create` compares).
      save_every: chunks between checkpoints; the last step is always saved.
      log_every: the metrics of one in `log_every` steps are kept, here and in metrics.jsonl; the loss of
        every step is still checked.
      tensorboard: also write TensorBoard events to `folder` (extra "tensorboard").
      progress: True for a bar, or `progress(n, record)`, called after each chunk with its number of steps
        and the record of the last; with seeds, for each of them, "seed" in the record.
      seeds: train several runs as one program: different ints, as range(3). Seed s is the run of the root
        key fold_in(key, s), with its own initial weights, data order and folder, `folder/seed-s`, and has the
        result it would have alone. One that stops being finite is frozen where it last was, with a
        RuntimeWarning; the others go on.
      devices: where the work is done: seeds are shared among them, without seeds the examples of each
        batch, and their number must divide that. None: the default device. In a job of several processes
        (`jax.distributed`) every process makes the same call with `jax.devices()`, and shares the folder.
      resident: whether the split is held on the device. False streams it: threads of the host gather the rows
        of a chunk from memory, a mapped file or a `RowSource` while the device computes the chunk before,
        and two chunks are in memory. Nothing else differs, not in a bit. "auto" holds what takes up to half
        of the device's memory, or, on a CPU, a quarter of the host's; the log ("vaejax", INFO) says which.

    Returns:
      A Fit; with seeds {seed: Fit}.

    Raises:
      TypeError, ValueError: for bad arguments, before anything compiles; for what validate returns.
      ImportError: if TensorBoard events are asked for without the extra.
      FloatingPointError: when the loss is not finite, or a state to be saved; names the step, the terms or
        parameter groups, and the last checkpoint. With seeds, when no seed is left.
      Interrupted: after Ctrl-C, at the end of the chunk; the state is saved where there is a folder, and the
        exception's `fit` is what there is to return so far. Resumed, a run ends as if never stopped.
    """
    counts = Counts.checked(
        steps_of(steps, epochs, data, batch_size), batch_size, chunk, save_every, log_every
    )
    callbacks = Callbacks(model, validate, stop, after_validation)
    folder = None if folder is None else expanded(folder)
    _check_arguments(key, model, update, data, counts, callbacks, folder, resume, tensorboard, progress)
    seeds = None if seeds is None else check_seeds(seeds)
    placement = place(seeds, devices, counts.batch_size)
    resident = is_resident(resident, data, devices)
    program = chunk_program(update, data, counts.shape, placement, resident)
    initial = jax.jit(initialiser(model, update, data), compiler_options=compiler_options())
    like = _traced(key, initial, program, like_chunk(data, counts.shape, resident), counts)
    if folder is not None:
        check_savable(like)
    description = _described(model, data, counts)
    with open_runs(key, seeds, folder, data, counts, description, resume, tensorboard) as runs:
        states = [_started(run, initial, like, counts, callbacks, description) for run in runs]
        with reporting(progress, counts.steps, runs) as report, deferred() as asked:
            settle = partial(callbacks.settle, counts, report)
            states = train(program, placement, runs, states, data, resident, counts, settle, asked)
            if asked():
                raise interrupted(runs, states, counts.steps)
            return results(runs, states)


def _check_arguments(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    counts: Counts,
    callbacks: Callbacks,
    folder: Folder,
    resume: bool,
    tensorboard: bool,
    progress: bool | Progress,
) -> None:
    """Raise for bad arguments of `fit`."""
    check_key(key)
    for name, value, kind in (("model", model, Model), ("update", update, Update)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: expected a vaejax.{kind.__name__}, got {type(value).__name__}")
    check_split(data, "data")
    check_support(model.support, data.support)
    if counts.batch_size > data.size:
        raise ValueError(
            f"batch_size: expected at most the {data.size} examples of the data, got {counts.batch_size}"
        )
    callbacks.check()
    if not (isinstance(progress, bool) or callable(progress)):
        got = f"{type(progress).__name__} ({progress!r})"
        raise TypeError(f"progress: expected True, False or a function, got {got}")
    if folder is None and (resume or tensorboard):
        raise ValueError("folder: expected a path, since resume or tensorboard is asked; got None")
    if tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise ImportError(
            "tensorboard: expected the extra of that name, which has tensorboardX; "
            f"{extra('tensorboard')}; got tensorboard=True without it"
        )


def _described(model: Model, data: Split, counts: Counts) -> Description:
    """What the run's folder says of it."""
    config = {**counts._asdict(), "examples": data.size, "support": data.support}
    return Description(model.spec, config, getattr(data.transform, "spec", None))


def _traced(key: Array, initial: Callable, program: Callable, arrays: Any, counts: Counts) -> TrainState:
    """The shapes of a state; raise what tracing a chunk can refuse, before anything is made."""
    like = jax.eval_shape(initial, key)
    rows = jax.ShapeDtypeStruct(counts.shape, jnp.int32)
    _, metrics = jax.eval_shape(program, like, key, arrays, rows, 1)
    _check_metrics(metrics)
    return like


def _check_metrics(metrics: dict[str, Any]) -> None:
    """Raise unless a step's metrics, here with an axis of steps, are scalars that a record can hold."""
    for name, value in metrics.items():
        if name in ("step", "seed", "validation", "not_finite"):
            raise ValueError(f"metrics: expected names other than those of a record, got {name!r}")
        if not isinstance(value, jax.ShapeDtypeStruct):
            raise TypeError(f"metrics: expected scalars, got {name!r}, a {type(value).__name__}")
        if value.shape[1:]:
            raise ValueError(f"metrics: expected scalars, got {name!r} of shape {value.shape[1:]}")


def initialiser(model: Model, update: Update, data: Split) -> Callable[[Array], TrainState]:
    """A function of a run's key that makes its state of step 0."""
    first = jax.tree.map(lambda a: a[:1], dict(data.arrays))

    def initial(key: Array) -> TrainState:
        batch = data.transform(
            named_key(key, "/transform"), {**jax.tree.map(jnp.asarray, first), "index": jnp.arange(1)}
        )
        params, variables = model.init(named_key(key, "/init"), batch)
        state = TrainState(params, variables, update.init(params), jnp.zeros((), jnp.int32))
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            if is_key(leaf):
                where = jax.tree_util.keystr(path)
                raise TypeError(f"state: expected arrays, as jax.random.key_data(key); got a key at {where}")
        # no weak types: a step returns strong ones, and the second chunk would compile again
        return jax.tree.map(lambda a: jax.lax.convert_element_type(a, jnp.asarray(a).dtype), state)

    return initial


def _started(
    run: Run,
    initial: Callable,
    like: TrainState,
    counts: Counts,
    callbacks: Callbacks,
    description: Description,
) -> TrainState:
    """The first state of a run, or the one from which it goes on."""
    state = run.store.restore(like) if run.done else initial(run.key)
    state = callbacks.start(counts, run, state)
    run.store.describe(description)
    return state
