"""Report, table and figures of the flagship, from the folders of its trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import sweep, training
from experiments.training import MODELS, UNITS
from vaejax import data, evaluation, plots, runs
from vaejax.types import VAE

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


def summarise(folders: dict[str, list[Path]]) -> dict[str, Any]:
    """Means and intervals over seeds, the difference of the two models, and the verdict on it."""
    result = training.summarise(folders)
    jl1, beta = (result["models"][name]["local_mig"]["mean"] for name in ("jl1_vae", "beta_vae"))
    ratio = jl1 / max(beta, 1e-12)
    lows = [result["difference"][k]["ci95"][0] for k in ("local_mig", "local_modularity")]
    passed = None if None in lows else bool(ratio >= 1.5 and min(lows) > 0)
    return {**result, "local_mig_ratio": ratio, "passed": passed}


def draw(folder: Path, folders: dict[str, list[Path]], report: dict[str, Any]) -> None:
    """Write every figure into folder/figures; models are shown at their first seed."""
    config = runs.read_json(folder / "config.json")
    x = data.three_dots(config["side"], config["radius"]).sample_images(apart(8))
    vaes = {MODELS[name]: runs.load(paths[0]).vae for name, paths in folders.items()}
    paper = {"references": PAPER, "reference_label": "paper, 64x64"}
    figures = {
        "training_curves": training.curves(folders, "log"),
        "scores": training.scores(report, SHOWN, MODELS, **paper),
        **views(vaes, x),
    }
    values = np.linspace(-2, 2, 9)
    for name, label in MODELS.items():
        figures[f"traversals_{label}"] = traversals(vaes[label], folders[name][0], x[0], values, label)
    for name, figure in figures.items():
        plots.save(figure, folder / "figures" / f"{name}.png")


def traversals(vae: VAE, folder: Path, x: np.ndarray, values: np.ndarray, label: str) -> Figure:
    """Every latent of image x in turn takes the values; the KL of each is read from the training's folder."""
    kl = runs.read_json(folder / "report.json")["kl_per_dimension"]
    images = evaluation.traverse(vae, x, values)
    return plots.traversals(images, values=values, kl=kl, order_by_kl=True, label=label)


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
    verdict = {True: "passed", False: "not passed", None: "not decided: an interval needs two seeds"}
    return (
        f"{training.table(report, SHOWN, MODELS)}\n\n"
        f"local MIG, JL1-VAE over beta-VAE: {report['local_mig_ratio']:.2f} "
        f"(at least 1.5, and both differences above zero: {verdict[report['passed']]})"
    )
