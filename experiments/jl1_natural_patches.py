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
from functools import cache, partial
from typing import Any, Literal

import jax
import numpy as np
import optax
from scipy.special import entr
from sklearn.decomposition import PCA, FastICA

from vaejax import (
    VAE,
    compose,
    data,
    disentanglement,
    distributions,
    evaluation,
    lab,
    models,
    nets,
    objectives,
    plots,
    scaled,
    train,
)

ROWS = {"beta_vae": lab.Row("beta-VAE", unread=("gamma", "method", "columns")), "jl1_vae": "JL1-VAE"}
SIDE, SHADES = 16, (0.3, 0.6)  # black and white of patches in figures
SHOWN = {
    "kurtosis of columns": "kurtosis",
    "Hoyer sparsity of columns": "hoyer",
    "share of variance explained": "explained",
    "L1 norm of J": "jacobian_l1",
    "reconstruction above its floor": "excess",
    "KL": "kl",
}


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """beta-VAE and Jacobian-L1 VAE on natural patches."""

    gamma: lab.NonNegative[float] = 0.1  # weight of the Jacobian penalty, reached at the end of the ramp
    method: Literal["exact", "columns", "finite_difference"] = "columns"  # columns: unbiased sample of them
    columns: lab.Positive[int] = 1  # Jacobian columns per image and step, for method=columns
    standardise: bool = True
    """Whether the encoder sees (x - .455) / .05; the authors' sees x, and learns many times slower."""


_AUTHORS = Config(images=100_000, batch_size=128, beta=0.01, gamma=0.01, standardise=False)
PRESETS = {
    "fast": Config(
        seeds=4, width=0.5, steps=4000, batch_size=32, learning_rate=2e-3, beta=0.01, gamma=0.01, ramp=1000
    ),
    "paper": replace(
        _AUTHORS, preset="paper", steps=100_000, ramp=50_000, method="exact", microbatch=0, seeds=5
    ),
}


def training(config: Config, name: str) -> lab.Training:
    """-log p(x|z) + beta KL, and + gamma ||J||_{1,1} for the JL1-VAE; both weights rise over the ramp."""
    offset, scale = (0.455, 0.05) if config.standardise else (0.0, 1.0)  # of all patches, rounded
    model = models.gaussian_vae(
        encoder=nets.PatchEncoder(config.latents, config.width, offset=offset, scale=scale),
        decoder=nets.PatchDecoder(side=SIDE, width=config.width),
        latents=config.latents,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )
    rise = partial(objectives.ramp_schedule, transition_steps=config.ramp)
    terms = {"kl": scaled(rise(config.beta), objectives.kl)}
    if name == "jl1_vae":
        columns = config.columns if config.method == "columns" else 1
        penalty = objectives.jacobian_l1(method=config.method, columns=columns)
        terms["jacobian_l1"] = scaled(rise(config.gamma), penalty)
    loss = compose(reconstruction=objectives.reconstruction, **terms)
    adam = optax.adam(config.learning_rate)
    update = train.gradient_update(loss, model, adam, microbatch=config.slices)
    patches = data.natural_patches(SIDE, num_train=config.images)
    return lab.Training(model, update, patches, work=2.0 if name == "jl1_vae" else 1.0)


def score(config: Config, name: str, vae: VAE, patches: data.NaturalPatches) -> dict[str, Any]:
    """Sparsity of the Jacobian's columns at posterior means of test patches, and the price."""
    parts = evaluation.elbo_parts(jax.random.key(2022), vae, patches.test)
    used = parts["kl_per_dimension"] > 0.1  # nats: the columns of other latents are left out
    x = patches.test.arrays["x"]
    columns = np.asarray(jax.jit(evaluation.jacobian_images)(vae, x[:500]))
    columns = columns.reshape(*columns.shape[:2], SIDE**2)
    p = x.astype(np.float64)
    floor = float((entr(p) + entr(1 - p)).sum() / len(p))  # the least cross-entropy: the patches' own
    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "kl_per_dimension")
    return {
        **sparsity(columns[:, used]),
        "jacobian_l1": float(np.abs(columns).sum((1, 2)).mean()),
        "explained": explained(x, np.asarray(jax.jit(evaluation.reconstruct)(vae, x))),
        "excess": parts["reconstruction"] - floor,
        "used": int(used.sum()),
        **{name: parts[name] for name in names},
    }


