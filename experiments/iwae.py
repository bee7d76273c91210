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

from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaejax import (
    VAE,
    compose,
    data,
    distributions,
    evaluation,
    lab,
    models,
    nets,
    objectives,
    plots,
    train,
)

BOUNDS = {  # name -> the term, of a config and K
    "vae": lambda config, K: objectives.miwae(K, 1),
    "iwae": lambda config, K: objectives.iwae(K),
    "miwae": lambda config, K: objectives.miwae(config.m, K),
    "piwae": lambda config, K: objectives.piwae(config.m, K),
    "ciwae": lambda config, K: objectives.ciwae(K, config.beta),
    "renyi": lambda config, K: objectives.renyi(K, config.alpha),
    "dreg": lambda config, K: objectives.dreg(K),
}
# Burda et al. 2015, table 1: one layer, test NLL of dynamically binarised MNIST after 3280 epochs
PUBLISHED = {"vae-1": 86.76, "vae-5": 86.47, "vae-50": 86.35, "iwae-5": 85.54, "iwae-50": 84.78}


@dataclass(frozen=True)
class Config(lab.Settings):
    """VAE and IWAE for several numbers of samples K."""

    dataset: str = "fashion_mnist"  # fashion_mnist, mnist, digits, or an image set of tensorflow-datasets
    pixels: Literal["dynamic", "static", "binary"] = "dynamic"  # binary anew each time, once, or as stored
    bound: tuple[Literal[tuple(BOUNDS)], ...] = ("vae", "iwae")  # what is maximised; vae: the mean of K ELBOs
    k: tuple[lab.Positive[int], ...] = (1, 5, 50)  # K, samples per image; each bound is trained with each
    m: lab.Positive[int] = 8  # M, the groups of K samples of miwae and piwae
    beta: float = 0.05  # the share of the ELBO in ciwae
    alpha: float = 0.5  # the order of renyi
    epochs: lab.Positive[float] = 1.0  # passes over the images; the paper's rates are squeezed into them
    steps: lab.NonNegative[int] = 0  # 0: as many as the epochs have, without ragged last batches
    batch_size: lab.Positive[int] = 20  # images per step
    learning_rate: lab.Positive[float] = 1e-3  # Adam's at the start; it falls to a tenth
    latents: lab.Positive[int] = 50  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (200, 200)  # widths of the encoder; reversed, of the decoder
    samples: lab.Positive[int] = 5000  # per test image, in the estimate of log p(x)
    test_images: lab.Positive[int] = 10_000  # the first, whose log p(x) is estimated; KL is of all

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("bound", "k"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one, got none")
        objectives.ciwae(1, self.beta)  # these refuse what is no beta or no alpha
        objectives.renyi(1, self.alpha)


PRESETS = {
    "fast": Config(epochs=0.5, learning_rate=8e-3, test_images=100),
    "medium": Config(preset="medium", epochs=25.0, test_images=1000),
    "paper": Config(preset="paper", dataset="mnist", epochs=3280.0, chunk=1000),
}


def rows(config: Config) -> dict[str, lab.Row]:
    """Every bound with every K; with one sample most bounds are the ELBO."""
    named = {f"{bound}-{K}": (bound, K) for bound, K in product(config.bound, config.k)}
    names = {
        name: {"renyi": "Renyi", "dreg": "DReG"}.get(bound, bound.upper())
        for name, (bound, _) in named.items()
    }
    alike = {name: K == 1 and bound in ("iwae", "ciwae", "renyi") for name, (bound, K) in named.items()}
    return {
        name: lab.Row(f"{names[name]}, K = {K}", "vae-1" if alike[name] else None)
        for name, (_, K) in named.items()
    }


def training(config: Config, name: str) -> lab.Training:
    """Dense layers with tanh, Adam on one bound at the paper's learning rates."""
    own = config.dataset in ("fashion_mnist", "mnist", "digits")
    load = getattr(data, config.dataset) if own else partial(data.from_tfds, config.dataset)
    images = load(pixels=config.pixels)
    x = images.train.arrays["x"]
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(config.latents, config.hidden, "tanh", event_ndims=x.ndim - 1),
        decoder=nets.MLP(config.hidden[::-1], x.shape[1:], "tanh"),
        latents=config.latents,
        likelihood=distributions.bernoulli(),
    )
    mean = x.mean(axis=0) / (255 if config.pixels == "dynamic" else 1)
    model = models.glorot(model, np.clip(mean, 0.001, 0.999))
    steps = config.steps or max(1, round(config.epochs * (len(x) // config.batch_size)))
    bound, K = name.split("-")
    loss = compose(neg_bound=BOUNDS[bound](config, int(K)))
    update = train.gradient_update(loss, model, adam(config, steps))
    work = float(K) * (config.m if bound in ("miwae", "piwae") else 1)
    return lab.Training(model, update, images, steps=steps, work=work)


def adam(config: Config, steps: int) -> optax.GradientTransformation:
    """Adam as in the paper; its eps of 1e-4 meets gradients summed over the batch, as the authors' does."""
    rates = learning_rates(config.learning_rate, steps)
    return optax.chain(optax.scale(config.batch_size), optax.adam(rates, b1=0.9, b2=0.999, eps=1e-4))


def learning_rates(first: float, steps: int) -> optax.Schedule:
    """first 10^(-i/7) in stage i = 0..7, whose share of the steps is 3^i / 3280; of 3280 epochs, 3^i."""
    ends = jnp.asarray([round(steps * (3**i - 1) / 2 / 3280) for i in range(1, 8)])
    values = jnp.asarray([first * 10 ** (-i / 7) for i in range(8)])
    return lambda step: values[jnp.searchsorted(ends, step, side="right")]


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """log p(x) of the first test images, kept one by one; KL and active units of all."""
    key, some = jax.random.key(1509), data.first(images.test, config.test_images)
    parts = evaluation.elbo_parts(key, vae, images.test, aggregate=False)
    known = evaluation.marginal_log_likelihood(key, vae, some, num_samples=config.samples)
    arrays = {"log_likelihood": known.pop("per_example")["log_likelihood"]}
    same = all(
        getattr(config, k) == getattr(PRESETS["paper"], k) for k in ("dataset", "pixels", "latents", "hidden")
    )
    known |= {k: parts[k] for k in ("reconstruction", "kl", "kl_se", "neg_elbo", "active_units")}
    return {
        **known,
        "kl_images": parts["n"],
        "published": PUBLISHED.get(name) if same else None,
        "arrays": arrays,
    }


COLUMNS = {
    "NLL": ("nll", "nll_se"),
    "minus the first": ("mean", "se"),
    "-ELBO": lambda m: m["curve_nll"][0],
    "KL": ("kl", "kl_se"),
    "active units": "active_units",
    "ESS": "ess",
    "seconds": "train_seconds",
    "NLL, published": "published",
}


def differences(run: lab.Run) -> dict[str, Any]:
    """NLL minus another's, image by image: of the first row, of the next smaller K, of the first bound."""
    log_p = {name: run.arrays(name, "log_likelihood") for name in run.rows}
    bounds, ks = run.config.bound, sorted(run.config.k)
    pairs = [(f"{b}-{K}", f"{b}-{J}") for b in bounds for J, K in pairwise(ks)]
    pairs += [(f"{b}-{K}", f"{bounds[0]}-{K}") for b in bounds[1:] for K in ks]

    def minus(a: str, b: str) -> list[dict[str, float]]:
        return [evaluation.paired(log_p[a][s], log_p[b][s]) for s in log_p[a] if s in log_p[b]]

    told = {
        f"{run.rows[a].label} minus {run.rows[b].label}": minus(a, b)
        for a, b in pairs
        if run.jobs[a] != run.jobs[b]
    }
    return {"rows": {name: minus(name, next(iter(log_p))) for name in log_p}, "differences": told}


def tightening(run: lab.Run) -> Any:
    """The bound against samples per image."""
    first = {label: run.reports[name][0] for name, label in run.labels.items()}
    curves = {"$-L_k$ of test images (nats)": {label: m["curve_nll"] for label, m in first.items()}}
    return plots.band_curves(
        curves, {k: m["curve_samples"] for k, m in first.items()}, "samples k per image", xscale="log"
    )


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, rows, training, score, differences)
    run.table(COLUMNS)
    for title, seeds in run.report.get("differences", {}).items():
        print(f"{title}: {lab.shown(lab.entry(seeds, ('mean', 'se')))}")
    run.figure("training_curves", partial(lab.curves, names={"negative bound (nats)": "neg_bound"}))
    run.figure("k_curve", tightening)
    run.figure(
        "scores",
        partial(lab.scores, columns={k: COLUMNS[k] for k in ("minus the first", "KL", "active units")}),
    )
    return run.report


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
