"""Table and figures of a VAE and of Wasserstein autoencoders side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from vaejax import evaluation, plots, runs
from vaejax.plots.panels import legend, panels
from vaejax.types import Split

MODELS = {"vae": "VAE", "wae_mmd": "WAE-MMD", "wae_gan": "WAE-GAN"}
SHOWN = 8  # images in a row of the gallery, reconstructions and samples each


def table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table: a row per model, and one of what prior samples and data themselves score."""
    rows = [
        {
            "": MODELS[name],
            "RMSE": f"{math.sqrt(m['mse']):.3f}",
            "SSIM": f"{m['ssim']:.3f} +- {m['ssim_se']:.3f}",
            "gradient, reconstructions": f"{m['gradient_reconstructions']:.2f}",
            "gradient, samples": f"{m['gradient_samples']:.2f}",
            "1000 MMD^2, codes to prior": interval(m["mmd_codes"]),
            "1000 MMD^2, samples to test images": interval(m["mmd_samples"]),
        }
        for name, m in reports.items()
    ]
    some = next(iter(reports.values()))
    themselves = {
        "": "prior samples, training images",
        "1000 MMD^2, codes to prior": interval(some["mmd_prior"]),
        "1000 MMD^2, samples to test images": interval(some["mmd_images"]),
    }
    return runs.table([*rows, {**dict.fromkeys(rows[0], ""), **themselves}])


def interval(entry: Mapping[str, Any]) -> str:
    """A mean of estimates and its 95 % interval, in thousandths."""
    low, high = entry["ci95"]
    return f"{1000 * entry['mean']:.1f} [{1000 * low:.1f}, {1000 * high:.1f}]"


def draw(folder: Path, folders: Mapping[str, Path], test: Split) -> None:
    """Write the figures: reconstructions and samples side by side, and where the codes lie."""
    plots.save(gallery(folders, test.arrays["x"]), folder / "figures" / "gallery.png")
    z = {MODELS[name]: np.load(path / "codes.npy") for name, path in folders.items()}
    plots.save(codes(z), folder / "figures" / "codes.png")


def gallery(folders: Mapping[str, Path], stored: np.ndarray) -> Figure:
    """A row per model: reconstructions at the left, decoder means at prior draws at the right.

    Args:
      folders: model -> the folder of its training.
      stored: images of bytes, the first are shown.
    """
    shown = stored[: 2 * SHOWN] / np.float32(255)
    key, rows = jax.random.key(3), {}
    for name, folder in folders.items():
        vae = runs.load(folder).vae
        seen = np.asarray(evaluation.reconstruct(vae, shown[:SHOWN]))
        drawn = np.asarray(evaluation.prior_samples(key, vae, SHOWN))
        rows[MODELS[name]] = np.concatenate([seen, drawn])
    groups = (("reconstructions", SHOWN), ("samples (data: other test images)", SHOWN))
    return plots.reconstructions(shown, rows, limits=(0.0, 1.0), groups=groups)


def codes(z: Mapping[str, np.ndarray]) -> Figure:
    """Densities of the codes' coordinates, a line for each latent, and of their lengths, beside the prior's.

    Args:
      z: label -> codes [N, d].
    """
    d = next(iter(z.values())).shape[1]
    colors = plots.model_colors([*z])
    figure, grid = panels(len(z) + 1, len(z) + 1, 2.2, 2.0)
    *each, lengths = grid
    bins = np.linspace(-4, 4, 41).tolist()
    longest = np.linspace(0, 2.2 * math.sqrt(d), 41).tolist()
    outline: dict[str, Any] = {"density": True, "histtype": "step", "linewidth": 1.0}
    for axes, (label, v) in zip(each, z.items(), strict=True):
        for column in v.T:
            axes.hist(column, bins, color=colors[label], alpha=0.7, **outline)
        lengths.hist(np.linalg.norm(v, axis=1), longest, color=colors[label], **outline)
    prior: dict[str, Any] = {"color": "0.15", "linewidth": 1.2, "linestyle": "--"}
    top = max(axes.get_ylim()[1] for axes in each)
    for axes in each:
        axes.plot(bins, stats.norm.pdf(bins), **prior)
        axes.set(xlabel="$z_j$", ylim=(0, top))
    lengths.plot(longest, stats.chi.pdf(longest, d), **prior)
    lengths.set_xlabel("$|z|$")
    each[0].set_ylabel("density")
    legend(
        figure,
        [
            *(Line2D([], [], color=colors[label], label=label) for label in z),
            Line2D([], [], label="prior", **prior),
        ],
    )
    return figure
