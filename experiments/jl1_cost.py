"""What a Jacobian penalty buys per step and per second, on three-dots (Rhodes & Lee 2021, arXiv 2106.02923).

    python -m experiments.jl1_cost --preset fast

Trains the beta-VAE and five penalties beside it, with the same images, initial weights and data order, and
draws local MIG and modularity against steps and seconds. OroJaR has two random probes, its authors' k.

Seen with `fast` (12 minutes on two cores; mean, 95 % interval over three seeds; of OroJaR each seed):

    | method           | local MIG         | local modularity  | ms a step | local MIG after 35 s |
    | beta-VAE         | .046 [.033, .060] | .883 [.879, .888] | 3         | .046 (done)          |
    | JL1, exact       | .075 [.055, .096] | .916 [.906, .927] | 20        | .057                 |
    | JL1, 1 column    | .071 [.053, .089] | .910 [.900, .919] | 6         | .068                 |
    | JL1, 2 columns   | .081 [.054, .108] | .911 [.904, .919] | 7         | .079                 |
    | JL2, 1 column    | .043 [.036, .049] | .880 [.863, .897] | 6         | .042                 |
    | OroJaR, 2 probes | .000 .067 .069    | .220 .892 .914    | 7         | .042                 |

Sampled columns reach what the exact Jacobian reaches, step for step within the spread of the seeds, in a
third of its time: two columns have a local MIG of .068 after 27 s, one after 43 s, the exact one after 61 s.
JL2 is no better than the beta-VAE, as in the paper. OroJaR loses a seed (KL 0). Times: with other work.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
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
    runs,
    scaled,
    train,
)

METHODS = {  # label, penalty, the field of the config that is its weight, the work of a step
    "beta_vae": ("beta-VAE", None, "", 1),
    "jl1_exact": ("JL1, exact", objectives.jacobian_l1(), "gamma", 6),
    "jl1_1": ("JL1, 1 column", objectives.jacobian_l1(method="columns"), "gamma", 2),
    "jl1_2": ("JL1, 2 columns", objectives.jacobian_l1(method="columns", columns=2), "gamma", 2.5),
    "jl2": ("JL2, 1 column", objectives.jacobian_l2(method="columns"), "gamma_jl2", 2),
    "orojar": ("OroJaR, 2 probes", objectives.orthogonality(method="hutchinson"), "gamma_orojar", 2.5),
}
WEIGHTS = {"gamma", "gamma_jl2", "gamma_orojar"}
ROWS = {
    name: lab.Row(label, unread=tuple(WEIGHTS - {weight})) for name, (label, _, weight, _) in METHODS.items()
}
SCORES = {"local_mig": "local MIG", "local_modularity": "local modularity"}


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """Jacobian penalties on three-dots, by what they cost."""

    width: lab.Positive[float] = 0.5  # multiplier of channels and hidden units; 1 is the paper's model
    steps: lab.Positive[int] = 5000  # training steps, a multiple of `every`
    batch_size: lab.Positive[int] = 32  # images per step
    learning_rate: lab.Positive[float] = 2e-3  # Adam's
    ramp: lab.NonNegative[int] = 1000  # steps over which both weights rise linearly from 0
    gamma: lab.NonNegative[float] = 0.2  # weight of ||J||_{1,1}, reached at the end of the ramp
    gamma_jl2: lab.NonNegative[float] = 3.0  # weight of ||J||_F^2, likewise
    gamma_orojar: lab.NonNegative[float] = 3.0  # weight of the orthogonality of columns, likewise
    every: lab.Positive[int] = 500  # steps between scores, at least three chunks
    side: lab.Positive[int] = 32  # pixels on a side, a power of two of at least 16
    radius: float = 0.08  # of a dot, as a share of the side
    clusters: lab.Positive[int] = 20  # neighbourhoods of the local metrics
    samples: lab.Positive[int] = 2000  # images per neighbourhood

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every % self.chunk or self.every < 3 * self.chunk:
            raise ValueError(
                f"every: expected a multiple of chunk={self.chunk}, three chunks or more; got {self.every}"
            )
        if self.steps % self.every:
            raise ValueError(f"steps: expected a multiple of every={self.every}, got {self.steps}")


PRESETS = {"fast": Config(seeds=3)}


def training(config: Config, name: str) -> lab.Training:
    """-log p(x|z) + beta KL + gamma penalty; both weights rise over the ramp. Scored along the way."""
    _, penalty, weight, work = METHODS[name]
    dots = data.three_dots(config.side, config.radius, num_train=config.images)
    model = models.gaussian_vae(
        encoder=nets.ConvEncoder(latents=config.latents, width=config.width),
        decoder=nets.ConvDecoder(side=config.side, width=config.width),
        latents=config.latents,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )
    rise = partial(objectives.ramp_schedule, transition_steps=config.ramp)
    terms = {"kl": scaled(rise(config.beta), objectives.kl)}
    if penalty is not None:
        terms["penalty"] = scaled(rise(getattr(config, weight)), penalty)
    loss = compose(reconstruction=objectives.reconstruction, **terms)
    adam = optax.adam(config.learning_rate)
    update = train.gradient_update(loss, model, adam, microbatch=config.slices)

    def validate(_: Any, vae: VAE) -> dict[str, float]:
        local = evaluation.local_scores(
            jax.random.key(2106), vae, dots, clusters=config.clusters, num_samples=config.samples
        )
        return {"local_mig": local.mig, "local_modularity": local.modularity}

    save_every = config.every // config.chunk
    return lab.Training(model, update, dots, work=work, validate=validate, save_every=save_every)


def score(config: Config, name: str, vae: VAE, dots: data.ThreeDots) -> dict[str, Any]:
    """What is scored along the way is in the training's records."""
    return {}


