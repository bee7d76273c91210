"""Two modalities by a product of experts, a mixture, and a mixture of products: what one tells of the other.

    python -m experiments.modalities --preset fast

HEADER
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax
from sklearn.neighbors import KNeighborsClassifier

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, plots, train
from vaejax.keys import named_key
from vaejax.models import posteriors

METHODS = {
    "poe": "PoE, all modalities", "mvae": "PoE, sub-sampled (MVAE)", "moe": "MoE (MMVAE)", "mopoe": "MoPoE",
}  # fmt: skip
SETS = {"sprites": ("image", "text"), "halves": ("bottom", "top")}


@dataclass(frozen=True)
class Config(lab.Settings):
    """Four ways to put experts together, on one or two sets of two modalities."""

    dataset: tuple[Literal[*SETS], ...] = (*SETS,)  # pyright: ignore
    """sprites: mini-sprites and a caption of their factors; halves: of binarised Fashion-MNIST."""
    methods: tuple[Literal[*METHODS], ...] = (*METHODS,)  # pyright: ignore
    latents: lab.Positive[int] = 16  # d, the number of latents
    hidden: tuple[lab.Positive[int], ...] = (256, 256)  # widths of the images' encoders; reversed, of decoders
    words: tuple[lab.Positive[int], ...] = (64,)  # widths of the captions' nets
    missing: lab.NonNegative[float] = 0.0  # share of modalities that are hidden in training, at random
    steps: lab.Positive[int] = 3000  # training steps
    batch_size: lab.Positive[int] = 100  # examples per step
    samples: lab.Positive[int] = 500  # K, per test example, in the estimates of log p
    test_images: lab.Positive[int] = 300  # the first, whose log p is estimated
    judged: lab.Positive[int] = 1000  # the first, from which modalities are made that a classifier reads


PRESETS = {"fast": Config(), "medium": Config("medium", steps=40_000, hidden=(512, 512), samples=2000)}
COLUMNS = {
    "NLL, both": "joint",
    "image or bottom": "a",
    "given the other": "a_given_b",
    "text or top": "b",
    "given the other ": "b_given_a",
    "right a from b": "made_a",
    "right b from a": "made_b",
    "agree, prior": "agreement",
}


def rows(config: Config) -> dict[str, str]:
    """Every method on every set."""
    return {f"{d}-{m}": f"{d}: {METHODS[m]}" for d in config.dataset for m in config.methods}


def load(name: str) -> data.Dataset:
    """The set of two modalities."""
    if name == "sprites":
        return data.captioned(data.mini_sprites())
    return data.halves(data.fashion_mnist(pixels="dynamic"))


def model_of(config: Config, method: str, images: data.Dataset) -> Any:
    """Dense nets for each modality, captions of one-hot words among them."""
    encoders, decoders, likelihoods = {}, {}, {}
    for name, x in images.train.arrays["x"].items():
        text = images.train.support[name] == "one_hot"
        widths = config.words if text else config.hidden
        encoders[name] = nets.MLPEncoder(config.latents, widths, event_ndims=x.ndim - 1)
        decoders[name] = nets.MLP(widths[::-1], x.shape[1:])
        likelihoods[name] = distributions.one_hot() if text else distributions.bernoulli()
    family = {"poe": posteriors.poe, "mvae": posteriors.poe, "moe": posteriors.moe, "mopoe": posteriors.mopoe}
    return models.vae(
        encoder=nets.Modalities(encoders),
        decoder=nets.PerModality(decoders),
        posterior=family[method](config.latents, len(encoders)),
        likelihood=distributions.joint(**likelihoods),
    )


def training(config: Config, name: str) -> lab.Training:
    """The bound of all modalities; MVAE's sum over subsets; of mixtures the bound with samples of each expert."""
    of_set, method = name.split("-")
    images = load(of_set)
    if config.missing:
        hidden = data.missing_modalities(images.train, config.missing)
        images = data.Dataset(hidden, images.validation, images.test, images.factor_names)
    loss = {
        "poe": compose(reconstruction=objectives.reconstruction, kl=objectives.kl),
        "mvae": compose(subsets=objectives.sub_sampled()),
        "moe": compose(bound=objectives.stratified()),
        "mopoe": compose(bound=objectives.stratified()),
    }[method]
    model = model_of(config, method, images)
    update = train.gradient_update(loss, model, optax.adam(config.learning_rate))
    return lab.Training(model, update, images, work={"poe": 1.0, "mvae": 2.0}.get(method, 2.5))


