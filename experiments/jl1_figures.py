"""Figures and table of the flagship, from its report and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaejax import data, evaluation, plots, runs, train

# Rhodes & Lee 2021, figures, three-dots 64x64 after 300 000 steps, read off to 0.003
PAPER = {
    "local MIG": {"beta-VAE": 0.054, "JL1-VAE": 0.125},
    "local modularity": {"beta-VAE": 0.889, "JL1-VAE": 0.941},
}
SHOWN = {
    "local MIG": "local_mig",
    "local modularity": "local_modularity",
    "local MIG, locality 1": "local_mig_locality_1",
    "local modularity, locality 1": "local_modularity_locality_1",
    "reconstruction": "reconstruction",
    "KL": "kl",
}


def draw(folder: Path, folders: dict[str, list[Path]], report: dict[str, Any]) -> None:
    """Write every figure into folder/figures; models are shown at their first seed."""
    out = folder / "figures"
    config = runs.read_json(folder / "config.json")
    dots = data.three_dots(config["side"], config["radius"])
    x = dots.sample_images(np.random.default_rng(7).integers(0, 64, (8, 6)))
    vaes = {label: runs.load(paths[0]).vae for label, paths in folders.items()}

    curves = {label: [train.read_metrics(path)[0] for path in paths] for label, paths in folders.items()}
    shown = ("reconstruction", "kl", "jacobian_l1")
    stacked = {
        label: {m: np.stack([c[m] for c in cs]) for m in shown if m in cs[0]} for label, cs in curves.items()
    }
    steps = len(next(iter(stacked.values()))["kl"][0])
    plots.save(plots.training_curves(stacked, smooth=max(1, steps // 50)), out / "training_curves.png")

    plots.save(
        plots.reconstructions(x, {label: evaluation.reconstruct(vae, x) for label, vae in vaes.items()}),
        out / "reconstructions.png",
    )
    samples = {label: evaluation.prior_samples(jax.random.key(3), vae, 32) for label, vae in vaes.items()}
    plots.save(plots.samples(samples), out / "samples.png")
    paths = {
        f"{label}, {kind}": evaluation.interpolate(vae, x[0], x[1], 9, kind)
        for label, vae in vaes.items()
        for kind in ("lerp", "slerp")
    }
    plots.save(plots.interpolations(paths), out / "interpolations.png")
    columns = {label: np.asarray(evaluation.jacobian_images(vae, x[:4])) for label, vae in vaes.items()}
    plots.save(
        plots.jacobian_columns(columns, images=x[:4], order_by_norm=True), out / "jacobian_columns.png"
    )
    values = np.linspace(-2, 2, 9)
    for (label, vae), path in zip(vaes.items(), folders.values(), strict=True):
        kl = runs.read_json(path[0] / "report.json")["kl_per_dimension"]
        figure = plots.traversals(
            evaluation.traverse(vae, x[0], values), values=values, kl=kl, order_by_kl=True, label=label
        )
        plots.save(figure, out / f"traversals_{label}.png")

    names = {"beta-VAE": "beta_vae", "JL1-VAE": "jl1_vae"}
    scores = {t: {label: report["models"][names[label]][k] for label in folders} for t, k in SHOWN.items()}
    figure = plots.score_comparison(
        scores,
        references=PAPER,
        reference_label="paper, 64x64",
        units={"reconstruction": "nats", "KL": "nats"},
    )
    plots.save(figure, out / "scores.png")


def summary_table(report: dict[str, Any]) -> str:
    """Both models with 95 % intervals, their difference, and seconds of training."""
    rows = []
    for title, key in {**SHOWN, "seconds of training": "train_seconds"}.items():
        row = {"": title}
        for name in ("beta_vae", "jl1_vae"):
            row[name] = _interval(report["models"][name][key])
        row["difference"] = _interval(report["difference"][key])
        rows.append(row)
    verdict = {True: "passed", False: "not passed", None: "not decided: an interval needs two seeds"}
    return (
        f"{runs.table(rows)}\n\nlocal MIG, JL1-VAE over beta-VAE: {report['local_mig_ratio']:.2f} "
        f"(at least 1.5, and both differences above zero: {verdict[report['passed']]})"
    )


def _interval(value: dict[str, Any]) -> str:
    low, high = value["ci95"]
    mean = f"{value['mean']:.4g}"
    return mean if low is None else f"{mean} [{low:.4g}, {high:.4g}]"
