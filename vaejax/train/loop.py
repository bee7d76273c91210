"""The training loop: chunks of steps on the device, metrics, checkpoints, exact resume."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int, check_split, check_support
from vaejax.files import expanded
from vaejax.keys import check_key, named_key
from vaejax.progress import Bar
from vaejax.train.checkpoint import check_savable
from vaejax.train.folder import Description
from vaejax.train.optimizer import is_key
from vaejax.train.runs import Run, check_seeds, open_runs, place, train
from vaejax.train.step import alone, make_chunk, over_runs
from vaejax.train.store import Fit, digest
from vaejax.types import VAE, Array, Device, Model, Split, TrainState, Update

__all__ = ["fit"]

Validate = Callable[[Array, VAE], dict[str, Any]]
Stop = Callable[[list[dict[str, Any]]], bool]
Adjust = Callable[[list[dict[str, Any]], TrainState], TrainState]
Progress = Callable[[int, dict[str, Any]], None]
Folder = str | os.PathLike[str] | None


@overload
def fit(
    key: Array, model: Model, update: Update, data: Split, steps: int, *, batch_size: int, chunk: int = ...,
    validate: Validate | None = ..., stop: Stop | None = ..., after_validation: Adjust | None = ...,
    folder: Folder = ..., resume: bool = ..., save_every: int = ..., log_every: int = ...,
    tensorboard: bool = ..., progress: bool | Progress = ...,
    seeds: None = None, devices: Sequence[Device] | None = ...,
) -> Fit: ...  # fmt: skip
@overload
def fit(
    key: Array, model: Model, update: Update, data: Split, steps: int, *, batch_size: int, chunk: int = ...,
    validate: Validate | None = ..., stop: Stop | None = ..., after_validation: Adjust | None = ...,
    folder: Folder = ..., resume: bool = ..., save_every: int = ..., log_every: int = ...,
    tensorboard: bool = ..., progress: bool | Progress = ...,
    seeds: Iterable[int], devices: Sequence[Device] | None = ...,
) -> dict[int, Fit]: ...  # fmt: skip
def fit(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    steps: int,
    *,
    batch_size: int,
    chunk: int = 100,
    validate: Validate | None = None,
    stop: Stop | None = None,
    after_validation: Adjust | None = None,
    folder: Folder = None,
    resume: bool = False,
    save_every: int = 10,
    log_every: int = 1,
    tensorboard: bool = False,
    progress: bool | Progress = True,
    seeds: Iterable[int] | None = None,
    devices: Sequence[Device] | None = None,
) -> Fit | dict[int, Fit]:
    """Train a model.

    Every step is a pure function of the key, its number and the data: it does not matter where a run was
    cut into chunks or resumed.

    Args:
      key: the root key of the run; step t uses fold_in(key, t), the data order is another child of it. One of
        another generator than Threefry is turned into one of Threefry before anything is drawn.
      model: the recipe.
      update: how a step moves the state.
      data: the training split; it is held on the device.
      steps: the number of steps in all, also when resuming; not less than were done.
      batch_size: B, examples per step; the ragged rest of an epoch is dropped.
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
        model's spec, and config.json, how `fit` was called (one that `runs.create` made stays as it is). None
        keeps everything in memory.
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

    Returns:
      A Fit; with seeds {seed: Fit}.

    Raises:
      TypeError, ValueError: for bad arguments, before anything compiles; for what validate returns.
      ImportError: if TensorBoard events are asked for without the extra.
      FloatingPointError: when the loss is not finite, or a state to be saved; names the step, the terms or
        parameter groups, and the last checkpoint. With seeds, when no seed is left.
    """
    for name, reads in (("stop", stop), ("after_validation", after_validation)):
        _check_function(reads, name)
        if reads is not None and validate is None:
            raise ValueError(f"{name}: expected with validate, whose records it reads; got validate=None")
    counts = {"steps": steps, "batch_size": batch_size, "chunk": chunk, "save_every": save_every}
    counts["log_every"] = log_every
    _check_function(validate, "validate")
    if not (isinstance(progress, bool) or callable(progress)):
        got = f"{type(progress).__name__} ({progress!r})"
        raise TypeError(f"progress: expected True, False or a function, got {got}")
    folder = None if folder is None else expanded(folder)
    _check_arguments(key, model, update, data, counts, folder, resume, tensorboard)
    steps, batch_size, chunk, save_every, log_every = map(int, counts.values())
    chunk = min(chunk, steps)
    seeds = None if seeds is None else check_seeds(seeds)
    placement = place(seeds, devices, batch_size)
    program = make_chunk(update, data.transform, batch_size, placement.batch)
    initial = jax.jit(initialiser(model, update, data))
    like = jax.eval_shape(initial, key)
    if folder is not None:
        check_savable(like)
    rows = jax.ShapeDtypeStruct((chunk, batch_size), jnp.int32)
    # what tracing can refuse comes first
    _, metrics = jax.eval_shape(program, like, key, dict(data.arrays), rows, 1)
    _check_metrics(metrics)

    def check(run: Run, state: TrainState) -> None:
        if validate is not None:
            key_v = named_key(jax.random.fold_in(run.key, int(state.step)), "/validate")
            run.store.validated(state, validate(key_v, model.bind(state.params, state.variables)))

    def adjusted(run: Run, state: TrainState) -> TrainState:
        if after_validation is None or not run.store.validation:
            return state
        after = after_validation(run.store.validation, state)
        if jax.tree.map(_kind, after) != jax.tree.map(_kind, state):
            raise ValueError("after_validation: expected a state of the same structure, shapes and dtypes")
        return after

    with contextlib.ExitStack() as stack:
        meta = {"batch_size": batch_size, "examples": data.size, "data": folder and digest(data)}
        description = Description(model.spec, {**counts, "examples": data.size, "support": data.support})
        runs = open_runs(stack, key, seeds, folder, meta, description, resume, tensorboard)
        for run in runs:
            run.store.check_steps(steps)
        states = [run.store.restore(like) if run.done else initial(run.key) for run in runs]
        for i, (run, state) in enumerate(zip(runs, states, strict=True)):
            if run.store.lacks_validation():  # killed between a checkpoint and its validation
                check(run, state)
            states[i] = adjusted(run, state)
            run.ended = run.store.ended(stop)  # a run that ended early stays ended
            run.store.describe(description)
        report = stack.enter_context(_bar(progress, steps, runs))

        def settle(
            run: Run, records: list[dict[str, Any]], state: Callable[[], TrainState]
        ) -> TrainState | None:
            run.store.write(records, log_every)
            report(run, records)
            run.done += len(records)
            if run.done != steps and run.done % (chunk * save_every):
                return None
            before = state()
            run.store.save(before)
            check(run, before)
            run.ended = run.store.ended(stop)
            after = adjusted(run, before)
            return None if after is before else after

        advance = alone(program) if seeds is None else over_runs(program, placement.mesh)
        states = train(advance, placement, runs, states, data, steps, (chunk, batch_size), settle)
        fits = [run.store.result(state, run.error) for run, state in zip(runs, states, strict=True)]
        return fits[0] if seeds is None else dict(zip(seeds, fits, strict=True))


def _kind(array: Any) -> tuple:
    return jnp.shape(array), jnp.asarray(array).dtype


def _check_arguments(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    counts: dict[str, int],
    folder: Folder,
    resume: bool,
    tensorboard: bool,
) -> None:
    """Raise for bad arguments of `fit`."""
    check_key(key)
    for name, value, kind in (("model", model, Model), ("update", update, Update)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: expected a vaejax.{kind.__name__}, got {type(value).__name__}")
    check_split(data, "data")
    for name, value in counts.items():
        check_positive_int(value, name)
    check_support(model.support, data.support)
    if counts["batch_size"] > data.size:
        raise ValueError(
            f"batch_size: expected at most the {data.size} examples of the data, got {counts['batch_size']}"
        )
    if folder is None and (resume or tensorboard):
        raise ValueError("folder: expected a path, since resume or tensorboard is asked; got None")
    if tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise ImportError(
            "tensorboard: expected the extra of that name, which has tensorboardX: "
            "pip install 'vaejax[tensorboard]'; got tensorboard=True without it"
        )


def _check_function(value: Any, name: str) -> None:
    """Raise TypeError unless `value` is a function or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}: expected a function or None, got {type(value).__name__} ({value!r})")


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
    first = {name: a[:1] for name, a in data.arrays.items()}

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


@contextlib.contextmanager
def _bar(
    progress: bool | Callable, steps: int, runs: list[Run]
) -> Iterator[Callable[[Run, list[dict[str, Any]]], None]]:
    """A bar over the steps of all runs with loss and steps/s, or the caller's own function."""
    own = progress if callable(progress) else None
    hidden = own is not None or not progress or jax.process_index() > 0
    total, done = steps * len(runs), sum(run.done for run in runs)
    with Bar(total=total, initial=done, unit="step", disable=hidden) as bar:

        def report(run: Run, records: list[dict[str, Any]]) -> None:
            record = records[-1] if run.seed is None else {"seed": run.seed, **records[-1]}
            shown = {k: f"{v:.4g}" for k, v in record.items() if k == "seed" or k.endswith("loss")}
            bar.set_postfix(shown, refresh=False)
            bar.update(len(records))
            if own is not None:
                own(len(records), record)

        yield report
