"""Posteriors and priors beyond the diagonal Gaussian under N(0, I): log p(x), and the gaps that they close.

    python -m experiments.expressiveness --preset fast

Burda's networks (784-200-200-50, tanh) on dynamically binarised Fashion-MNIST, as pairs POSTERIOR-PRIOR: six
posteriors under N(0, I), four priors under the diagonal posterior, and one rich pair. log p(x) by importance
sampling, compared image by image; the gaps are from log p(x) to the ELBO of the family's best q for an image
(approximation), and from there to that of the encoder's q (Cremer, Li & Duvenaud 2018, arXiv 1801.03558).

`medium`, seed 0: 20 000 steps of 100 images, 40 epochs; 54 minutes on two busy cores. Nats: NLL of 500
test images with K = 5000, gaps of 20; "minus VAE" is paired, with standard errors over images. Milliseconds
a step are those of --dry-run on two quiet cores:

                           NLL    minus VAE     KL   active   approximation   amortisation   ms
    diagonal-standard    236.4                 18.5     31     1.29 +- .07     1.49 +- .16   1.4
    full-standard        236.0   -.46 +- .10   15.9     31      .31 +- .01     1.53 +- .14   3.5
    planar-standard      236.3   -.14 +- .09   18.5     33     1.28 +- .04     1.17 +- .20   3.1
    iaf-standard         235.8   -.61 +- .07   17.4     32      .95 +- .04     1.23 +- .13   2.2
    spline-standard      236.0   -.46 +- .08   18.2     47     1.14 +- .04     1.45 +- .23   7.0
    mixture-standard     236.4   -.01 +- .10   16.9     17     1.10 +- .06     1.32 +- .15   2.8
    diagonal-vamp        233.5  -2.93 +- .14   14.8     39      .83 +- .05     1.32 +- .18   5.9
    diagonal-gaussians   234.1  -2.38 +- .11   16.9     50     1.24 +- .05     1.50 +- .21   3.6
    diagonal-flow        233.7  -2.72 +- .11   15.7     50     1.02 +- .06     1.26 +- .15   1.8
    iaf-flow             233.6  -2.83 +- .12   15.2     50      .90 +- .06     1.17 +- .15   2.3

The papers' orders: IAF before the planar flow before none (Kingma et al. 2016, Rezende & Mohamed 2015), with
full covariance and spline between; VampPrior before the mixture before N(0, I) (Tomczak & Welling 2017, arXiv
1705.07120). A mixture of five closes nothing, and a rich posterior adds little to a learned prior. Under
learned priors samples look like clothes (figures/samples.png); pseudo-inputs, which start at training images,
stay such (figures/pseudo_inputs.png).

`fast`, seed 0: 1500 steps, about 8 minutes of CPU time, NLL of 100 images with K = 1000. Priors are as far
apart already: 238.8 under N(0, I), 236.0 VampPrior, 237.0 mixture, 235.3 flow. Posteriors are not: IAF and
spline are level with the diagonal one; planar flow, full covariance and mixture are .8 to 2 nats behind.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import VAE, data, distributions, evaluation, lab, models, nets, objectives, plots, train
from vaejax.models import posteriors, priors
from vaejax.runs import figures

POSTERIORS = {  # of d latents
    "diagonal": posteriors.gaussian,
    "full": posteriors.full,
    "planar": lambda d: posteriors.planar(d, 10),
    "iaf": lambda d: posteriors.iaf(d, 4, (2 * d,), d),
    "spline": lambda d: posteriors.coupling(d, 4, (2 * d,), d, kind="spline"),
    "mixture": lambda d: posteriors.mixture(d, 5),
}
PRIORS = {  # with R components, of d latents
    "standard": lambda d, R: priors.standard(),
    "vamp": lambda d, R: priors.vamp(R),
    "gaussians": lambda d, R: priors.gaussian_mixture(R),
    "flow": lambda d, R: priors.flow(4, (2 * d,)),
}
PLAIN = "diagonal-standard"
Pair = Literal[*(f"{q}-{p}" for q in POSTERIORS for p in PRIORS)]
PAIRS = (*(f"{q}-standard" for q in POSTERIORS), *(f"diagonal-{p}" for p in (*PRIORS,)[1:]), "iaf-flow")


@dataclass(frozen=True)
class Config(lab.Settings):
    """One VAE with each posterior and each prior."""

    dataset: Literal["fashion_mnist", "mnist", "digits"] = "fashion_mnist"  # binary, drawn anew each time
    pairs: tuple[Pair, ...] = PAIRS  # pyright: ignore
    """POSTERIOR-PRIOR; diagonal-standard, the VAE, is always trained."""
    components: lab.Positive[int] = 500  # R, of the mixture prior; pseudo-inputs of VampPrior
    latents: lab.Positive[int] = 50  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (200, 200)  # widths of the encoder; reversed, of the decoder
    steps: lab.Positive[int] = 1500  # training steps
    ramp: lab.NonNegative[int] = 400  # of them in which the KL's weight rises to 1
    samples: lab.Positive[int] = 1000  # K, per test image, in the estimate of log p(x)
    test_images: lab.Positive[int] = 100  # the first, whose log p(x) is estimated; KL is of all
    gap_images: lab.Positive[int] = 20  # the first, for each of which a posterior is fitted, in 300 steps


PRESETS = {
    "fast": Config(batch_size=100, learning_rate=2e-3),
    "medium": Config("medium", batch_size=100, steps=20_000, ramp=5000, samples=5000, test_images=500),
}
COLUMNS = {
    "NLL": ("nll", "nll_se"),
    "NLL minus the VAE's": ("minus_nll", "minus_nll_se"),
    "KL": ("kl", "kl_se"),
    "active units": "active_units",
    "approximation gap": ("approximation_gap", "approximation_gap_se"),
    "amortisation gap": ("amortisation_gap", "amortisation_gap_se"),
    "ms a step": "ms",
}


def training(config: Config, name: str) -> lab.Training:
    """Burda's dense layers with tanh, Adam on the negative ELBO, whose KL is warmed up."""
    images = getattr(data, config.dataset)(pixels="dynamic")
    x, (q, p) = images.train.arrays["x"], name.split("-")
    posterior, prior = POSTERIORS[q](config.latents), PRIORS[p](config.latents, config.components)
    (size,), _, *context = posterior.parameters
    encoder = nets.MLPEncoder(size, config.hidden, "tanh", event_ndims=3, context=sum(n for (n,) in context))
    decoder = nets.MLP(config.hidden[::-1], x.shape[1:], "tanh")
    parts = {"posterior": posterior, "prior": prior, "likelihood": distributions.bernoulli()}
    model = models.vae(encoder=encoder, decoder=decoder, **parts)
    model = models.glorot(model, (x.mean(axis=0) / 255).clip(0.001, 0.999))
    if p == "vamp":
        model = models.pseudo_inputs_from(model, x[:5000] / np.float32(255))
    kl = objectives.scaled(objectives.ramp_schedule(1.0, config.ramp), objectives.kl)
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=kl)
    adam = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))
    return lab.Training(model, train.gradient_update(loss, model, adam), images)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """log p(x) of the first test images, kept one by one; KL and active units of all; gaps of a few."""
    key, test = jax.random.key(1801), images.test  # the same for all: they see the same binary images
    some, few = data.first(test, config.test_images), data.first(test, config.gap_images)
    known = evaluation.marginal_log_likelihood(key, vae, some, num_samples=config.samples)
    parts = evaluation.elbo_parts(key, vae, test, aggregate=False)
    gaps = evaluation.gaps(key, vae, few, steps=300, num_samples=config.samples)
    arrays = {"log_likelihood": known.pop("per_example")["log_likelihood"]}
    return {**parts, **known, **{k: v for k, v in gaps.items() if "_gap" in k}, "arrays": arrays}


