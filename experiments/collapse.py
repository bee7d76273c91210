"""Posterior collapse under a PixelCNN decoder, and eight remedies, on small binary Fashion-MNIST.

    python -m experiments.collapse --preset fast

Trains one VAE without a remedy and under each: a weaker decoder, linear and cyclical annealing, free bits,
an aggressive encoder, a pre-trained encoder, auxiliary labels, information that is paid for (InfoNCE).

`fast`, seed 0: 14 x 14 images (means of 2 x 2, thresholded), 2500 steps, 25 minutes of CPU time in all, ten
of them the aggressive encoder's. Settings of the model were chosen on seed 100, those of the remedies not at
all. Nats; KL and I of 2000 test images, NLL of 500 (200 samples each), paired differences:

    none                 KL  .04  I(x; z)  .02   0 of 64 active  NLL 30.48, collapsed
    weaker decoder       KL 1.16  I(x; z) 1.10   1               minus none  9.35 +- .30
    linear annealing     KL  .83  I(x; z)  .81   1                            .17 +- .07
    cyclical annealing   KL  .84  I(x; z)  .79   2                           -.03 +- .07
    free bits            KL 2.99  I(x; z) 1.53  64                            .06 +- .07
    aggressive encoder   KL  .16  I(x; z)  .14   7                           -.02 +- .06
    pre-trained encoder  KL 2.61  I(x; z) 2.19  33                            .28 +- .09
    auxiliary labels     KL 2.50  I(x; z) 1.81  43                           -.15 +- .07
    mutual information   KL 3.31  I(x; z) 3.17   2                           -.09 +- .08

Five remedies bring the KL above 1 nat. The weaker decoder pays most; the labels alone gain in NLL, a little:
elsewhere z takes over what the decoder could do alone. Annealing keeps .8 nats. The aggressive encoder hardly
helps here; it ended after 500 steps and 5000 of the encoder's. In trials with a narrower encoder, 32 latents
and a rate of .002 the model without a remedy kept a KL of .5 to .8. One seed; errors are
over images. `large` (28 x 28, the PixelCNN of He et al. 2019, for a GPU) has not been run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from experiments import collapse_report, jobs, parallel
from experiments.cli import parse
from experiments.collapse_config import PRESETS, REMEDIES, Config
from experiments.dry_run import Kind, estimate
from experiments.jobs import Job, first
from vaejax import compose, data, distributions, evaluation, models, nets, objectives, runs, scaled, train
from vaejax.types import VAE, Model, Split, Update

EVALUATION_KEY = 1901  # the same for all: they see the same binary test images
SCORING = 0.2  # what the scores take, as a share of the plain training; for the bar


def load(config: Config) -> data.Dataset:
    """Binary images; before they are binary, squares of pixels become their mean."""
    images = getattr(data, config.dataset)(pixels=config.pixels)
    fitted, validation, test = (
        pooled(s, config.pool) for s in (images.train, images.validation, images.test)
    )
    return data.Dataset(fitted, validation, test)


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
            "log_every": 1,  # the report counts the encoder's steps
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
