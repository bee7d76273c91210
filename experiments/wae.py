"""Wasserstein autoencoders beside a VAE (Tolstikhin et al. 2018, arXiv 1711.01558), on Fashion-MNIST.

    python -m experiments.wae --preset fast

Trains the same dense networks as a VAE, a WAE-MMD and a WAE-GAN; compares their reconstructions, their prior
samples, and how far their codes are from the prior, by the MMD between codes of test images and prior draws.

The encoder of a WAE is deterministic, as the paper's; its loss is ||x - mu(m(x))||^2 + 10 D, with D the MMD^2
under the authors' seven inverse multiquadrics, or -log of a critic's verdict. Unlike theirs the nets are
dense, and there is no batch norm, noise on x, or pre-training of the encoder.

`fast`, seed 0: 5000 steps of 100 images, a minute and a half on two cores. 1000 MMD^2 with
95 % intervals over ten parts of the test set: codes of 10 000 test images to the prior, and 2000 prior
samples to test images, in pixels. Gradients are of prior samples, relative to the data's; clutter raises
them as sharpness does.

    VAE, scale .2    RMSE .125  SSIM .58  gradient 1.13  codes 192 [188, 196]   samples  98 [78, 119]
    WAE-MMD               .126       .58            .91         19 [17, 21]              62 [49, 75]
    WAE-GAN               .131       .54            .74         39 [37, 41]              46 [37, 56]
    prior samples; training images                             0.2 [-0.9, 1.3]           -2 [-6, 2]

At nearly the same reconstructions the codes of the WAEs have a tenth to a fifth of the VAE's MMD^2 to the
prior, though not none, and their samples are nearer the data; WAE-GAN's are the nearest and the smoothest.
Its training is touchy: another order of rounding gave 23 [21, 26] and 37 [29, 46]. The VAE's codes fill a
smaller ball (figures/codes.png), which longer training widens: with seed 100 MMD^2 was 321 after 3000 steps
and 132 after 10 000. Intervals say nothing of other seeds. lam and scale were chosen by the samples of seed
100 after 3000 steps, on the same test images: lam = 200 was worse for both WAEs, scale = .3 for the VAE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments import jobs, parallel, wae_report
from experiments.cli import parse
from experiments.dry_run import Kind, estimate
from experiments.jobs import Job, first
from experiments.likelihoods import gradient
from experiments.wae_report import MODELS
from vaejax import data, distributions, evaluation, models, nets, objectives, ops, runs, train
from vaejax.checks import check_positive_int
from vaejax.keys import named_key
from vaejax.types import VAE, AnyArray, Array, Model, Update

WORK = {"vae": 1.0, "wae_mmd": 1.0, "wae_gan": 3.5}  # of a step, for the bar
EVALUATION_KEY = 1711  # the same for all models: their codes are compared with the same prior samples
BLOCKS = 10  # disjoint parts of the test set, one estimate of an MMD each
SCORING = 0.25  # what the scores take, as a share of the training; for the bar


@dataclass(frozen=True)
class Config(jobs.Settings):
    """A VAE, a WAE-MMD and a WAE-GAN with the same networks."""

    dataset: str = "fashion_mnist"
    """fashion_mnist, mnist or digits: grey images."""
    latents: int = 8
    """d, the number of latents; 8 is the paper's for MNIST."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of the encoder; the decoder's are the same in reverse."""
    critic: tuple[int, ...] = (512, 512, 512, 512)
    """Widths of the hidden layers of WAE-GAN's critic; the paper's for MNIST."""
    lam: float = 10.0
    """Weight of both WAEs' divergence beside ||x - mu||^2; the paper's for MNIST. (Its authors' code has it
    beside .05 ||x - mu||^2, a weight of 200 here.)"""
    scale: float = 0.2
    """The VAE's standard deviation of p(x|z): its loss is ||x - mu||^2 + 2 scale^2 KL."""
    steps: int = 5000
    """Training steps."""
    batch_size: int = 100
    """Images per step, and prior samples beside them; the authors' for MNIST."""
    learning_rate: float = 1e-3
    """Adam's; the authors' for MNIST."""
    critic_rate: float = 5e-4
    """Adam's for the critic; the authors' for MNIST."""
    b1: float = 0.5
    """Adam's decay of the first moment, of all networks; the authors'."""
    seed: int = 0
    """Of weights, order and noise."""
    judged: int = 2000
    """The first so many test images are reconstructed, and as many drawn from the prior."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latents", "steps", "batch_size", "judged"):
            check_positive_int(getattr(self, name), name)
        for name, least in (("batch_size", 2), ("judged", 2 * BLOCKS)):  # an MMD needs two points
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        jobs.check_finite(self, ("scale", "learning_rate", "critic_rate"), positive=True)
        jobs.check_finite(self, ("lam", "b1"))


PRESETS = {
    "fast": Config(),
    "long": Config(preset="long", steps=60_000, hidden=(512, 512)),
}


def load(config: Config) -> data.Dataset:
    """The grey images, in [0, 1]."""
    return getattr(data, config.dataset)()


def build(config: Config, name: str, event: tuple[int, ...]) -> Model:
    """Dense layers, the same for all; WAEs have N(mu, 1/2), whose -log is ||x - mu||^2 + const.

    A WAE here is deterministic, as the paper's: it decodes the posterior mean, and the head of the
    log-variance is not used.
    """
    encoder: nn.Module = nets.MLPEncoder(config.latents, config.hidden, event_ndims=3)
    decoder: nn.Module = nets.MLP(config.hidden[::-1], event)
    scale = config.scale if name == "vae" else math.sqrt(0.5)
    model = models.gaussian_vae(
        encoder=encoder, decoder=decoder, latents=config.latents, likelihood=distributions.gaussian(scale)
    )
    if name != "wae_gan":
        return model
    return models.with_heads(model, critic=nets.Critic(config.critic, slope=0.0))


def objective(config: Config, name: str) -> Any:
    """VAE: -log p(x|z) + KL. WAE: ||x - mu||^2 + const + lam D(q(z), p(z)), by an MMD or a critic."""
    if name == "vae":
        return objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    divergence = {"wae_mmd": objectives.mmd, "wae_gan": objectives.adversarial}[name](at="mean")
    return objectives.compose(
        reconstruction=objectives.reconstruction_at_mean, divergence=objectives.scaled(config.lam, divergence)
    )


def update(config: Config, model: Model, name: str) -> Update:
    """Adam on the objective; in WAE-GAN then a step of the critic, on the same batch."""
    step = partial(
        train.gradient_update, objective(config, name), model, optax.adam(config.learning_rate, b1=config.b1)
    )
    if name != "wae_gan":
        return step()
    critic = train.gradient_update(
        objectives.compose(cross_entropy=objectives.adversarial_critic(at="mean")), model,
        optax.adam(config.critic_rate, b1=config.b1), wrt=("critic",),
    )  # fmt: skip
    return train.sequence(vae=step(wrt=("encoder", "decoder")), critic=critic)


def train_one(job: Job) -> None:
    """Train and score one model."""
    config, name = job.config, job.name
    images = load(config)
    model = build(config, name, images.train.arrays["x"].shape[1:])
    jobs.train_job(
        job, model, update(config, model, name), lambda: images, partial(score, job),
        steps=config.steps, work=WORK[name], amount=amount(config, name),
    )  # fmt: skip


def amount(config: Config, name: str) -> float:
    """Work of a training and its scores, in steps of the VAE."""
    return config.steps * WORK[name] * (1 + SCORING)


def score(job: Job, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """How near reconstructions are, how sharp decoder means, how far codes and samples from their targets.

    The codes are kept in the folder: draws of q(z|x) for the VAE, the encoder's outputs for a WAE.
    """
    config, name, key = job.config, job.name, jax.random.key(EVALUATION_KEY)
    judged, others = first(images.test, config.judged), first(images.train, config.judged)
    quality = evaluation.reconstruction_quality(key, vae, judged)
    x, other_x = (np.asarray(s.transform(key, s.arrays)["x"]) for s in (judged, others))
    drawn = np.asarray(evaluation.prior_samples(key, vae, len(x)))
    z = codes(key, vae, images.test.arrays["x"], name)
    np.save(job.folder / "codes.npy", z)
    of_prior = ops.mmd.imq()
    of_pixels = ops.mmd.imq(scale=float(np.std(x - x.mean(axis=0))))
    prior = [np.asarray(vae.sample_prior(named_key(key, side), len(z))) for side in ("here", "there")]
    parallel.report(amount(config, name) - config.steps * WORK[name])
    return {
        "n": len(z),
        "judged": len(x),
        **{k: quality[k] for k in ("mse", "mse_se", "ssim", "ssim_se")},
        "gradient_reconstructions": gradient(np.asarray(jax.jit(evaluation.reconstruct)(vae, x)))
        / gradient(x),
        "gradient_samples": gradient(drawn) / gradient(x),
        "mmd_codes": discrepancy(z, prior[0], of_prior),
        "mmd_prior": discrepancy(prior[1], prior[0], of_prior),
        "mmd_samples": discrepancy(drawn, x, of_pixels),
        "mmd_images": discrepancy(other_x, x, of_pixels),
    }


def codes(key: Array, vae: VAE, stored: np.ndarray, name: str) -> np.ndarray:
    """One code of every stored image of bytes, [N, d]: a sample of the aggregate posterior q(z)."""
    draw = jax.jit(lambda vae, batch: vae.encode(key, batch))(vae, {"x": stored / np.float32(255)})
    return np.asarray(draw.z if name == "vae" else draw.q.mean())


_mmd = jax.jit(ops.mmd.mmd, static_argnums=2)  # the boundary


def discrepancy(a: AnyArray, b: AnyArray, kernel: ops.mmd.Kernel) -> dict[str, Any]:
    """The squared MMD of two samples: an unbiased estimate in each of disjoint blocks, and their mean.

    Args:
      a, b: [N, ...] each, with N >= 2 BLOCKS; what does not fill the last block is left out.
      kernel: as `ops.mmd.mmd` takes it.

    Returns:
      As `runs.mean_ci95`, with an estimate for each block in place of a seed.
    """
    n = len(a) // BLOCKS
    parts = [np.reshape(v[: n * BLOCKS], (BLOCKS, n, -1)) for v in (a, b)]
    return runs.mean_ci95([float(_mmd(x, y, kernel)) for x, y in zip(*parts, strict=True)])


def dry_run(config: Config) -> dict[str, Any]:
    """Say what the trainings would take, from a few steps of each."""
    few = first(load(config).train, config.batch_size)
    built = {name: build(config, name, few.arrays["x"].shape[1:]) for name in MODELS}
    kinds = {
        MODELS[name]: Kind(model, update(config, model, name), few, config.batch_size, config.steps, 1)
        for name, model in built.items()
    }
    return estimate(kinds, config.workers or parallel.default_workers())


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    if config.dry_run:
        return dry_run(config)
    config, folder = jobs.open_folder("wae", config, PRESETS)
    folders = {name: folder / name for name in MODELS}
    if not config.report_only:
        load(config)  # prepared once, here
        each = [Job(config, path, name, config.seed) for name, path in folders.items()]
        jobs.run(train_one, each, [amount(config, job.name) for job in each], config, folder)
    result = {"models": jobs.read_reports(folders), "config": config}
    runs.write_json(folder / "report.json", result)
    wae_report.draw(folder, folders, load(config).test)
    print(wae_report.table(result["models"]))
    return result


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
