"""Numbers over seeds: means, intervals, entries of a report, and tables of them."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from scipy import special

from vaejax import evaluation
from vaejax.checks import check_unmasked
from vaejax.files import expanded, write_text
from vaejax.runs.texts import short
from vaejax.types import AnyArray

__all__ = [
    "Column", "Entry", "UnitScore", "differences", "entry", "grid", "mean_ci95", "means", "paired", "shown",
    "table", "told", "welch_ci95", "write_csv",
]  # fmt: skip


class UnitScore(str):
    """The name of a score in [0, 1], as a column: its interval is cut there, and covers the mean as often."""


# of the report of one seed: a score's name, the names of a score and its standard error, or a function to a
# number, such a pair, an entry or a text
Column = str | tuple[str, str] | Callable[[Mapping[str, Any]], Any]
Entry = dict[str, Any]  # {"mean": m, "ci95": [low, high], "per_seed": values, "error"?: standard error}


def mean_ci95(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds with its Student t 95 % interval: {mean, ci95: [low, high], per_seed}.

    With one value the interval is [None, None]: one seed says nothing of the spread. So it is where a value
    is nan or infinite, and the mean is then nan or infinite too: no seed is left out in silence.

    Raises:
      TypeError: for a masked array.
      ValueError: if values is not a list of one or more numbers.
    """
    a = _numbers(values, "values")
    mean = _mean(a)
    if a.size < 2 or not math.isfinite(mean):
        return {"mean": mean, "ci95": [None, None], "per_seed": a.tolist()}
    half = float(special.stdtrit(a.size - 1, 0.975) * a.std(ddof=1) / np.sqrt(a.size))
    return {"mean": mean, "ci95": [mean - half, mean + half], "per_seed": a.tolist()}


def welch_ci95(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """mean(a) - mean(b) with Welch's 95 % interval: {mean, ci95: [low, high], p}, p two-sided.

    With fewer than two values on a side, or one that is nan or infinite, the interval and p are None.

    se^2 = va + vb,  va = var(a) / na,  degrees of freedom (va + vb)^2 / (va^2/(na - 1) + vb^2/(nb - 1)).

    Raises:
      TypeError: for a masked array.
      ValueError: if a or b is not a list of one or more numbers.

    Source: Welch 1947, doi 10.1093/biomet/34.1-2.28.
    """
    x, y = _numbers(a, "a"), _numbers(b, "b")
    difference = _mean(x) - _mean(y)
    if min(x.size, y.size) < 2 or not math.isfinite(difference):
        return {"mean": difference, "ci95": [None, None], "p": None}
    if np.ptp(x) == np.ptp(y) == 0:  # no spread: the interval is a point and t is not defined
        difference = float(x[0] - y[0])  # the mean of equal floats may be off by rounding
        return {"mean": difference, "ci95": [difference, difference], "p": float(difference == 0)}
    va, vb = x.var(ddof=1) / x.size, y.var(ddof=1) / y.size
    degrees = (va + vb) ** 2 / (va**2 / (x.size - 1) + vb**2 / (y.size - 1))
    se = np.sqrt(va + vb)
    half = float(special.stdtrit(degrees, 0.975) * se)
    p = float(2 * special.stdtr(degrees, -abs(difference) / se))
    return {"mean": difference, "ci95": [difference - half, difference + half], "p": p}


def _mean(a: np.ndarray) -> float:
    with np.errstate(invalid="ignore", over="ignore"):  # of both infinities: nan
        return float(a.mean())


def _numbers(values: Sequence[float], name: str) -> np.ndarray:
    check_unmasked(values, name)
    a = np.asarray(values, np.float64)
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"{name}: expected a list of one or more numbers, got shape {a.shape}")
    return a


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite real number, and no truth value."""
    real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return real and math.isfinite(value)


def entry(reports: Sequence[Mapping[str, Any]], column: Column) -> Entry | str:
    """A column's mean over seeds with its interval, or a text where it has no mean.

    Of one seed the interval is the score's own, over what was scored: 1.96 of its standard errors.

    Args:
      reports: {score: value} of each seed.
      column: a score's name, the names of a score and its standard error, or a function of a report to a
        number, such a pair, an entry or a text. The interval of a `UnitScore` stays in [0, 1].

    Returns:
      {"mean", "ci95": [low, high], "per_seed"}, with "error", a standard error, where there is one seed and
      the column names it. Texts are joined; "-" where a seed has nothing, or a number that is not finite.
    """
    values = [_value(report, column) for report in reports]
    if not values or any(v is None for v in values):
        return "-"
    if not all(isinstance(v, Mapping) for v in values):
        return ", ".join(dict.fromkeys(map(str, values)))
    found = mean_ci95([v["mean"] for v in values]) if len(values) > 1 else values[0]
    first = column[0] if isinstance(column, tuple) else column
    return _cut(found) if isinstance(first, UnitScore) else found


def _cut(entry: Entry) -> Entry:
    """An entry whose interval does not leave [0, 1]."""
    low, high = entry["ci95"]
    if low is None:
        return entry
    return {**entry, "ci95": [max(low, min(0.0, entry["mean"])), min(high, max(1.0, entry["mean"]))]}


def _value(report: Mapping[str, Any], column: Column) -> Any:
    """An entry, None or a text; a row may lack what a column shows."""
    try:
        value = column(report) if callable(column) else None
    except KeyError:
        return None
    if not callable(column):
        value = tuple(report.get(k) for k in column) if isinstance(column, tuple) else report.get(column)
    number, error = value if isinstance(value, tuple) else (value, None)
    if not _is_number(number):
        nothing = isinstance(number, float) or (isinstance(number, Mapping) and "mean" not in number)
        return None if nothing else number
    mean, half = float(number), 1.96 * (error or 0)
    if error is None:
        return mean_ci95([mean])
    return {"mean": mean, "ci95": [mean - half, mean + half], "per_seed": [mean], "error": error}


def means(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{score: its entry} of what is a number; without a mean where some seed has none."""
    known: dict[str, Any] = {}
    for name in dict.fromkeys(name for report in reports for name in report):
        values, found = [report.get(name) for report in reports], entry(reports, name)
        if not isinstance(found, str):
            known[name] = found
        elif found == "-" and any(_is_number(v) for v in values):
            known[name] = {"mean": None, "ci95": [None, None], "per_seed": values}
    return known


