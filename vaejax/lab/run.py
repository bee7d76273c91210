"""A whole experiment: what is not trained yet is trained; then all is read back as tables and figures."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaejax import fields, runs
from vaejax.lab import settings, trainings
from vaejax.lab.estimate import estimate
from vaejax.lab.results import Run
from vaejax.lab.settings import SHOWN_ONLY
from vaejax.lab.trainings import Job, Row, Rows, Training
from vaejax.progress import watching
from vaejax.runs.processes import default_workers, run_all
from vaejax.types import VAE


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
    config, folder = settings.opened(Path(inspect.getfile(training)).stem, config, presets)
    default, cells = next(iter(presets.values())), []
    for values in fields.grid(type(config), config.sweep, (*SHOWN_ONLY, "preset", "sweep"), "sweep"):
        own = dataclasses.replace(config, sweep=(), **values)
        named = trainings.rows_of(rows, own)
        jobs = trainings.jobs(own, default, named, folder, (training, score), bool(config.sweep))
        cells.append(Run(own, folder, values, named, jobs))
    whole = dataclasses.replace(cells[0], config=config, values={})
    each = {job.folder: job for cell in cells for jobs in cell.jobs.values() for job in jobs}
    if config.dry_run:
        whole.report = estimate(cells, config.workers or default_workers())
        return whole
    if not config.report_only:
        print(f"run folder: {folder.resolve()}")
        _train(config, folder, list(each.values()), cells[0].values)
    if left := [str(path) for path, job in each.items() if not (job.finished or job.stopped)]:
        raise FileNotFoundError(f"folder: expected finished trainings; {', '.join(left)} has no report.json")
    if not any(job.finished for job in each.values()):
        raise RuntimeError("; ".join(f"{path}: {job.why}" for path, job in each.items()))
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
    with runs.created(folder, config, ignore=(*SHOWN_ONLY, *free)), runs.programs_kept(folder):
        if not todo:
            return
        for job in todo:
            if "diverged" in job.stopped:
                shutil.rmtree(job.folder)  # from the start: the same steps would diverge again
        count = min(config.workers or default_workers(), len(todo))
        total, title = sum(steps for steps, _ in costs), f"{len(todo)} trainings"
        scored = lambda: f"{sum(job.finished for job in todo)} of {len(todo)} scored"  # noqa: E731
        with watching(title, total, lambda: sum(job.done for job in todo), told=scored):
            list(run_all(trainings.do, todo, [steps * work for steps, work in costs], count))
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
            steps = sum(steps for _, steps in made.parts(job.config).values())
            known[job.config, job.name] = steps, made.work
    return [known[job.config, job.name] for job in jobs]
