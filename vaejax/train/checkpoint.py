"""Checkpoints of a TrainState, by orbax: plain arrays and JSON, no pickled code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from vaejax.types import TrainState

__all__ = ["Checkpoints"]


class Checkpoints:
    """The checkpoints of one folder, the newest `keep` of them.

    Saving is asynchronous and atomic: a kill in mid-save leaves the checkpoint before as the newest.
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(Path(folder).absolute(), options=options)

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Save a state and its JSON-able metadata under `state.step`; replaces one of that step."""
        step = int(state.step)
        if self._manager.latest_step() == step:
            return
        # copies: the next chunk donates these buffers while the save is still being written
        arrays = jax.tree.map(lambda a: np.array(a, copy=True), state._asdict())
        args = ocp.args.Composite(state=ocp.args.StandardSave(arrays), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=args)

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """The metadata saved with a checkpoint, the newest by default."""
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        return dict(self._manager.restore(self._step(step), args=args)["meta"])

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """The state of a checkpoint, the newest by default, in the structure and dtypes of `like`."""
        abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), like._asdict())
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return TrainState(**self._manager.restore(self._step(step), args=args)["state"])

    def restore_params(self, step: int | None = None) -> tuple[Any, Any]:
        """(params, variables) of a checkpoint as host arrays, without knowing the optimiser."""
        step = self._step(step)
        saved = self._manager.item_metadata(step)["state"]
        host = jax.tree.map(lambda m: np.empty(m.shape, m.dtype), saved)
        state = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(host)))[
            "state"
        ]
        return state["params"], state["variables"]

    def _step(self, step: int | None) -> int:
        step = self.latest() if step is None else step
        if step is None:
            raise ValueError(f"folder: expected a checkpoint in {self._manager.directory}, found none")
        return step

    def close(self) -> None:
        """Wait for saves under way and close."""
        self._manager.wait_until_finished()
        self._manager.close()
