"""VAE against IWAE by log p(x) (Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519).

    python -m experiments.iwae --preset fast

Trains the same one-layer model with the ELBO and with L_K for K = 1, 5, 50, estimates log p(x) of test images
with 5000 samples, and compares models image by image: paired differences with their standard errors.

The paper's rates, 1e-3 10^(-i/7) for 3^i of 3280 epochs, are squeezed in proportion into a preset's epochs.
`fast` is half an epoch from 8e-3, the best of five rates from 1e-3 on validation images with seeds 100 and
101: two minutes of CPU time. Fashion-MNIST, log p(x) of 100 test images, seed 0:

    VAE,  K = 1, 5, 50   NLL 249.1, 247.6, 246.9   KL 12.7, 12.7, 13.0   -ELBO minus NLL 6.3, 5.2, 4.1
    IWAE, K = 5, 50      NLL 248.1, 247.4          KL 11.3, 9.3          -ELBO minus NLL 17.6, 50.3
    paired               IWAE-5 minus VAE-1 -1.02 +- .25, IWAE-50 minus IWAE-5 -.68 +- .28

So early, K samples help the VAE as much: IWAE-50 minus VAE-50 is +.51 +- .29, with an effective sample size
of 6 for IWAE-50, whose NLL is the loosest. `medium`, 25 epochs from 1e-3, 36 minutes of CPU time, 1000 test
images, puts them in the paper's order:

    VAE,  K = 1, 5, 50   NLL 241.0, 240.1, 239.5   KL 13.6, 13.6, 13.9   active 10, 8, 9 of 50
    IWAE, K = 5, 50      NLL 239.5, 238.4          KL 12.3, 10.9         active 36, 48
    paired               IWAE-5 minus VAE-1 -1.56 +- .08, IWAE-50 minus IWAE-5 -1.05 +- .09,
                         IWAE-5 minus VAE-5 -.66 +- .08, IWAE-50 minus VAE-50 -1.12 +- .09

Errors are over images and say nothing of other seeds. Unlike the authors' code, each epoch is shuffled, Adam
is the paper's (b1 = .9, moments that start at 0), rates are not rounded, and the encoder gives the logarithm
of the variance, not of the scale.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import iwae_report, jobs, parallel
from experiments.cli import parse
from experiments.dry_run import Kind, estimate
from experiments.jobs import Job, first
from vaejax import data, distributions, evaluation, models, nets, objectives, runs, train
from vaejax.checks import check_choice, check_positive_int
from vaejax.keys import named_key
from vaejax.types import VAE, Array, Batch, Model, Split, Update

BOUNDS = ("vae", "iwae", "miwae", "piwae", "ciwae", "renyi", "dreg")
OWN = ("fashion_mnist", "mnist", "digits")  # sets that do not come from tensorflow-datasets
PIXELS = ("dynamic", "static", "binary")  # what makes images binary; see `data.fashion_mnist`
EVALUATION_KEY = 1509  # the same for all models: they see the same binary test images
STAGES = 8  # of the learning rate
MIXED = ("miwae", "piwae")  # bounds of M groups of K samples


@dataclass(frozen=True)
class Config(jobs.Settings):
    """VAE and IWAE for several numbers of samples K."""

    dataset: str = "fashion_mnist"
    """fashion_mnist, mnist, digits, or the name of an image set of tensorflow-datasets."""
    pixels: str = "dynamic"
    """How images become binary: dynamic (anew each time), static, or binary for sets that store 0 and 1."""
    bound: tuple[str, ...] = ("vae", "iwae")
    """What is maximised: vae (the mean of K ELBOs), iwae, miwae, piwae, ciwae, renyi, dreg."""
    k: tuple[int, ...] = (1, 5, 50)
    """K, the samples per image; each bound is trained with each of them."""
    m: int = 8
    """M, the groups of K samples of miwae and piwae."""
    beta: float = 0.05
    """The share of the ELBO in ciwae."""
    alpha: float = 0.5
    """The order of renyi."""
    epochs: float = 1.0
    """Passes over the training images; the paper's learning rates are squeezed into them."""
    batch_size: int = 20
    """Images per step."""
    learning_rate: float = 1e-3
    """Adam's at the start; it falls to a tenth."""
    latents: int = 50
    """d, the number of latents."""
    hidden: tuple[int, ...] = (200, 200)
    """Widths of the hidden layers, from the image to the latents; the decoder's are the same in reverse."""
    seed: int = 0
    """Of weights, order and noise; the same for all models."""
    samples: int = 5000
    """Samples per test image in the estimate of log p(x)."""
    test_images: int = 10_000
    """The first so many test images have their log p(x) estimated; KL and active units are of all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("m", "batch_size", "latents", "samples", "test_images"):
            check_positive_int(getattr(self, name), name)
        for k in self.k:
            check_positive_int(k, "k")
        for name in self.bound:
            check_choice(name, BOUNDS, "bound")
        for name in ("bound", "k"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one, got none")
        check_choice(self.pixels, PIXELS, "pixels")
        jobs.check_finite(self, ("epochs", "learning_rate"), positive=True)
        objectives.ciwae(1, self.beta)  # these refuse what is no beta or no alpha
        objectives.renyi(1, self.alpha)


PRESETS = {
    "fast": Config(epochs=0.5, learning_rate=8e-3, test_images=100),
    "medium": Config(preset="medium", epochs=25.0, test_images=1000),
    "paper": Config(preset="paper", dataset="mnist", epochs=3280.0, chunk=1000),
}


def load(config: Config) -> data.Dataset:
    """The binary images."""
    if config.dataset in OWN:
        return getattr(data, config.dataset)(pixels=config.pixels)
    return data.from_tfds(config.dataset, pixels=config.pixels)


def build(config: Config, images: Split) -> Model:
    """Dense layers with tanh, a Bernoulli decoder whose output bias starts at the logit of the mean image."""
    event = images.arrays["x"].shape[1:]
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(config.latents, config.hidden, "tanh", event_ndims=len(event)),
        decoder=nets.MLP(config.hidden[::-1], event, "tanh"),
        latents=config.latents,
        likelihood=distributions.bernoulli(),
    )
    mean = images.arrays["x"].mean(axis=0) / (255 if config.pixels == "dynamic" else 1)
    return model._replace(init=partial(start, model, np.clip(mean, 0.001, 0.999)))


def start(model: Model, mean: np.ndarray, key: Array, batch: Batch) -> tuple[dict[str, Any], Any]:
    """Glorot's initial weights, zero biases, and logit(mean) as the bias of the decoder's output."""
    params, variables = model.init(key, batch)
    glorot = jax.nn.initializers.glorot_uniform()

    def weight(path: tuple, a: Array) -> Array:
        own = named_key(key, jax.tree_util.keystr(path))
        return glorot(own, a.shape, a.dtype) if a.ndim == 2 else jnp.zeros_like(a)

    params = jax.tree_util.tree_map_with_path(weight, params)
    out = params["decoder"]["out"]
    out["bias"] = jnp.asarray(np.log(mean / (1 - mean)).ravel(), out["bias"].dtype)
    return params, variables


def bound(config: Config, name: str, K: int) -> Callable[..., Array]:
    """The term of one bound."""
    terms = {
        "vae": lambda: objectives.miwae(K, 1),
        "iwae": lambda: objectives.iwae(K),
        "miwae": lambda: objectives.miwae(config.m, K),
        "piwae": lambda: objectives.piwae(config.m, K),
        "ciwae": lambda: objectives.ciwae(K, config.beta),
        "renyi": lambda: objectives.renyi(K, config.alpha),
        "dreg": lambda: objectives.dreg(K),
    }
    return terms[name]()


def learning_rates(first: float, steps: int) -> optax.Schedule:
    """first 10^(-i/7) in stage i = 0..7, whose share of the steps is 3^i / 3280.

    With 3280 epochs the stages are the paper's, of 3^i epochs; a shorter training squeezes all in proportion.
    """
    ends = [round(steps * (3**i - 1) / 2 / 3280) for i in range(1, STAGES)]
    values = jnp.asarray([first * 10 ** (-i / 7) for i in range(STAGES)])
    return lambda step: values[jnp.searchsorted(jnp.asarray(ends), step, side="right")]


def is_published(config: Config) -> bool:
    """Whether the paper has numbers of this model and this kind of images, for some set."""
    of_paper = PRESETS["paper"]
    return all(getattr(config, name) == getattr(of_paper, name) for name in ("pixels", "latents", "hidden"))


def num_steps(config: Config, images: Split) -> int:
    """The steps of all epochs; a ragged last batch is left out."""
    return max(1, round(config.epochs * (images.size // config.batch_size)))


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """Adam as in the paper; its eps of 1e-4 meets gradients summed over the batch, as the authors' does."""
    adam = optax.adam(learning_rates(config.learning_rate, steps), b1=0.9, b2=0.999, eps=1e-4)
    return optax.chain(optax.scale(config.batch_size), adam)


