"""Checkpoints of a TrainState, by orbax: plain arrays and JSON, no pickled code."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import warnings
import zlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from vaejax.files import expanded
from vaejax.types import TrainState

__all__ = ["Checkpoints", "check_savable", "wait_for_all"]


def wait_for_all(what: str) -> None:
    """Wait until every process of the job is here; with one process, go on."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


class Checkpoints:
    """The checkpoints of one folder, the newest `keep` of them.

    Saving is asynchronous and atomic: a kill in mid-save leaves the checkpoint before as the newest.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2):
        import orbax.checkpoint as ocp  # takes a second, which only who keeps checkpoints should wait for

        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        items = {"state": ocp.StandardCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
        logging.getLogger("absl").addFilter(self._is_news)
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            expanded(folder).absolute(), options=options, item_handlers=items
        )

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Save a state and its JSON-able metadata under `state.step`; leaves one of that step as it is.

        Raises:
          ValueError: for a state that would not come back whole, see `check_savable`.
        """
        check_savable(state)
        step = int(state.step)
        if self._manager.latest_step() == step:
            return
        # copies: the next chunk donates these buffers while the save is still being written
        arrays = jax.tree.map(lambda a: np.array(a, copy=True), state._asdict())
        needed = sum(a.nbytes for a in jax.tree.leaves(arrays))
        free = shutil.disk_usage(self._manager.directory).free
        if free < needed:  # once it has begun, a save that fails fills the screen from its threads
            raise OSError(errno.ENOSPC, f"No space left on device: {free} bytes, a checkpoint takes {needed}")
        record = {"run": meta, "crc32": _checksums(arrays)}
        args = self._args.Composite(state=self._args.StandardSave(arrays), meta=self._args.JsonSave(record))
        self._manager.save(step, args=args)

    def drop_damaged(self) -> None:
        """Set the newest checkpoints aside until one reads whole, its checksums included; warn of each."""
        for step in sorted(self._manager.all_steps(), reverse=True):
            reason, _ = self._damage(step)
            if reason is None:
                return
            where = self._manager.directory
            warnings.warn(
                f"the checkpoint of step {step} in {where} is damaged and left out ({reason})", stacklevel=2
            )
            aside = where.parent / f"{where.name}-damaged-{step}"  # nothing that was saved is thrown away
            if jax.process_index() == 0:
                shutil.rmtree(aside, ignore_errors=True)
                shutil.move(where / str(step), aside)
            wait_for_all(f"{aside} is set aside")
            self._manager.reload()

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """The metadata saved with a checkpoint, the newest by default."""
        return dict(self._record(self._step(step))["run"])

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """The state of a checkpoint, the newest by default, as host arrays in the structure of `like`.

        Raises:
          ValueError: if there is none, or it holds other arrays than `like`; they are named.
        """
        step = self._step(step)
        # orbax would return other shapes as they are and cast other dtypes, without a word
        saved, wanted = _arrays(self._manager.item_metadata(step)["state"]), _arrays(like._asdict())
        other = [
            f"{n}: {saved.get(n)} there, {wanted.get(n)} now"
            for n in saved | wanted
            if saved.get(n) != wanted.get(n)
        ]
        if other:
            raise ValueError(f"folder: {self._manager.directory} holds another state ({'; '.join(other)})")
        host = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like._asdict())
        args = self._args.Composite(state=self._args.StandardRestore(host))
        return TrainState(**self._manager.restore(step, args=args)["state"])

    def restore_params(self, step: int | None = None) -> tuple[Any, Any]:
        """(params, variables) of a checkpoint as host arrays, without knowing the optimiser.

        Raises:
          ValueError: if there is none, or it is damaged.
        """
        step = self._step(step)
        reason, state = self._damage(step)
        if reason is not None:
            raise ValueError(
                f"folder: the checkpoint of step {step} in {self._manager.directory} is damaged ({reason})"
            )
        return state["params"], state["variables"]

    def _damage(self, step: int) -> tuple[str | None, dict[str, Any]]:
        """What is wrong with a checkpoint, None if nothing is; and its state."""
        try:
            state = self._read(step)
            intact = _checksums(state) == self._record(step)["crc32"]
        except Exception as error:  # orbax, tensorstore and json raise many kinds for a damaged file
            return f"{type(error).__name__}: {f'{error} '.splitlines()[0][:200]}", {}
        return None if intact else "its checksums differ", state

    def _read(self, step: int) -> dict[str, Any]:
        """The state as host arrays in plain dicts and lists."""
        saved = self._manager.item_metadata(step)["state"]
        host = jax.tree.map(lambda m: np.empty(m.shape, m.dtype), saved)
        args = self._args.Composite(state=self._args.StandardRestore(host))
        return self._manager.restore(step, args=args)["state"]

    def _record(self, step: int) -> dict[str, Any]:
        args = self._args.Composite(meta=self._args.JsonRestore())
        return self._manager.restore(step, args=args)["meta"]

    def _step(self, step: int | None) -> int:
        step = self.latest() if step is None else step
        if step is None:
            raise ValueError(f"folder: expected a checkpoint in {self._manager.directory}, found none")
        return step

    def wait(self) -> None:
        """Wait for saves under way."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for saves under way and close."""
        try:
            self.wait()
        finally:
            self._manager.close()
            logging.getLogger("absl").removeFilter(self._is_news)

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether a log record is none of orbax' tracebacks, of errors that it raises as well."""
        return record.exc_info is None or "orbax" not in record.pathname


def check_savable(state: TrainState) -> None:
    """Raise ValueError if a checkpoint would not give the state back.

    Files are named by the names on the path to an array, joined by dots; an array without values has none.
    Parameters that are read back without knowing the optimiser have strings for names.
    """
    seen: dict[str, str] = {}
    for path, array in jax.tree_util.tree_leaves_with_path(state._asdict()):
        where = jax.tree_util.keystr(path)
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in seen:
            raise ValueError(
                f"state: expected names that stay apart when joined by dots, got {seen[name]} and {where}"
            )
        names = [p.key for p in path if isinstance(p, jax.tree_util.DictKey)]
        if names[0] in ("params", "variables") and not all(isinstance(n, str) for n in names):
            raise ValueError(f"state: expected names that are strings, got {where}")
        if np.size(array) == 0:
            raise ValueError(f"state: expected arrays with values, got {list(np.shape(array))} at {where}")
        seen[name] = where


def _checksums(tree: Any) -> list[int]:
    """crc32 of every array of a tree, sorted: the order of leaves differs between tuples and dicts."""
    return sorted(zlib.crc32(np.ascontiguousarray(a).tobytes()) for a in jax.tree.leaves(tree))


def _arrays(tree: Any) -> dict[str, str]:
    """{path: dtype and shape} of every array of a tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(p, simple=True, separator="/"): f"{np.dtype(a.dtype)}{list(a.shape)}"
        for p, a in leaves
    }
