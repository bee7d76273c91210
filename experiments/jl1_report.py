"""Report, table and figures of the flagship, from the folders of its trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import sweep
from experiments.jl1_config import MODELS
from vaejax import data, evaluation, plots, runs, train
from vaejax.types import VAE

# Rhodes & Lee 2021, figures, three-dots 64x64 after 300 000 steps, read off to 0.003
PAPER = {
    "local MIG": {"beta-VAE": 0.054, "JL1-VAE": 0.125},
    "local modularity": {"beta-VAE": 0.889, "JL1-VAE": 0.941},
}
UNITS = {"reconstruction": "nats", "kl": "nats", "KL": "nats", "jacobian_l1": "sum of |J|"}
SHOWN = {
    "local MIG": "local_mig",
    "local modularity": "local_modularity",
    "local MIG, locality 1": "local_mig_locality_1",
    "local modularity, locality 1": "local_modularity_locality_1",
    "reconstruction": "reconstruction",
    "KL": "kl",
}


def summarise(folders: dict[str, list[Path]]) -> dict[str, Any]:
    """Means and intervals over seeds, and the difference of the two models."""
    missing = [str(f) for paths in folders.values() for f in paths if not (f / "report.json").exists()]
    if missing:
        raise FileNotFoundError(
            f"folder: expected finished trainings, but {', '.join(missing)} has no report.json"
        )
    cells = {name: [runs.read_json(f / "report.json") for f in paths] for name, paths in folders.items()}
    numbers = [k for k, v in cells["beta_vae"][0].items() if isinstance(v, int | float)]
    summary = {name: {k: runs.mean_ci95([c[k] for c in cs]) for k in numbers} for name, cs in cells.items()}
    values = {name: {k: s["per_seed"] for k, s in metrics.items()} for name, metrics in summary.items()}
    difference = {k: runs.welch_ci95(values["jl1_vae"][k], values["beta_vae"][k]) for k in numbers}
    ratio = summary["jl1_vae"]["local_mig"]["mean"] / max(summary["beta_vae"]["local_mig"]["mean"], 1e-12)
    lows = [difference[k]["ci95"][0] for k in ("local_mig", "local_modularity")]
    return {
        "models": summary,
        "difference": difference,
        "local_mig_ratio": ratio,
        "passed": None if None in lows else bool(ratio >= 1.5 and min(lows) > 0),
    }


def draw(folder: Path, folders: dict[str, list[Path]], report: dict[str, Any]) -> None:
    """Write every figure into folder/figures; models are shown at their first seed."""
    config = runs.read_json(folder / "config.json")
    x = data.three_dots(config["side"], config["radius"]).sample_images(apart(8))
    vaes = {label: runs.load(paths[0]).vae for label, paths in folders.items()}
    figures = {"training_curves": curves(folders), "scores": scores(report, folders), **views(vaes, x)}
    values = np.linspace(-2, 2, 9)
    for label, vae in vaes.items():
        kl = runs.read_json(folders[label][0] / "report.json")["kl_per_dimension"]
        images = evaluation.traverse(vae, x[0], values)
        figures[f"traversals_{label}"] = plots.traversals(
            images, values=values, kl=kl, order_by_kl=True, label=label
        )
    for name, figure in figures.items():
        plots.save(figure, folder / "figures" / f"{name}.png")


def curves(folders: dict[str, list[Path]]) -> Figure:
    """The terms of both models over training, every seed a line."""
    shown = ("reconstruction", "kl", "jacobian_l1")
    lines = {}
    for label, paths in folders.items():
        seeds = [train.read_metrics(path)[0] for path in paths]
        lines[label] = {m: np.stack([c[m] for c in seeds]) for m in shown if m in seeds[0]}
    smooth = max(1, len(seeds[0]["kl"]) // 50)
    return plots.training_curves(lines, smooth=smooth, units=UNITS, yscale="log")


def scores(report: dict[str, Any], folders: dict[str, list[Path]]) -> Figure:
    """Metrics and the price, every seed a point, beside the paper's numbers."""
    names = dict(zip(folders, report["models"], strict=True))
    values = {t: {label: report["models"][names[label]][k] for label in folders} for t, k in SHOWN.items()}
    return plots.score_comparison(values, references=PAPER, reference_label="paper, 64x64", units=UNITS)


def views(vaes: dict[str, VAE], x: np.ndarray) -> dict[str, Figure]:
    """What the models make of images x, of prior samples and of paths, and their Jacobian columns."""
    paths = {
        f"{label}, {kind}": evaluation.interpolate(vae, x[0], x[1], 9, kind)
        for label, vae in vaes.items()
        for kind in ("lerp", "slerp")
    }
    drawn = {label: evaluation.prior_samples(jax.random.key(3), vae, 32) for label, vae in vaes.items()}
    seen = {label: evaluation.reconstruct(vae, x) for label, vae in vaes.items()}
    columns = {label: evaluation.jacobian_images(vae, x[:4]) for label, vae in vaes.items()}
    return {
        "reconstructions": plots.reconstructions(x, seen),
        "samples": plots.samples(drawn),
        "interpolations": plots.interpolations(paths),
        "jacobian_columns": plots.jacobian_columns(columns, images=x[:4], order_by_norm=True),
    }


def write_sweep(folder: Path, cells: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Write sweep.csv and the figure over the cells of a sweep; return the table as numbers and as text.

    Args:
      folder: the run's.
      cells: for each the swept fields in `values`, and what `summarise` says of its trainings.
    """
    over = {title: key for title, key in SHOWN.items() if "locality" not in title}
    shown, tabled = [], []
    for cell in cells:
        scores = {t: {MODELS[m]: cell["models"][m][k] for m in MODELS} for t, k in over.items()}
        ratio = {"local MIG, JL1-VAE over beta-VAE": {"": {"mean": cell["local_mig_ratio"]}}}
        shown.append(sweep.Result(cell["values"], scores))
        tabled.append(sweep.Result(cell["values"], scores | ratio))
    rows = sweep.numbers(tabled)
    sweep.write_csv(folder / "sweep.csv", rows)
    field = next(iter(cells[0]["values"]))
    plots.save(plots.sweep_curves(sweep.lines(shown), field, units=UNITS), folder / "figures" / "sweep.png")
    return rows, runs.table(sweep.table(tabled))


def apart(n: int) -> np.ndarray:
    """Factors of n images whose dots lie inside the frame and do not touch, [n, 6]."""
    factors = np.random.default_rng(7).integers(8, 56, (400, 3, 2))
    distance = np.linalg.norm(factors[:, :, None] - factors[:, None], axis=-1) + 64 * np.eye(3)
    return factors[distance.min(axis=(1, 2)) > 22][:n].reshape(n, 6)


def table(report: dict[str, Any]) -> str:
    """Both models with 95 % intervals, their difference, and seconds of training."""
    rows = []
    for title, key in {**SHOWN, "seconds of training": "train_seconds"}.items():
        row = {"": title}
        for name in MODELS:
            row[name] = sweep.interval(report["models"][name][key])
        row["difference"] = sweep.interval(report["difference"][key])
        rows.append(row)
    verdict = {True: "passed", False: "not passed", None: "not decided: an interval needs two seeds"}
    return (
        f"{runs.table(rows)}\n\nlocal MIG, JL1-VAE over beta-VAE: {report['local_mig_ratio']:.2f} "
        f"(at least 1.5, and both differences above zero: {verdict[report['passed']]})"
    )