def differences(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """{score: its mean over reports a minus that over b, with Welch's interval}, where both have one."""
    x, y = means(a), means(b)
    both = [k for k in y if k in x and None not in (x[k]["mean"], y[k]["mean"])]
    return {k: welch_ci95(x[k]["per_seed"], y[k]["per_seed"]) for k in both}


def paired(log_p: Mapping[str, Mapping[int, AnyArray]], base: str) -> dict[str, list[dict[str, Any]]]:
    """NLL of every row minus that of row `base`, example by example, seed by seed.

    Args:
      log_p: {name of a row: {seed: log p(x) of the same examples, [N] nats}}.
      base: one of the names.

    Returns:
      {name: [{"minus_BASE", "minus_BASE_se"} of each seed]}, None where `base` lacks the seed.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name, seeds in log_p.items():
        each = [evaluation.paired(a, log_p[base][s]) if s in log_p[base] else {} for s, a in seeds.items()]
        found[name] = [{f"minus_{base}{k}": d.get(f"nll{k}") for k in ("", "_se")} for d in each]
    return found


def shown(entry: Mapping[str, Any] | str) -> str:
    """`mean [low, high]`, `value +- standard error`, or the mean alone where there is neither."""
    if isinstance(entry, str):
        return entry
    mean, (low, high) = f"{entry['mean']:.4g}", entry.get("ci95") or (None, None)
    if entry.get("error") is not None:
        return f"{mean} +- {entry['error']:.2g}"
    return mean if low is None else f"{mean} [{low:.4g}, {high:.4g}]"


def told(reports: Sequence[Mapping[str, Any]], stopped: Sequence[str], column: Column) -> str:
    """What a table shows of a column: its entry over the reports, how many seeds have none and why."""
    if not reports:
        return "; ".join(dict.fromkeys(stopped))
    others = f"; {len(stopped)} of {len(reports) + len(stopped)} {stopped[0]}" if stopped else ""
    return shown(entry(reports, column)) + others


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of {column: text or number} as a Markdown table; floats to four digits, a dash for None."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name, "")) for name in columns] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(columns)]
    lines = [columns, ["-" * w for w in widths], *cells]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in lines
    )


def grid(
    points: Sequence[tuple[Mapping[str, Any], str, Sequence[Mapping[str, Any]], Sequence[str]]],
    columns: Mapping[str, Column],
) -> tuple[list[dict[str, Any]], dict[str, dict[str, dict[Any, Any]]]]:
    """A grid of trainings in numbers.

    Args:
      points: the values of a cell, {field: value}, the label of a row, the reports of its seeds that have
        scores, and why each of the others has none.
      columns: {title: column}.

    Returns:
      Rows for `write_csv`: the values, "row", "stopped", and of every column mean, low and high; and
      {title: {label: {x: entry}}} for `plots.sweep_curves`, x the first value of the cell, of columns that
      have a mean somewhere.
    """
    table: list[dict[str, Any]] = []
    lines: dict[str, dict[str, dict[Any, Any]]] = {title: {} for title in columns}
    for values, row, reports, reasons in points:
        (_, x), *others = values.items()
        stopped = "; ".join(dict.fromkeys(reasons))
        label = ", ".join([row, *(f"{k}={short(v)}" for k, v in others)])
        table.append({**values, "row": row, "stopped": stopped})
        for title, column in columns.items():
            found = entry(reports, column) if reports else {"missing": re.split("[: ]", stopped)[0]}
            known: Any = {} if isinstance(found, str) else found
            low, high = known.get("ci95", (None, None))
            table[-1] |= {title: known.get("mean"), f"{title} low": low, f"{title} high": high}
            if known:
                lines[title].setdefault(label, {})[x] = known
    drawn = {t for t, of in lines.items() if any("mean" in e for at in of.values() for e in at.values())}
    return table, {title: of for title, of in lines.items() if title in drawn}


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of {column: value}, one at least, all of the same columns, as a CSV file with a header.

    In one piece, as `write_json`.

    Raises:
      ValueError: if there is no row, or one of other columns.
    """
    if not rows:
        raise ValueError("rows: expected one at least, got none")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(expanded(path, "path"), text.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
