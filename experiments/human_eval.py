"""From two trained models to a rating page, and from answers to a report; the answers are simulated.

    python -m experiments.human_eval --preset fast

Trains a VAE and a WAE-MMD with the same dense networks on Fashion-MNIST, makes a page of their prior samples
by `python -m vaejax.human make`, lets raters of a known taste answer it, and reads their answers by
`python -m vaejax.human report`. What comes out says nothing of the two models: it says whether a study of
this size would find what its raters think. People take the place of `simulate` by opening
RUN/rating/rate.html; docs/human.md says what a real study needs.

`fast`, seed 0: 2000 steps of 100 images; four minutes on two cores that others shared. Ten raters, who prefer
the WAE by .6 log-odds with a standard deviation of .3, see no difference in a tenth of the pairs, favour the
left by .2 and slip once in fifty, 122 trials each:

    WAE-MMD preferred (ties half)        .65 [.58, .71]      what was put in: .63
    strength, WAE-MMD to VAE            1.35 to .74          a ratio of 1.82; exp(.6) is 1.82
    rated higher, WAE-MMD than VAE       .63 [.56, .68]
    left preferred                       .60 [.53, .66]      .55
    told from real, VAE                  .73 [.69, .77]      .75
    told from real, WAE-MMD              .68 [.63, .72]      .70
    Krippendorff's alpha of the pairs    .07                 raters of so mild a taste agree little

One of the ten missed an attention check, by a slip. `long` has not been run.
"""

import shutil
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import (
    VAE,
    compose,
    data,
    distributions,
    evaluation,
    human,
    lab,
    models,
    nets,
    objectives,
    plots,
    runs,
    train,
)
from vaejax.human.__main__ import main as human_command

ROWS = {"vae": "VAE", "wae_mmd": "WAE-MMD"}


@dataclass(frozen=True)
class Config(lab.Settings):
    """A VAE and a WAE-MMD, and the study that compares their samples."""

    dataset: Literal["fashion_mnist", "mnist", "digits"] = "fashion_mnist"  # grey images
    latents: lab.Positive[int] = 8  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (256, 256)  # widths of the encoder; reversed, of the decoder
    scale: lab.Positive[float] = 0.2  # the VAE's of p(x|z)
    lam: lab.NonNegative[float] = 10.0  # weight of the WAE's MMD^2 beside ||x - mu||^2
    steps: lab.Positive[int] = 2000  # training steps
    batch_size: lab.Positive[int] = 100  # images per step
    samples: lab.Positive[int] = 60  # of each model, to choose from
    pairs: lab.Positive[int] = 20  # comparisons in each rater's sheet
    items: lab.Positive[int] = 15  # of each model, rated alone
    raters: lab.Positive[int] = 10
    """How many answer."""
    prefers: float = 0.6  # by how many log-odds raters prefer the WAE's samples on average
    spread: lab.NonNegative[float] = 0.3  # standard deviation of that over raters, of each model
    ties: lab.NonNegative[float] = 0.1  # chance that a rater sees no difference
    left: float = 0.2  # log-odds by which raters favour the left side
    slips: lab.NonNegative[float] = 0.02  # chance that an answer is given blindly


PRESETS = {"fast": Config(), "long": Config(preset="long", steps=20_000, raters=20, pairs=40, samples=120)}
COLUMNS = {"MSE": ("mse", "mse_se"), "SSIM": ("ssim", "ssim_se"), "gradient, samples": "gradient_samples"}
CALLED = {"real": 0.3, "vae": 0.8, "wae_mmd": 0.7}  # chances that raters take them for generated


def training(config: Config, name: str) -> lab.Training:
    """VAE: -log p(x|z) + KL. WAE: ||x - mu||^2 + lam MMD^2, without noise."""
    images = getattr(data, config.dataset)()
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(config.latents, config.hidden, event_ndims=3),
        decoder=nets.MLP(config.hidden[::-1], images.train.arrays["x"].shape[1:]),
        latents=config.latents,
        likelihood=distributions.gaussian(config.scale if name == "vae" else 0.5**0.5),
    )
    if name == "vae":
        loss = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    else:
        divergence = objectives.scaled(config.lam, objectives.mmd(at="mean"))
        loss = compose(reconstruction=objectives.reconstruction_at_mean, divergence=divergence)
    return lab.Training(model, train.gradient_update(loss, model, optax.adam(config.learning_rate)), images)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """What needs no people: the nearness of reconstructions, the sharpness of samples beside the data's."""
    key, some = jax.random.key(3), data.first(images.test, 500)
    quality = evaluation.reconstruction_quality(key, vae, some)
    drawn = evaluation.prior_samples(key, vae, some.size)
    sharp = evaluation.sharpness(drawn) / evaluation.sharpness(some.arrays["x"] / np.float32(255))
    return {**{k: quality[k] for k in ("mse", "mse_se", "ssim", "ssim_se")}, "gradient_samples": sharp}


def rate(run: lab.Run) -> dict[str, Any]:
    """The page of two runs, its answers and their report, all in the folder `rating`; returns the report."""
    config, folder = run.config, run.folder / "rating"
    shutil.rmtree(folder, ignore_errors=True)
    places = {run.first(name).folder.name: name for name in run.labels}
    sizes = [f"--{name}={getattr(config, name)}" for name in ("samples", "pairs", "items")]
    _do("make", "--runs", *(str(run.folder / place) for place in places), "--out", str(folder), *sizes)
    key = human.read_key(folder)
    quality = {place: config.prefers * (name == "wae_mmd") for place, name in places.items()}
    called = {"real": CALLED["real"]} | {place: CALLED[name] for place, name in places.items()}
    taste = {name: getattr(config, name) for name in ("left", "ties", "spread", "slips")}
    seed = jax.random.key(config.first_seed)
    answers = human.simulate(seed, key, config.raters, quality, called=called, **taste)
    human.write_answers(key, answers, folder / "answers")
    _do("report", str(folder), str(folder / "answers"))
    return runs.read_json(folder / "report.json")


def _do(*words: str) -> None:
    print("\npython -m vaejax.human", *words)
    if human_command(words):
        raise RuntimeError(f"vaejax.human {words[0]}: expected it to end well, see above")


def main(config: Config) -> dict[str, Any]:
    """Train, score, rate, report and draw."""
    run = lab.run(config, PRESETS, ROWS, training, score)
    run.table(COLUMNS)
    if not run.cells or run.config.sweep:
        return run.draw()
    found, x = rate(run), getattr(data, run.config.dataset)().test.arrays["x"][:16] / np.float32(255)
    return run.draw(
        gallery=lambda r: lab.gallery(r.vaes, x), ratings=lambda r: r.vaes and plots.ratings(found)
    )


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
