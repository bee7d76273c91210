"""Metrics of a run: JSON lines, and TensorBoard when asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["MetricLog", "read_metrics"]


class MetricLog:
    """Appends one JSON line per record to `folder/metrics.jsonl`.

    A record is {"step": s, name: value, ...}, s the number of steps done. On creation the file is cut
    after `step`, so that a resumed run continues where its checkpoint stands.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        kept = [r for r in _records(path) if r["step"] <= step]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(r) + "\n" for r in kept))
        temporary.replace(path)
        self._file = path.open("a")
        self._board = None
        if tensorboard:
            from tensorboardX import SummaryWriter  # an extra

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records and flush them to the file."""
        self._file.writelines(json.dumps(r) + "\n" for r in records)
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


def _records(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line.endswith("}")]


def read_metrics(folder: str | Path) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Read `folder/metrics.jsonl`.

    Returns:
      ({name: [steps]} with "step" among the names, and the validation records in order).
    """
    records = _records(Path(folder) / "metrics.jsonl")
    steps = [r for r in records if "validation" not in r]
    names = steps[0].keys() if steps else ()
    curves = {name: np.asarray([r[name] for r in steps]) for name in names}
    return curves, [r for r in records if "validation" in r]
