"""Metrics of a run: JSON lines, and TensorBoard when asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vaejax.files import dumps, expanded, loads, write_text

__all__ = ["MetricLog", "read_metrics"]


class MetricLog:
    """Appends one JSON line per record to `folder/metrics.jsonl`.

    A record is {"step": s, name: value, ...}, s the number of steps done; nan and infinity as in
    `vaejax.files`. On creation the file is cut after `step`, so that a resumed run continues where its
    checkpoint stands.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False):
        path = folder / "metrics.jsonl"
        kept = [r for r in records_of(folder) if r["step"] <= step]
        write_text(path, "".join(dumps(r) + "\n" for r in kept))
        self._file = path.open("a", encoding="utf-8")
        self._board = None
        if tensorboard:
            from tensorboardX import SummaryWriter  # an extra

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records and flush them to the file."""
        self._file.write("".join(dumps(r) + "\n" for r in records))
        self._file.flush()
        if self._board is not None:
            for record in records:
                for name, value in _flat(record):
                    self._board.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    flat = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}/")
        elif name != "step":
            flat.append((prefix + name, value))
    return flat


def records_of(folder: Path) -> list[dict[str, Any]]:
    """The records of `folder/metrics.jsonl`; a last line cut by a kill is left out.

    Raises:
      ValueError: for any other line that is no record; file and line are named.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [_record(line, f"line {i} of {path}") for i, line in enumerate(lines, 1)]


def _record(line: str, place: str) -> dict[str, Any]:
    try:
        record = loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        got = f"{line[:40]!r}{'...' if len(line) > 40 else ''}"
        raise ValueError(f"folder: expected a record of metrics in {place}, got {got}; take the line out")
    return record


def read_metrics(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Read `folder/metrics.jsonl`.

    Returns:
      ({name: [steps]} with "step" among the names, and the validation records in order).

    Raises:
      ValueError: for a line that is no record.
    """
    records = records_of(expanded(folder))
    steps = [r for r in records if "validation" not in r]
    names = steps[0].keys() if steps else ()
    curves = {name: np.asarray([r[name] for r in steps]) for name in names}
    return curves, [r for r in records if "validation" in r]
