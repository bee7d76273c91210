"""How long the steps of a training took, over all the processes that did some of them."""

from __future__ import annotations

import contextlib
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vaejax.train.log import read_metrics

__all__ = ["Clock", "read_seconds", "read_validations"]


class Clock:
    """A `progress` of `fit` that keeps the time: [step, seconds until then] of each chunk in seconds.jsonl.

    Args:
      folder: that of `fit`.
      start: the `time.perf_counter()` from which this process counts; what those before it took is added.
    """

    def __init__(self, folder: Path, start: float):
        self._path, self._start, self._before = folder / "seconds.jsonl", start, read_seconds(folder)
        self._done = self._step = 0  # by this process; of the last chunk

    def __call__(self, n: int, record: dict[str, Any]) -> None:
        self._done, self._step = self._done + n, record["step"]
        known = self._before.get(self._step - self._done)  # at the step that this process began with
        until = None if known is None else known + time.perf_counter() - self._start
        with self._path.open("a") as file:
            file.write(json.dumps([self._step, until]) + "\n")

    def end(self) -> None:
        """Count what was done after the last chunk too, as its checkpoint."""
        if self._done:
            self(0, {"step": self._step})


def read_seconds(folder: Path) -> dict[int, float | None]:
    """{step: the seconds until then} at ends of chunks that a `Clock` saw; None: not known."""
    path = folder / "seconds.jsonl"
    known: dict[int, float | None] = {0: 0.0}
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):  # cut by a kill
            step, known[step] = json.loads(line)
    return known


def read_validations(folder: Path) -> dict[str, list[Any]]:
    """{"steps", "seconds" and every score: its values at the validations of a training with a `Clock`}.

    The seconds are of its steps alone, by the median of the chunks since the validation before: compilation,
    validations and what a kill left unmeasured are not counted.
    """
    records = read_metrics(folder)[1]
    if not records:
        return {"steps": [], "seconds": []}
    steps = [0, *(record["step"] for record in records)]
    known = {step: s for step, s in sorted(read_seconds(folder).items()) if s is not None}
    ends, rates = np.array(list(known))[1:], np.diff(list(known.values())) / np.diff(list(known))
    chunks = [rates[(ends > a) & (ends <= b)] for a, b in pairwise(steps)]
    medians = np.array([np.median(part) if len(part) else np.nan for part in chunks])
    spent = np.cumsum(np.where(np.isnan(medians), np.nanmedian(medians), medians) * np.diff(steps))
    scores = {name: [r["validation"][name] for r in records] for name in records[0]["validation"]}
    return {"steps": steps[1:], "seconds": spent.tolist(), **scores}
