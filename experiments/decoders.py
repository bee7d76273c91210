"""One latent space under six decoders, on Fashion-MNIST: what each does to the bound, and what it costs.

    python -m experiments.decoders --preset fast

The same dense encoder and 16 latents under a Gaussian, a mixture of discretised logistics, a gated PixelCNN,
a flow, a diffusion, and a diffusion that refines the logistic mixture's reconstruction in a second stage.
All are scored on bytes: -ELBO is a bound on the bits of each, and of the Gaussian and the flow, which see (x
+ u) / 256, and the diffusions one that is looser by their own gap. A reconstruction is the decoder's mean,
or a sample where it has none; SSIM is lower for what z does not say.

`fast`, seed 0, images of 14x14: 14 minutes on two busy cores, of which the times are.

                        -ELBO, bits/dim    KL     SSIM   ms a step   ms a sample
    Gaussian             5.88 +- .01      48.0    .68        4           .01
    logistic mixture     4.06 +- .01      22.3    .78       14           .01
    gated PixelCNN       3.81 +- .01       8.8    .23      110         67
    flow                 4.32 +- .01      16.2    .26       29           .07
    diffusion            4.20 +- .04        .6    .15      229         54
    second stage         4.33 +- .04      22.3    .69      251        212

The better a decoder draws by itself, the less it asks of z: the PixelCNN keeps 9 nats, the diffusion .6, and
what they reconstruct is another garment. The second stage keeps the first one's 22 nats and gives its blurred
means texture again, at .27 bits for what its own bound is off. On 8x8x3 colour patches (`--dataset
colour_patches --steps 1000`, 2795 to train on) the flow is best, 4.03 +- .07, before the diffusion, 4.2 +-
.3, and the PixelCNN, 4.83. Of 8x8 digits (`--dataset digits --pool 1 --steps 600`), whose bytes have 17
values, the PixelCNN learns just that: 2.08, the mixture 3.70, the others 4.7 to 7.1. `medium` has not been
run.
"""

import time
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import VAE, Model, compose, data, distributions, evaluation, lab, models, nets, objectives, train
from vaejax.runs import figures

ROWS = {"gaussian": "Gaussian", "logistic_mixture": "logistic mixture", "pixelcnn": "gated PixelCNN"}
ROWS |= {"flow": "flow", "diffusion": "diffusion", "two_stage": "diffusion, second stage"}
EXACT = ("logistic_mixture", "pixelcnn")  # log p(x|z) of bytes; the others bound it
WORK = {"pixelcnn": 8.0, "flow": 4.0, "diffusion": 8.0, "two_stage": 9.0}  # of a step


@dataclass(frozen=True)
class Config(lab.Settings):
    """The same encoder and latents under decoders of several kinds."""

    dataset: Literal["fashion_mnist", "mnist", "digits", "colour_patches"] = "fashion_mnist"  # as bytes
    pool: lab.Positive[int] = 2  # images are means of squares of so many pixels a side
    latents: lab.Positive[int] = 16  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (256, 256)  # widths of the encoder; reversed, of dense decoders
    features: lab.Positive[int] = 32  # channels of the convolutional decoders
    steps: lab.Positive[int] = 2000  # training steps of each row, and of each stage
    samples: lab.Positive[int] = 64  # images that are drawn, and timed
    sampling: lab.Positive[int] = 100  # passes of a diffusion's net for an image


PRESETS = {"fast": Config(), "medium": Config("medium", pool=1, steps=20_000, features=64)}
COLUMNS = {"-ELBO, bits/dim": ("bits_per_dim", "bits_per_dim_se"), "KL": "kl", "SSIM": "ssim"}
COLUMNS |= {"ms a step": "ms_a_step", "ms a sample": "ms_a_sample"}
COLUMNS |= {"log p(x|z)": lambda m: "exact" if m["exact"] else "a bound"}


def dataset(config: Config, name: str) -> data.Dataset:
    """Bytes; for the Gaussian, a density, (x + u) / 256."""
    images = getattr(data, config.dataset)(pixels="dequantised" if name == "gaussian" else "bytes")
    a, b, c = (data.pooled(s, config.pool) for s in (images.train, images.validation, images.test))
    return data.Dataset(a, b, c)


