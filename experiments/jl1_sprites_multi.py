"""JL1-VAE against beta-VAE on four arms in four tiles (Rhodes & Lee 2021, arXiv 2106.02923).

    python -m experiments.jl1_sprites_multi --preset fast

Trains both models on colour images whose parts lie in four tiles, four seeds each, and asks whether a latent
moves one tile. Eleven minutes of one core's time. Seen (mean and 95 % interval over seeds):

    |                                 | beta-VAE          | JL1-VAE           | difference         |
    | share in the main tile          | .37 [.34, .40]    | .77 [.62, .91]    | +.39 [.25, .54]    |
    | the same, of the average column | .36 [.32, .40]    | .76 [.60, .92]    | +.40 [.25, .56]    |
    | local MIG                       | .045 [.022, .068] | .192 [.173, .212] | +.147 [.124, .170] |
    | local modularity                | .934 [.919, .949] | .958 [.948, .967] | +.024 [.010, .038] |
    | local MIG, locality 1           | .033 [.005, .061] | .128 [.112, .144] | +.095 [.069, .121] |
    | reconstruction, nats            | 1203 [1201, 1206] | 1206 [1199, 1212] | +2 [-4, 8]         |
    | KL, nats                        | 44 [42, 47]       | 67 [44, 89]       | +22 [0, 45]        |
    | latents in use                  | 10                | 7.75 [3.6, 11.9]  | -2.3 [-6.4, 1.9]   |

A quarter is the share of a column that is spread evenly. Most columns of the JL1-VAE have one tile, and the
same one in every image; those of the beta-VAE move all four. Seeds differ in how many latents JL1 leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, scaled, train
from vaejax.disentanglement import main_share

PAIR, TERMS = ("jl1_vae", "beta_vae"), ("reconstruction", "kl", "jacobian_l1")
ROWS = {"beta_vae": lab.Row("beta-VAE", unread=("gamma", "method", "columns")), "jl1_vae": "JL1-VAE"}
UNIT = {
    "share in the main tile": "main_share", "the same, of the average column": "main_share_of_average",
    "local MIG": "local_mig", "local modularity": "local_modularity",
    "local MIG, locality 1": "local_mig_locality_1",
    "local modularity, locality 1": "local_modularity_locality_1",
}  # fmt: skip
SHOWN: dict[str, Any] = {title: lab.UnitScore(name) for title, name in UNIT.items()}
SHOWN |= {"reconstruction": "reconstruction", "KL": "kl", "latents in use": "used"}


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """beta-VAE and Jacobian-L1 VAE on sprites-multi."""

    gamma: lab.NonNegative[float] = 0.1  # weight of the Jacobian penalty, reached at the end of the ramp
    method: Literal["exact", "columns", "finite_difference"] = "columns"  # columns: unbiased sample of them
    columns: lab.Positive[int] = 1  # Jacobian columns per image and step, for method=columns
    side: lab.Positive[int] = 32  # pixels on a side, an even number of at least 16
    clusters: lab.Positive[int] = 20  # neighbourhoods of the local metrics
    samples: lab.Positive[int] = 10_000  # images per neighbourhood


PRESETS = {
    "fast": Config(
        seeds=4, width=0.5, steps=8000, batch_size=32, learning_rate=2e-3, beta=0.01, gamma=0.02, ramp=4000,
        samples=5000,
    ),
    "paper": Config(
        preset="paper", seeds=5, side=64, images=100_000, steps=300_000, batch_size=64, learning_rate=1e-4,
        beta=0.01, gamma=0.01, ramp=100_000, method="exact", microbatch=0,
    ),
}  # fmt: skip


def training(config: Config, name: str) -> lab.Training:
    """-log p(x|z) + beta KL, and + gamma ||J||_{1,1} for the JL1-VAE; both weights rise over the ramp."""
    encoder = nets.ConvEncoder(latents=config.latents, width=config.width)
    decoder = nets.ConvDecoder(side=config.side, channels=3, width=config.width)
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
    sprites = data.sprites_multi(config.side, num_train=config.images)
    x = sprites.sample_images(np.random.default_rng(8).integers(0, 40, (16, 8)))
    work, validate = 2.0 if name == "jl1_vae" else 1.0, lab.jacobian_norm(x)
    return lab.Training(model, update, sprites, work=work, validate=validate)


def score(config: Config, name: str, vae: VAE, sprites: data.SpritesMulti) -> dict[str, Any]:
    """Whether a latent moves one tile, local metrics on the same images for all models, the price."""
    parts = evaluation.elbo_parts(jax.random.key(2022), vae, sprites.test)
    used = parts["kl_per_dimension"] > 0.1  # nats: the columns of other latents are left out
    key, m, n = jax.random.key(2106), config.clusters, config.samples
    scores: dict[str, Any] = {**shares(vae, sprites, used), "used": int(used.sum())}
    for suffix, locality in {"": 0.1, "_locality_1": 1.0}.items():
        local = evaluation.local_scores(
            key, vae, sprites, locality=locality, clusters=m, num_samples=n
        ).values
        scores |= {f"local_{k}{suffix}": local[k] for k in ("mig", "modularity", "mig_over_ceiling")}
    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "kl_per_dimension")
    return {**scores, **{k: parts[k] for k in names}}


def shares(vae: VAE, sprites: data.SpritesMulti, used: np.ndarray) -> dict[str, float]:
    """The share of a Jacobian column's mass in its main tile, mean over latents in use; 0 where none is.

    `main_share` is taken image by image, `main_share_of_average` of the columns' magnitudes averaged over
    images: a latent that moves one tile here and another one there has a high first and a low second.
    """
    x = sprites.sample_images(sprites.test.arrays["y"][:200])
    columns = np.abs(np.asarray(jax.jit(evaluation.jacobian_images)(vae, x))[:, used])
    tiles = sprites.tiles.ravel()
    columns = columns.reshape(*columns.shape[:2], len(tiles))  # also where no latent is in use
    each = {"main_share": columns, "main_share_of_average": columns.mean(0)}
    values = {name: main_share(a, tiles) for name, a in each.items()}
    return {name: float(np.nanmean(v)) if np.isfinite(v).any() else 0.0 for name, v in values.items()}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw; models are shown at their first seed."""
    run = lab.run(config, PRESETS, ROWS, training, score, lambda run: {"difference": run.minus(*PAIR)})
    run.side_by_side({**SHOWN, "seconds of training": "train_seconds"}, minus=PAIR)
    sprites = data.sprites_multi(run.config.side, num_test=200)
    x = sprites.sample_images(np.random.default_rng(7).integers(0, 40, (8, 8)))
    views = lab.views(x) | {"traversals": partial(traversals, x=x[0], sprites=sprites)}
    views |= {"scores": partial(lab.scores, columns=SHOWN)}
    return run.draw(training_curves=partial(lab.curves, names=TERMS, yscale="log"), **views)


def traversals(run: lab.Run, x: np.ndarray, sprites: data.SpritesMulti) -> Any:
    """With a small beta codes are wide: as far as the widest of them goes."""
    seen, encode = {"x": sprites.sample_images(sprites.test.arrays["y"])}, jax.jit(evaluation.posterior_mean)
    widest = max(float(np.std(encode(vae, seen), axis=0).max()) for vae in run.vaes.values())
    return lab.traversals(run, PAIR[::-1], x, 2 * widest, top=None)


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
