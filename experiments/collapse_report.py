"""Report, table and figures of remedies against posterior collapse, from the folders of their trainings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import jobs
from experiments.iwae_report import paired, with_error
from vaejax import evaluation, plots, runs, train
from vaejax.types import AnyArray

SHOWN, DRAWS = 6, 3  # test images in a row of the figure, and draws for each


def summarise(folders: Mapping[str, Path], labels: Mapping[str, str]) -> dict[str, Any]:
    """What the trainings report, with their NLL minus the plain one's, image by image.

    Args:
      folders: name -> the folder of its training, "plain" among them.
      labels: name -> what it is called.

    Raises:
      FileNotFoundError: a training is not finished.
    """
    reports = jobs.read_reports(folders)
    log_p = {name: np.load(folder / "log_likelihood.npy") for name, folder in folders.items()}
    models = {}
    for name, folder in folders.items():
        metrics = train.read_metrics(folder)[0]
        own = {"label": labels[name], "minus_plain": paired(log_p[name], log_p["plain"])}
        if "inner_steps" in metrics:
            own |= {key: int(metrics[key].sum()) for key in ("inner_steps", "aggressive")}
        models[name] = {**reports[name], **own}
    return {"models": models}


def verdict(summary: str) -> str:
    """The first words of what `evaluation.collapse` says."""
    return summary.split(":")[0]


def table(report: Mapping[str, Any]) -> str:
    """A Markdown table with a row per training."""
    rows = [
        {
            "remedy": m["label"],
            "KL": f"{m['kl']:.2f}",
            "I(x; z)": f"{m['mutual_information']:.2f}",
            "active units": f"{m['active_units']} of {m['latents']}",
            "NLL": with_error(m["nll"], m["nll_se"]),
            "minus plain": with_error(m["minus_plain"]["mean"], m["minus_plain"]["se"]),
            "ESS": f"{m['ess']:.0f}",
            "seconds": jobs.shown_seconds(m["train_seconds"]),
            "verdict": verdict(m["summary"]),
        }
        for m in report["models"].values()
    ]
    plain = report["models"]["plain"]
    heading = (
        f"nats; NLL of {plain['n']} test images with {plain['num_samples']} samples each, paired differences "
        f"with their standard errors; the other signs are of {plain['judged']} test images"
    )
    return "\n\n".join([heading, runs.table(rows)])


def draw(folder: Path, folders: Mapping[str, Path], report: Mapping[str, Any], x: AnyArray) -> None:
    """Write the figures: KL and reconstruction over training, the table's numbers, draws of p(x|z).

    Args:
      folder: of the run.
      folders: name -> the folder of its training.
      report: as `summarise` returns it.
      x: test images [n, H, W, C].
    """
    models = report["models"]
    curves = {models[name]["label"]: train.read_metrics(path)[0] for name, path in folders.items()}
    shown = {
        label: {"step": c["step"], "KL": np.maximum(c["kl"], 1e-3), "-log p(x|z)": c["reconstruction"]}
        for label, c in curves.items()
    }
    steps = max(len(c["step"]) for c in curves.values())
    figures = {
        "training_curves": plots.training_curves(
            shown, smooth=max(1, steps // 30), units="nats", yscale="log"
        ),
        "scores": plots.score_comparison(scores(models), units="nats"),
        "draws": draws({models[name]["label"]: path for name, path in folders.items()}, np.asarray(x)),
    }
    for name, figure in figures.items():
        plots.save(figure, folder / "figures" / f"{name}.png")


def draws(folders: Mapping[str, Path], x: np.ndarray) -> Figure:
    """Some draws of p(x|z) at the posterior mean of every x: alike, and like x, where the decoder uses z."""
    key, rows = jax.random.key(3), {}
    for label, folder in folders.items():
        vae = runs.load(folder).vae
        z = np.repeat(np.asarray(evaluation.posterior_mean(vae, {"x": x})), DRAWS, axis=0)
        rows[label] = evaluation.decoder_samples(key, vae, z, batch_size=len(z))
    groups = [("", DRAWS)] * len(x)
    return plots.reconstructions(np.repeat(x, DRAWS, axis=0), rows, limits=(0.0, 1.0), groups=groups)


def scores(models: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores for `plots.score_comparison`; intervals are over test images, 1.96 standard errors."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for m in models.values():
        minus = m["minus_plain"]
        for title, value, error in (
            ("KL", m["kl"], m["kl_se"]),
            ("I(x; z)", m["mutual_information"], None),
            ("NLL minus plain", minus["mean"], minus["se"]),
        ):
            ci95 = None if error is None else (value - 1.96 * error, value + 1.96 * error)
            entry = {"mean": value, "ci95": ci95, "per_seed": [value]}
            result.setdefault(title, {})[m["label"]] = entry
    return result
