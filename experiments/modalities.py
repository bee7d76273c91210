"""Two modalities by a product of experts, a mixture, and a mixture of products: what one tells of the other.

    python -m experiments.modalities --preset fast

PoE (MVAE, Wu & Goodman 2018, arXiv 1802.05335), MoE (MMVAE, Shi et al. 2019, arXiv 1911.03393) and MoPoE
(Sutter et al. 2021, arXiv 2105.02470) on mini-sprites with captions of their five factors, or with
`--dataset fashion_mnist` on halves of images. `--missing .25` hides a quarter of all modalities in training.

`fast`, seed 0: 1200 steps of 100 examples, a few minutes of one core's time a row, half of it for scores.
300 test examples, K = 200, nats; a is the image, b the caption, whose entropy is log 20736 = 9.9 nats:

    |       | NLL  | a    | a given b | b    | b given a | right a from b | right b from a | prior |
    | PoE   | 54.5 | 157  | 44.9      | 13.5 | 37.7      | .50            | .18            | .50   |
    | MVAE  | 57.7 | 53.1 | 48.0      | 10.1 | 4.7       | .32            | .61            | .47   |
    | MoE   | 55.1 | 52.0 | 42.5      | 13.6 | 3.8       | .56            | .66            | .45   |
    | MoPoE | 55.2 | 52.7 | 43.5      | 12.1 | 3.7       | .56            | .67            | .52   |

Trained on all modalities together (PoE) the product has the best bound, and does not know what to make of the
image alone: 157 nats. Sub-sampled (MVAE) it does, for 3 nats of the bound. Of mixtures the caption spares 9
nats of the image, the image 8 to 10 of the caption. Right is the share of factors that the nearest sprite, or
the caption's words, have of what is given; .17 would be chance. Effective samples of the conditionals are 8
to 19 of 200: they are loose. One seed, far from trained. The halves and `medium` have not been run whole.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import optax
from jax.random import key
from sklearn.neighbors import KNeighborsClassifier

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, plots, train
from vaejax.models.posteriors import moe, mopoe, poe

METHODS: dict[str, Any] = {  # label, posterior, terms of the loss
    "poe": ("PoE, all modalities", poe, {"reconstruction": objectives.reconstruction, "kl": objectives.kl}),
    "mvae": ("PoE, sub-sampled (MVAE)", poe, {"subsets": objectives.sub_sampled()}),
    "moe": ("MoE (MMVAE)", moe, {"bound": objectives.stratified()}),
    "mopoe": ("MoPoE", mopoe, {"bound": objectives.stratified()}),
}
SETS = ("sprites", "fashion_mnist", "mnist", "digits")


@dataclass(frozen=True)
class Config(lab.Settings):
    """Four ways to put experts together, on one or two sets of two modalities."""

    dataset: tuple[Literal[*SETS], ...] = SETS[:1]  # pyright: ignore
    """sprites: mini-sprites and captions of their factors; the others: halves of images, binary."""
    side: lab.Positive[int] = 32  # pixels on a side of the sprites, a multiple of 16
    hidden: tuple[lab.Positive[int], ...] = (128, 128)  # widths of the encoders; reversed, of decoders
    missing: lab.NonNegative[float] = 0.0  # share of modalities that are hidden in training, at random
    samples: lab.Positive[int] = 200  # K, per test example, in the estimates of log p
    test_images: lab.Positive[int] = 300  # the first, that scores are of


FAST = Config(latents=16, steps=1200, batch_size=100, learning_rate=2e-3)
PRESETS = {"fast": FAST, "medium": replace(FAST, preset="medium", steps=40_000, hidden=(512, 512))}
COLUMNS = {  # a is the image or the bottom, b the caption or the top
    "NLL": "joint", "a": "a", "a given b": "a_given_b", "b": "b", "b given a": "b_given_a",
    "right a from b": lab.UnitScore("made_a"), "right b from a": lab.UnitScore("made_b"),
    "agree, prior": lab.UnitScore("agreement"),
}  # fmt: skip


def rows(config: Config) -> dict[str, str]:
    """Every method on every set."""
    return {f"{d}-{m}": f"{d}: {METHODS[m][0]}" for d in config.dataset for m in METHODS}


def load(config: Config, of_set: str) -> data.Dataset:
    """The set of two modalities."""
    if of_set == "sprites":
        return data.captioned(data.mini_sprites(config.side))
    return data.halves(getattr(data, of_set)(pixels="dynamic"))


def training(config: Config, name: str) -> lab.Training:
    """Dense nets for each modality; the bound of all, MVAE's sum, or a sample of each component."""
    of_set, method = name.split("-")
    images, (_, posterior, terms) = load(config, of_set), METHODS[method]
    x, widths = images.train.arrays["x"], config.hidden
    encoders = {k: nets.MLPEncoder(config.latents, widths, event_ndims=a.ndim - 1) for k, a in x.items()}
    decoders = {k: nets.MLP(widths[::-1], a.shape[1:]) for k, a in x.items()}
    likelihoods = {k: distributions.one_hot() if k == "text" else distributions.bernoulli() for k in x}
    parts = {"posterior": posterior(config.latents, 2), "likelihood": distributions.joint(**likelihoods)}
    model = models.vae(encoder=nets.Modalities(encoders), decoder=nets.PerModality(decoders), **parts)
    if config.missing:
        images = replace(images, train=data.missing_modalities(images.train, config.missing))
    update = train.gradient_update(compose(**terms), model, optax.adam(config.learning_rate))
    return lab.Training(model, update, images, work={"poe": 1.0, "mvae": 2.0}.get(method, 2.5))


