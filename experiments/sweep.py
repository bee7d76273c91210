"""A grid over fields of a config: its cells, and their results as one table and the lines of one figure."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Generic, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

Config = TypeVar("Config")
Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]  # metric -> label -> {"mean": m, "ci95"?: [low, high]}


class Cell(NamedTuple, Generic[Config]):
    """One point of a grid: the swept fields' values, and the config with them."""

    values: dict[str, Any]
    config: Config


class Result(NamedTuple):
    """What a table and a figure show of a cell."""

    values: Mapping[str, Any]
    scores: Scores


def cells(config: Config, fixed: Collection[str]) -> list[Cell[Config]]:
    """Every cell of the grid of `config.sweep`, the last field fastest; the config itself without a sweep.

    Args:
      config: a frozen dataclass with a field `sweep`, a tuple of texts `field=value,value,...`; values are
        read as the field's type, `none` as None where the type allows it.
      fixed: names of fields that cannot be swept.

    Returns:
      The cells; their configs have no sweep.

    Raises:
      ValueError: for a text of another form, a field that is unknown, fixed or swept twice, a value that is
        not of the field's type or comes twice, or one that the config refuses.
    """
    kinds = get_type_hints(type(config))
    names = sorted(kinds.keys() - {*fixed, "sweep"})
    grid: dict[str, list[Any]] = {}
    for axis in config.sweep:  # type: ignore[attr-defined]
        name, _, values = axis.partition("=")
        name = name.strip().replace("-", "_")  # as in a flag
        if name not in names:
            reason = "it cannot be swept" if name in kinds else "the config has no such field"
            raise ValueError(f"sweep: expected one of {', '.join(names)}; got {name!r}: {reason}")
        if name in grid:
            raise ValueError(f"sweep: expected every field once, got {name} again")
        grid[name] = [_value(part.strip(), kinds[name], name) for part in values.split(",")]
        if len(set(grid[name])) < len(grid[name]):
            raise ValueError(f"sweep: expected every value once, got {axis!r}")
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    return [Cell(point, dataclasses.replace(config, sweep=(), **point)) for point in points]  # type: ignore[type-var]


def _value(text: str, kind: Any, name: str) -> Any:
    """The text as a value of a field's type."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if NoneType in options and text.lower() == "none":
        return None
    if bool in options and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for option in (int, float, str):
        if option in options and text:
            with contextlib.suppress(ValueError):
                return option(text)
    expected = kind.__name__ if isinstance(kind, type) else kind
    raise ValueError(f"sweep: expected {name}=value,value,... with values of {expected}; got {text!r}")


def digest(plain: Mapping[str, Any]) -> str:
    """Eight letters that tell plain configs apart, for names of folders."""
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:8]


def table(results: Sequence[Result]) -> list[dict[str, str]]:
    """A row per cell, for `runs.table`: swept fields, then every score with its interval."""
    return [
        {name: text(v) for name, v in values.items()}
        | {title: interval(entry) for title, entry in _columns(scores).items()}
        for values, scores in results
    ]


def numbers(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The same as plain numbers: mean and, where there is an interval, low and high in a column each."""
    rows = []
    for values, scores in results:
        row = dict(values)
        for title, entry in _columns(scores).items():
            row[title] = entry["mean"]
            if "ci95" in entry:
                row |= dict(zip((f"{title} low", f"{title} high"), entry["ci95"], strict=True))
        rows.append(row)
    return rows


def _columns(scores: Scores) -> dict[str, Mapping[str, Any]]:
    return {
        f"{label} {metric}".strip(): entry
        for metric, per_label in scores.items()
        for label, entry in per_label.items()
    }


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of equal columns as a CSV file; None is an empty cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def lines(results: Sequence[Result]) -> dict[str, dict[str, dict[Any, Mapping[str, Any]]]]:
    """Scores against the first swept field, for `plots.sweep_curves`; labels name the other fields."""
    curves: dict[str, dict[str, dict[Any, Mapping[str, Any]]]] = {}
    for values, scores in results:
        (_, x), *others = values.items()
        line = [f"{name}={text(v)}" for name, v in others]
        for metric, per_label in scores.items():
            for label, entry in per_label.items():
                points = curves.setdefault(metric, {}).setdefault(", ".join([label, *line]), {})
                points[x] = entry
    return curves


def text(value: Any) -> str:
    """A swept value in few letters, and different ones in different letters."""
    short = isinstance(value, float) and float(f"{value:g}") == value
    return f"{value:g}" if short else str(value)


def interval(entry: Mapping[str, Any]) -> str:
    """`mean [low, high]`, or the mean alone where there is no interval."""
    low, high = entry.get("ci95", (None, None))
    mean = f"{entry['mean']:.4g}"
    return mean if low is None else f"{mean} [{low:.4g}, {high:.4g}]"