def classifiers(name: str, images: data.Dataset) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What reads labels: of a sprite the nearest of all, of a caption its words, of half a garment its neighbours."""
    if name == "halves":
        x, y = images.train.arrays["x"], images.train.arrays["y"][:10_000]
        known = {k: KNeighborsClassifier(5).fit(x[k][: len(y)].reshape(len(y), -1) / 255, y) for k in x}
        return {k: lambda made, of=of: of.predict(made.reshape(len(made), -1)) for k, of in known.items()}
    sprites = data.mini_sprites()
    every = sprites.sample_images(sprites.factors_of(np.arange(sprites.num_images))).reshape(-1, 32 * 32)
    sizes = (every**2).sum(1) / 2
    starts = np.cumsum((0, *sprites.num_values))
    words = [slice(*ends) for ends in zip(starts[:-1], starts[1:], strict=True)]
    return {
        "image": lambda x: sprites.factors_of(np.argmax(x.reshape(len(x), -1) @ every.T - sizes, axis=1)),
        "text": lambda p: np.stack([p[:, f, own].argmax(axis=1) for f, own in enumerate(words)], axis=1),
    }


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """log p of both, of each, and of each given the other; how often what is made has the labels of what is given."""
    of_set, key = name.split("-")[0], jax.random.key(2105)
    a, b = SETS[of_set]
    some, judged = (data.first(images.test, n) for n in (config.test_images, config.judged))
    known = classifiers(of_set, images)
    scores, options = {}, {"num_samples": config.samples}
    for label, split in (("joint", some), ("a", data.only(some, (a,))), ("b", data.only(some, (b,)))):
        scores[label] = evaluation.marginal_log_likelihood(named_key(key, label), vae, split, **options)["nll"]
    for label, given, made in (("a_given_b", b, a), ("b_given_a", a, b)):
        found = evaluation.conditional_log_likelihood(named_key(key, label), vae, some, (given,), **options)
        scores |= {label: found["nll"], f"{label}_se": found["nll_se"], f"{label}_ess": found["ess"]}
        right = evaluation.coherence(named_key(key, made), vae, judged, {made: known[made]}, (given,))
        scores[{a: "made_a", b: "made_b"}[made]] = right[made]
    return scores | {"agreement": evaluation.coherence(named_key(key, "prior"), vae, judged, known)["agreement"]}


def made(run: lab.Run, of_set: str) -> Any:
    """Images from captions; or garments of which one half is given and the model makes the other."""
    split = data.first(load(of_set).test, 8)
    x = jax.tree.map(np.asarray, dict(split.transform(jax.random.key(0), dict(split.arrays))["x"]))
    names = {run.labels[n].split(": ")[1]: n for n in run.labels if n.startswith(of_set)}
    if of_set == "sprites":
        seen = {k: evaluation.reconstruct(run.vae(n), {"text": x["text"]})["image"] for k, n in names.items()}
        return plots.reconstructions(x["image"], seen, data_label="data; image from text:")
    shown, whole = {}, np.concatenate([x["top"], x["bottom"]], axis=1)
    for label, name in names.items():
        below = evaluation.reconstruct(run.vae(name), {"top": x["top"]})["bottom"]
        above = evaluation.reconstruct(run.vae(name), {"bottom": x["bottom"]})["top"]
        shown[label] = np.concatenate([np.concatenate([x["top"], below], 1), np.concatenate([above, x["bottom"]], 1)])
    groups = (("bottom from top", 8), ("top from bottom", 8))
    return plots.reconstructions(np.concatenate([whole, whole]), shown, groups=groups)


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw, set by set."""
    run = lab.run(config, PRESETS, rows, training, score)
    run.table(COLUMNS)
    for of_set in run.config.dataset:
        run.figure(f"made_{of_set}", lambda run, of_set=of_set: made(run, of_set))
    return run.report


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