def classifiers(config: Config, images: data.Dataset) -> dict[str, Any]:
    """What reads labels: of a sprite the nearest of all, of a caption its words, of a half its neighbours."""
    flat, others = lambda x: np.reshape(x, (len(x), -1)), {}
    if "text" in images.train.arrays["x"]:
        sprites = data.mini_sprites(config.side)
        y, near = sprites.factors_of(np.arange(sprites.num_images)), 1
        x = {"image": sprites.sample_images(y)}
        others = {"text": lambda p: data.read_captions(p, sprites.num_values)}
    else:
        y, near = images.train.arrays["y"][:10_000], 5
        x = {k: a[:10_000] / np.float32(255) for k, a in images.train.arrays["x"].items()}
    known = {k: KNeighborsClassifier(near).fit(flat(a), y) for k, a in x.items()}
    return others | {k: lambda made, of=of: of.predict(flat(made)) for k, of in known.items()}


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """log p of both, of each, and of each given the other; how often what is made has the labels."""
    found, K, some = {}, config.samples, data.first(images.test, config.test_images)
    (a, b), known = sorted(some.arrays["x"]), classifiers(config, images)
    for label, split in (("joint", some), ("a", data.only(some, (a,))), ("b", data.only(some, (b,)))):
        found[label] = evaluation.marginal_log_likelihood(key(2105), vae, split, num_samples=K)["nll"]
    for label, given, made, right in (("a_given_b", b, a, "made_a"), ("b_given_a", a, b, "made_b")):
        nll = evaluation.conditional_log_likelihood(key(2106), vae, some, (given,), num_samples=K)
        found |= {label: nll["nll"], f"{label}_se": nll["nll_se"], f"{label}_ess": nll["ess"]}
        found[right] = evaluation.coherence(key(2107), vae, some, {made: known[made]}, (given,))[made]
    return found | {"agreement": evaluation.coherence(key(2108), vae, some, known)["agreement"]}


def completed(run: lab.Run, of_set: str) -> Any:
    """Images from captions; bottoms from tops."""
    split = data.first(load(run.config, of_set).test, 10)
    x, (made, given) = split.transform(key(0), dict(split.arrays))["x"], sorted(split.arrays["x"])
    seen = {run.labels[n].split(": ")[1]: run.vae(n) for n in run.labels if n.startswith(of_set)}
    made_of = {k: evaluation.reconstruct(v, {given: x[given]})[made] for k, v in seen.items()}
    shown = {"data": x[made], **made_of}
    if given == "top":
        shown = {k: np.concatenate([x[given], below], axis=1) for k, below in shown.items()}
    return plots.reconstructions(shown.pop("data"), shown)


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw, set by set."""
    run = lab.run(config, PRESETS, rows, training, score)
    run.table(COLUMNS)
    return run.draw(**{f"made_{of_set}": partial(completed, of_set=of_set) for of_set in run.config.dataset})


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
