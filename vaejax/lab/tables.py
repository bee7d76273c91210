"""What a run and its sweep show: cells of a table, the rows and lines of a sweep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaejax import runs
from vaejax.runs.tables import Column

if TYPE_CHECKING:
    from vaejax.lab.run import Run


def short(value: Any) -> str:
    """A swept value in few letters, and different ones in different letters."""
    few = isinstance(value, float) and float(f"{value:g}") == value
    return f"{value:g}" if few else str(value)


def cell(run: Run, name: str, column: Column) -> str:
    """What a table shows of a row: the mean of the seeds that have scores, and how many have none and why."""
    reports, stopped = run.reports[name], run.stopped[name]
    if not reports:
        return "; ".join(dict.fromkeys(stopped))
    others = f"; {len(stopped)} of {len(reports) + len(stopped)} {stopped[0]}" if stopped else ""
    return runs.shown(runs.entry(reports, column)) + others


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
                found = runs.entry(reports, column) if reports else {"missing": re.split("[: ]", stopped)[0]}
                known: Any = {} if isinstance(found, str) else found
                low, high = known.get("ci95", (None, None))
                table[-1] |= {title: known.get("mean"), f"{title} low": low, f"{title} high": high}
                if known:
                    lines[title].setdefault(label, {})[x] = known
    drawn = {t for t, of in lines.items() if any("mean" in e for at in of.values() for e in at.values())}
    return table, {title: of for title, of in lines.items() if title in drawn}
