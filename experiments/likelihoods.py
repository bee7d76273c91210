"""Whether the likelihood makes a VAE's images blurred: one model under five likelihoods, on Fashion-MNIST.

    python -m experiments.likelihoods --preset fast

Trains the same networks with a Gaussian of fixed, learned and optimal scale, the continuous Bernoulli and a
mixture of discretised logistics; compares reconstructions by SSIM and by their gradients, and shows them.

`fast`, seed 0: 5000 steps of 50 images; NLL of 100 test images, 500 samples each (SSIM and so on: of 1000).
Densities are of (x + u) / 256, u ~ U(0, 1); with 8 added, their bits/dim bound those of bytes. Gradients of
decoder means are relative to the data's; clutter raises them as sharpness does: see figures/gallery.png too.

    Gaussian, fixed scale 1    736 nats, 9.35 bits/dim     KL  4.5  SSIM .44  gradient .59, of samples .55
    Gaussian, learned, .118   -559 nats, 6.97              KL 50.3  SSIM .60  .81, 1.16
    Gaussian, optimal, .121   -573 nats, 6.95              KL 49.4  SSIM .62  .81, 1.05
    continuous Bernoulli     -2006 nats, 4.31              KL 41.1  SSIM .59  .77, .51
    logistic mixture         3.43 bits/dim of bytes        KL 37.2  SSIM .65  .65, .68

With the scale fitted, reconstructions are sharper and nearer than with scale 1, which uses 4 of 20 latents;
but prior samples of the fitted Gaussians fall apart. But for scale 1 the NLLs are loose (ESS of 2 to 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure

from experiments import jobs, parallel
from experiments.cli import parse
from experiments.dry_run import Kind, estimate
from experiments.jobs import Job, first
from vaejax import data, distributions, evaluation, models, nets, objectives, plots, runs, train
from vaejax.checks import check_positive_int
from vaejax.types import VAE, Model, Update


class Choice(NamedTuple):
    """A likelihood: its name in tables, what it sees of an image, the work of a step beside others."""

    label: str
    pixels: str
    work: float = 1.0


CHOICES = {
    "gaussian": Choice("Gaussian, fixed scale", "dequantised"),
    "learned_scale": Choice("Gaussian, learned scale", "dequantised"),
    "optimal_scale": Choice("Gaussian, optimal scale", "dequantised"),
    "continuous_bernoulli": Choice("continuous Bernoulli", "dequantised"),
    "logistic_mixture": Choice("logistic mixture", "bytes", 5.0),
}
EVALUATION_KEY = 2006
SHOWN = 8  # images in a row of the figure, reconstructions and samples each
SCORING = 0.3  # what the scores take, as a share of the training; for the bar


@dataclass(frozen=True)
class Config(jobs.Settings):
    """One model under five likelihoods."""

    dataset: str = "fashion_mnist"
    """fashion_mnist, mnist or digits: grey images of bytes."""
    latents: int = 20
    """d, the number of latents."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of the encoder; the decoder's are the same in reverse."""
    scale: float = 1.0
    """The fixed scale of the first Gaussian; 1 is the squared error of many implementations, halved."""
    components: int = 3
    """R, the components of the mixture."""
    steps: int = 5000
    """Training steps."""
    batch_size: int = 50
    """Images per step."""
    learning_rate: float = 1e-3
    """Adam's."""
    seed: int = 0
    """Of weights, order and noise."""
    samples: int = 500
    """Samples per test image in the estimate of log p(x)."""
    test_images: int = 100
    """The first so many test images have their log p(x) estimated."""
    judged: int = 1000
    """The first so many test images are reconstructed, and as many drawn from the prior."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("latents", "components", "steps", "batch_size", "samples", "test_images", "judged")
        for name in sizes:
            check_positive_int(getattr(self, name), name)
        jobs.check_finite(self, ("scale", "learning_rate"), positive=True)


PRESETS = {
    "fast": Config(),
    "long": Config(preset="long", steps=60_000, samples=5000, test_images=1000, hidden=(500, 500)),
}


def load(config: Config, name: str) -> data.Dataset:
    """The images as a likelihood sees them."""
    return getattr(data, config.dataset)(pixels=CHOICES[name].pixels)


def build(config: Config, name: str, event: tuple[int, ...]) -> Model:
    """Dense layers; what differs between likelihoods are the channels that the decoder gives."""
    encoder: nn.Module = nets.MLPEncoder(config.latents, config.hidden, event_ndims=3)
    likelihood = {
        "gaussian": distributions.gaussian(config.scale),
        "learned_scale": distributions.gaussian_learned_scale(),
        "optimal_scale": distributions.gaussian(),
        "continuous_bernoulli": distributions.continuous_bernoulli(),
        "logistic_mixture": distributions.discretised_logistic_mixture(config.components),
    }[name]
    shared = name == "learned_scale"
    decoder: nn.Module = nets.MLP(config.hidden[::-1], event if shared else likelihood.parameter_shape(event))
    if shared:
        decoder = nets.SharedScale(decoder, start=-2.0)
    if name == "logistic_mixture":
        encoder = nets.FromBytes(encoder)
    model = models.gaussian_vae(
        encoder=encoder, decoder=decoder, latents=config.latents, likelihood=likelihood
    )
    return models.optimal_scale(model) if name == "optimal_scale" else model


def update(config: Config, model: Model, name: str) -> Update:
    """Adam on the negative ELBO; the optimal scale is found anew in every batch."""
    optimal = name == "optimal_scale"
    reconstruction = objectives.optimal_gaussian_reconstruction if optimal else objectives.reconstruction
    objective = objectives.compose(reconstruction=reconstruction, kl=objectives.kl)
    return train.gradient_update(objective, model, optax.adam(config.learning_rate))


def train_one(job: Job) -> None:
    """Train and score one model."""
    config, name = job.config, job.name
    images = load(config, name)
    model = build(config, name, images.train.arrays["x"].shape[1:])
    jobs.train_job(
        job, model, update(config, model, name), lambda: images, partial(score, config, name),
        steps=config.steps, work=CHOICES[name].work, amount=amount(config, name),
    )  # fmt: skip


def amount(config: Config, name: str) -> float:
    """Work of a training and its scores, in steps of the Gaussians."""
    return config.steps * CHOICES[name].work * (1 + SCORING)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """How likely test images are, and how near and how sharp the decoder's means are."""
    key, test = jax.random.key(EVALUATION_KEY), images.test
    parts = evaluation.elbo_parts(key, vae, test, aggregate=False)
    marginal = evaluation.marginal_log_likelihood(
        key, vae, first(test, config.test_images), num_samples=config.samples
    )
    judged = first(test, config.judged)
    quality = evaluation.reconstruction_quality(key, vae, judged)
    top = quality["data_range"]
    x = np.asarray(test.transform(key, judged.arrays)["x"])
    means = {
        "reconstructions": jax.jit(evaluation.reconstruct)(vae, x),
        "samples": evaluation.prior_samples(key, vae, config.judged),
    }
    of_data = gradient(x / top)
    nll = marginal["nll"]
    at_zero = vae.decode(np.zeros((1, config.latents), np.float32))  # these scales are the same everywhere
    parallel.report(amount(config, name) - config.steps * CHOICES[name].work)
    return {
        **{k: marginal[k] for k in ("n", "num_samples", "nll", "nll_se", "ess")},
        "bits_per_dim": evaluation.bits_per_dim(nll, x[0].size, dequantised=is_density(name)),
        **{k: parts[k] for k in ("reconstruction", "kl", "neg_elbo", "active_units")},
        "mse": quality["mse"] / top**2,
        **{k: quality[k] for k in ("psnr", "ssim", "ssim_se")},
        **{f"gradient_{k}": gradient(np.asarray(images) / top) / of_data for k, images in means.items()},
        "scale": float(at_zero.stddev().max()) if isinstance(at_zero, distributions.Gaussian) else None,
    }