def model_of(config: Config, name: str, event: tuple[int, int, int]) -> Model:
    """q(z|x) by dense layers, and the decoder of the row for images [H, W, C]."""
    F, (H, W, C), dense = config.features, event, config.hidden[::-1]
    scaled, unet = nets.MLP(dense, (H, W, 2 * C)), nets.UNet(event, features=(F, 2 * F))
    flow = nets.ImageFlow(scaled, event, 4, features=F, scales=1 + (H % 4 == W % 4 == 0), alpha=0.01)
    diffusion = distributions.diffusion(support="bytes", sampling_steps=config.sampling)
    mixture = distributions.discretised_logistic_mixture(3)
    decoder, likelihood = {
        "gaussian": (scaled, distributions.gaussian_learned_scale()),
        "pixelcnn": (nets.GatedPixelCNN(event, F * C, (5, 3, 3), 256), distributions.categorical()),
        "flow": (flow, distributions.flow("uniform")),
        "diffusion": (unet, diffusion),
    }.get(name, (nets.MLP(dense, mixture.parameter_shape(event)), mixture))
    encoder: Any = nets.MLPEncoder(config.latents, config.hidden, event_ndims=3)
    parts = {"encoder": encoder if name == "gaussian" else nets.FromBytes(encoder), "decoder": decoder}
    model = models.gaussian_vae(**parts, latents=config.latents, likelihood=likelihood)
    return models.refined(model, unet, diffusion) if name == "two_stage" else model


def training(config: Config, name: str) -> lab.Training:
    """Adam on -ELBO, its gradient clipped; the second stage moves the refiner alone, on its bound."""
    images = dataset(config, name)
    event = images.train.arrays["x"].shape[1:]
    model, first = (model_of(config, row, event) for row in (name, "logistic_mixture"))
    rate = optax.cosine_decay_schedule(config.learning_rate, config.steps, 0.05)
    adam = optax.chain(optax.clip_by_global_norm(200.0), optax.adam(rate))
    loss, before, groups = compose(reconstruction=objectives.reconstruction, kl=objectives.kl), None, None
    if name == "two_stage":
        update = train.gradient_update(loss, first, adam)
        before, groups = ("first", lab.Training(first, update, images), first.groups), ("refiner",)
    update = train.gradient_update(loss, model, adam, wrt=groups)
    return lab.Training(model, update, images, work=WORK.get(name, 1.0), before=before)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """The bound on bits/dim of bytes and its parts; SSIM of reconstructions; seconds for samples."""
    key, density, x = jax.random.key(1906), name == "gaussian", images.test.arrays["x"][:200]
    found, D = evaluation.elbo_parts(key, vae, images.test, aggregate=False), x[0].size
    eaten = x.astype(np.float32) / (256 if density else 1)
    seen = np.asarray(evaluation.reconstruct(vae, eaten, key=key)) / (1 if density else 255)
    seconds = []
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        evaluation.prior_samples(key, vae, config.samples, batch_size=config.samples)
        seconds.append(time.perf_counter() - start)
    return {
        **{k: found[k] for k in ("reconstruction", "kl", "neg_elbo", "active_units")},
        "bits_per_dim": evaluation.bits_per_dim(found["neg_elbo"], D, dequantised=density),
        "bits_per_dim_se": found["neg_elbo_se"] / (D * np.log(2)),
        "ssim": float(np.mean(evaluation.ssim(seen, x / np.float32(255), data_range=1.0))),
        "ms_a_sample": 1000 * seconds[1] / config.samples,
        "exact": name in EXACT,
    }


def step_times(run: lab.Run) -> dict[str, Any]:
    """Milliseconds of a training step, the median over the chunks of a training."""
    rows = {}
    for name in run.rows:
        each = [np.diff(np.array([*s.items()], float).T) for s in run.read(name, train.read_seconds)]
        rows[name] = [{"ms_a_step": 1000 * float(np.nanmedian(s / n))} for n, s in each]
    return {"rows": rows}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, ROWS, training, score, step_times)
    run.table(COLUMNS)
    x = dataset(run.config, "").test.arrays["x"][:16] / np.float32(255)
    white = {label: 1.0 if name == "gaussian" else 255.0 for name, label in run.labels.items()}
    return run.draw(gallery=lambda run: figures.gallery(run.vaes, x, white))


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
