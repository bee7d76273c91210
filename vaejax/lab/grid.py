"""What an experiment trains: its rows, with every seed, at every cell of a grid over fields of its config."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from vaejax import runs
from vaejax.checks import check_choice
from vaejax.files import expanded
from vaejax.lab.settings import SHOWN_ONLY, Settings
from vaejax.lab.trainings import Job


class Row(NamedTuple):
    """A row of a table."""

    label: str
    same_as: str | None = None  # the name of the training that it shares, where that is not its own
    unread: tuple[str, ...] = ()  # fields that it does not depend on: cells that differ in these share it


Rows = Mapping[str, Row | str] | Callable[[Any], Mapping[str, Row | str]]


def rows_of(rows: Rows, config: Settings) -> dict[str, Row]:
    """The rows of a config."""
    named = rows(config) if callable(rows) else rows
    return {name: row if isinstance(row, Row) else Row(row) for name, row in named.items()}


def opened(title: str, config: Any, presets: Mapping[str, Any]) -> tuple[Any, Path]:
    """The config, with `report_only` the one that the folder holds, and the folder.

    By default it is runs/TITLE-PRESET, with a digest where flags changed the preset, and "-sweep" for a grid.
    """
    check_choice(config.preset, tuple(presets), "preset")
    plain = {k: v for k, v in dataclasses.asdict(config).items() if k not in (*SHOWN_ONLY, "sweep")}
    changed = any(getattr(presets[config.preset], k) != v for k, v in plain.items())
    name = f"{title}-{config.preset}" + (f"-{digest(plain)}" if changed else "")
    folder = expanded(config.folder or Path("runs") / (name + ("-sweep" if config.sweep else "")))
    if not config.report_only:
        return config, folder
    saved = {k: v for k, v in runs.read_json(folder / "config.json").items() if k not in SHOWN_ONLY}
    as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}  # JSON has no tuples
    return dataclasses.replace(config, **as_tuples), folder


def digest(plain: Mapping[str, Any]) -> str:
    """Eight letters that tell plain configs apart, for names of folders."""
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:8]


def cells(config: Any, fixed: Collection[str]) -> list[tuple[dict[str, Any], Any]]:
    """Every cell of the grid of `config.sweep`, the last field fastest: swept values, the config with them.

    Without a sweep it is the config itself.

    Raises:
      ValueError: for no field=value,value,..., a field that is unknown, `fixed` or swept twice, a value that
        is not of its type or comes twice, or one that the config refuses.
    """
    kinds = get_type_hints(type(config))
    names = sorted(kinds.keys() - {*fixed, "sweep"})
    grid: dict[str, list[Any]] = {}
    for axis in config.sweep:
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
    return [(point, dataclasses.replace(config, sweep=(), **point)) for point in points]


def _value(text: str, kind: Any, name: str) -> Any:
    """The text as a value of a field's type; `none` is None where the type allows it."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if NoneType in options and text.lower() == "none":
        return None
    if bool in options and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if get_origin(kind) is Literal and text in get_args(kind):
        return text
    for option in (int, float, str):
        if option in options and text:
            with contextlib.suppress(ValueError):
                return option(text)
    expected = kind.__name__ if isinstance(kind, type) else kind
    raise ValueError(f"sweep: expected {name}=value,value,... with values of {expected}; got {text!r}")


def jobs(
    config: Any, default: Any, rows: Mapping[str, Row], folder: Path, functions: tuple, shared: bool
) -> dict[str, list[Job]]:
    """The trainings of one cell, {row: one per seed}.

    Where cells share them, a folder is named by all that a training depends on; the rest is as in `default`.
    """
    each: dict[str, list[Job]] = {}
    for row, (_, same_as, unread) in rows.items():
        name, own, place, tail = same_as or row, config, folder, ""
        if shared:
            free = ("seeds", "first_seed", *unread)
            own = dataclasses.replace(config, **{field: getattr(default, field) for field in free})
            ignored = (*SHOWN_ONLY, "preset", "sweep")
            depends = {k: v for k, v in dataclasses.asdict(own).items() if k not in ignored}
            place, tail = folder / "trainings", f"-{digest(depends)}"
        seeds = range(config.first_seed, config.first_seed + config.seeds)
        each[row] = [Job(own, name, s, place / f"{name}{tail}-seed{s}", *functions) for s in seeds]
    return each
