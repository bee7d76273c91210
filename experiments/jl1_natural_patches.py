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

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, scaled, train
from vaejax.disentanglement import LinearModel, hoyer, kurtosis, linear_models

ROWS = {"beta_vae": lab.Row("beta-VAE", unread=("gamma", "method", "columns")), "jl1_vae": "JL1-VAE"}
PAIR, SIDE, SHADES = ("jl1_vae", "beta_vae"), 16, (0.3, 0.6)  # SHADES: black and white in figures
SHOWN = {
    "kurtosis of columns": "kurtosis", "Hoyer sparsity of columns": lab.UnitScore("hoyer"),
    "share of variance explained": "explained", "L1 norm of J": "jacobian_l1",
    "reconstruction above its floor": "excess", "KL": "kl",
}  # fmt: skip


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """beta-VAE and Jacobian-L1 VAE on natural patches."""

    gamma: lab.NonNegative[float] = 0.1  # weight of the Jacobian penalty, reached at the end of the ramp
    method: Literal["exact", "columns", "finite_difference"] = "columns"  # columns: unbiased sample of them
    columns: lab.Positive[int] = 1  # Jacobian columns per image and step, for method=columns
    standardise: bool = True  # the encoder sees (x - .455) / .05; the authors' sees x: many times slower


_WEIGHTS = Config(beta=0.01, gamma=0.01)
PRESETS = {
    "fast": replace(_WEIGHTS, seeds=4, width=0.5, steps=4000, batch_size=32, learning_rate=2e-3, ramp=1000),
    "paper": replace(
        _WEIGHTS, preset="paper", seeds=5, images=100_000, steps=100_000, batch_size=128, ramp=50_000,
        method="exact", standardise=False, microbatch=0,
    ),
}  # fmt: skip


def training(config: Config, name: str) -> lab.Training:
    """-log p(x|z) + beta KL, and + gamma ||J||_{1,1} for the JL1-VAE; both weights rise over the ramp."""
    offset, scale = (0.455, 0.05) if config.standardise else (0.0, 1.0)  # of all patches, rounded
    encoder = nets.PatchEncoder(config.latents, config.width, offset=offset, scale=scale)
    decoder = nets.PatchDecoder(side=SIDE, width=config.width)
    pixels = distributions.bernoulli(cross_entropy=True)
    model = models.gaussian_vae(encoder=encoder, decoder=decoder, latents=config.latents, likelihood=pixels)
    rise = partial(objectives.ramp_schedule, transition_steps=config.ramp)
    terms = {"kl": scaled(rise(config.beta), objectives.kl)}
    if name == "jl1_vae":
        columns = config.columns if config.method == "columns" else 1
        penalty = objectives.jacobian_l1(method=config.method, columns=columns)
        terms["jacobian_l1"] = scaled(rise(config.gamma), penalty)
    loss = compose(reconstruction=objectives.reconstruction, **terms)
    update = train.gradient_update(loss, model, optax.adam(config.learning_rate), microbatch=config.slices)
    patches = data.natural_patches(SIDE, num_train=config.images)
    work, validate = 2.0 if name == "jl1_vae" else 1.0, lab.jacobian_norm(patches.contrasted(10))
    return lab.Training(model, update, patches, work=work, validate=validate)


def score(config: Config, name: str, vae: VAE, patches: data.NaturalPatches) -> dict[str, Any]:
    """Sparsity of the Jacobian's columns at posterior means of test patches, and the price."""
    parts, x = evaluation.elbo_parts(jax.random.key(2022), vae, patches.test), patches.test.arrays["x"]
    used = parts["kl_per_dimension"] > 0.1  # nats: the columns of other latents are left out
    columns = np.asarray(jax.jit(evaluation.jacobian_images)(vae, x[:500])).reshape(500, -1, SIDE**2)
    p = x.astype(np.float64)
    floor = float((entr(p) + entr(1 - p)).sum() / len(p))  # the least cross-entropy: the patches' own
    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "kl_per_dimension")
    return {
        **sparsity(columns[:, used]),
        "jacobian_l1": float(np.abs(columns).sum((1, 2)).mean()),
        "explained": evaluation.variance_explained(x, jax.jit(evaluation.reconstruct)(vae, x)),
        "excess": parts["reconstruction"] - floor,
        "used": int(used.sum()),
        **{name: parts[name] for name in names},
    }


def sparsity(columns: np.ndarray) -> dict[str, float]:
    """Means over columns [..., D] that have a value; 0 where none has, as without a latent in use."""
    values = {"kurtosis": kurtosis(columns), "hoyer": hoyer(columns)}
    return {name: float(np.nanmean(v)) if np.isfinite(v).any() else 0.0 for name, v in values.items()}


@cache
def linear(config: Config) -> dict[str, LinearModel]:
    """PCA and FastICA of the training patches."""
    patches = data.natural_patches(SIDE, num_train=config.images)
    return linear_models(patches.train.arrays["x"], config.latents)


def summary(run: lab.Run) -> dict[str, Any]:
    """JL1-VAE minus beta-VAE, and what the linear models have of the scores of a VAE."""
    x, rows = data.natural_patches(SIDE).test.arrays["x"], {}
    for name, (columns, reconstruct) in linear(run.config).items():
        share, norm = evaluation.variance_explained(x, reconstruct(x)), float(np.abs(columns).sum())
        own = sparsity(columns.reshape(len(columns), -1))
        rows[name] = [{**own, "jacobian_l1": norm, "explained": share, "used": len(columns)}]
    return {"rows": rows, "difference": run.minus(*PAIR)}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw; VAEs are shown at their first seed."""
    run = lab.run(config, PRESETS, ROWS, training, score, summary)
    run.side_by_side({**SHOWN, "latents in use": "used"}, minus=PAIR)
    x = data.natural_patches(SIDE).contrasted(8)
    return run.draw(
        training_curves=partial(lab.curves, names=("reconstruction", "kl", "jacobian_l1")),
        scores=partial(lab.scores, columns=SHOWN),
        columns=lambda run: lab.columns(run.vaes, x[:1], linear(run.config), images=None),
        jacobian_columns=lambda run: lab.columns(run.vaes, x[::2], limits=SHADES),
        reconstructions=lambda run: lab.reconstructions(run.vaes, x, linear(run.config), limits=SHADES),
    )


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
