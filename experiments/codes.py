"""Four quantisers at equal bits for each image, and a prior learned over the codes of each, on Fashion-MNIST.

    python -m experiments.codes --preset fast

Trains the same convolutional nets around a codebook moved by a gradient, one of running means whose unused
codes restart, residual stages of two smaller ones, and finite scalars (FSQ); then freezes each and fits a
causal transformer to its codes. Compares reconstructions, how many codes are in use, and the bound on
bits/dim of bytes, -ELBO = reconstruction + nats of the codes, under the learned prior and a uniform one.

Every place of a grid of a quarter of the image's sides has one of V codes, log2 V bits: by residual VQ S
codes of V^(1/S) each, by FSQ one of as many levels as multiply to V. Perplexity and used share are of 1000
test images: of S codes the product of their perplexities, and the mean of their shares.

Sources: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937; restarts: Dhariwal et al. 2020, arXiv
2005.00341; residual VQ: Zeghidour et al. 2021, arXiv 2107.03312; FSQ: Mentzer et al. 2023, arXiv 2309.15505.

`fast`, seed 0: 2000 steps of 64 images for each autoencoder and as many for its prior; 20 minutes on two
cores that others shared. Of all 10 000 test images, in nats but for bits/dim; 7x7 places of 256 codes are 272
nats under a uniform prior. RMSE, perplexity and used share are of 1000 images, RMSE of grey values in [0, 1].

                         bits/dim   uniform   reconstruction   codes   RMSE   perplexity   used share
    VQ, by gradient        3.550     3.868      1830 +- 5        99    .098        70          .63
    VQ, running means      3.516     3.770      1777 +- 5       133    .088       159         1.00
    residual VQ            3.540     3.760      1772 +- 5       152    .089       179         1.00
    FSQ                    3.519     3.781      1783 +- 5       129    .091        95          .96

Under the uniform prior residual VQ is first, by its reconstructions. A learned prior takes about half of the
nats away, the least of residual VQ's: running means and FSQ, which has no codebook to keep in use, end level.
The codebook that a gradient moves leaves a third of its codes unused; its codes are cheap,
but do not make up for what they leave out. Restarts take 400 steps to bring all codes into use
(figures/codebook_use.png). Samples under the learned priors mostly look like clothes, some of them fall apart
(figures/gallery.png). One seed; `medium` and the other data sets, such as `--dataset colour_patches`, 16x16
patches of photographs, have not been run.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import VAE, Model, data, distributions, evaluation, lab, models, nets, objectives, plots, train
from vaejax.models import posteriors, priors
from vaejax.ops import codes as ops

ROWS = {"gradient": "VQ, by gradient", "ema": "VQ, running means", "residual": "residual VQ", "fsq": "FSQ"}


@dataclass(frozen=True)
class Config(lab.Settings):
    """Four quantisers, and a prior of the codes of each."""

    dataset: Literal["fashion_mnist", "mnist", "digits", "colour_patches"] = "fashion_mnist"  # as bytes
    codes: lab.Positive[int] = 256  # V at each place of a grid of a quarter of the image's sides
    stages: lab.Positive[int] = 2  # S of residual VQ, with V^(1/S) codes each
    levels: tuple[lab.Positive[int], ...] = (8, 8, 4)  # FSQ's, whose product is V
    latents: lab.Positive[int] = 16  # dimensions of a code; FSQ has one for each of its levels
    features: lab.Positive[int] = 32  # channels of the convolutions, half the transformer's width
    steps: lab.Positive[int] = 2000  # training steps of each autoencoder
    prior_steps: lab.Positive[int] = 2000  # of each prior, a transformer

    def books(self, name: str) -> tuple[int, int]:
        """(S, V): how many codes a row has at a place, and of how many each is one."""
        S = self.stages if name == "residual" else 1
        return S, round(self.codes ** (1 / S))


PRESETS = {"fast": Config(), "medium": Config("medium", steps=20_000, prior_steps=20_000, features=64)}
COLUMNS = {
    "bits/dim": "bits_per_dim",
    "under a uniform prior": "uniform_bits_per_dim",
    "reconstruction": ("reconstruction", "reconstruction_se"),
    "RMSE": lambda m: math.sqrt(m["mse"]) / 255,
    "perplexity": "perplexity",
    "used share": lab.UnitScore("used_share"),
}


def model_of(config: Config, name: str, event: tuple[int, int, int], learned: bool) -> Model:
    """An autoencoder of images [H, W, C] through codes, under a learned prior or a uniform one."""
    (S, V), shape, d = config.books(name), (-(-event[0] // 4), -(-event[1] // 4)), config.latents
    total = math.prod(config.levels) if name == "fsq" else V**S
    if total != config.codes:
        raise ValueError(f"codes: expected {config.codes} codes at a place of every row; {name} has {total}")
    means: dict[str, Any] = {} if name == "gradient" else {"decay": 0.99, "restart": 1.0}
    posterior = posteriors.vq(shape, d, V, **means) if name != "fsq" else posteriors.fsq(shape, config.levels)
    if name == "residual":
        posterior = posteriors.residual_vq(shape, d, V, S, **means)
    likelihood = distributions.discretised_logistic_mixture(3)
    places = (*shape, S) if name == "residual" else shape
    net = nets.CausalTransformer(places, V, 2 * config.features, blocks=2)
    encoder = nets.FromBytes(nets.ConvDown(posterior.parameters[-1], config.features))
    decoder = nets.ConvUp(event[:2], likelihood.parameter_shape(event)[-1], config.features)
    of_nets = {"encoder": encoder, "decoder": decoder, "prior": priors.codes(net if learned else None)}
    return models.vae(posterior=posterior, likelihood=likelihood, **of_nets)


def training(config: Config, name: str) -> lab.Training:
    """Adam on -log p(x|z) and what the codes cost; then, with the rest frozen, on -log p(z) of the codes."""
    images, scaled = getattr(data, config.dataset)(pixels="bytes"), objectives.scaled
    first, last = (model_of(config, name, images.train.arrays["x"].shape[1:], k) for k in (False, True))
    more = {"codebook": objectives.codebook} if name == "gradient" else {}
    costs = {"commitment": scaled(0.25, objectives.commitment), **more}
    if name == "fsq":  # no costs, which would log these
        costs = {k: scaled(0.0, lambda *a, k=k: a[2].extra[k]) for k in ("perplexity", "used_share")}
    loss = objectives.compose(reconstruction=objectives.reconstruction, **costs)
    update = train.gradient_update(loss, first, optax.adam(config.learning_rate))
    before = ("autoencoder", lab.Training(first, update, images), first.groups)
    nats = objectives.compose(codes=objectives.cross_entropy)
    adam = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.prior_steps))
    update = train.gradient_update(nats, last, adam, wrt=("prior",))
    return lab.Training(last, update, images, steps=config.prior_steps, before=before)


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """The bound and its parts; how near reconstructions are; how the codes are used."""
    key, judged, (S, V) = jax.random.key(1711), data.first(images.test, 1000), config.books(name)
    found = evaluation.elbo_parts(key, vae, images.test, aggregate=False)
    batch = judged.transform(key, judged.arrays)
    k = jax.jit(lambda vae: vae.encode(key, batch).extra["indices"])(vae)
    D, uniform, each = batch["x"][0].size, k[0].size * math.log(V), k.reshape(-1, S).T
    return {
        **found,
        "mse": evaluation.reconstruction_quality(key, vae, judged)["mse"],
        "bits_per_dim": evaluation.bits_per_dim(found["neg_elbo"], D),
        "uniform_bits_per_dim": evaluation.bits_per_dim(found["reconstruction"] + uniform, D),
        "perplexity": math.prod(float(ops.perplexity(one, V)) for one in each),
        "used_share": float(np.mean([ops.used_share(one, V) for one in each])),
    }


def codebook_use(run: lab.Run) -> Any:
    """The bits that a batch's codes have at a place, S log2 perplexity, and the used share, over training."""
    seen: dict[str, Any] = {}
    for name, label in run.labels.items():
        of = run.read(name, lambda folder: train.read_metrics(folder / "autoencoder")[0])
        bits = [run.config.books(name)[0] * np.log2(m["perplexity"]) for m in of]
        seen[label] = {"step": of[0]["step"], "bits at a place": bits, "used": [m["used_share"] for m in of]}
    return plots.training_curves(seen)


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, ROWS, training, score)
    run.table(COLUMNS)
    x = getattr(data, run.config.dataset)(pixels="bytes").test.arrays["x"][:16] / np.float32(255)
    white = dict.fromkeys(ROWS.values(), 255)
    return run.draw(codebook_use=codebook_use, gallery=lambda r: lab.gallery(r.vaes, x, white))


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
