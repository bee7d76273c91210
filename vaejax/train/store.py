"""What a run keeps: records and states, in a folder or in memory."""

from __future__ import annotations

import contextlib
import errno
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vaejax.rows import forget, some_rows
from vaejax.train.checkpoint import Checkpoints, wait_for_all
from vaejax.train.folder import Description, only_writer
from vaejax.train.log import MetricLog, read_metrics, records_of
from vaejax.types import Split, TrainState

__all__ = ["Fit", "Store", "digest"]


class Fit(NamedTuple):
    """What a training run leaves.

    `state`: the last state. `metrics`: {name: [steps]}, "step" among the names, of every step or of every
    `log_every`-th. `validation`: one record per validation, {"step": s, "validation": {...}}. `best`: the
    state of the lowest validation "neg_elbo", None where no validation gave one. `error`: what froze the
    run, one of several seeds, where it is.
    """

    state: TrainState
    metrics: dict[str, np.ndarray]
    validation: list[dict[str, Any]]
    best: TrainState | None
    error: str | None = None

    def __repr__(self) -> str:
        last = {n: float(f"{v[-1]:.4g}") for n, v in self.metrics.items() if n != "step" and len(v)}
        n, best = len(next(iter(self.metrics.values()), ())), self.best and f"that of step {self.best.step}"
        return (
            f"Fit(state={self.state},\n  metrics of {n} steps, the last {last},\n"
            f"  validation: {len(self.validation)} records, best={best}, error={self.error!r})"
        )


