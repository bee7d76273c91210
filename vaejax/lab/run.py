"""A whole experiment: what is not trained yet is trained; then all is read back as tables and figures."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaejax import data, plots, runs, train
from vaejax.lab import grid, tables, trainings, workers
from vaejax.lab.grid import Row, Rows
from vaejax.lab.settings import SHOWN_ONLY
from vaejax.lab.trainings import Job, Training
from vaejax.progress import watching
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
    loaded: dict[str, VAE] = field(default_factory=dict)

    @cached_property
    def finished(self) -> dict[str, list[Job]]:
        """{name: its trainings that have scores}."""
        return {name: [job for job in each if job.finished] for name, each in self.jobs.items()}

    @cached_property
    def reports(self) -> dict[str, list[dict[str, Any]]]:
        """{name: the scores of each of these}."""
        return {n: [runs.read_json(j.folder / "report.json") for j in js] for n, js in self.finished.items()}

    @cached_property
    def stopped(self) -> dict[str, list[str]]:
        """{name: why the others have none}."""
        return {n: [_why(job.stopped) for job in js if not job.finished] for n, js in self.jobs.items()}

    @property
    def labels(self) -> dict[str, str]:
        """{name: label} of the rows that have a training with scores."""
        return {name: self.rows[name].label for name, jobs in self.finished.items() if jobs}

    def vae(self, name: str) -> VAE:
        """The model of a row, of the first seed that has scores."""
        if name not in self.loaded:
            job = self.finished[name][0]
            self.loaded[name] = runs.load(job.folder, model=job.training(job.config, job.name).model).vae
        return self.loaded[name]

    def of_each(self, function: Callable[[VAE], Any]) -> dict[str, Any]:
        """{label: what a function makes of the model of that row}."""
        return {label: function(self.vae(name)) for name, label in self.labels.items()}

    def arrays(self, name: str, array: str) -> dict[int, np.ndarray]:
        """{seed: what `score` returned under "arrays"}."""
        return {job.seed: np.load(job.folder / f"{array}.npy") for job in self.finished[name]}

    def array(self, name: str, array: str) -> np.ndarray:
        """The same of the first seed that has scores."""
        return next(iter(self.arrays(name, array).values()))

    def metrics(self, name: str) -> list[tuple[dict[str, np.ndarray], list[dict[str, Any]]]]:
        """What `train.read_metrics` reads of each seed that has scores."""
        return [train.read_metrics(job.folder) for job in self.finished[name]]

    def along(self, name: str) -> list[dict[str, list[Any]]]:
        """[{"steps", "seconds" of training and every score: its values at validations} per seed]."""
        return [train.read_validations(job.folder) for job in self.finished[name]]

    def minus(self, a: str, b: str) -> dict[Any, dict[str, Any]]:
        """{score: mean of row a minus mean of row b, with Welch's interval}."""
        x, y = (runs.means(self.reports[name]) for name in (a, b))
        both = [k for k in y if k in x and None not in (x[k]["mean"], y[k]["mean"])]
        return {k: runs.welch_ci95(x[k]["per_seed"], y[k]["per_seed"]) for k in both}

    def table(self, columns: Mapping[str, Column]) -> None:
        """Print a row for every row; a sweep's is also kept, in sweep.csv and figures/sweep.png."""
        swept = self.cells[0].values if self.cells else {}
        columns = {f"{title} (score)" if title in swept else title: c for title, c in columns.items()}
        lines = [
            {k: tables.short(v) for k, v in part.values.items()}
            | {"": row.label, **{title: tables.cell(part, name, c) for title, c in columns.items()}}
            for part in self.cells
            for name, row in part.rows.items()
        ]
        if lines:
            print(runs.table(lines))
        if lines and self.config.sweep:
            self.report["table"], curves = tables.swept(self, columns)
            with (self.folder / "sweep.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(self.report["table"][0]))
                writer.writeheader()
                writer.writerows(self.report["table"])
            runs.write_json(self.folder / "report.json", self.report)
            if curves:
                figure = plots.sweep_curves(curves, next(iter(swept)))
                plots.save(figure, self.folder / "figures" / "sweep.png")

    def side_by_side(
        self, columns: Mapping[str, Column], *, minus: tuple[str, str] | None = None,
        names: Iterable[str] | None = None,
    ) -> None:  # fmt: skip
        """Print a row for every score and a column for every row, of `names` or all; of a sweep `table`.

        `minus`, (a, b), are rows whose difference is shown where a column is the name of a score.
        """
        if not self.cells or self.config.sweep:
            return self.table(columns)
        labels = {name: self.rows[name].label for name in names or self.rows}
        known = self.minus(*minus) if minus else {}
        lines = []
        for title, column in columns.items():
            lines.append({"": title, **{k: tables.cell(self, name, column) for name, k in labels.items()}})
            if minus:
                lines[-1][" minus ".join(labels[name] for name in minus)] = runs.shown(known.get(column, "-"))
        print(runs.table(lines))

    def figure(self, name: str, figure: Callable[[Run], Any]) -> None:
        """Write figures/NAME.png: `figure(run)` of the run, or of the cell that a sweep turns about."""
        own = dataclasses.replace(self.config, sweep=())
        for cell in self.cells:
            if cell.labels and own == dataclasses.replace(cell.config, sweep=()):
                plots.save(figure(cell), self.folder / "figures" / f"{name}.png")


def _why(stopped: Mapping[str, Any]) -> str:
    """Why a training has no scores, for a table."""
    if "failed" in stopped:
        return f"failed: {stopped['failed'].splitlines()[0][:60]}"
    return "diverged" if stopped["diverged"] is None else f"diverged at step {stopped['diverged']}"


def run(
    config: Any,
    presets: Mapping[str, Any],
    rows: Rows,
    training: Callable[[Any, str], Training],
    score: Callable[[Any, str, VAE, Any], dict[str, Any]] | None,
    summary: Callable[[Run], dict[str, Any]] | None = None,
) -> Run:
    """Train and score every row of an experiment with every seed, as the config's flags say, and report.

    What is trained already is left as it is, what was killed goes on; what diverges or cannot be scored is
    kept as such. report.json has "models", {row: {score: its mean over seeds and interval}}, what `summary`
    adds, and "config"; of a sweep "cells", one of these each.

    Args:
      config: a `Settings`; its fields are the flags.
      presets: name -> config.
      rows: {name: label or Row}, or a function of the config that gives them.
      training: `training(config, name) -> Training`; a function of a module, as workers import it.
      score: `score(config, name, vae, data) -> {score: value}`, plain numbers or arrays; None: no scores.
      summary: `summary(run) -> {name: value}`, of a run or cell whose rows all have scores; its entry "rows",
        {row: [{score: value} per seed]}, becomes scores of rows, or rows that are called by that name.

    Raises:
      ValueError: a bad config, grid or folder, before anything is written.
      FileNotFoundError: with `report_only`, trainings that are not finished.
      RuntimeError: if no training has scores.
    """
    config, folder = grid.opened(Path(inspect.getfile(training)).stem, config, presets)
    default, cells = next(iter(presets.values())), []
    for values, own in grid.cells(config, (*SHOWN_ONLY, "preset")):
        named = grid.rows_of(rows, own)
        jobs = grid.jobs(own, default, named, folder, (training, score), bool(config.sweep))
        cells.append(Run(own, folder, values, named, jobs))
    whole = dataclasses.replace(cells[0], config=config, values={})
    each = {job.folder: job for cell in cells for jobs in cell.jobs.values() for job in jobs}
    if config.dry_run:
        whole.report = _estimate(cells, config.workers or workers.default_workers())
        return whole
    if not config.report_only:
        print(f"run folder: {folder.resolve()}")
        _train(config, folder, list(each.values()), cells[0].values)
    if missing := [str(path) for path, job in each.items() if not (job.finished or job.stopped)]:
        raise FileNotFoundError(
            f"folder: expected finished trainings; {', '.join(missing)} has no report.json"
        )
    if not any(job.finished for job in each.values()):
        raise RuntimeError("; ".join(f"{path}: {_why(job.stopped)}" for path, job in each.items()))
    whole.cells = cells if config.sweep else [whole]
    for cell in whole.cells:
        cell.report = _report(cell, summary)
    parts = {"cells": [{"values": cell.values, **cell.report} for cell in cells]}
    whole.report = {**(parts if config.sweep else whole.report), "config": config}
    runs.write_json(folder / "report.json", whole.report)
    return whole


def _report(cell: Run, summary: Callable[[Run], dict[str, Any]] | None) -> dict[str, Any]:
    """What report.json holds of a run or cell; rows that `summary` adds have no trainings."""
    models = {name: runs.means(reports) for name, reports in cell.reports.items()}
    cell.report = {"models": models}
    more = summary(cell) if summary and all(cell.reports.values()) else {}
    for name, scores in more.pop("rows", {}).items():
        if name not in cell.rows:
            cell.rows[name], cell.stopped[name], cell.reports[name] = Row(name), [], [{} for _ in scores]
        cell.reports[name][:] = [{**a, **b} for a, b in zip(cell.reports[name], scores, strict=True)]
        models[name] = runs.means(cell.reports[name])
    for name, jobs in cell.jobs.items():
        if stopped := {job.seed: job.stopped for job in jobs if not job.finished}:
            models[name]["stopped"] = stopped
    return cell.report | more


def _train(config: Any, folder: Path, each: Sequence[Job], swept: Iterable[str]) -> None:
    """Train and score whatever is not finished yet, and keep what the run took."""
    path, start = folder / "config.json", time.perf_counter()
    kept = path.exists() and runs.read_json(path).get("sweep")
    free = ("sweep", *swept) if kept and config.sweep else ()  # a sweep may go on with another grid
    todo = [job for job in each if not job.finished and (config.retry or "diverged" not in job.stopped)]
    costs = _costs(todo)
    with runs.created(folder, config, ignore=(*SHOWN_ONLY, *free)):
        if not todo:
            return
        for job in todo:
            if "diverged" in job.stopped:
                shutil.rmtree(job.folder)  # from the start: the same steps would diverge again
        count = min(config.workers or workers.default_workers(), len(todo))
        total = sum(steps for steps, _ in costs)
        with watching(f"{len(todo)} trainings", total, lambda: sum(job.done for job in todo)):
            workers.run_all(trainings.do, todo, [steps * work for steps, work in costs], count)
    path = folder / "manifest.json"
    before = runs.read_json(path)["wall_seconds"] if path.exists() else 0.0
    sizes = {runs.read_json(j.folder / "manifest.json")["parameters"] for j in each if j.finished}
    seconds = before + time.perf_counter() - start
    runs.write_json(path, runs.manifest(seconds=seconds, parameters=sizes.pop() if len(sizes) == 1 else None))


def _costs(jobs: Sequence[Job]) -> list[tuple[int, float]]:
    """Steps of each training and the work of one; a bad config is refused, and data are prepared, here."""
    known: dict[Any, tuple[int, float]] = {}
    for job in jobs:
        if (job.config, job.name) not in known:
            made = job.training(job.config, job.name)
            made.data.train  # noqa: B018
            known[job.config, job.name] = made.total(job.config), made.work
    return [known[job.config, job.name] for job in jobs]


def _estimate(cells: Sequence[Run], side_by_side: int) -> dict[str, Any]:
    """Measure a few steps of each kind of training; print and return {label: StepCost, "hours": in all}.

    Trainings of one row and model are of one kind if their cells differ in floats alone. The hours are of the
    steps, `side_by_side` trainings at a time; trainings side by side slow each other down.
    """
    seen, kinds = set(), {}
    for cell in cells:
        for name, jobs in cell.jobs.items():
            new = {job.folder for job in jobs} - seen
            if not new:
                continue
            seen |= new
            unread = ("seeds", "first_seed", *cell.rows[name].unread)
            named = [k for k, v in cell.values.items() if not isinstance(v, float) and k not in unread]
            label = ", ".join(
                [cell.rows[name].label, *(f"{k}={tables.short(cell.values[k])}" for k in named)]
            )
            made = jobs[0].training(jobs[0].config, jobs[0].name)
            kinds.setdefault((label, str(made.model.spec)), [made, jobs[0].config, 0])[-1] += len(new)
    costs, rows, hours = {}, [], 0.0
    for (label, _), (made, config, count) in kinds.items():
        key, size = jax.random.key(0), config.batch_size
        cost = train.measure_step(key, made.model, made.update, data.sample(made.data, size), batch_size=size)
        label = label if label not in costs else f"{label}, {cost.parameters} parameters"
        each = cost.seconds * made.total(config) / 3600
        costs[label], hours = cost, hours + each * count / side_by_side
        told = {"parameters": cost.parameters, "steps": made.total(config), "trainings": count}
        times = {"ms a step": 1000 * cost.seconds, "compile, s": cost.compile_seconds}
        sizes = {"state, MiB": cost.state_mib, "temporaries, MiB": cost.temporaries_mib}
        rows.append({"": label, **told, **times, **sizes, "hours a training": each})
    print(runs.table(rows))
    print(f"about {hours:.2g} hours of training, {side_by_side} at a time; scores come on top")
    return {**costs, "hours": hours}
