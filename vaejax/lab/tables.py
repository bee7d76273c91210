"""Numbers of trainings as entries, tables, and the files and lines of a sweep."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from vaejax import runs

if TYPE_CHECKING:
    from vaejax.lab.run import Run

# of one training's report: a score's name, the names of a score and its standard error, or a function to a
# number, such a pair, an entry or a text
Column = str | tuple[str, str] | Callable[[Mapping[str, Any]], Any]
Entry = dict[str, Any]  # {"mean": m, "ci95": [low, high], "per_seed": values, "error"?: standard error}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite real number, and no truth value."""
    real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return real and math.isfinite(value)


def entry(reports: Sequence[Mapping[str, Any]], column: Column) -> Entry | str:
    """A column's mean over seeds with its interval, or a text where it has no mean.

    Of one seed the interval is the score's own, over what was scored: 1.96 of its standard errors.
    """
    values = [_value(report, column) for report in reports]
    if not values or any(v is None for v in values):
        return "-"
    if not all(isinstance(v, Mapping) for v in values):
        return ", ".join(dict.fromkeys(map(str, values)))
    return runs.mean_ci95([v["mean"] for v in values]) if len(values) > 1 else values[0]


def _value(report: Mapping[str, Any], column: Column) -> Any:
    """An entry, None or a text; a row may lack what a column shows."""
    try:
        value = column(report) if callable(column) else None
    except KeyError:
        return None
    if not callable(column):
        value = tuple(report.get(k) for k in column) if isinstance(column, tuple) else report.get(column)
    number, error = value if isinstance(value, tuple) else (value, None)
    if not is_number(number):
        nothing = isinstance(number, float) or (isinstance(number, Mapping) and "mean" not in number)
        return None if nothing else number
    mean, half = float(number), 1.96 * (error or 0)
    if error is None:
        return runs.mean_ci95([mean])
    return {"mean": mean, "ci95": [mean - half, mean + half], "per_seed": [mean], "error": error}


def means(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{score: its entry} of what is a number; without a mean where some seed has none."""
    known: dict[str, Any] = {}
    for name in dict.fromkeys(name for report in reports for name in report):
        values, found = [report.get(name) for report in reports], entry(reports, name)
        if not isinstance(found, str):
            known[name] = found
        elif found == "-" and any(is_number(v) for v in values):
            known[name] = {"mean": None, "ci95": [None, None], "per_seed": values}
    return known


def short(value: Any) -> str:
    """A swept value in few letters, and different ones in different letters."""
    few = isinstance(value, float) and float(f"{value:g}") == value
    return f"{value:g}" if few else str(value)


def shown(entry: Mapping[str, Any] | str) -> str:
    """`mean [low, high]`, `value +- standard error`, or the mean alone where there is neither."""
    if isinstance(entry, str):
        return entry
    mean, (low, high) = f"{entry['mean']:.4g}", entry.get("ci95") or (None, None)
    if entry.get("error") is not None:
        return f"{mean} +- {entry['error']:.2g}"
    return mean if low is None else f"{mean} [{low:.4g}, {high:.4g}]"


def cell(run: Run, name: str, column: Column) -> str:
    """What a table shows of a row: the mean of the seeds that have scores, and how many have none and why."""
    reports, stopped = run.reports[name], run.stopped[name]
    if not reports:
        return "; ".join(dict.fromkeys(stopped))
    others = f"; {len(stopped)} of {len(reports) + len(stopped)} {stopped[0]}" if stopped else ""
    return shown(entry(reports, column)) + others


def swept(run: Run, columns: Mapping[str, Column]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A sweep in numbers: rows of mean, low, high; lines of `plots.sweep_curves` against its first field."""
    table: list[dict[str, Any]] = []
    lines: dict[str, dict[str, dict[Any, Any]]] = {title: {} for title in columns}
    for part in run.cells:
        (_, x), *others = part.values.items()
        for name, row in part.rows.items():
            label = ", ".join([row.label, *(f"{k}={short(v)}" for k, v in others)])
            reports, stopped = part.reports[name], "; ".join(dict.fromkeys(part.stopped[name]))
            table.append({**part.values, "row": row.label, "stopped": stopped})
            for title, column in columns.items():
                found = entry(reports, column) if reports else {"missing": re.split("[: ]", stopped)[0]}
                known: Any = {} if isinstance(found, str) else found
                low, high = known.get("ci95", (None, None))
                table[-1] |= {title: known.get("mean"), f"{title} low": low, f"{title} high": high}
                if known:
                    lines[title].setdefault(label, {})[x] = known
    drawn = {t for t, of in lines.items() if any("mean" in e for at in of.values() for e in at.values())}
    return table, {title: of for title, of in lines.items() if title in drawn}
