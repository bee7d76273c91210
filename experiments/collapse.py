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

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import jax
import numpy as np
import optax

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, scaled, train

Remedy = Literal[
    "plain", "weak", "linear", "cyclical", "free_bits", "aggressive", "pretrained", "labels", "information"
]
COLUMNS = {
    "KL": ("kl", "kl_se"),
    "I(x; z)": "mutual_information",
    "active units": lambda m: f"{m['active_units']} of {m['latents']}",
    "NLL": ("nll", "nll_se"),
    "NLL minus plain": ("minus_plain", "minus_plain_se"),
    "ESS": "ess",
    "seconds": "train_seconds",
    "verdict": lambda m: m["summary"].split(":")[0],
}


@dataclass(frozen=True)
class Config(lab.Settings):
    """One VAE with an autoregressive decoder under each remedy against posterior collapse."""

    dataset: Literal["fashion_mnist", "mnist", "digits"] = "fashion_mnist"  # grey images with a class
    pool: lab.Positive[int] = 2  # sides of squares that become their mean, before an image becomes binary
    pixels: Literal["threshold", "dynamic"] = "threshold"  # binary above half of white, or drawn each time
    remedies: tuple[Remedy, ...] = get_args(Remedy)  # which are trained, plain among them
    latents: lab.Positive[int] = 64  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (128,) * 5  # widths of the encoder's hidden layers
    features: lab.Positive[int] = 24  # channels of the PixelCNN's stacks
    kernels: tuple[lab.Positive[int], ...] = (7, 7, 5, 5)  # widths of its layers' kernels
    weak_kernels: tuple[lab.Positive[int], ...] = (3,)  # those of the weaker decoder
    steps: lab.Positive[int] = 2500  # of every training; of the pre-trained encoder's, pre-training included
    batch_size: lab.Positive[int] = 32  # images per step
    learning_rate: lab.Positive[float] = 4e-3  # Adam's
    ramp: lab.Positive[int] = 800  # steps in which the KL's weight rises, linearly and after pre-training
    cycles: lab.Positive[int] = 4  # of cyclical annealing: each ramps from 0 to 1 in its first half
    free_nats: lab.NonNegative[float] = 0.05  # free bits: nats that every latent has for free
    target: lab.NonNegative[float] = 3.0  # after pre-training: nats that all latents have for free together
    pretraining: lab.Positive[float] = (
        0.5  # the share of the steps in which the encoder is pre-trained as an autoencoder's
    )
    label_weight: lab.NonNegative[float] = 3.0  # of -log r(y|z) (nats) under auxiliary labels
    information_weight: lab.NonNegative[float] = 0.9  # of the bound on I(x; z): what a nat of it is paid
    window: lab.Positive[int] = 5  # aggressive: encoder steps between looks at whether its loss still falls
    most: lab.Positive[int] = 10  # aggressive: the most encoder steps before each step of the decoder
    patience: lab.Positive[int] = 3  # aggressive training ends when I(x; z) was below its best this often
    validate_every: lab.Positive[int] = 100  # steps between these looks, a multiple of chunk
    samples: lab.Positive[int] = 200  # per test image, in the estimate of log p(x)
    at_once: lab.Positive[int] = 10  # of them decoded together: the memory of that estimate
    test_images: lab.Positive[int] = 500  # the first, whose log p(x) is estimated
    judged: lab.Positive[int] = 2000  # the first, which give KL, mutual information and active units

    def __post_init__(self) -> None:
        super().__post_init__()
        if "plain" not in self.remedies:
            raise ValueError(f"remedies: expected 'plain' among them, got {self.remedies}")
        if not 1 <= round(self.pretraining * self.steps) < self.steps:
            raise ValueError(f"pretraining: expected a share that leaves both a step, got {self.pretraining}")
        if self.validate_every % (chunk := min(self.chunk, self.steps)):
            raise ValueError(f"validate_every: expected a multiple of {chunk}, got {self.validate_every}")


PRESETS = {
    "fast": Config(),
    "large": Config(
        preset="large", pool=1, latents=32, hidden=(512, 256), features=64, steps=60_000, batch_size=50,
        kernels=(7,) * 5 + (5,) * 4 + (3,) * 4, learning_rate=1e-3, ramp=12_000, free_nats=0.25, target=8.0,
        window=10, most=99, patience=5, validate_every=1200, samples=500, at_once=1, judged=10_000,
    ),
}  # fmt: skip


