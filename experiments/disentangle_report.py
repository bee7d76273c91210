"""Report, table and figures of the methods of `disentangle`, from the folders of its trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import jobs, sweep
from experiments.disentangle_config import METHODS, Config
from experiments.jobs import Job
from vaejax import evaluation, plots, runs
from vaejax.types import VAE

UNITS = {"reconstruction": "nats", "KL": "nats", "Gaussian total correlation": "nats"}
SHOWN = {
    "MIG, histogram": "mig",
    "MIG, Chen, {draws} draws": "mig_chen",
    "SAP, correlation": "sap",
    "DCI disentanglement, {codes} codes": "dci_disentanglement_trees",
    "DCI completeness, {codes} codes": "dci_completeness_trees",
    "DCI informativeness, {codes} codes": "dci_informativeness_trees",
    "FactorVAE score": "factor_vae",
    "beta-VAE score": "beta_vae",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "IRS": "irs",
    "local MIG": "local_mig",
    "local modularity": "local_modularity",
    "reconstruction": "reconstruction",
    "KL": "kl",
}
TABLED = {
    **SHOWN,
    "MIG, histogram, active codes": "active_mig",
    "modularity, active codes": "active_modularity",
    "SAP, support vectors": "sap_svm",
    "DCI by the lasso, disentanglement": "dci_disentanglement_lasso",
    "DCI by the lasso, completeness": "dci_completeness_lasso",
    "DCI by the lasso, informativeness (R^2)": "dci_informativeness_lasso",
    "local MIG over its ceiling": "local_mig_over_ceiling",
    "Gaussian total correlation": "gaussian_total_correlation",
    "Wasserstein correlation": "wasserstein_correlation",
    "information between codes": "pairwise_information",
    "active codes": "active_units",
    "seconds of training": "train_seconds",
}
FLAGS = {"degenerate": "nothing to measure", "infinite": "infinite", "missing": "could not be taken"}
ROWS = 6  # latents of a model in the traversals, those of the largest KL
VALUES = np.linspace(-2, 2, 7)


def summarise(each: Sequence[Job]) -> dict[str, Any]:
    """{data set: {method: {score: its mean and interval over seeds}}}.

    A score that is not finite in some seed has no mean. Each method also has the `library` of its classifiers
    and the names of scores that are `degenerate`, or `infinite`, in some seed.

    Raises:
      FileNotFoundError: a training is not finished.
    """
    reports = jobs.read_reports({job.folder.name: job.folder for job in each})
    cells: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for job in each:
        (name,) = job.config.dataset
        cells.setdefault(name, {}).setdefault(job.name, []).append(reports[job.folder.name])
    return {
        name: {
            method: {
                **{
                    key: _over_seeds([seed[key] for seed in seeds])
                    for key, value in seeds[0].items()
                    if isinstance(value, int | float | None)
                },
                "library": ", ".join(sorted({seed.get("library", "") for seed in seeds} - {""})),
                **{flag: _flagged(seeds, flag) for flag in FLAGS},
            }
            for method, seeds in methods.items()
        }
        for name, methods in cells.items()
    }


def _over_seeds(values: list[float | None]) -> dict[str, Any]:
    if None in values:
        return {"mean": None, "ci95": [None, None], "per_seed": values}
    return runs.mean_ci95([float(value) for value in values if value is not None])


def _flagged(seeds: Sequence[Mapping[str, Any]], flag: str) -> list[str]:
    """The names that stand under `flag` in some seed, each once."""
    return list(dict.fromkeys(name for seed in seeds for name in seed.get(flag, ())))


def table(report: Mapping[str, Any], name: str, config: Config) -> str:
    """A row per score, a column per method, with 95 % intervals where there are several seeds."""
    methods = report["datasets"][name]
    rows = []
    for title, key in titled(TABLED, methods, config).items():
        cells = {label: _cell(methods[method][key]) for method, label in METHODS.items()}
        rows.append({"": title} | cells)
    return runs.table(rows)


def _cell(entry: Mapping[str, Any]) -> str:
    return "-" if entry["mean"] is None else sweep.interval(entry)


def notes(report: Mapping[str, Any], name: str) -> list[str]:
    """What stands under the table: the library of the classifiers, and scores that are flagged."""
    methods = report["datasets"][name]
    libraries = sorted({scores["library"] for scores in methods.values()} - {""})
    lines = [f"classifiers by {', '.join(libraries)}"] if libraries else []
    for flag, meaning in FLAGS.items():
        lines += [
            f"{meaning} in some seed of {METHODS[method]}: {', '.join(scores[flag])}"
            for method, scores in methods.items()
            if scores[flag]
        ]
    return lines


def titled(names: Mapping[str, str], methods: Mapping[str, Any], config: Config) -> dict[str, str]:
    """The scores that were taken, their titles with the numbers that may be less than the published ones."""
    return {
        title.format(codes=config.dci_fitted, draws=config.sampled): key
        for title, key in names.items()
        if key in methods["beta_vae"]
    }


def draw(
    folder: Path, each: Sequence[Job], report: Mapping[str, Any], name: str, config: Config, loaded: Any
) -> None:
    """Write the figures of one data set into folder/figures."""
    methods = report["datasets"][name]
    values = {
        title: {
            label: methods[method][key]
            for method, label in METHODS.items()
            if methods[method][key]["mean"] is not None
        }
        for title, key in titled(SHOWN, methods, config).items()
    }
    firsts = {j.name: j.folder for j in reversed(each) if j.config.dataset == (name,)}
    x = np.asarray(loaded.test.transform(jax.random.key(0), {"x": loaded.test.arrays["x"][:1]})["x"])[0]
    figures = {
        f"scores_{name}": plots.score_comparison(values, units=UNITS),
        f"traversals_{name}": traversals({m: firsts[m] for m in METHODS}, x),
    }
    for title, figure in figures.items():
        plots.save(figure, folder / "figures" / f"{title}.png")


def traversals(folders: Mapping[str, Path], x: np.ndarray) -> Figure:
    """A panel per method, a row per latent, those of the largest KL; its nats stand at the left."""
    grids, names = {}, {}
    for method, folder in folders.items():
        vae: VAE = runs.load(folder).vae
        kl = np.asarray(runs.read_json(folder / "report.json")["kl_per_dimension"])
        order = np.argsort(-kl, kind="stable")[:ROWS]
        images = np.asarray(evaluation.traverse(vae, x, VALUES))[order]
        grids[METHODS[method]] = images.reshape(-1, *x.shape)
        names[METHODS[method]] = [f"{kl[j]:.2f}" for j in order]
    figure = plots.samples(grids, columns=len(VALUES))
    for axes, (label, nats) in zip(figure.axes, names.items(), strict=True):
        bottom, top = axes.get_ylim()
        rows = top + (bottom - top) * (np.arange(len(nats)) + 0.5) / len(nats)
        axes.set_yticks(rows, nats, fontsize=8)
        axes.set_ylabel("KL of each latent (nats)", fontsize=8)
        axes.set_title(label)
    return figure
