"""HEADER"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments import collapse_report, jobs, parallel
from experiments.cli import parse
from experiments.dry_run import Kind, estimate
from experiments.jobs import Job, first
from vaejax import compose, data, distributions, evaluation, models, nets, objectives, runs, scaled, train
from vaejax.checks import check_choice, check_positive_int
from vaejax.types import VAE, Model, Split, Update


class Remedy(NamedTuple):
    """A training: its name in tables, and the work of a step beside the plain one's, for the bar."""

    label: str
    work: float = 1.0


REMEDIES = {
    "plain": Remedy("none"),
    "weak": Remedy("weaker decoder", 0.4),
    "linear": Remedy("linear annealing"),
    "cyclical": Remedy("cyclical annealing"),
    "free_bits": Remedy("free bits"),
    "aggressive": Remedy("aggressive encoder", 4.0),
    "pretrained": Remedy("pre-trained encoder"),
    "labels": Remedy("auxiliary labels"),
    "information": Remedy("mutual information"),
}
EVALUATION_KEY = 1901  # the same for all: they see the same binary test images
SCORING = 0.2  # what the scores take, as a share of the plain training; for the bar


@dataclass(frozen=True)
class Config(jobs.Settings):
    """One VAE with an autoregressive decoder under each remedy against posterior collapse."""

    dataset: str = "fashion_mnist"
    """fashion_mnist, mnist or digits: grey images with a class."""
    pool: int = 4
    """Squares of so many pixels a side become their mean, before an image becomes binary; 1 keeps all."""
    pixels: str = "threshold"
    """How images become binary: threshold (above half of white) or dynamic (drawn anew each time)."""
    remedies: tuple[str, ...] = tuple(REMEDIES)
    """Which are trained; plain, the one without a remedy, has to be among them."""
    latents: int = 32
    """d, the number of latents."""
    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers of the encoder."""
    features: int = 16
    """Channels of the PixelCNN's stacks."""
    kernels: tuple[int, ...] = (7, 5, 3)
    """Widths of its layers' kernels."""
    weak_kernels: tuple[int, ...] = (3,)
    """Those of the weaker decoder."""
    steps: int = 2500
    """Steps of every training; of the pre-trained encoder's, those of the autoencoder included."""
    batch_size: int = 32
    """Images per step."""
    learning_rate: float = 2e-3
    """Adam's."""
    ramp: int = 800
    """Steps in which the KL's weight rises from 0 to 1, under linear annealing and after pre-training."""
    cycles: int = 4
    """Cycles of cyclical annealing: each ramps from 0 to 1 in its first half."""
    free_nats: float = 0.1
    """Free bits: nats that every latent has for free."""
    target: float = 3.0
    """After pre-training: nats that the latents have for free between them."""
    pretraining: float = 0.5
    """The share of the steps in which the encoder is pre-trained as an autoencoder's."""
    label_weight: float = 3.0
    """Weight of -log r(y|z) (nats) under auxiliary labels."""
    information_weight: float = 0.9
    """Weight of the bound on I(x; z) (nats) that is maximised: what a nat of information is paid."""
    window: int = 5
    """Aggressive training: encoder steps between looks at whether its loss still falls."""
    most: int = 10
    """Aggressive training: encoder steps at most before each step of the decoder."""
    patience: int = 3
    """Aggressive training ends at so many validations below the best mutual information before them."""
    validate_every: int = 100
    """Steps between those validations, a multiple of chunk."""
    seed: int = 0
    """Of weights, order and noise; the same for all."""
    samples: int = 200
    """Samples per test image in the estimate of log p(x)."""
    at_once: int = 10
    """So many of them are decoded together: the memory of that estimate."""
    test_images: int = 500
    """The first so many test images have their log p(x) estimated."""
    judged: int = 2000
    """The first so many test images give KL, mutual information and active units."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (
            "pool", "latents", "steps", "batch_size", "ramp", "cycles", "window", "most", "patience",
            "validate_every", "samples", "at_once", "test_images", "judged",
        )  # fmt: skip
        for name in sizes:
            check_positive_int(getattr(self, name), name)
        check_choice(self.pixels, ("threshold", "dynamic"), "pixels")
        for name in self.remedies:
            check_choice(name, tuple(REMEDIES), "remedies")
        if "plain" not in self.remedies:
            raise ValueError(f"remedies: expected 'plain' among them, got {self.remedies}")
        jobs.check_finite(self, ("free_nats", "target", "label_weight", "information_weight"))
        jobs.check_finite(self, ("learning_rate",), positive=True)
        if not 1 <= self.autoencoder_steps < self.steps:
            raise ValueError(
                f"pretraining: expected a share that leaves either part at least one of the {self.steps} "
                f"steps, got {self.pretraining}"
            )
        chunk = min(self.chunk, self.steps)
        if self.validate_every % chunk:
            raise ValueError(
                f"validate_every: expected a multiple of the chunk of {chunk}, got {self.validate_every}"
            )

    @property
    def autoencoder_steps(self) -> int:
        """The steps of pre-training."""
        return round(self.pretraining * self.steps)


PRESETS = {
    "fast": Config(),
    "large": Config(
        preset="large", pool=1, hidden=(512, 256), features=64, steps=60_000, batch_size=50,
        kernels=(7,) * 5 + (5,) * 4 + (3,) * 4, learning_rate=1e-3, ramp=12_000, free_nats=0.25, target=8.0,
        window=10, most=99, patience=5, validate_every=1200, samples=500, at_once=1, judged=10_000,
    ),
}  # fmt: skip


def load(config: Config) -> data.Dataset:
    """Binary images; before they are binary, squares of pixels become their mean."""
    images = getattr(data, config.dataset)(pixels=config.pixels)
    return data.Dataset(*(pooled(s, config.pool) for s in (images.train, images.validation, images.test)))


def pooled(split: Split, k: int) -> Split:
    """The same split with the means of k x k pixels, rounded to bytes."""
    x = split.arrays["x"]
    n, height, width, channels = x.shape
    if height % k or width % k:
        raise ValueError(f"pool: expected a divisor of the images' sides, {height} and {width}, got {k}")
    cut = x.reshape(n, height // k, k, width // k, k, channels)
    means = np.rint(cut.mean((2, 4), dtype=np.float32)).astype(np.uint8)
    return Split({**split.arrays, "x": means}, split.support, split.transform)


def build(config: Config, name: str, event: tuple[int, ...]) -> Model:
    """A dense encoder and a gated PixelCNN; the auxiliary labels come with a linear classifier of z."""
    height, width, channels = event
    kernels = config.weak_kernels if name == "weak" else config.kernels
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(config.latents, config.hidden, event_ndims=3),
        decoder=nets.GatedPixelCNN((height, width, channels), config.features, kernels),
        latents=config.latents,
        likelihood=distributions.bernoulli(),
    )
    if name == "labels":
        return models.with_heads(model, classifier=nets.MLP((), (10,)))
    return model


def objective(config: Config, name: str) -> Callable[..., Any]:
    """-log p(x|z) and what the remedy makes of the KL, which is logged as `kl` whatever is in the loss."""
    kl, linear = objectives.kl, optax.linear_schedule(0.0, 1.0, config.ramp)
    cyclical = objectives.cyclical_schedule(1.0, config.steps, cycles=min(config.cycles, config.steps))
    labels = scaled(config.label_weight, objectives.auxiliary_classification())
    terms: dict[str, dict[str, Any]] = {
        "autoencoder": {"kl": scaled(0.0, kl)},
        "linear": {"kl": scaled(linear, kl)},
        "cyclical": {"kl": scaled(cyclical, kl)},
        "free_bits": {"rate": objectives.free_bits(config.free_nats)},
        "pretrained": {"rate": scaled(linear, objectives.target_rate(config.target))},
        "labels": {"kl": kl, "labels": labels},
        "information": {"kl": kl, "information": scaled(config.information_weight, objectives.info_nce)},
    }
    return compose(reconstruction=objectives.reconstruction, **terms.get(name, {"kl": kl}))


def update(config: Config, model: Model, name: str) -> Update:
    """Adam on the objective; under aggressive training the encoder's steps and the decoder's are apart."""
    step = partial(train.gradient_update, objective(config, name), model, optax.adam(config.learning_rate))
    if name != "aggressive":
        return step()
    encoder, decoder = step(wrt=("encoder",)), step(wrt=("decoder",))
    return train.aggressive(encoder, decoder, window=config.window, most=config.most)


def train_one(job: Job) -> None:
    """Train and score one model."""
    config, name = job.config, job.name
    images = load(config)
    model = build(config, name, images.train.arrays["x"].shape[1:])
    steps, work, more = config.steps, REMEDIES[name].work, {}
    if name == "pretrained" and not (job.folder / "report.json").exists():
        model = models.starting_from(model, {"encoder": pretrain(job, model, images)})
    if name == "pretrained":
        steps -= config.autoencoder_steps
    if name == "aggressive":
        more = {
            "validate": lambda key, vae: evaluation.elbo_parts(key, vae, images.validation),
            "after_validation": train.end_aggressive(config.patience),
            "save_every": config.validate_every // min(config.chunk, steps),
        }
    jobs.train_job(
        job, model, update(config, model, name), lambda: images, partial(score, config, job.folder),
        steps=steps, work=work, amount=amount(config, name), **more,
    )  # fmt: skip


def pretrain(job: Job, model: Model, images: data.Dataset) -> dict[str, Any]:
    """The parameters of the encoder of an autoencoder, which lies in a folder within the training's."""
    config: Config = job.config
    steps = config.autoencoder_steps
    fitted = train.fit(
        jax.random.key(job.seed), model, update(config, model, "autoencoder"), images.train, steps,
        batch_size=config.batch_size, chunk=min(config.chunk, steps), folder=job.folder / "autoencoder",
        resume=True, progress=lambda n, _: parallel.report(n),
    )  # fmt: skip
    return fitted.state.params["encoder"]


