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

Published, on dynamically binarised MNIST (`paper`): VAE 86.76, 86.47, 86.35, IWAE 85.54, 84.78.

Errors are over images and say nothing of other seeds. Unlike the authors' code, each epoch is shuffled, Adam
is the paper's (b1 = .9, moments that start at 0), rates are not rounded, and the encoder gives the logarithm
of the variance, not of the scale.
"""

from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from typing import Any, Literal

import jax
import optax

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, plots, train
from vaejax.data.published import PUBLISHED

BOUNDS = {  # name -> how it is called, and the term, of a config and K
    "vae": ("VAE", lambda config, K: objectives.miwae(K, 1)),
    "iwae": ("IWAE", lambda config, K: objectives.iwae(K)),
    "miwae": ("MIWAE", lambda config, K: objectives.miwae(config.m, K)),
    "piwae": ("PIWAE", lambda config, K: objectives.piwae(config.m, K)),
    "ciwae": ("CIWAE", lambda config, K: objectives.ciwae(K, config.beta)),
    "renyi": ("Renyi", lambda config, K: objectives.renyi(K, config.alpha)),
    "dreg": ("DReG", lambda config, K: objectives.dreg(K)),
}


@dataclass(frozen=True)
class Config(lab.Settings):
    """VAE and IWAE for several numbers of samples K."""

    dataset: str = "fashion_mnist"  # mnist, digits, a published set, or one of tensorflow-datasets
    pixels: Literal["dynamic", "static", "binary"] = "dynamic"  # binary anew each time, once, or as stored
    bound: tuple[Literal["vae", "iwae", "miwae", "piwae", "ciwae", "renyi", "dreg"], ...] = ("vae", "iwae")
    """What is maximised; vae: the mean of K ELBOs."""
    k: tuple[lab.Positive[int], ...] = (1, 5, 50)  # K, samples per image; each bound is trained with each
    m: lab.Positive[int] = 8  # M, the groups of K samples of miwae and piwae
    beta: float = 0.05  # the share of the ELBO in ciwae
    alpha: float = 0.5  # the order of renyi
    epochs: lab.Positive[float] = 1.0  # passes over the images; the paper's rates are squeezed into them
    steps: lab.NonNegative[int] = 0  # 0: as many as the epochs have, without ragged last batches
    batch_size: lab.Positive[int] = 20  # images per step
    latents: lab.Positive[int] = 50  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (200, 200)  # widths of the encoder; reversed, of the decoder
    samples: lab.Positive[int] = 5000  # per test image, in the estimate of log p(x)
    test_images: lab.Positive[int] = 10_000  # the first, whose log p(x) is estimated; KL is of all


PRESETS = {
    "fast": Config(epochs=0.5, learning_rate=8e-3, test_images=100),
    "medium": Config(preset="medium", epochs=25.0, test_images=1000),
    "paper": Config(preset="paper", dataset="mnist", epochs=3280.0, chunk=1000),
}
COLUMNS: dict[str, Any] = {"NLL": ("nll", "nll_se"), "-ELBO": lambda m: m["curve_nll"][0]}
COLUMNS |= {"KL": ("kl", "kl_se"), "active units": "active_units", "ESS": "ess"}


def rows(config: Config) -> dict[str, lab.Row]:
    """Every bound with every K; with one sample most are the ELBO, which is trained once."""
    if not (config.bound and config.k):
        raise ValueError("bound, k: expected at least one of each, got none")
    elbo = {(bound, 1): "vae-1" for bound in ("iwae", "ciwae", "renyi")}
    pairs = product(config.bound, config.k)
    return {f"{b}-{K}": lab.Row(f"{BOUNDS[b][0]}, K = {K}", elbo.get((b, K))) for b, K in pairs}


def training(config: Config, name: str) -> lab.Training:
    """Dense layers with tanh, the paper's start, and its Adam on one bound: the rate falls to a tenth."""
    other = data.published if config.dataset in PUBLISHED else data.from_tfds
    images = getattr(data, config.dataset, partial(other, config.dataset))(pixels=config.pixels)
    x = images.train.arrays["x"]
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(config.latents, config.hidden, "tanh", event_ndims=x.ndim - 1),
        decoder=nets.MLP(config.hidden[::-1], x.shape[1:], "tanh"),
        latents=config.latents, likelihood=distributions.bernoulli(),
    )  # fmt: skip
    mean = x.mean(axis=0) / (255 if config.pixels == "dynamic" else 1)
    model = models.glorot(model, mean.clip(0.001, 0.999))
    bound, K = name.split("-")
    loss = compose(neg_bound=BOUNDS[bound][1](config, int(K)))
    steps = config.steps or max(1, round(config.epochs * (len(x) // config.batch_size)))
    adam = optax.adam(learning_rates(config.learning_rate, steps), eps=1e-4)  # on gradients of the sum
    update = train.gradient_update(loss, model, optax.chain(optax.scale(config.batch_size), adam))
    return lab.Training(model, update, images, steps=steps, work=float(K))


def learning_rates(first: float, steps: int) -> optax.Schedule:
    """first 10^(-i/7) in stage i = 0..7, whose share of the steps is 3^i / 3280; of 3280 epochs, 3^i."""
    ends = [round(steps * (3**i - 1) / 2 / 3280) for i in range(1, 8)]
    return optax.join_schedules([optax.constant_schedule(first * 10 ** (-i / 7)) for i in range(8)], ends)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """log p(x) of the first test images, kept one by one; KL and active units of all."""
    key, some = jax.random.key(1509), data.first(images.test, config.test_images)
    known = evaluation.marginal_log_likelihood(key, vae, some, num_samples=config.samples)
    parts = evaluation.elbo_parts(key, vae, images.test, aggregate=False)
    arrays = {"log_likelihood": known.pop("per_example")["log_likelihood"]}
    return {**parts, **known, "kl_images": parts["n"], "arrays": arrays}


def differences(run: lab.Run) -> dict[str, Any]:
    """Rows of the NLL of every training minus that of each before it, image by image."""
    own = {k: run.arrays(k, "log_likelihood") for k, row in run.rows.items() if row.same_as not in run.rows}
    rows = {}
    for b, a in combinations(own, 2):
        label = f"{run.rows[a].label} minus {run.rows[b].label}"
        rows[label] = [evaluation.paired(own[a][s], own[b][s]) for s in own[a] if s in own[b]]
    return {"rows": rows}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, rows, training, score, differences)
    run.table(COLUMNS)
    curves = partial(lab.curves, names={"negative bound (nats)": "neg_bound"})
    return run.draw(training_curves=curves, k_curve=lambda r: plots.bound_curves(r.each(r.scores)))


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
