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

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, train

ROWS = {
    "gaussian": "Gaussian, fixed scale",
    "learned_scale": "Gaussian, learned scale",
    "optimal_scale": "Gaussian, optimal scale",
    "continuous_bernoulli": "continuous Bernoulli",
    "logistic_mixture": "logistic mixture",
}
BYTES = "logistic_mixture"  # the one that scores bytes; the others are densities of grey values


@dataclass(frozen=True)
class Config(lab.Settings):
    """One model under five likelihoods."""

    dataset: Literal["fashion_mnist", "mnist", "digits"] = "fashion_mnist"  # grey images of bytes
    latents: lab.Positive[int] = 20  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (256, 256)  # widths of the encoder; reversed, of the decoder
    scale: lab.Positive[float] = 1.0  # of the first Gaussian; 1 is the squared error, halved
    components: lab.Positive[int] = 3  # R, the components of the mixture
    steps: lab.Positive[int] = 5000  # training steps
    batch_size: lab.Positive[int] = 50  # images per step
    samples: lab.Positive[int] = 500  # per test image, in the estimate of log p(x)
    test_images: lab.Positive[int] = 100  # the first of the test set, whose log p(x) is estimated
    judged: lab.Positive[int] = 1000  # the first, which are reconstructed, and as many drawn from the prior


PRESETS = {
    "fast": Config(),
    "long": Config(preset="long", steps=60_000, samples=5000, test_images=1000, hidden=(500, 500)),
}


def training(config: Config, name: str) -> lab.Training:
    """Dense layers, Adam on the negative ELBO; what differs are the channels that the decoder gives."""
    images = getattr(data, config.dataset)(pixels="bytes" if name == BYTES else "dequantised")
    event = images.train.arrays["x"].shape[1:]
    likelihood = {
        "gaussian": distributions.gaussian(config.scale),
        "learned_scale": distributions.gaussian_learned_scale(),
        "optimal_scale": distributions.gaussian(),
        "continuous_bernoulli": distributions.continuous_bernoulli(),
        "logistic_mixture": distributions.discretised_logistic_mixture(config.components),
    }[name]
    encoder = nets.MLPEncoder(config.latents, config.hidden, event_ndims=3)
    shared = name == "learned_scale"  # the scale is one parameter, no channel
    decoder = nets.MLP(config.hidden[::-1], event if shared else likelihood.parameter_shape(event))
    model = models.gaussian_vae(
        encoder=nets.FromBytes(encoder) if name == BYTES else encoder,
        decoder=nets.SharedScale(decoder, start=-2.0) if shared else decoder,
        latents=config.latents,
        likelihood=likelihood,
    )
    reconstruction = objectives.reconstruction
    if name == "optimal_scale":  # found anew in every batch
        model, reconstruction = models.optimal_scale(model), objectives.optimal_gaussian_reconstruction
    loss = compose(reconstruction=reconstruction, kl=objectives.kl)
    update = train.gradient_update(loss, model, optax.adam(config.learning_rate))
    return lab.Training(model, update, images, work=5.0 if name == BYTES else 1.0)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """How likely test images are, and how near and how sharp the decoder's means are."""
    key, test, dequantised = jax.random.key(2006), images.test, name != BYTES
    some, judged = data.first(test, config.test_images), data.first(test, config.judged)
    marginal = evaluation.marginal_log_likelihood(key, vae, some, num_samples=config.samples)
    parts = evaluation.elbo_parts(key, vae, test, aggregate=False)
    quality = evaluation.reconstruction_quality(key, vae, judged)
    top, x = quality["data_range"], np.asarray(test.transform(key, judged.arrays)["x"])
    seen = np.asarray(jax.jit(evaluation.reconstruct)(vae, x))
    drawn = np.asarray(evaluation.prior_samples(key, vae, config.judged))
    px = vae.decode(np.zeros((1, config.latents), np.float32))  # these scales are the same everywhere
    return {
        **{k: marginal[k] for k in ("n", "num_samples", "nll", "nll_se", "ess")},
        "bits_per_dim": evaluation.bits_per_dim(marginal["nll"], x[0].size, dequantised=dequantised),
        **{k: parts[k] for k in ("reconstruction", "kl", "neg_elbo", "active_units")},
        "mse": quality["mse"] / top**2,
        **{k: quality[k] for k in ("psnr", "ssim", "ssim_se")},
        "gradient_reconstructions": evaluation.sharpness(seen) / evaluation.sharpness(x),
        "gradient_samples": evaluation.sharpness(drawn) / evaluation.sharpness(x),
        "scale": float(px.stddev().max()) if isinstance(px, distributions.Gaussian) else None,
        "density": dequantised,
    }


COLUMNS = {  # densities and probabilities do not share one
    "NLL, density (nats)": lambda m: (m["nll"], m["nll_se"]) if m["density"] else "",
    "+ 8 bits/dim, a bound": lambda m: m["bits_per_dim"] if m["density"] else "",
    "NLL, bytes (bits/dim)": lambda m: "" if m["density"] else m["bits_per_dim"],
    "KL": "kl",
    "active units": "active_units",
    "scale": "scale",
    "RMSE": lambda m: math.sqrt(m["mse"]),
    "SSIM": ("ssim", "ssim_se"),
    "gradient, reconstructions": "gradient_reconstructions",
    "gradient, samples": "gradient_samples",
}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, ROWS, training, score)
    x = getattr(data, run.config.dataset)(pixels="bytes").test.arrays["x"][:16] / np.float32(255)
    run.table(COLUMNS)
    return run.draw(gallery=lambda run: lab.gallery(run.vaes, x, {ROWS[BYTES]: 255}))


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
