"""Report, table and figures of the penalties by what they cost, from the folders of their trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import jobs, sweep
from vaejax import plots, runs

SCORES = {"local_mig": "local MIG", "local_modularity": "local modularity"}
REACHED = 0.9  # of the final local MIG of the exact JL1: the goal whose steps and seconds are compared


def along(metrics: Mapping[str, Any], validation: Sequence[Mapping[str, Any]], every: int) -> dict[str, Any]:
    """What a training reached after how many steps and seconds, and the ends of the curves."""
    at = [record["step"] for record in validation]
    curves = {k: [r["validation"][k] for r in validation] for k in ("ms_a_step", *SCORES)}
    rates = np.array(curves.pop("ms_a_step"))
    rates[np.isnan(rates)] = np.nanmedian(rates)
    seconds = np.cumsum(np.diff(at, prepend=0) * rates) / 1000
    recent = metrics["step"] > at[-1] - every
    last = {k: float(np.mean(metrics[k][recent])) for k in ("reconstruction", "kl")}
    return {
        "curves": {"steps": at, "seconds": seconds, **curves},
        **{k: v[-1] for k, v in curves.items()},
        **last,
        "ms_a_step": float(np.median(rates)),
        "seconds": float(seconds[-1]),
    }


def summarise(folders: Mapping[str, list[Path]]) -> dict[str, Any]:
    """Ends and curves of all methods, and what each has after equal seconds or needs for the same goal.

    `equal_seconds` is the time of the fastest penalised method; `goal` a local MIG, REACHED of the exact
    JL1's, and `to_goal` where the mean over seeds first reaches it: None for a method that does not.

    Raises:
      FileNotFoundError: a training is not finished.
    """
    reports = jobs.read_reports({f: f for paths in folders.values() for f in paths})
    cells = {name: [reports[f] for f in paths] for name, paths in folders.items()}
    methods: dict[str, Any] = {}
    for name, each in cells.items():
        methods[name] = jobs.means(each, each[0])
        methods[name]["curves"] = {k: [c["curves"][k] for c in each] for k in each[0]["curves"]}
    equal = min(m["seconds"]["mean"] for name, m in methods.items() if name != "beta_vae")
    goal = REACHED * methods["jl1_exact"]["local_mig"]["mean"]
    for m in methods.values():
        curves = m["curves"]
        for k in SCORES:
            rows = zip(curves["seconds"], curves[k], strict=True)
            m[f"{k}_at_equal_seconds"] = runs.mean_ci95([np.interp(equal, at, y) for at, y in rows])
        mean = {k: np.mean(curves[k], axis=0) for k in ("steps", "seconds", "local_mig")}
        hits = np.flatnonzero(mean["local_mig"] >= goal)
        m["to_goal"] = {k: float(mean[k][hits[0]]) for k in ("steps", "seconds")} if hits.size else None
    exact = methods["jl1_exact"]
    minus = {
        name: {k: runs.welch_ci95(m[k]["per_seed"], exact[k]["per_seed"]) for k in SCORES}
        for name, m in methods.items()
        if name != "jl1_exact"
    }
    return {"methods": methods, "equal_seconds": equal, "goal": goal, "minus_exact": minus}


def table(report: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A row per method, called by its label."""
    rows = []
    for name, m in report["methods"].items():
        row: dict[str, Any] = {"": labels[name]}
        row |= {title: sweep.interval(m[k]) for k, title in SCORES.items()}
        row |= {"ms a step": sweep.interval(m["ms_a_step"]), "seconds": f"{m['seconds']['mean']:.0f}"}
        after = f"{report['equal_seconds']:.0f} s"
        row[f"local MIG after {after}"] = sweep.interval(m["local_mig_at_equal_seconds"])
        to = m["to_goal"]
        row[f"to local MIG {report['goal']:.3f}"] = (
            f"{to['steps']:.0f} steps, {to['seconds']:.0f} s" if to else "not reached"
        )
        rows.append(row | {k: f"{m[k]['mean']:.4g}" for k in ("reconstruction", "kl")})
    return runs.table(rows)


def draw(folder: Path, report: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Local MIG and modularity against steps and against seconds, a figure each."""
    curves = {labels[name]: m["curves"] for name, m in report["methods"].items()}
    scores = {title: {label: c[k] for label, c in curves.items()} for k, title in SCORES.items()}
    for axis, title, scale in (("steps", "step", "linear"), ("seconds", "seconds of training steps", "log")):
        at = {label: np.mean(c[axis], axis=0) for label, c in curves.items()}
        figure = plots.band_curves(scores, at, title, xscale=scale)
        plots.save(figure, folder / "figures" / f"against_{axis}.png")