def sparsity(columns: np.ndarray) -> dict[str, float]:
    """Means over columns [..., D] that have a value; 0 where none has, as in a model without a latent in use."""
    values = {"kurtosis": disentanglement.kurtosis(columns), "hoyer": disentanglement.hoyer(columns)}
    return {name: float(np.nanmean(v)) if np.isfinite(v).any() else 0.0 for name, v in values.items()}


def explained(x: np.ndarray, mean: np.ndarray) -> float:
    """1 - sum (x - mean)^2 / sum (x - average x)^2, over all patches and pixels."""
    return float(1 - np.square(x - mean).sum() / np.square(x - x.mean(0)).sum())


@cache
def linear(images: int, latents: int) -> dict[str, tuple[Any, np.ndarray]]:
    """PCA and FastICA of the training patches, and their columns [d, D] for sources of unit variance."""
    patches = data.natural_patches(SIDE, num_train=images)
    x = patches.train.arrays["x"].reshape(images, -1).astype(np.float64)
    pca = PCA(latents, whiten=True, svd_solver="covariance_eigh").fit(x)
    ica = FastICA(latents, whiten="unit-variance", max_iter=1000, tol=1e-3, random_state=0).fit(x)
    components = pca.components_ * np.sqrt(pca.explained_variance_)[:, None]
    return {"PCA": (pca, components), "FastICA": (ica, np.transpose(ica.mixing_))}


def score_linear(method: Any, columns: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """What a linear model has of the scores of a VAE, on patches x [N, D]."""
    mean = method.inverse_transform(method.transform(x))
    l1 = float(np.abs(columns).sum())
    return {**sparsity(columns), "jacobian_l1": l1, "explained": explained(x, mean), "used": len(columns)}


def summary(run: lab.Run) -> dict[str, Any]:
    """JL1-VAE minus beta-VAE, and the linear models."""
    x = data.natural_patches(SIDE).test.arrays["x"].reshape(-1, SIDE**2)
    fitted = linear(run.config.images, run.config.latents)
    rows = {name: [score_linear(*of, x)] for name, of in fitted.items()}
    return {"rows": rows, "difference": run.minus("jl1_vae", "beta_vae")}


def columns(run: lab.Run, x: np.ndarray | None = None) -> Any:
    """Jacobian columns: of patches x, or of one and the columns of the linear models, by their norms."""
    at = data.natural_patches(SIDE).contrasted(8)[::2] if x is None else x
    shown = {label: np.asarray(evaluation.jacobian_images(run.vae(m), at)) for m, label in run.labels.items()}
    if x is not None:
        return plots.jacobian_columns(shown, images=x, order_by_norm=True, limits=SHADES)
    fitted = linear(run.config.images, run.config.latents)
    flat = {name: of.reshape(1, -1, SIDE, SIDE, 1) for name, (_, of) in fitted.items()}
    return plots.jacobian_columns(flat | {k: v[:1] for k, v in shown.items()}, order_by_norm=True)


def reconstructions(run: lab.Run, x: np.ndarray) -> Any:
    """What all models make of patches x."""
    fitted, flat = linear(run.config.images, run.config.latents), x.reshape(len(x), -1)
    seen = {k: m.inverse_transform(m.transform(flat)).reshape(x.shape) for k, (m, _) in fitted.items()}
    seen |= {label: evaluation.reconstruct(run.vae(name), x) for name, label in run.labels.items()}
    return plots.reconstructions(x, seen, limits=SHADES)


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw; VAEs are shown at their first seed."""
    run = lab.run(config, PRESETS, ROWS, training, score, summary)
    run.side_by_side({**SHOWN, "latents in use": "used"}, minus=("jl1_vae", "beta_vae"))
    x = data.natural_patches(SIDE).contrasted(8)
    run.figure("training_curves", partial(lab.curves, names=("reconstruction", "kl", "jacobian_l1")))
    run.figure("scores", partial(lab.scores, columns=SHOWN))
    run.figure("columns", columns)
    run.figure("jacobian_columns", partial(columns, x=x[::2]))
    run.figure("reconstructions", partial(reconstructions, x=x))
    return run.report


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