def beside_plain(run: lab.Run) -> dict[str, Any]:
    """NLL minus the VAE's, image by image; the median time of a step."""
    plain, rows = run.arrays(PLAIN, "log_likelihood"), {}
    for name in run.rows:
        rows[name], seeds = [], run.arrays(name, "log_likelihood").items()
        for (seed, log_p), seconds in zip(seeds, run.read(name, train.read_seconds), strict=True):
            d = evaluation.paired(log_p, plain[seed]) if seed in plain else {}
            n, s = np.diff(np.array([*seconds.items()], float).T)  # steps, and their seconds or nan
            rows[name].append({"ms": 1000 * float(np.nanmedian(s / n)), **{f"minus_{k}": d[k] for k in d}})
    return {"rows": rows}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, lambda c: {k: k for k in (PLAIN, *c.pairs)}, training, score, beside_plain)
    run.table(COLUMNS)
    vaes = [name for name in run.rows if name == PLAIN or "standard" not in name]
    vamps = [name for name in run.labels if "vamp" in name]
    seen = lambda r: {n: jax.nn.sigmoid(r.trained(n).params["prior"]["inputs"][:64]) for n in vamps}  # noqa: E731
    return run.draw(
        scores=lambda r: lab.scores(r, dict([*COLUMNS.items()][:3]), units="nats"),
        samples=lambda r: figures.samples({n: r.vae(n) for n in vaes if n in r.labels}),
        **({"pseudo_inputs": lambda r: plots.image_grid(seen(r), columns=16)} if vamps else {}),
    )


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