def objective(config: Config, name: str) -> Any:
    """-log p(x|z) and what the remedy makes of the KL, which is logged as `kl` whatever is in the loss."""
    kl, linear = objectives.kl, optax.linear_schedule(0.0, 1.0, config.ramp)
    cyclical = objectives.cyclical_schedule(1.0, config.steps, cycles=min(config.cycles, config.steps))
    terms: dict[str, dict[str, Any]] = {
        "autoencoder": {"kl": scaled(0.0, kl)},
        "linear": {"kl": scaled(linear, kl)},
        "cyclical": {"kl": scaled(cyclical, kl)},
        "free_bits": {"rate": objectives.free_bits(config.free_nats)},
        "pretrained": {"rate": scaled(linear, objectives.target_rate(config.target))},
        "labels": {"kl": kl, "labels": scaled(config.label_weight, objectives.auxiliary_classification())},
        "information": {"kl": kl, "information": scaled(config.information_weight, objectives.info_nce)},
    }
    return compose(reconstruction=objectives.reconstruction, **terms.get(name, {"kl": kl}))


def training(config: Config, name: str) -> lab.Training:
    """A dense encoder and a gated PixelCNN, Adam; under aggressive training each has steps of its own."""
    images = getattr(data, config.dataset)(pixels=config.pixels)
    pooled = partial(data.pooled, k=config.pool)  # before they are binary
    images = data.Dataset(pooled(images.train), pooled(images.validation), pooled(images.test))
    kernels = config.weak_kernels if name == "weak" else config.kernels
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(config.latents, config.hidden, event_ndims=3),
        decoder=nets.GatedPixelCNN(images.train.arrays["x"].shape[1:], config.features, kernels),
        latents=config.latents,
        likelihood=distributions.bernoulli(),
    )
    if name == "labels":  # with a linear classifier of z
        model = models.with_heads(model, classifier=nets.MLP((), (10,)))
    adam = optax.adam(config.learning_rate)
    step = partial(train.gradient_update, objective(config, name), model, adam)
    if name == "pretrained":
        first = round(config.pretraining * config.steps)
        alone = train.gradient_update(objective(config, "autoencoder"), model, adam)
        before = ("autoencoder", lab.Training(model, alone, images, steps=first), ("encoder",))
        return lab.Training(model, step(), images, steps=config.steps - first, before=before)
    if name == "aggressive":
        encoder, decoder = step(wrt=("encoder",)), step(wrt=("decoder",))
        return lab.Training(
            model, train.aggressive(encoder, decoder, window=config.window, most=config.most), images,
            work=4.0, after_validation=train.end_aggressive(config.patience), log_every=1,  # all are summed
            validate=lambda key, vae: evaluation.elbo_parts(key, vae, images.validation),
            save_every=config.validate_every // min(config.chunk, config.steps),
        )  # fmt: skip
    return lab.Training(model, step(), images, work=0.4 if name == "weak" else 1.0)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """The signs of collapse, and log p(x) of the first test images, kept one by one."""
    key = jax.random.key(1901)  # the same for all: they see the same binary test images
    some, judged = data.first(images.test, config.test_images), data.first(images.test, config.judged)
    signs = evaluation.collapse(key, vae, judged)
    m = evaluation.marginal_log_likelihood(key, vae, some, num_samples=config.samples, chunk=config.at_once)
    arrays = {"log_likelihood": m.pop("per_example")["log_likelihood"]}
    return {**m, **signs, "n": m["n"], "judged": signs["n"], "arrays": arrays}


def minus_plain(run: lab.Run) -> dict[str, Any]:
    """NLL minus the plain one's, image by image; how many steps were the encoder's alone."""
    rows = run.paired("plain")
    for name, seeds in rows.items():
        for scores, (metrics, _) in zip(seeds, run.read(name, train.read_metrics), strict=True):
            scores |= {k: int(metrics[k].sum()) for k in ("inner_steps", "aggressive") if k in metrics}
    return {"rows": rows}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, lambda c: {k: k for k in c.remedies}, training, score, minus_plain)
    run.table(COLUMNS)
    test = data.first(training(run.config, "plain").data.test, 6)
    x = np.repeat(test.transform(jax.random.key(1901), test.arrays)["x"], 3, axis=0)  # three draws at each
    curves = partial(lab.curves, names=("kl", "reconstruction"), yscale="log")
    scores, draws = partial(lab.scores, columns=COLUMNS), lambda run: lab.gallery(run.vaes, x)
    return run.draw(training_curves=curves, scores=scores, draws=draws)


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
