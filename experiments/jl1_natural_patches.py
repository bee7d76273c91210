"""JL1-VAE against beta-VAE, PCA and ICA on whitened natural patches (Rhodes & Lee 2021, arXiv 2106.02923).

    python -m experiments.jl1_natural_patches --preset fast

Trains both models on 16x16 patches, four seeds each, and compares the columns of their decoders' Jacobian
with the components of PCA and FastICA. About 10 minutes on one shared core. Seen (mean and 95 % interval over
seeds):

    |                             | beta-VAE          | JL1-VAE           | PCA   | FastICA |
    | kurtosis of columns         | 1.76 [1.43, 2.10] | 5.12 [3.79, 6.45] | -1.06 | -.18    |
    | Hoyer sparsity of columns   | .26 [.24, .29]    | .46 [.42, .50]    | .13   | .21     |
    | share of variance explained | .24 [.23, .24]    | .18 [.17, .19]    | .23   | .23     |
    | KL, nats                    | 7.5 [7.2, 7.9]    | 6.3 [5.6, 7.1]    |       |         |

Each latent of the JL1-VAE moves one spot, the same one in every patch; the beta-VAE's columns are spread and
change from patch to patch (figures/jacobian_columns.png).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.special import entr
from sklearn.decomposition import PCA, FastICA

from experiments import training
from experiments.cli import parse
from vaejax import data, disentanglement, distributions, evaluation, models, nets, plots, runs
from vaejax.types import VAE, Model

SIDE = 16
MEAN, SPREAD = 0.455, 0.05  # of the values of all patches, rounded
SCORED = 500  # test patches at whose posterior means the Jacobian is taken
SHADES = (0.3, 0.6)  # black and white of patches in figures
LABELS = {**training.MODELS, "pca": "PCA", "ica": "FastICA"}
SHOWN = {
    "kurtosis of columns": "kurtosis",
    "Hoyer sparsity of columns": "hoyer",
    "share of variance explained": "explained",
    "L1 norm of J": "jacobian_l1",
    "reconstruction above its floor": "excess",
    "KL": "kl",
}


@dataclass(frozen=True)
class Config(training.Settings):
    """beta-VAE and Jacobian-L1 VAE on natural patches."""

    standardise: bool = True
    """Whether the encoder sees (x - .455) / .05; the authors' sees x, and learns many times slower."""


_AUTHORS = Config(
    images=100_000, batch_size=128, learning_rate=1e-3, beta=0.01, gamma=0.01, standardise=False
)
PRESETS = {
    "fast": Config(
        seeds=4, width=0.5, steps=4000, batch_size=32, learning_rate=2e-3, beta=0.01, gamma=0.01, ramp=1000
    ),
    "paper": replace(
        _AUTHORS, preset="paper", steps=100_000, ramp=50_000, method="exact", microbatch=0, seeds=5
    ),
}


def build(config: Config) -> Model:
    """The model of Rhodes & Lee for patches, at the config's width."""
    offset, scale = (MEAN, SPREAD) if config.standardise else (0.0, 1.0)
    return models.gaussian_vae(
        encoder=nets.PatchEncoder(config.latents, config.width, offset=offset, scale=scale),
        decoder=nets.PatchDecoder(side=SIDE, width=config.width),
        latents=config.latents,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )


def train_one(job: training.Job) -> None:
    """Train and score one model with one seed."""
    load = partial(data.natural_patches, SIDE, num_train=job.config.images)
    training.train_job(job, build(job.config), load, score)


def score(vae: VAE, patches: data.NaturalPatches) -> dict[str, Any]:
    """Sparsity of the Jacobian's columns at posterior means of test patches, and the price."""
    parts = evaluation.elbo_parts(jax.random.key(2022), vae, patches.test)
    used = parts["kl_per_dimension"] > training.ACTIVE
    x = patches.test.arrays["x"]
    columns = jax.jit(evaluation.jacobian_images)(vae, x[:SCORED])
    columns = np.asarray(columns).reshape(*columns.shape[:2], SIDE**2)
    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "kl_per_dimension")
    return {
        **sparsity(columns[:, used]),
        "jacobian_l1": float(np.abs(columns).sum((1, 2)).mean()),
        "explained": explained(x, np.asarray(jax.jit(evaluation.reconstruct)(vae, x))),
        "excess": parts["reconstruction"] - floor(x),
        "used": int(used.sum()),
        **{name: parts[name] for name in names},
    }


def sparsity(columns: np.ndarray) -> dict[str, float]:
    """Means over columns [..., D]."""
    return {
        "kurtosis": training.mean_defined(disentanglement.kurtosis(columns)),
        "hoyer": training.mean_defined(disentanglement.hoyer(columns)),
    }


