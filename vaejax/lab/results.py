"""What a finished experiment has: the scores of its rows, their models, tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from vaejax import plots, runs
from vaejax.lab.trainings import Job, Row
from vaejax.progress import Bar
from vaejax.runs.tables import Column, differences, grid, paired, told
from vaejax.runs.texts import seeds_text, short
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
        return differences(self.reports[a], self.reports[b])

    def paired(self, base: str) -> dict[str, list[dict[str, Any]]]:
        """{name of a row: `minus_BASE` of each seed}: NLL minus that of row `base`, example by example."""
        return paired({name: self.arrays(name, "log_likelihood") for name in self.rows}, base)

    def table(self, columns: Mapping[str, Column]) -> None:
        """Print a row for every row; a sweep's is also kept, in sweep.csv and figures/sweep.png."""
        if not self.cells:
            return
        swept = self.cells[0].values
        columns = {f"{title} (score)" if title in swept else title: c for title, c in columns.items()}
        points = [
            (part.values, row.label, part.reports[name], part.stopped[name])
            for part in self.cells
            for name, row in part.rows.items()
        ]
        lines = [
            {k: short(v) for k, v in values.items()}
            | {"": label, **{title: told(reports, stopped, c) for title, c in columns.items()}}
            for values, label, reports, stopped in points
        ]
        print(runs.table(lines))
        if not self.config.sweep:
            return
        self.report["table"], curves = grid(points, columns)
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
        rows = {self.rows[n].label: (self.reports[n], self.stopped[n]) for n in names or self.rows}
        lines = [{"": title} | {k: told(*row, c) for k, row in rows.items()} for title, c in columns.items()]
        if minus:
            known, label = self.minus(*minus), " minus ".join(self.rows[name].label for name in minus)
            for line, column in zip(lines, columns.values(), strict=True):
                line[label] = runs.shown(known.get(column, "-"))
        print(runs.table(lines))

    def draw(self, **figures: Callable[[Run], Any]) -> dict[str, Any]:
        """Write figures/NAME.png, `NAME(run)` of the run or the cell a sweep turns about; return the report.

        At the foot of each stand the seeds whose models, arrays or scores it has asked the run for.
        """
        own = dataclasses.replace(self.config, sweep=())
        cells = [c for c in self.cells if c.labels and own == dataclasses.replace(c.config, sweep=())]
        each = [*product(cells, figures.items())]
        for cell, (name, figure) in (bar := Bar(each, desc="figures", unit="figure", disable=not each)):
            bar.set_postfix_str(name)
            cell.used.clear()
            plots.save(figure(cell), self.folder / f"figures/{name}.png", note=seeds_text(cell.used))
        if self.cells:
            print(f"report and figures: {self.folder.resolve()}")
        return self.report
