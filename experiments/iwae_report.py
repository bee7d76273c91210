"""Report, tables and figures of bounds side by side, from the folders of their trainings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator

from experiments import jobs
from vaejax import plots, runs, train
from vaejax.evaluation.batches import mean_and_error

Row = tuple[str, int]  # bound and K

# Burda et al. 2015, table 1: one layer, test NLL of dynamically binarised MNIST after 3280 epochs
PUBLISHED = {
    "mnist": {
        ("vae", 1): 86.76, ("vae", 5): 86.47, ("vae", 50): 86.35,
        ("iwae", 1): 86.76, ("iwae", 5): 85.54, ("iwae", 50): 84.78,
    }
}  # fmt: skip
NAMES = {"vae": "VAE", "renyi": "Renyi", "dreg": "DReG"}


def label(name: str, K: int | None = None) -> str:
    """What a bound, or a bound with K, is called."""
    shown = NAMES.get(name, name.upper())
    return shown if K is None else f"{shown}, K = {K}"


def paired(log_a: np.ndarray, log_b: np.ndarray) -> dict[str, float]:
    """NLL of a minus NLL of b, image by image: {mean, se}, the standard error of the mean over images.

    Args:
      log_a, log_b: log p(x) of the same images, [N] nats.
    """
    if log_a.shape != log_b.shape:
        raise ValueError(f"log_a, log_b: expected the same images, got {log_a.shape} and {log_b.shape}")
    difference = mean_and_error("mean", log_b.astype(np.float64) - log_a)
    return {"mean": difference["mean"], "se": difference["mean_se"]}


def pairs(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Which are compared: each bound with the next smaller K, and with the first bound at the same K."""
    bounds, ks = list(dict.fromkeys(n for n, _ in rows)), sorted({K for _, K in rows})
    steps = [((name, b), (name, a)) for name in bounds for a, b in itertools.pairwise(ks)]
    across = [((name, K), (bounds[0], K)) for name in bounds[1:] for K in ks]
    return steps + across


def summarise(folders: Mapping[Row, Path]) -> dict[str, Any]:
    """What the trainings report, and paired differences of their NLL.

    Args:
      folders: (bound, K) -> the folder of its training, which several may share.

    Raises:
      FileNotFoundError: a training is not finished.
    """
    reports = jobs.read_reports({label(*row): folder for row, folder in folders.items()})
    log_p = {row: np.load(folder / "log_likelihood.npy") for row, folder in folders.items()}
    models, reference = [], next(iter(folders))
    for row in folders:
        minus = paired(log_p[row], log_p[reference])
        models.append({"bound": row[0], "K": row[1], **reports[label(*row)], "minus_first": minus})
    differences = [
        {"of": a, "minus": b, **paired(log_p[a], log_p[b])}
        for a, b in pairs(list(folders))
        if folders[a] != folders[b]
    ]
    return {"models": models, "differences": differences}


def table(report: Mapping[str, Any], dataset: str = "") -> str:
    """Two Markdown tables: a row per model, and a row per paired difference."""
    published = PUBLISHED.get(dataset, {})
    first = label(report["models"][0]["bound"], report["models"][0]["K"])
    rows = []
    for m in report["models"]:
        row: dict[str, Any] = {
            "": label(m["bound"], m["K"]),
            "NLL": with_error(m["nll"], m["nll_se"]),
            f"minus {first}": with_error(m["minus_first"]["mean"], m["minus_first"]["se"]),
            "-ELBO": f"{m['curve_nll'][0]:.2f}",
            "KL": f"{m['kl']:.2f}",
            "active units": m["active_units"],
            "ESS": f"{m['ess']:.0f}",
            "seconds": jobs.shown_seconds(m["train_seconds"]),
        }
        if published:
            row["NLL, published"] = published.get((m["bound"], m["K"]), "")
        rows.append(row)
    compared = [
        {
            "NLL of": label(*d["of"]),
            "minus that of": label(*d["minus"]),
            "paired difference": with_error(d["mean"], d["se"]),
            "over its error": f"{d['mean'] / d['se']:.1f}",
        }
        for d in report["differences"]
    ]
    n, samples = report["models"][0]["n"], report["models"][0]["num_samples"]
    heading = f"NLL (nats, with standard errors) of {n} test images, {samples} samples each"
    return "\n\n".join([heading, runs.table(rows)] + ([runs.table(compared)] if compared else []))


def with_error(value: float, error: float) -> str:
    """A number with its standard error."""
    return f"{value:.2f} +- {error:.2f}"


def draw(folder: Path, folders: Mapping[Row, Path], report: Mapping[str, Any]) -> None:
    """Write the figures: the bound over training, its tightening with samples, and everything against K."""
    trained = {path: row for row, path in reversed(list(folders.items()))}  # each training once
    curves = {label(*trained[path]): train.read_metrics(path)[0] for path in dict.fromkeys(folders.values())}
    shown = {name: {"step": c["step"], "negative bound": c["neg_bound"]} for name, c in curves.items()}
    steps = len(next(iter(curves.values()))["step"])
    models = {label(m["bound"], m["K"]): m for m in report["models"] if label(m["bound"], m["K"]) in curves}
    at = {name: m["curve_samples"] for name, m in models.items()}
    tightening = {"-L_k of test images": {name: m["curve_nll"] for name, m in models.items()}}
    tightens = plots.band_curves(tightening, at, "samples k per image", xscale="log", units="nats")
    tightens.axes[0].xaxis.set_major_locator(LogLocator())
    figures = {
        "training_curves": plots.training_curves(shown, smooth=max(1, steps // 50), units="nats"),
        "k_curve": tightens,
        "against_k": plots.sweep_curves(against_k(report), "K in training", units=""),
    }
    for name, figure in figures.items():
        plots.save(figure, folder / "figures" / f"{name}.png")


def against_k(report: Mapping[str, Any]) -> dict[str, dict[str, dict[int, dict[str, Any]]]]:
    """Scores for `plots.sweep_curves`; intervals are over test images, 1.96 standard errors."""
    scores: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
    first = label(report["models"][0]["bound"], report["models"][0]["K"])
    for m in report["models"]:
        minus = m["minus_first"]
        half, spread = 1.96 * minus["se"], 1.96 * m["kl_se"]
        entries = {
            f"NLL minus {first} (nats)": {
                "mean": minus["mean"], "ci95": (minus["mean"] - half, minus["mean"] + half),
            },
            "-ELBO minus NLL (nats)": {"mean": m["curve_nll"][0] - m["nll"], "ci95": None},
            "KL (nats)": {"mean": m["kl"], "ci95": (m["kl"] - spread, m["kl"] + spread)},
            "active units": {"mean": m["active_units"], "ci95": None},
        }  # fmt: skip
        for title, entry in entries.items():
            scores.setdefault(title, {}).setdefault(label(m["bound"]), {})[m["K"]] = entry
    return scores