def update(config: Config, model: Model, steps: int, name: str, K: int) -> Update:
    """A step on one bound."""
    objective = objectives.compose(neg_bound=bound(config, name, K))
    return train.gradient_update(objective, model, optimizer(config, steps))


def plan(config: Config) -> dict[str, tuple[str, int]]:
    """{name of a training: (bound, K)} for every bound and K; with one sample most bounds are the ELBO."""
    asked = [(name, K) for name in config.bound for K in config.k]
    return {training_name(name, K): (name, K) for name, K in reversed(asked)}


def training_name(name: str, K: int) -> str:
    """The training that a bound and K ask for."""
    return f"vae-{K}" if K == 1 and name in ("iwae", "ciwae", "renyi") else f"{name}-{K}"


def work(config: Config, name: str, K: int) -> float:
    """Work of a step for the bar: samples decoded."""
    return config.batch_size * K * (config.m if name in MIXED else 1)


def train_one(job: Job) -> None:
    """Train and score one model."""
    config, (name, K) = job.config, plan(job.config)[job.name]
    images = load(config)
    model, steps = build(config, images.train), num_steps(config, images.train)
    jobs.train_job(
        job, model, update(config, model, steps, name, K), lambda: images, partial(score, config, job.folder),
        steps=steps, work=work(config, name, K), amount=amount(config, steps, name, K),
    )  # fmt: skip