def explained(x: np.ndarray, mean: np.ndarray) -> float:
    """1 - sum (x - mean)^2 / sum (x - average x)^2, over all patches and pixels."""
    return float(1 - np.square(x - mean).sum() / np.square(x - x.mean(0)).sum())


def floor(x: np.ndarray) -> float:
    """The least cross-entropy of patches x in [0, 1], their own entropy as probabilities; nats per patch."""
    x = x.astype(np.float64)
    return float((entr(x) + entr(1 - x)).sum() / len(x))


def linear(config: Config, patches: data.NaturalPatches) -> dict[str, tuple[Any, np.ndarray]]:
    """PCA and FastICA of the training patches, and their columns [d, D] for sources of unit variance."""
    x = patches.train.arrays["x"].reshape(config.images, -1).astype(np.float64)
    pca = PCA(config.latents, whiten=True, svd_solver="covariance_eigh").fit(x)
    ica = FastICA(config.latents, whiten="unit-variance", max_iter=1000, tol=1e-3, random_state=0).fit(x)
    return {
        "pca": (pca, pca.components_ * np.sqrt(pca.explained_variance_)[:, None]),
        "ica": (ica, np.transpose(ica.mixing_)),
    }


def score_linear(method: Any, columns: np.ndarray, patches: data.NaturalPatches) -> dict[str, float]:
    """What a linear model has of the scores of a VAE."""
    x = patches.test.arrays["x"].reshape(patches.num_test, -1)
    return {
        **sparsity(columns),
        "jacobian_l1": float(np.abs(columns).sum()),
        "explained": explained(x, method.inverse_transform(method.transform(x))),
        "used": len(columns),
    }


def draw(
    folder: Path, folders: dict[str, list[Path]], report: dict[str, Any], patches: data.NaturalPatches,
    fitted: dict[str, tuple[Any, np.ndarray]],
) -> None:  # fmt: skip
    """Write every figure into folder/figures; VAEs are shown at their first seed."""
    x = contrasted(patches, 8)
    vaes = {training.MODELS[name]: runs.load(paths[0]).vae for name, paths in folders.items()}
    means = {}
    for name, (method, _) in fitted.items():
        means[LABELS[name]] = method.inverse_transform(method.transform(x.reshape(len(x), -1))).reshape(
            x.shape
        )
    means |= {label: evaluation.reconstruct(vae, x) for label, vae in vaes.items()}
    jac = {label: np.asarray(jax.jit(evaluation.jacobian_images)(vae, x[::2])) for label, vae in vaes.items()}
    flat = {LABELS[name]: columns.reshape(1, -1, SIDE, SIDE, 1) for name, (_, columns) in fitted.items()}
    at_one = flat | {label: columns[:1] for label, columns in jac.items()}
    figures = {
        "training_curves": training.curves(folders),
        "scores": training.scores(report, SHOWN, LABELS),
        "columns": plots.jacobian_columns(at_one, order_by_norm=True),
        "jacobian_columns": plots.jacobian_columns(jac, images=x[::2], order_by_norm=True, limits=SHADES),
        "reconstructions": plots.reconstructions(x, means, limits=SHADES),
    }
    for name, figure in figures.items():
        plots.save(figure, folder / "figures" / f"{name}.png")


def contrasted(patches: data.NaturalPatches, n: int) -> np.ndarray:
    """n test patches, each of another picture, four fifths of whose patches have less contrast."""
    x, picture = patches.test.arrays["x"], patches.test.arrays["y"][:, 0]
    chosen = []
    for p in range(n):
        mine = np.flatnonzero(picture == p)
        chosen.append(mine[np.argsort(x[mine].std((1, 2, 3)))[4 * len(mine) // 5]])
    return x[chosen]


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    if config.dry_run:
        return training.dry_run(config, build(config), (SIDE, SIDE, 1))
    config, folder, folders = training.open_run("jl1_natural_patches", config, PRESETS)
    if not config.report_only:
        training.run(train_one, config, folder, folders)
    result = {**training.summarise(folders), "config": config}
    patches = data.natural_patches(SIDE, num_train=config.images)
    fitted = linear(config, patches)
    for name, (method, columns) in fitted.items():
        numbers = score_linear(method, columns, patches)
        result["models"][name] = {k: runs.mean_ci95([v]) for k, v in numbers.items()}
    runs.write_json(folder / "report.json", result)
    print(training.table(result, {**SHOWN, "latents in use": "used"}, LABELS))
    draw(folder, folders, result, patches, fitted)
    return result


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
