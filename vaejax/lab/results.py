"""What a finished experiment has: the scores of its rows, their models, tables and figures."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from vaejax import plots, runs
from vaejax.lab.settings import short
from vaejax.lab.trainings import Job, Row
from vaejax.progress import Bar
from vaejax.runs.tables import Column
from vaejax.types import VAE


@dataclass
class Run:
    """A finished experiment, or one cell of its sweep; a dry run has no cells, and shows nothing."""

    config: Any  # of a cell, its own
    folder: Path
    values: dict[str, Any]  # the swept fields of a cell
    rows: dict[str, Row]
    jobs: dict[str, list[Job]]  # {name of a row: its trainings, one per seed}
    cells: list[Run] = field(default_factory=list)  # of a sweep; without one, the run itself
    report: dict[str, Any] = field(default_factory=dict)  # what report.json holds
    loaded: dict[str, runs.Run] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)  # the seeds of what was asked for, for the foot of a figure

    @cached_property
    def finished(self) -> dict[str, list[Job]]:
        """{name: its trainings that have scores}."""
        return {name: [job for job in each if job.finished] for name, each in self.jobs.items()}

    @property
    def reports(self) -> dict[str, list[dict[str, Any]]]:
        """{name: the scores of each of these}."""
        self.used |= {job.seed for each in self.finished.values() for job in each}
        return self.kept

    @cached_property
    def kept(self) -> dict[str, list[dict[str, Any]]]:
        """The same, read once."""
        return {n: [runs.read_json(j.folder / "report.json") for j in js] for n, js in self.finished.items()}

    @cached_property
    def stopped(self) -> dict[str, list[str]]:
        """{name: why the others have none}."""
        return {name: [job.why for job in each if not job.finished] for name, each in self.jobs.items()}

    @property
    def labels(self) -> dict[str, str]:
        """{name: label} of the rows that have a training with scores."""
        return {name: self.rows[name].label for name, jobs in self.finished.items() if jobs}

    @property
    def vaes(self) -> dict[str, VAE]:
        """{label: the model of that row}."""
        return self.each(self.vae)

    def vae(self, name: str) -> VAE:
        """The model of a row, of the first seed that has scores."""
        return self.trained(name).vae

    def trained(self, name: str) -> runs.Run:
        """The same with its parameters, as `runs.load` gives it."""
        job = self.first(name)
        if name not in self.loaded:
            model = job.training(job.config, job.name).model
            self.loaded[name] = runs.load(job.folder, model=model)
        return self.loaded[name]

    def first(self, name: str) -> Job:
        """The training of the first seed that has scores."""
        job = self.finished[name][0]
        self.used.add(job.seed)
        return job

    def arrays(self, name: str, array: str) -> dict[int, np.ndarray]:
        """{seed: what `score` returned under "arrays"}."""
        self.used |= {job.seed for job in self.finished[name]}
        return {job.seed: np.load(job.folder / f"{array}.npy") for job in self.finished[name]}

    def array(self, name: str, array: str) -> np.ndarray:
        """The same of the first seed that has scores."""
        return np.load(self.first(name).folder / f"{array}.npy")

    def scores(self, name: str) -> dict[str, Any]:
        """The scores of the first seed that has any."""
        return runs.read_json(self.first(name).folder / "report.json")

    def each(self, of: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """{label: what a method of the run, such as `array`, gives of that row}."""
        return {label: of(name, *arguments) for name, label in self.labels.items()}

    def read(self, name: str, function: Callable[[Path], Any]) -> list[Any]:
        """What a function of a folder, such as `train.read_metrics`, reads of each seed that has scores."""
        self.used |= {job.seed for job in self.finished[name]}
        return [function(job.folder) for job in self.finished[name]]

    def minus(self, a: str, b: str) -> dict[Any, dict[str, Any]]:
        """{score: mean of row a minus mean of row b, with Welch's interval}."""
        x, y = (runs.means(self.reports[name]) for name in (a, b))
        both = [k for k in y if k in x and None not in (x[k]["mean"], y[k]["mean"])]
        return {k: runs.welch_ci95(x[k]["per_seed"], y[k]["per_seed"]) for k in both}

    def table(self, columns: Mapping[str, Column]) -> None:
        """Print a row for every row; a sweep's is also kept, in sweep.csv and figures/sweep.png."""
        if not self.cells:
            return
        swept = self.cells[0].values
        columns = {f"{title} (score)" if title in swept else title: c for title, c in columns.items()}
        lines = [
            {k: short(v) for k, v in part.values.items()}
            | {"": row.label, **{title: part.cell(name, column) for title, column in columns.items()}}
            for part in self.cells
            for name, row in part.rows.items()
        ]
        print(runs.table(lines))
        if self.config.sweep:
            self.report["table"], curves = self._swept(columns)
            runs.write_csv(self.folder / "sweep.csv", self.report["table"])
            runs.write_json(self.folder / "report.json", self.report)
            if curves:
                figure = plots.sweep_curves(curves, next(iter(swept)))
                seeds = {job.seed for cell in self.cells for each in cell.finished.values() for job in each}
                plots.save(figure, self.folder / "figures/sweep.png", note=seeds_text(seeds))

    def side_by_side(
        self, columns: Mapping[str, Column], *, minus: tuple[str, str] | None = None,
        names: Iterable[str] | None = None,
    ) -> None:  # fmt: skip
        """Print a row for every score and a column for every row, of `names` or all; of a sweep `table`.

        `minus`, (a, b), are rows whose difference is shown where a column is the name of a score.
        """
        if not self.cells or self.config.sweep:
            return self.table(columns)
        of = {self.rows[name].label: name for name in names or self.rows}
        lines = [{"": title} | {k: self.cell(n, c) for k, n in of.items()} for title, c in columns.items()]
        if minus:
            known, label = self.minus(*minus), " minus ".join(self.rows[name].label for name in minus)
            for line, column in zip(lines, columns.values(), strict=True):
                line[label] = runs.shown(known.get(column, "-"))
        print(runs.table(lines))

    def draw(self, **figures: Callable[[Run], Any]) -> dict[str, Any]:
        """Write figures/NAME.png, `NAME(run)` of the run or the cell that a sweep turns about, and say where.

        At the foot of each stand the seeds whose models, arrays or scores it has asked the run for.

        Returns:
          The report.
        """
        own = dataclasses.replace(self.config, sweep=())
        cells = [c for c in self.cells if c.labels and own == dataclasses.replace(c.config, sweep=())]
        if cells and figures:
            with Bar(total=len(cells) * len(figures), desc="figures", unit="figure") as bar:
                for cell, (name, figure) in product(cells, figures.items()):
                    bar.set_postfix_str(name)
                    cell.used.clear()
                    drawn = figure(cell)
                    plots.save(drawn, self.folder / f"figures/{name}.png", note=seeds_text(cell.used))
                    bar.update()
        if self.cells:
            print(f"report and figures: {self.folder.resolve()}")
        return self.report

    def cell(self, name: str, column: Column) -> str:
        """What a table shows of a row: the mean of the seeds with scores, how many have none and why."""
        reports, stopped = self.reports[name], self.stopped[name]
        if not reports:
            return "; ".join(dict.fromkeys(stopped))
        others = f"; {len(stopped)} of {len(reports) + len(stopped)} {stopped[0]}" if stopped else ""
        return runs.shown(runs.entry(reports, column)) + others

    def _swept(self, columns: Mapping[str, Column]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """A sweep in numbers: rows of mean, low, high; lines of `plots.sweep_curves` over its first field."""
        table: list[dict[str, Any]] = []
        lines: dict[str, dict[str, dict[Any, Any]]] = {title: {} for title in columns}
        for part in self.cells:
            (_, x), *others = part.values.items()
            for name, row in part.rows.items():
                label = ", ".join([row.label, *(f"{k}={short(v)}" for k, v in others)])
                reports, stopped = part.reports[name], "; ".join(dict.fromkeys(part.stopped[name]))
                table.append({**part.values, "row": row.label, "stopped": stopped})
                for title, column in columns.items():
                    missing = {"missing": re.split("[: ]", stopped)[0]}
                    found = runs.entry(reports, column) if reports else missing
                    known: Any = {} if isinstance(found, str) else found
                    low, high = known.get("ci95", (None, None))
                    table[-1] |= {title: known.get("mean"), f"{title} low": low, f"{title} high": high}
                    if known:
                        lines[title].setdefault(label, {})[x] = known
        drawn = {t for t, of in lines.items() if any("mean" in e for at in of.values() for e in at.values())}
        return table, {title: of for title, of in lines.items() if title in drawn}


def seeds_text(seeds: set[int]) -> str:
    """Seeds in few letters, as "seeds 0 to 3"."""
    first, last = min(seeds, default=0), max(seeds, default=0)
    if len(seeds) > 2 and len(seeds) == last - first + 1:
        return f"seeds {first} to {last}"
    return "" if not seeds else f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"