def curves(config: Config, metrics: Any, records: Any, seconds: dict[int, float]) -> dict[str, Any]:
    """Scores against steps and seconds; milliseconds a step are the median of the chunks between two scores.

    So compilation, the scores and what a kill left unmeasured are not counted.
    """
    ends = np.array(sorted(step for step, s in seconds.items() if s is not None))
    at = np.array([record["step"] for record in records])
    rates = 1000 * np.diff([seconds[step] for step in ends]) / np.diff(ends)
    between = [rates[(ends[1:] > step - config.every) & (ends[1:] <= step)] for step in at]
    ms = np.array([np.median(part) if len(part) else np.nan for part in between])
    ms = np.where(np.isnan(ms), np.nanmedian(ms), ms)
    last = metrics["step"] > at[-1] - config.every
    return {
        "steps": at.tolist(),
        "seconds": (np.cumsum(ms * config.every) / 1000).tolist(),
        "ms_a_step": float(np.median(ms)),
        **{k: [record["validation"][k] for record in records] for k in SCORES},
        **{k: float(metrics[k][last].mean()) for k in ("reconstruction", "kl")},
    }


def summary(run: lab.Run) -> dict[str, Any]:
    """Ends of the curves, and what each method has after equal seconds or needs for the same goal.

    `equal_seconds` is the time of the fastest penalised method; `goal` a local MIG, .9 of the exact JL1's, and
    `to_goal` where the mean over seeds first reaches it: None for a method that does not.
    """
    each, mean = {}, {}
    for name in run.rows:
        records = zip(run.metrics(name), run.seconds(name), strict=True)
        each[name] = [curves(run.config, *of, seconds) for of, seconds in records]
        mean[name] = {k: np.mean([c[k] for c in each[name]], axis=0) for k in ("steps", "seconds", *SCORES)}
    equal = min(m["seconds"][-1] for name, m in mean.items() if name != "beta_vae")
    goal = 0.9 * mean["jl1_exact"]["local_mig"][-1]
    rows, to_goal = {}, {}
    for name, seeds in each.items():
        rows[name] = [
            {
                **{k: c[k] for k in ("ms_a_step", "reconstruction", "kl")},
                **{k: c[k][-1] for k in ("seconds", *SCORES)},
                **{f"{k}_at_equal_seconds": float(np.interp(equal, c["seconds"], c[k])) for k in SCORES},
            }
            for c in seeds
        ]
        hits = np.flatnonzero(mean[name]["local_mig"] >= goal)
        to_goal[name] = (
            {k: float(mean[name][k][hits[0]]) for k in ("steps", "seconds")} if hits.size else None
        )
    minus = {
        name: {
            k: runs.welch_ci95([r[k] for r in rows[name]], [r[k] for r in rows["jl1_exact"]]) for k in SCORES
        }
        for name in set(rows) - {"jl1_exact"}
    }
    told = {"equal_seconds": equal, "goal": goal, "to_goal": to_goal, "minus_exact": minus}
    return {"rows": rows, "curves": each, **told}


def against(run: lab.Run, axis: str, title: str, scale: str) -> Any:
    """Scores against steps or seconds."""
    curves = {run.rows[name].label: seeds for name, seeds in run.report["curves"].items()}
    scores = {
        title: {label: [c[k] for c in seeds] for label, seeds in curves.items()}
        for k, title in SCORES.items()
    }
    at = {label: np.mean([c[axis] for c in seeds], axis=0) for label, seeds in curves.items()}
    return plots.band_curves(scores, at, title, xscale=scale)


def main(config: Config) -> dict[str, Any]:
    """Train, report and draw."""
    run = lab.run(config, PRESETS, ROWS, training, score, summary)
    names = ("ms_a_step", "seconds", "local_mig_at_equal_seconds", "reconstruction", "kl")
    run.table({**{title: name for name, title in SCORES.items()}, **{name: name for name in names}})
    for name, to in run.report.get("to_goal", {}).items():
        told = f"{to['steps']:.0f} steps, {to['seconds']:.0f} s" if to else "not reached"
        print(f"{METHODS[name][0]} to local MIG {run.report['goal']:.3f}: {told}")
    run.figure("against_steps", partial(against, axis="steps", title="step", scale="linear"))
    run.figure("against_seconds", partial(against, axis="seconds", title="seconds of training", scale="log"))
    return run.report


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
