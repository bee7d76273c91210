"""Pairs of images that share unknown factors: GroupVAE and ML-VAE beside a beta-VAE, by MIG and DCI.

    python -m experiments.groups --preset fast

Every image has a partner of which k of the five factors were drawn anew; which ones is not said. Posteriors
of a pair are averaged where they differ least (Locatello et al. 2020, arXiv 2002.02886), and the model is
scored on single images. The beta-VAE sees both images of each pair, and not that they are pairs.

`fast`, seed 0, k = 1: 1000 steps of 32 pairs at 16x16, four minutes a row beside much other work:

    |                    | beta-VAE on both | GroupVAE |
    | MIG                | .048             | .259     |
    | SAP                | .17              | .38      |
    | DCI disentangle.   | .042             | .239     |
    | DCI completeness   | .062             | .268     |
    | FactorVAE score    | .47              | .75      |
    | reconstruction     | 20.4             | 20.6     |
    | KL                 | 3.1              | 3.0      |

Pairs tell apart what the beta-VAE mixes, at the same reconstruction and KL, as the paper has it: both use
three latents, and of ten 8.7 count as shared. One seed and a short run. ML-VAE, the row of a known number of
shared latents and `medium` (three seeds, 32x32, 15 000 steps) have not been run whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import jax
import optax

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, train
from vaejax.keys import named_key

METHODS = {  # label, the average, how many latents are shared
    "beta_vae": ("beta-VAE on both", "mean", 0),
    "group": ("GroupVAE", "mean", None),
    "ml": ("ML-VAE", "precision", None),
    "group_k": ("GroupVAE, d - k shared", "mean", "d - k"),
}
SCORES = ("mig", "dci_disentanglement", "dci_completeness", "sap", "factor_vae", "reconstruction", "kl")
SKIPPED = ("mig_chen", "explicitness", "sap_svm", "dci_linear", "beta_vae", "irs", "unsupervised", "local")
COLUMNS: dict[str, Any] = {name: lab.UnitScore(name) for name in SCORES[:-2]} | {k: k for k in SCORES[-2:]}


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """Averages of posteriors, on pairs of mini-sprites."""

    methods: tuple[Literal[*METHODS], ...] = (*METHODS,)  # pyright: ignore
    k: lab.Positive[int] | None = 1
    """How many of the five factors may differ in a pair; None: 1 to 4, at random."""
    side: lab.Positive[int] = 16  # pixels on a side, a power of two from 16
    steps: lab.Positive[int] = 1000  # training steps
    batch_size: lab.Positive[int] = 32  # pairs per step
    ramp: lab.NonNegative[int] = 300  # steps over which the KL's weight rises linearly from 0
    microbatch: lab.NonNegative[int] | None = None  # pairs per slice of a step; 0: as many as are fast here
    beta: lab.NonNegative[float] = 4.0  # weight of the KL in all rows
    scored: lab.Positive[int] = 10_000  # codes of scores that fit nothing
    fitted: lab.Positive[int] = 1000  # codes that DCI's trees learn from; half as many judge


PRESETS = {
    "fast": Config(width=0.5, learning_rate=2e-3),
    "medium": Config("medium", width=0.5, learning_rate=2e-3, steps=15_000, side=32, seeds=3),
}


def rows(config: Config) -> dict[str, str]:
    """The methods that are asked for; that of a known number of shared latents wants a known k."""
    return {name: METHODS[name][0] for name in config.methods if config.k is not None or name != "group_k"}


def load(config: Config) -> Any:
    """Pairs to train on, and the whole set, whose factors only scores see."""
    images = data.mini_sprites(config.side)
    train = data.pairs(data.first(images.train, config.images), config.k)
    return SimpleNamespace(train=train, test=images.test, known=images)


def training(config: Config, name: str) -> lab.Training:
    """The same networks, pairs and steps; the rows differ in what posteriors of a pair have in common."""
    pairs = load(config)
    model = models.gaussian_vae(
        encoder=nets.ConvEncoder(latents=config.latents, width=config.width),
        decoder=nets.ConvDecoder(side=config.side, channels=1, width=config.width),
        latents=config.latents,
        likelihood=distributions.bernoulli(),
    )
    _, average, shared = METHODS[name]
    if isinstance(shared, str):
        shared = config.latents - (config.k or 0)
    beta = objectives.ramp_schedule(config.beta, config.ramp)
    loss = compose(group=objectives.group(average, shared=shared, beta=beta))
    update = train.gradient_update(loss, model, optax.adam(config.learning_rate), microbatch=config.slices)
    return lab.Training(model, update, pairs)


def score(config: Config, name: str, vae: VAE, pairs: Any) -> dict[str, Any]:
    """Scores of single images: the models are plain VAEs."""
    key = jax.random.key(2002)
    scores = evaluation.disentanglement_scores(
        named_key(key, "scores"), vae, pairs.known, num_samples=config.scored, train=config.fitted,
        test=max(1, config.fitted // 2), train_dci=config.fitted, skip=SKIPPED,
    )  # fmt: skip
    parts = evaluation.elbo_parts(named_key(key, "elbo"), vae, data.first(pairs.test, 2000))
    names = ("reconstruction", "kl", "neg_elbo", "active_units", "kl_per_dimension")
    return scores.values | {name: parts[name] for name in names}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, rows, training, score)
    run.side_by_side(COLUMNS)
    x = load(run.config).test.arrays["x"][0] >= 8
    return run.draw(
        scores=lambda run: lab.scores(run, COLUMNS),
        shared=lambda run: lab.curves(run, {"shared latents": "shared", "KL": "kl"}),
        traversals=lambda run: lab.traversals(run, list(run.labels), x.astype("float32")),
    )


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