def is_density(name: str) -> bool:
    """Whether a likelihood is a density of grey values, and no probability of bytes."""
    return CHOICES[name].pixels == "dequantised"


def gradient(images: np.ndarray) -> float:
    """The mean length of the gradient of images [n, H, W, C], differences of neighbours: blur has less."""
    across = images[:, :-1, 1:] - images[:, :-1, :-1]
    down = images[:, 1:, :-1] - images[:, :-1, :-1]
    return float(np.hypot(across, down).mean(dtype=np.float64))


def table(models: dict[str, dict[str, Any]]) -> str:
    """A row per likelihood; densities and probabilities do not share a column."""
    rows = []
    for name, m in models.items():
        density, bits = is_density(name), f"{m['bits_per_dim']:.2f}"
        rows.append(
            {
                "": CHOICES[name].label,
                "NLL, density (nats)": f"{m['nll']:.1f} +- {m['nll_se']:.1f}" if density else "",
                "+ 8 bits/dim, a bound": bits if density else "",
                "NLL, bytes (bits/dim)": "" if density else bits,
                "KL": f"{m['kl']:.1f}",
                "active units": m["active_units"],
                "scale": "" if m["scale"] is None else f"{m['scale']:.3f}",
                "RMSE": f"{math.sqrt(m['mse']):.3f}",
                "SSIM": f"{m['ssim']:.3f}",
                "gradient, reconstructions": f"{m['gradient_reconstructions']:.2f}",
                "gradient, samples": f"{m['gradient_samples']:.2f}",
            }
        )
    return runs.table(rows)


def gallery(config: Config, folders: dict[str, Path]) -> Figure:
    """A row per likelihood: reconstructions at the left, decoder means at prior draws at the right."""
    shown = load(config, "logistic_mixture").test.arrays["x"][: 2 * SHOWN] / np.float32(255)
    key, rows = jax.random.key(3), {}
    for name, folder in folders.items():
        top = 1 if is_density(name) else 255
        vae = runs.load(folder).vae
        seen = np.asarray(evaluation.reconstruct(vae, shown[:SHOWN] * top)) / top
        drawn = np.asarray(evaluation.prior_samples(key, vae, SHOWN)) / top
        rows[CHOICES[name].label] = np.concatenate([seen, drawn])
    groups = (("reconstructions", SHOWN), ("samples (data: other test images)", SHOWN))
    return plots.reconstructions(shown, rows, limits=(0.0, 1.0), groups=groups)


def dry_run(config: Config) -> dict[str, Any]:
    """Say what the trainings would take, from a few steps of each."""
    kinds = {}
    for name, choice in CHOICES.items():
        few = first(load(config, name).train, config.batch_size)
        model = build(config, name, few.arrays["x"].shape[1:])
        kinds[choice.label] = Kind(
            model, update(config, model, name), few, config.batch_size, config.steps, 1
        )
    return estimate(kinds, config.workers or parallel.default_workers())


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    if config.dry_run:
        return dry_run(config)
    config, folder = jobs.open_folder("likelihoods", config, PRESETS)
    folders = {name: folder / name for name in CHOICES}
    if not config.report_only:
        load(config, next(iter(folders)))  # prepared once, here
        each = [Job(config, path, name, config.seed) for name, path in folders.items()]
        jobs.run(train_one, each, [amount(config, job.name) for job in each], config, folder)
    result = {"models": jobs.read_reports(folders), "config": config}
    runs.write_json(folder / "report.json", result)
    plots.save(gallery(config, folders), folder / "figures" / "gallery.png")
    print(table(result["models"]))
    return result


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