def amount(config: Config, steps: int, name: str, K: int) -> float:
    """Work of a training and its scores, in the same unit."""
    return steps * work(config, name, K) + config.test_images * config.samples


def score(config: Config, folder: Path, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """log p(x) of the first test images, kept one by one in the folder; KL and active units of all."""
    key = jax.random.key(EVALUATION_KEY)
    parts = evaluation.elbo_parts(key, vae, images.test, aggregate=False)
    names = ("reconstruction", "kl", "kl_se", "neg_elbo", "active_units")
    some = first(images.test, config.test_images)

    def reported(batches: Iterable[int]) -> Iterator[int]:
        batches = list(batches)
        for i in batches:
            yield i
            parallel.report(config.test_images * config.samples / len(batches))

    marginal = evaluation.marginal_log_likelihood(
        key, vae, some, num_samples=config.samples, progress=reported
    )
    np.save(folder / "log_likelihood.npy", marginal.pop("per_example")["log_likelihood"])
    return {**marginal, **{name: parts[name] for name in names}, "kl_images": parts["n"]}


def dry_run(config: Config) -> dict[str, Any]:
    """Say what the run would take, from a few steps of each training and log p(x) of a few images."""
    images = load(config)
    model, steps = build(config, images.train), num_steps(config, images.train)
    few = first(images.train, max(config.batch_size, 64))
    kinds = {
        iwae_report.label(name, K): Kind(
            model, update(config, model, steps, name, K), few, config.batch_size, steps, 1
        )
        for name, K in plan(config).values()
    }
    workers = config.workers or parallel.default_workers()
    costs = estimate(kinds, workers)
    params, _ = model.init(jax.random.key(0), few.transform(jax.random.key(0), first(few, 1).arrays))
    vae, seconds = model.bind(params), 0.0
    for _ in range(2):  # the first compiles
        begin = time.perf_counter()
        evaluation.marginal_log_likelihood(jax.random.key(0), vae, first(few, 64), num_samples=500)
        seconds = time.perf_counter() - begin
    n = min(config.test_images, images.test.size)
    hours = seconds / 64 / 500 * n * config.samples * len(kinds) / workers / 3600
    print(f"and {hours:.2g} hours for log p(x) of {n} images, {config.samples} samples each")
    return {**costs, "scoring_hours": hours}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    if config.dry_run:
        return dry_run(config)
    config, folder = jobs.open_folder("iwae", config, PRESETS)
    trainings = plan(config)
    if not config.report_only:
        steps = num_steps(config, load(config).train)  # which also prepares the set, once
        each = [Job(config, folder / name, name, config.seed) for name in trainings]
        jobs.run(
            train_one, each, [amount(config, steps, *pair) for pair in trainings.values()], config, folder
        )
    rows = {(name, K): folder / training_name(name, K) for name in config.bound for K in config.k}
    result = {**iwae_report.summarise(rows), "config": config}
    runs.write_json(folder / "report.json", result)
    iwae_report.draw(folder, rows, result)
    print(iwae_report.table(result, config.dataset if is_published(config) else ""))
    return result


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
