"""The training loop: chunks of steps on the device, metrics, checkpoints, exact resume."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vaejax.checks import check_positive_int, check_support
from vaejax.keys import check_key, named_key
from vaejax.train.step import chunk_indices, make_chunk
from vaejax.train.store import Fit, Store
from vaejax.types import VAE, Array, Model, Split, TrainState, Update

__all__ = ["fit"]


def fit(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    steps: int,
    *,
    batch_size: int,
    chunk: int = 100,
    validate: Callable[[Array, VAE], dict[str, Any]] | None = None,
    stop: Callable[[list[dict[str, Any]]], bool] | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    save_every: int = 10,
    tensorboard: bool = False,
    progress: bool | Callable[[int, dict[str, float]], None] = True,
) -> Fit:
    """Train a model.

    Every step is a pure function of the key, its number and the data: it does not matter where a run was
    cut into chunks or resumed.

    Args:
      key: the root key of the run; step t uses fold_in(key, t), the data order is another child of it.
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
      folder: where metrics.jsonl and checkpoints go; None keeps everything in memory.
      resume: continue from the newest checkpoint in `folder` if there is one; key, batch size and number of
        examples must be those of the run, the objective is the caller's to keep (`runs.create` compares).
      save_every: chunks between checkpoints; the last step is always saved.
      tensorboard: also write TensorBoard events to `folder` (extra "tensorboard").
      progress: True for a bar, or `progress(n, record)`, called after each chunk with its number of steps
        and the record of the last.

    Returns:
      A Fit.

    Raises:
      TypeError, ValueError: for bad arguments, before anything compiles.
      FloatingPointError: when the loss is not finite, or a state to be saved; names the step, the terms or
        parameter groups, and the last checkpoint.
    """
    if stop is not None and validate is None:
        raise ValueError("stop: expected with validate, whose records it reads; got validate=None")
    counts = {"steps": steps, "batch_size": batch_size, "chunk": chunk, "save_every": save_every}
    _check_arguments(key, model, update, data, counts, folder, resume, tensorboard)
    initial = initialiser(key, model, update, data)
    run = jax.jit(make_chunk(update, data.transform, batch_size), donate_argnums=0)
    rows = jax.ShapeDtypeStruct((chunk, batch_size), jnp.int32)
    like = jax.eval_shape(initial)
    run.eval_shape(like, key, dict(data.arrays), rows, 1)  # what tracing can refuse, before anything is made
    key_data = np.asarray(jax.random.key_data(key)).tolist()
    meta = {"key": key_data, "batch_size": batch_size, "examples": data.size}
    store = Store(folder, meta, resume, tensorboard)

    def check(state: TrainState) -> None:
        if validate is not None:
            key_v = named_key(jax.random.fold_in(key, int(state.step)), "/validate")
            store.validated(state, validate(key_v, model.bind(state.params, state.variables)))

    try:
        store.check_steps(steps)
        state = store.restore(like) if store.step else jax.jit(initial)()
        if store.lacks_validation():  # killed between a checkpoint and its validation
            check(state)
        chunks = _chunks(run, key, state, data, steps, batch_size, chunk)
        if store.ended(stop):
            return store.result(state)  # a run that ended early stays ended
        with _bar(progress, steps, store.step) as report:
            for state, records in chunks:
                store.write(records)
                report(len(records), records[-1])
                if (done := records[-1]["step"]) == steps or done % (chunk * save_every) == 0:
                    store.save(state)
                    check(state)
                    if store.ended(stop):
                        break
        return store.result(state)
    finally:
        store.close()


def _chunks(
    run: Callable, key: Array, state: TrainState, data: Split, steps: int, batch_size: int, chunk: int
) -> Iterator[tuple[TrainState, list[dict[str, Any]]]]:
    """Run the steps left; after each chunk yield the state, which the next one eats, and its records."""
    arrays = jax.device_put(dict(data.arrays))
    done = int(state.step)
    while done < steps:
        n = min(chunk - done % chunk, steps - done)  # back on the grid of chunks after any resume
        rows = chunk_indices(key, done, chunk, data.size, batch_size)
        state, metrics = run(state, key, arrays, rows, n)
        yield state, _to_records(metrics, done, n)
        done += n


def _check_arguments(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    counts: dict[str, int],
    folder: str | Path | None,
    resume: bool,
    tensorboard: bool,
) -> None:
    """Raise for bad arguments of `fit`."""
    check_key(key)
    for name, value, kind in (("model", model, Model), ("update", update, Update), ("data", data, Split)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: expected a vaejax.{kind.__name__}, got {type(value).__name__}")
    for name, value in counts.items():
        check_positive_int(value, name)
    check_support(model.support, data.support)
    if counts["batch_size"] > data.size:
        raise ValueError(
            f"batch_size: expected at most the {data.size} examples of the data, got {counts['batch_size']}"
        )
    if folder is None and (resume or tensorboard):
        raise ValueError("folder: expected a path, since resume or tensorboard is asked; got None")


def initialiser(key: Array, model: Model, update: Update, data: Split) -> Callable[[], TrainState]:
    """A function of nothing that makes the state of step 0."""
    first = {name: a[:1] for name, a in data.arrays.items()}

    def initial() -> TrainState:
        batch = data.transform(
            named_key(key, "/transform"), {**jax.tree.map(jnp.asarray, first), "index": jnp.arange(1)}
        )
        params, variables = model.init(named_key(key, "/init"), batch)
        state = TrainState(params, variables, update.init(params), jnp.zeros((), jnp.int32))
        # no weak types: a step returns strong ones, and the second chunk would compile again
        return jax.tree.map(lambda a: jax.lax.convert_element_type(a, jnp.asarray(a).dtype), state)

    return initial


def _to_records(metrics: dict[str, Array], done: int, n: int) -> list[dict[str, Any]]:
    host = {name: np.asarray(values)[:n] for name, values in metrics.items()}
    return [{"step": done + i + 1, **{name: float(v[i]) for name, v in host.items()}} for i in range(n)]


@contextlib.contextmanager
def _bar(progress: bool | Callable, steps: int, done: int) -> Iterator[Callable[[int, dict[str, Any]], None]]:
    """A tqdm bar with loss and steps/s, or the caller's own function."""
    own = progress if callable(progress) else None
    with tqdm(total=steps, initial=done, unit="step", disable=own is not None or not progress) as bar:

        def report(n: int, record: dict[str, Any]) -> None:
            bar.update(n)
            bar.set_postfix({k: f"{v:.4g}" for k, v in record.items() if k.endswith("loss")})
            if own is not None:
                own(n, record)

        yield report
