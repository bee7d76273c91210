"""Ladders of latents: of 2, 3 and 5 levels, how many stay active, by the rule of inference and warm-up.

    python -m experiments.ladder --preset fast

Gated dense nets on dynamically binarised Fashion-MNIST: q bottom-up, by the ladder's merge with the prior
(Sonderby et al. 2016, arXiv 1602.02282) or around the prior (Vahdat & Kautz 2020, arXiv 2007.03898). A unit
is active, and with it its level, if its KL is above .01 nats, as in the first paper.

`fast`, seed 0: 2000 steps of 100 images, three epochs; 36 minutes for all on two cores with other work.
Nats; NLL of 100 test images with K = 500; KL of each level and active units, the top first:

                               NLL   -ELBO     KL   of each level            units active
    bottom-up, 2 levels      229.7   243.0   13.2   12.2 1.0                 9 35
    ladder, 2 levels         229.0   241.7   13.7   3.7 10.0                 5 10
    residual, 2 levels       229.5   242.9   13.0   6.7 6.3                  8 20
    bottom-up, 3 levels      228.9   242.6   12.8   7.3 3.3 2.1              7 15 37
    ladder, 3 levels         228.5   240.7   13.2   .04 5.0 8.2              0 3 11
    residual, 3 levels       229.2   242.1   12.5   3.2 1.4 7.9              4 3 11
    bottom-up, 5 levels      229.6   242.7   12.5   .01 2.2 1.9 7.2 1.2      0 5 5 9 36
    ladder, 5 levels         228.9   241.0   12.7   .00 .00 .00 5.3 7.5      0 0 0 3 10
    residual, 5 levels       229.3   241.9   12.6   .37 .63 1.4 1.5 8.7      2 2 2 5 16
    without warm-up:
    bottom-up, 2 levels      233.9   247.0    9.9   6.5 3.4                  4 8
    ladder, 2 levels         233.6   246.1    9.9   2.5 7.3                  3 4
    bottom-up, 3 levels      235.2   248.5    9.1   5.3 1.3 2.5              3 9 22
    ladder, 3 levels         236.3   248.2    8.8   .01 2.0 6.9              0 1 3
    bottom-up, 5 levels      235.0   248.0    9.1   .01 .17 .83 5.8 2.3      0 3 2 3 14
    ladder, 5 levels         237.7   250.7    7.7   .00 .12 .10 2.5 5.0      0 1 1 1 3

The warm-up of the KL is worth 4 to 9 nats of NLL. With it the ladder has the best bound at each depth, 1.3 to
1.9 nats below bottom-up's; log p(x) is level within a nat or so. That the ladder keeps more levels active,
the claim of its paper, was not seen: of five it uses the two next to x, bottom-up four, residual all. The
paper trains 2000 epochs with batch normalisation; here a layer norm is in its place. Bottom-up, the KL of a
level is log q - log p at its z; figures/levels_*.png show what each level adds. Standard errors over images,
the same for all rows, are 7.7 nats of NLL and .76 of -ELBO. One seed.

`medium` (50 000 steps, twice the width, K = 5000) has not been run.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optax
from jax.random import key

from vaejax import VAE, Model, data, distributions, evaluation, lab, models, nets, objectives, plots, train
from vaejax.models import posteriors
from vaejax.runs import figures

RULES = {"bottom_up": "bottom-up", "ladder": "ladder", "residual": "residual"}


@dataclass(frozen=True)
class Config(lab.Settings):
    """Dense hierarchies of several depths, each by several rules of inference."""

    dataset: Literal["fashion_mnist", "mnist", "digits"] = "fashion_mnist"  # binary, drawn anew each time
    rules: tuple[Literal[*RULES], ...] = (*RULES,)  # pyright: ignore
    """How q(z|x) is made; all but residual also without warm-up of the KL."""
    levels: tuple[lab.Positive[int], ...] = (2, 3, 5)  # L of each hierarchy
    units: tuple[lab.Positive[int], ...] = (64, 32, 16, 8, 4)  # latents of each level, from x upwards
    hidden: tuple[lab.Positive[int], ...] = (256, 128, 64, 32, 16)  # widths there
    steps: lab.Positive[int] = 2000  # training steps
    ramp: lab.NonNegative[int] = 1000  # of them in which the KL's weight rises to 1
    decay: lab.NonNegative[float] = 0.99  # of the moving average of the parameters, which is evaluated
    samples: lab.Positive[int] = 500  # K, per test image, in the estimate of log p(x)
    test_images: lab.Positive[int] = 100  # the first, whose log p(x) is estimated; KL is of all


LONG = {"hidden": (512, 256, 128, 64, 32), "steps": 50_000, "ramp": 20_000, "decay": 0.999, "samples": 5000}
PRESETS = {"fast": Config(batch_size=100, learning_rate=2e-3), "medium": Config("medium", **LONG)}
COLUMNS = {
    "NLL": "nll",
    "-ELBO": "neg_elbo",
    "KL": "kl",
    "levels active": "active_levels",
    "KL per level, top first": lambda m: " ".join(f"{nats:.2f}" for nats in m["kl_per_level"]),
    "units active": lambda m: " ".join(map(str, m["active_per_level"])),
}


def rows(config: Config) -> dict[str, str]:
    """RULE-L, and RULE-L-cold without warm-up."""
    warm = {f"{rule}-{L}": f"{RULES[rule]}, {L} levels" for L in config.levels for rule in config.rules}
    return warm | {f"{n}-cold": f"{label}, no warm-up" for n, label in warm.items() if "residual" not in n}


def model_of(config: Config, rule: str, L: int, shape: tuple[int, ...]) -> Model:
    """L levels of gated dense nets; p(z_l|z_above) sees the level above alone."""
    if min(len(config.units), len(config.hidden)) < L:
        raise ValueError(f"levels: expected at most as many as units and widths, {config.units}; got {L}")
    levels, widths, bottom_up = [], config.hidden[:L][::-1], rule == "bottom_up"  # the top first
    for d, width in zip(config.units[:L][::-1], widths, strict=True):
        head, gated = nets.MLPEncoder(d, ()), nets.GatedEncoder(d, (width,))
        encoder = {"bottom_up": nets.First(gated), "ladder": nets.First(head), "residual": gated}[rule]
        family = posteriors.gaussian if bottom_up or not levels else getattr(posteriors, rule)
        decoder = nets.First(nets.GatedMLP((width,), (width,)))
        levels.append(models.Level(family(d), encoder, decoder, head if levels else None))
    up = nets.DenseLadder(tuple((width, width) for width in widths), event_ndims=3)
    encoder = nets.GatedMLP(widths[-1:], widths[-1:], event_ndims=3) if bottom_up else up
    parts = {"decoder": nets.GatedMLP(widths[-1:], shape), "likelihood": distributions.bernoulli()}
    parts |= {"encoder": encoder, "inference": "bottom_up" if bottom_up else "top_down"}
    return models.hierarchical_vae(levels=levels, **parts)


def training(config: Config, name: str) -> lab.Training:
    """Adam, its rate warmed up, on clipped gradients; the KL's weight rises; the average stays at the end."""
    rule, L, *cold = name.split("-")
    images = getattr(data, config.dataset)(pixels="dynamic")
    mean, steps = images.train.arrays["x"].mean(axis=0) / 255, config.steps
    model = models.glorot(model_of(config, rule, int(L), mean.shape), mean.clip(0.001, 0.999))
    kl = objectives.scaled(objectives.ramp_schedule(1.0, 0 if cold else config.ramp), objectives.kl)
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=kl)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, max(1, steps // 20), steps)
    adam = optax.chain(optax.clip_by_global_norm(100.0), optax.adam(rate))
    update = train.averaged(train.gradient_update(loss, model, adam), config.decay, evaluated=True)
    return lab.Training(model, update, images, work=1 + 0.2 * int(L))


def score(config: Config, name: str, vae: VAE, images: data.Dataset) -> dict[str, Any]:
    """log p(x) of the first test images; bound and KL per level of all; units with a KL above .01 nats."""
    some = data.first(images.test, config.test_images)
    known = evaluation.marginal_log_likelihood(key(1602), vae, some, num_samples=config.samples)
    parts = evaluation.elbo_parts(key(1602), vae, images.test, aggregate=False)
    active = [int(np.sum(nats > 0.01)) for nats in parts.pop("kl_per_dimension")]
    del known["per_example"]
    return {**parts, **known, "active_per_level": active, "active_levels": int(np.count_nonzero(active))}


def rates(run: lab.Run) -> Any:
    """KL per level against the place of the level, a panel for each depth."""
    lines, most = {f"KL, {L} levels": {} for L in run.config.levels}, max(run.config.levels)
    for name in run.labels:
        rule, L, *cold = name.split("-")
        kl = np.array([report["kl_per_level"][::-1] for report in run.reports[name]])
        kl = np.pad(kl, ((0, 0), (0, most - int(L))), constant_values=np.nan)
        lines[f"KL, {L} levels"][RULES[rule] + ", no warm-up" * bool(cold)] = kl
    at = {label: np.arange(1, most + 1) for of in lines.values() for label in of}
    return plots.band_curves(lines, at, "level, from x upwards", units="nats", columns=3)


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, rows, training, score)
    run.table(COLUMNS)
    x = getattr(data, run.config.dataset)().test.arrays["x"][:10] / np.float32(255)
    most = max(run.config.levels)
    deepest = [name for rule in RULES if (name := f"{rule}-{most}") in run.labels]
    levels: dict[str, Any] = {
        f"levels_{name}": lambda r, n=name: figures.levels(r.vae(n), x) for name in deepest
    }
    deep = lambda r: figures.samples({r.labels[n]: r.vae(n) for n in deepest})  # noqa: E731
    return run.draw(kl_per_level=rates, samples=deep, **levels)


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
