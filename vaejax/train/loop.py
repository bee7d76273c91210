"""The training loop: chunks of steps on the device, metrics, checkpoints, exact resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from vaejax.checks import check_positive_int, check_support
from vaejax.keys import check_key, named_key
from vaejax.train.checkpoint import Checkpoints
from vaejax.train.log import MetricLog, read_metrics
from vaejax.train.step import chunk_indices, make_chunk
from vaejax.types import VAE, Array, Model, Split, TrainState, Update

__all__ = ["Fit", "fit"]


class Fit(NamedTuple):
    """What a training run leaves.

    `state`: the last state. `metrics`: {name: [steps]} of every step. `validation`: one record per
    validation, {"step": s, "validation": {...}}. `best`: the state of the lowest validation "neg_elbo",
    None without validation.
    """

    state: TrainState
    metrics: dict[str, np.ndarray]
    validation: list[dict[str, Any]]
    best: TrainState | None


def fit(
    key: Array,
    model: Model,
    update: Update,
    data: Split,
    steps: int,
    *,
    batch_size: int,
    chunk: int = 100,
    validate: Callable[[Array, VAE], dict[str, float]] | None = None,
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
      validate: `validate(key, vae) -> {name: number}`, called every `save_every` chunks and at the end;
        its "neg_elbo" (nats, beta = 1, no penalty) chooses the best state.
      folder: where metrics.jsonl and checkpoints go; None keeps everything in memory.
      resume: continue from the newest checkpoint in `folder` if there is one.
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
    counts = {"steps": steps, "batch_size": batch_size, "chunk": chunk, "save_every": save_every}
    _check_arguments(key, model, data, counts, folder, resume, tensorboard)
    initial = _initialiser(key, model, update, data)
    meta = {
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "batch_size": batch_size,
        "examples": data.size,
    }
    store = _Store(folder, meta, resume, tensorboard)
    try:
        if store.step > steps:
            raise ValueError(
                f"steps: expected at least the {store.step} that the run in {folder} has done, got {steps}"
            )
        state = store.restore(jax.eval_shape(initial)) if store.step else jax.jit(initial)()
        run = jax.jit(make_chunk(update, data.transform, batch_size), donate_argnums=0)
        arrays = jax.device_put(dict(data.arrays))
        done = store.step

        def check(state: TrainState) -> None:
            if validate is not None:
                key_v = named_key(jax.random.fold_in(key, done), "validate")
                store.validated(state, validate(key_v, model.bind(state.params, state.variables)))

        if store.lacks_validation():  # killed between a checkpoint and its validation
            check(state)
        with _bar(progress, steps, done) as report:
            while done < steps:
                n = min(chunk - done % chunk, steps - done)  # back on the grid of chunks after any resume
                rows = chunk_indices(key, done, chunk, data.size, batch_size)
                state, metrics = run(state, key, arrays, rows, n)
                records = _to_records(metrics, done, n)
                store.write(records)
                done += n
                report(n, records[-1])
                if done == steps or done % (chunk * save_every) == 0:
                    store.save(state)
                    check(state)
        return store.result(state)
    finally:
        store.close()


def _check_arguments(
    key: Array,
    model: Model,
    data: Split,
    counts: dict[str, int],
    folder: str | Path | None,
    resume: bool,
    tensorboard: bool,
) -> None:
    """Raise for bad arguments of `fit`."""
    check_key(key)
    for name, value in counts.items():
        check_positive_int(value, name)
    check_support(model.support, data.support)
    if counts["batch_size"] > data.size:
        raise ValueError(
            f"batch_size: expected at most the {data.size} examples of the data, got {counts['batch_size']}"
        )
    if folder is None and (resume or tensorboard):
        raise ValueError("folder: expected a path, since resume or tensorboard is asked; got None")


def _initialiser(key: Array, model: Model, update: Update, data: Split) -> Callable[[], TrainState]:
    """A function of nothing that makes the state of step 0."""
    first = {name: a[:1] for name, a in data.arrays.items()}

    def initial() -> TrainState:
        batch = data.transform(
            named_key(key, "transform"), {**jax.tree.map(jnp.asarray, first), "index": jnp.arange(1)}
        )
        params, variables = model.init(named_key(key, "init"), batch)
        state = TrainState(params, variables, update.init(params), jnp.zeros((), jnp.int32))
        # no weak types: a step returns strong ones, and the second chunk would compile again
        return jax.tree.map(lambda a: jax.lax.convert_element_type(a, jnp.asarray(a).dtype), state)

    return initial


def _to_records(metrics: dict[str, Array], done: int, n: int) -> list[dict[str, Any]]:
    host = {name: np.asarray(values)[:n] for name, values in metrics.items()}
    return [{"step": done + i + 1, **{name: float(v[i]) for name, v in host.items()}} for i in range(n)]


class _Store:
    """Where a run's records and states go: a folder, or memory."""

    def __init__(self, folder: str | Path | None, meta: dict[str, Any], resume: bool, tensorboard: bool):
        self.metrics: list[dict[str, Any]] = []
        self.validation: list[dict[str, Any]] = []
        self.best: TrainState | None = None
        self._lowest = math.inf
        self._meta = meta
        self._folder = None if folder is None else Path(folder)
        self.step = 0
        if self._folder is None:
            return
        self._latest = Checkpoints(self._folder / "checkpoints" / "latest", keep=2)
        self._best = Checkpoints(self._folder / "checkpoints" / "best", keep=1)
        self.step = self._latest.latest() or 0
        if self.step and not resume:
            self.close()
            raise ValueError(
                f"folder: {folder} holds a run at step {self.step}; expected resume=True to continue it, "
                "or another folder"
            )
        if self.step and (saved := self._latest.meta()) != meta:
            self.close()
            differing = [name for name in meta if saved.get(name) != meta[name]]
            raise ValueError(f"resume: the run in {folder} was made with another {', '.join(differing)}")
        self._log = MetricLog(self._folder, self.step, tensorboard)

    def restore(self, like: TrainState) -> TrainState:
        """The newest state, and the records and the best state that go with it."""
        assert self._folder is not None
        curves, validation = read_metrics(self._folder)
        names = list(curves)
        self.metrics = [dict(zip(names, row, strict=True)) for row in zip(*curves.values(), strict=True)]
        self.validation = validation
        scores = [r["validation"].get("neg_elbo", math.inf) for r in validation]
        self._lowest = min((s for s in scores if not math.isnan(s)), default=math.inf)
        if self._best.latest() is not None:
            self.best = self._best.restore(like)
        return self._latest.restore(like)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Log the steps of a chunk; stop at the first loss that is not finite."""
        self.metrics += records
        if self._folder is not None:
            self._log.write(records)
        bad = next(
            (r for r in records if any(not math.isfinite(v) for n, v in r.items() if n.endswith("loss"))),
            None,
        )
        if bad is not None:
            terms = ", ".join(f"{name}={value:.6g}" for name, value in bad.items() if name != "step")
            raise FloatingPointError(f"the loss is not finite at step {bad['step']}: {terms}; {self._kept()}")

    def save(self, state: TrainState) -> None:
        """Checkpoint a state; stop at one that is not finite: a finite loss may have another gradient."""
        finite = {g: all(np.isfinite(a).all() for a in jax.tree.leaves(p)) for g, p in state.params.items()}
        if not all(finite.values()):
            groups = ", ".join(group for group, ok in finite.items() if not ok)
            raise FloatingPointError(
                f"the parameters of {groups} are not finite at step {state.step}; {self._kept()}"
            )
        if self._folder is not None:
            self._latest.save(state, self._meta)

    def _kept(self) -> str:
        last = None if self._folder is None else self._latest.latest()
        return (
            "no checkpoint was saved"
            if last is None
            else f"the last good checkpoint is step {last} in {self._folder}"
        )

    def lacks_validation(self) -> bool:
        """Whether the checkpoint that the run resumes from was never validated."""
        return self.step > 0 and all(r["step"] != self.step for r in self.validation)

    def validated(self, state: TrainState, scores: dict[str, float]) -> None:
        """Record a validation and keep the state if its neg_elbo is the lowest."""
        record = {"step": int(state.step), "validation": {name: float(v) for name, v in scores.items()}}
        self.validation.append(record)
        if record["validation"].get("neg_elbo", math.inf) < self._lowest:
            self._lowest = record["validation"]["neg_elbo"]
            self.best = jax.tree.map(lambda a: np.array(a, copy=True), state)
            if self._folder is not None:
                # a kill leaves no best state that is newer than the latest, and no record without its state
                self._latest.wait()
                self._best.save(state, self._meta)
                self._best.wait()
        if self._folder is not None:
            self._log.write([record])

    def result(self, state: TrainState) -> Fit:
        names = self.metrics[0].keys() if self.metrics else ()
        curves = {name: np.asarray([r[name] for r in self.metrics]) for name in names}
        return Fit(state, curves, self.validation, self.best)

    def close(self) -> None:
        if self._folder is not None:
            for open_thing in (self._latest, self._best, getattr(self, "_log", None)):
                if open_thing is not None:
                    open_thing.close()


class _bar:  # noqa: N801 - used as a function
    """A tqdm bar with loss and steps/s, or the caller's own function, as a context."""

    def __init__(self, progress: bool | Callable, steps: int, done: int):
        self._call = progress if callable(progress) else None
        hidden = self._call is not None or not progress
        self._bar = tqdm(total=steps, initial=done, unit="step", disable=hidden)

    def __enter__(self) -> Callable[[int, dict[str, Any]], None]:
        def report(n: int, record: dict[str, Any]) -> None:
            self._bar.update(n)
            self._bar.set_postfix({k: f"{v:.4g}" for k, v in record.items() if k.endswith("loss")})
            if self._call is not None:
                self._call(n, record)

        return report

    def __exit__(self, *_: Any) -> None:
        self._bar.close()
