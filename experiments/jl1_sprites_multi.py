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
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import jl1_report, training
from experiments.cli import parse
from vaejax import data, disentanglement, distributions, evaluation, models, nets, plots, runs
from vaejax.checks import check_positive_int
from vaejax.types import VAE, Model

SCORED = 200  # test images at whose posterior means the Jacobian is taken
LOCALITIES = {"": 0.1, "_locality_1": 1.0}  # suffix in the report -> rho
METRIC_KEY = 2106  # of the neighbourhoods; the settings were chosen on others
SHOWN = {
    "share in the main tile": "main_share",
    "the same, of the average column": "main_share_of_average",
    "local MIG": "local_mig",
    "local modularity": "local_modularity",
    "local MIG, locality 1": "local_mig_locality_1",
    "local modularity, locality 1": "local_modularity_locality_1",
    "reconstruction": "reconstruction",
    "KL": "kl",
    "latents in use": "used",
}


@dataclass(frozen=True)
class Config(training.Settings):
    """beta-VAE and Jacobian-L1 VAE on sprites-multi."""

    side: int = 32
    """Pixels on a side, a power of two of at least 16."""
    clusters: int = 20
    """Neighbourhoods of the local metrics."""
    samples: int = 10_000
    """Images per neighbourhood."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clusters", "samples"):
            check_positive_int(getattr(self, name), name)


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


def build(config: Config) -> Model:
    """The model of Rhodes & Lee at the config's side and width, in colour."""
    return models.gaussian_vae(
        encoder=nets.ConvEncoder(latents=config.latents, width=config.width),
        decoder=nets.ConvDecoder(side=config.side, channels=3, width=config.width),
        latents=config.latents,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )


def train_one(job: training.Job) -> None:
    """Train and score one model with one seed."""
    config = job.config
    load = partial(data.sprites_multi, config.side, num_train=config.images)
    training.train_job(job, build(config), load, partial(score, config))


def score(config: Config, vae: VAE, sprites: data.SpritesMulti) -> dict[str, Any]:
    """Whether a latent moves one tile, local metrics on the same images for all models, the price."""
    parts = evaluation.elbo_parts(jax.random.key(2022), vae, sprites.test)
    used = parts["kl_per_dimension"] > training.ACTIVE
    scores: dict[str, Any] = {**shares(vae, sprites, used), "used": int(used.sum())}
    for suffix, locality in LOCALITIES.items():
        local = evaluation.local_scores(
            jax.random.key(METRIC_KEY), vae, sprites,
            locality=locality, clusters=config.clusters, num_samples=config.samples,
        )  # fmt: skip
        scores["local_mig" + suffix] = local.mig
        scores["local_modularity" + suffix] = local.modularity
        scores["local_mig_over_ceiling" + suffix] = local.mig_over_ceiling
    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "kl_per_dimension")
    return {**scores, **{name: parts[name] for name in names}}


def shares(vae: VAE, sprites: data.SpritesMulti, used: np.ndarray) -> dict[str, float]:
    """The share of a Jacobian column's mass in its main tile, mean over latents in use.

    `main_share` is taken image by image, `main_share_of_average` of the columns' magnitudes averaged over
    images: a latent that moves one tile here and another one there has a high first and a low second.
    """
    x = sprites.sample_images(sprites.test.arrays["y"][:SCORED])
    columns = np.abs(np.asarray(jax.jit(evaluation.jacobian_images)(vae, x))[:, used])
    tiles = sprites.tiles.ravel()
    columns = columns.reshape(*columns.shape[:2], len(tiles))  # also where no latent is in use
    return {
        "main_share": training.mean_defined(disentanglement.main_share(columns, tiles)),
        "main_share_of_average": training.mean_defined(disentanglement.main_share(columns.mean(0), tiles)),
    }


def draw(folder: Path, folders: dict[str, list[Path]], report: dict[str, Any], side: int) -> None:
    """Write every figure into folder/figures; models are shown at their first seed."""
    sprites = data.sprites_multi(side, num_test=SCORED)
    x = sprites.sample_images(np.random.default_rng(7).integers(0, 40, (8, 8)))
    seen = sprites.sample_images(sprites.test.arrays["y"])
    vaes = {training.MODELS[name]: runs.load(paths[0]).vae for name, paths in folders.items()}
    figures = {
        "training_curves": training.curves(folders, "log"),
        "scores": training.scores(report, SHOWN, training.MODELS),
        **jl1_report.views(vaes, x),
    }
    for name, label in training.MODELS.items():
        # with a small beta codes are wide: as far as the widest of them goes
        spread = np.std(jax.jit(evaluation.posterior_mean)(vaes[label], {"x": seen}), axis=0).max()
        values = np.linspace(-2 * spread, 2 * spread, 9)
        figures[f"traversals_{label}"] = jl1_report.traversals(
            vaes[label], folders[name][0], x[0], values, label
        )
    for name, figure in figures.items():
        plots.save(figure, folder / "figures" / f"{name}.png")


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    if config.dry_run:
        return training.dry_run(config, build(config), (config.side, config.side, 3))
    config, folder, folders = training.open_run("jl1_sprites_multi", config, PRESETS)
    if not config.report_only:
        training.run(train_one, config, folder, folders)
    result = {**training.summarise(folders), "config": config}
    runs.write_json(folder / "report.json", result)
    print(training.table(result, SHOWN, training.MODELS))
    draw(folder, folders, result, config.side)
    return result


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