class Store:
    """Where a run's records and states go: a folder, or memory."""

    def __init__(
        self,
        folder: Path | None,
        meta: dict[str, Any],
        description: Description,
        resume: bool,
        tensorboard: bool,
    ):
        self.metrics: list[dict[str, Any]] = []
        self.validation: list[dict[str, Any]] = []
        self.best: TrainState | None = None
        self._lowest = math.inf
        self._meta = meta
        self._folder = folder
        self.step = 0
        self._log: MetricLog | None = None
        if folder is not None:
            with contextlib.ExitStack() as opened:  # closed again if the folder is refused
                opened.callback(self.close)
                self._open(folder, description, resume, tensorboard)
                opened.pop_all()
            wait_for_all(f"the metrics of {folder} are cut")

    def _open(self, folder: Path, description: Description, resume: bool, tensorboard: bool) -> None:
        """Open the files of a folder where this run may go on; nothing is written where it may not."""
        writes = jax.process_index() == 0  # of a job of several processes, one does
        if writes:
            self._lock = only_writer(folder)
        self._latest = Checkpoints(folder / "checkpoints" / "latest", keep=2)
        self._best = Checkpoints(folder / "checkpoints" / "best", keep=1)
        if resume:
            self._latest.drop_damaged()
            self._best.drop_damaged()
        self.step = self._latest.latest() or 0
        self._check(resume)
        description.check(folder, self.step)
        if writes:
            records_of(folder)  # what cannot be read is no fault of writing
            with self._writing(self.step):
                self._log = MetricLog(folder, self.step, tensorboard)

    def _check(self, resume: bool) -> None:
        """Raise ValueError for a run that is not to be continued, or not with what is given."""
        if not self.step:
            return
        if not resume:
            raise ValueError(
                f"folder: {self._folder} holds a run at step {self.step}; expected resume=True to continue "
                "it, or another folder"
            )
        saved = self._latest.meta()
        differing = [
            f"{name} ({saved.get(name)} there, {now} now)"
            for name, now in self._meta.items()
            if name != "data" and saved.get(name) != now
        ]
        if differing:
            raise ValueError(
                f"resume: the run in {self._folder} is another in {', '.join(differing)}; what may "
                "change are steps, chunk, save_every and log_every. To go on from its parameters otherwise, "
                "give models.starting_from(model, runs.load(folder).params) another folder"
            )
        if saved.get("data", self._meta["data"]) != self._meta["data"]:
            warnings.warn(
                f"resume: the data have other values than those that the run in {self._folder} was made "
                "with: it will not end as it would have",
                RuntimeWarning,
                stacklevel=4,
            )

    def check_steps(self, steps: int) -> None:
        """Raise ValueError if the run has done more than `steps` already."""
        if self.step > steps:
            done = f"the {self.step} that the run in {self._folder} has done"
            raise ValueError(f"steps: expected at least {done}, got {steps}")

    def restore(self, like: TrainState) -> TrainState:
        """The newest state, and the records and the best state that go with it."""
        assert self._folder is not None
        curves, validation = read_metrics(self._folder)
        names = list(curves)
        self.metrics = [dict(zip(names, row, strict=True)) for row in zip(*curves.values(), strict=True)]
        self.validation = validation
        if self._best.latest() is not None:
            self.best = self._best.restore(like)
            scores = [r["validation"].get("neg_elbo", math.inf) for r in validation]  # of older checkpoints
            lowest = min((s for s in scores if not math.isnan(s)), default=math.inf)
            self._lowest = self._best.meta().get("neg_elbo", lowest)
        return self._latest.restore(like)

    def describe(self, description: Description) -> None:
        """Write down the run's model and how it was called, for whoever loads it."""
        if self._folder is not None and self._log is not None:
            with self._writing(self.step):
                description.write(self._folder, key=self._meta["key"])

    def write(self, records: list[dict[str, Any]], every: int = 1) -> None:
        """Log one of `every` steps of a chunk; stop at the first loss that is not finite, and log it."""
        if self.metrics and (other := self.metrics[0].keys() ^ records[0].keys()):
            raise ValueError(f"resume: expected the metrics of the run so far; differing: {sorted(other)}")
        bad = next(
            (r for r in records if any(not math.isfinite(v) for n, v in r.items() if n.endswith("loss"))),
            None,
        )
        kept = [r for r in records if r["step"] % every == 0 or r is bad]
        self.metrics += kept
        if self._log is not None:
            with self._writing(records[-1]["step"]):
                self._log.write(kept)
        if bad is not None:
            terms = ", ".join(f"{name}={value:.6g}" for name, value in bad.items() if name != "step")
            raise FloatingPointError(f"the loss is not finite at step {bad['step']}: {terms}; {self.kept()}")

    def save(self, state: TrainState, interrupted: bool = False) -> None:
        """Checkpoint a state; stop at one that is not finite: a finite loss may have another gradient.

        `interrupted`: this is no step at which runs are validated.
        """
        finite = {g: all(np.isfinite(a).all() for a in jax.tree.leaves(p)) for g, p in state.params.items()}
        if not all(finite.values()):
            groups = ", ".join(group for group, ok in finite.items() if not ok)
            raise FloatingPointError(
                f"the parameters of {groups} are not finite at step {state.step}; {self.kept()}"
            )
        if self._folder is not None:
            with self._writing(int(state.step)):
                self._latest.save(state, self._meta | ({"interrupted": True} if interrupted else {}))

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        """Say what could not be written, as on a full disk; saves run behind, so the cause may be earlier."""
        try:
            yield
        except Exception as error:  # orbax and tensorstore raise many kinds
            if is_of_a_job(error):
                raise  # no fault of the disk: another process is lost
            where = f"could not write to {self._folder} by step {step}"
            if _is_full(error):  # the whole cause: what orbax and tensorstore made of it says no more
                message = f"No space left on device: {where}; {self.kept()}"
                raise OSError(errno.ENOSPC, message) from None
            reason = f"{str(error).strip() or type(error).__name__}".splitlines()[0][:300]
            raise OSError(f"{where}: {reason}; {self.kept()}") from error

    def kept(self) -> str:
        """What of the run is saved, as a phrase."""
        last = None
        if self._folder is not None:
            with contextlib.suppress(Exception):  # of a save that fails; it is then no longer the latest
                self._latest.wait()
            last = self._latest.latest()
        return (
            "no checkpoint was saved"
            if last is None
            else f"the last good checkpoint is step {last} in {self._folder}"
        )

    @property
    def has_folder(self) -> bool:
        """Whether the run is kept on disk."""
        return self._folder is not None

    @property
    def interrupted(self) -> bool:
        """Whether the checkpoint that the run resumes from was saved by Ctrl-C, between two validations."""
        return self.step > 0 and "interrupted" in self._latest.meta()

    def lacks_validation(self) -> bool:
        """Whether the checkpoint that the run resumes from was never validated."""
        return self.step > 0 and all(r["step"] != self.step for r in self.validation)

    def validated(self, state: TrainState, scores: dict[str, Any]) -> None:
        """Record a validation's numbers and keep the state if its neg_elbo is the lowest."""
        record = {"step": int(state.step), "validation": _numbers(scores)}
        self.validation.append(record)
        if record["validation"].get("neg_elbo", math.inf) < self._lowest:
            self._lowest = record["validation"]["neg_elbo"]
            self.best = jax.tree.map(lambda a: np.array(a, copy=True), state)
            if self._folder is not None:
                # a kill leaves no best state that is newer than the latest, and no record without its state
                with self._writing(int(state.step)):
                    self._latest.wait()
                    self._best.save(state, {**self._meta, "neg_elbo": self._lowest})
                    self._best.wait()
        if self._log is not None:
            with self._writing(int(state.step)):
                self._log.write([record])

    def ended(self, stop: Callable[[list[dict[str, Any]]], bool] | None) -> bool:
        """Whether the caller's `stop` ends the run after the validations so far."""
        return stop is not None and bool(self.validation) and stop(self.validation)

    def result(self, state: TrainState, error: str | None = None) -> Fit:
        """What the run leaves, once everything is written."""
        if self._folder is not None:
            with self._writing(int(state.step)):
                self._latest.wait()
        names = self.metrics[0].keys() if self.metrics else ()
        curves = {name: np.asarray([r[name] for r in self.metrics]) for name in names}
        return Fit(state, curves, self.validation, self.best, error)

    def close(self) -> None:
        """Finish what is being written and close; failures were raised before, in `_writing`."""
        for name in ("_latest", "_best", "_log", "_lock"):
            if (opened := getattr(self, name, None)) is not None:
                with contextlib.suppress(Exception):
                    opened.close()


def _numbers(scores: Any) -> dict[str, float]:
    """The scalars of what `validate` returned."""
    if not isinstance(scores, Mapping):
        raise TypeError(f"validate: expected to return a dict of numbers, got {type(scores).__name__}")
    numbers = {}
    for name, value in scores.items():
        if value is None or isinstance(value, str | bytes):
            raise TypeError(f"validate: expected numbers or arrays, got {name!r}: {value!r}")
        if np.ndim(value) == 0:
            numbers[name] = float(value)
    return numbers


def digest(data: Split) -> dict[str, Any]:
    """{name: crc32} of a split's arrays; of several modalities {name: {modality: crc32}}.

    Of an array of more than 1 GiB, and of what is read by rows, it is that of some rows (`rows.some_rows`).
    """

    def of(array: Any) -> int:
        return zlib.crc32(np.ascontiguousarray(some_rows(array)).view(np.uint8).data)

    found = jax.tree.map(of, dict(data.arrays))
    forget(dict(data.arrays))
    return found


def is_of_a_job(error: Exception) -> bool:
    """Whether it is the exchange with other processes that failed; Gloo's failures may be ValueErrors."""
    of_jax = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)
    return jax.process_count() > 1 and of_jax


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, is that of a disk without space, or of a quota."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