def amount(config: Config, name: str) -> float:
    """Work of a training and its scores, in steps of the plain one."""
    return config.steps * (REMEDIES[name].work + SCORING)


def score(config: Config, folder: Path, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """The signs of collapse, and log p(x) of the first test images, kept one by one in the folder."""
    key = jax.random.key(EVALUATION_KEY)
    signs = evaluation.collapse(key, vae, first(images.test, config.judged))

    def reported(batches: Iterable[int]) -> Iterator[int]:
        batches = list(batches)
        for i in batches:
            yield i
            parallel.report(config.steps * SCORING / len(batches))

    marginal = evaluation.marginal_log_likelihood(
        key, vae, first(images.test, config.test_images), num_samples=config.samples, chunk=config.at_once,
        progress=reported,
    )  # fmt: skip
    np.save(folder / "log_likelihood.npy", marginal.pop("per_example")["log_likelihood"])
    return {**marginal, **{name: value for name, value in signs.items() if name != "n"}, "judged": signs["n"]}


def dry_run(config: Config) -> dict[str, Any]:
    """Say what the trainings would take, from a few steps of each."""
    few, kinds = first(load(config).train, config.batch_size), {}
    for name in config.remedies:
        model = build(config, name, few.arrays["x"].shape[1:])
        kinds[REMEDIES[name].label] = Kind(
            model, update(config, model, name), few, config.batch_size, config.steps, 1
        )
    costs = estimate(kinds, config.workers or parallel.default_workers())
    if "aggressive" in config.remedies:
        print("(as if the encoder were aggressive to the end: it goes on until the information stops rising)")
    return costs


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    if config.dry_run:
        return dry_run(config)
    config, folder = jobs.open_folder("collapse", config, PRESETS)
    folders = {name: folder / name for name in REMEDIES if name in config.remedies}
    images = load(config)  # and the set is prepared once, here
    if not config.report_only:
        each = [Job(config, path, name, config.seed) for name, path in folders.items()]
        jobs.run(train_one, each, [amount(config, job.name) for job in each], config, folder)
    labels = {name: REMEDIES[name].label for name in folders}
    result = {**collapse_report.summarise(folders, labels), "config": config}
    runs.write_json(folder / "report.json", result)
    key = jax.random.key(EVALUATION_KEY)
    x = images.test.transform(key, first(images.test, collapse_report.SHOWN).arrays)["x"]
    collapse_report.draw(folder, folders, result, x)
    print(collapse_report.table(result))
    return result


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
