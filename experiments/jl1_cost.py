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

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, scaled, train
from vaejax.runs import welch_ci95

METHODS = {  # label, penalty, the field of the config that is its weight, the work of a step
    "beta_vae": ("beta-VAE", None, "", 1),
    "jl1_exact": ("JL1, exact", objectives.jacobian_l1(), "gamma", 6),
    "jl1_1": ("JL1, 1 column", objectives.jacobian_l1(method="columns"), "gamma", 2),
    "jl1_2": ("JL1, 2 columns", objectives.jacobian_l1(method="columns", columns=2), "gamma", 2.5),
    "jl2": ("JL2, 1 column", objectives.jacobian_l2(method="columns"), "gamma_jl2", 2),
    "orojar": ("OroJaR, 2 probes", objectives.orthogonality(method="hutchinson"), "gamma_orojar", 2.5),
}
WEIGHTS = {"gamma", "gamma_jl2", "gamma_orojar"}
ROWS = {k: lab.Row(label, unread=tuple(WEIGHTS - {own})) for k, (label, _, own, _) in METHODS.items()}
SCORES = {"local_mig": "local MIG", "local_modularity": "local modularity"}


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """Jacobian penalties on three-dots, by what they cost."""

    gamma: lab.NonNegative[float] = 0.2  # weight of ||J||_{1,1}, reached at the end of the ramp
    gamma_jl2: lab.NonNegative[float] = 3.0  # weight of ||J||_F^2, likewise
    gamma_orojar: lab.NonNegative[float] = 3.0  # weight of the orthogonality of columns, likewise
    every: lab.Positive[int] = 500  # steps between scores, at least three chunks; divides the steps
    side: lab.Positive[int] = 32  # pixels on a side, a power of two of at least 16
    radius: float = 0.08  # of a dot, as a share of the side
    clusters: lab.Positive[int] = 20  # neighbourhoods of the local metrics
    samples: lab.Positive[int] = 2000  # images per neighbourhood

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps % self.every or self.every % self.chunk or self.every < 3 * self.chunk:
            raise ValueError(f"every: expected chunks, 3 or more, that divide the steps; got {self.every}")


PRESETS = {"fast": Config(seeds=3, width=0.5, steps=5000, batch_size=32, learning_rate=2e-3, ramp=1000)}


def training(config: Config, name: str) -> lab.Training:
    """-log p(x|z) + beta KL + gamma penalty; both weights rise over the ramp. Scored along the way."""
    _, penalty, weight, work = METHODS[name]
    dots = data.three_dots(config.side, config.radius, num_train=config.images)
    encoder = nets.ConvEncoder(latents=config.latents, width=config.width)
    decoder = nets.ConvDecoder(side=config.side, width=config.width)
    pixels = distributions.bernoulli(cross_entropy=True)
    model = models.gaussian_vae(encoder=encoder, decoder=decoder, latents=config.latents, likelihood=pixels)
    rise = partial(objectives.ramp_schedule, transition_steps=config.ramp)
    terms = {"kl": scaled(rise(config.beta), objectives.kl)}
    if penalty is not None:
        terms["penalty"] = scaled(rise(getattr(config, weight)), penalty)
    loss = compose(reconstruction=objectives.reconstruction, **terms)
    update = train.gradient_update(loss, model, optax.adam(config.learning_rate), microbatch=config.slices)

    def validate(_: Any, vae: VAE) -> dict[str, float]:
        key, clusters, n = jax.random.key(2106), config.clusters, config.samples
        local = evaluation.local_scores(key, vae, dots, clusters=clusters, num_samples=n)
        return {"local_mig": local.mig, "local_modularity": local.modularity}

    save_every = config.every // config.chunk
    return lab.Training(model, update, dots, work=work, validate=validate, save_every=save_every)


def ends(curve: dict[str, Any], metrics: dict[str, np.ndarray], equal: float) -> dict[str, float]:
    """The numbers of a training that the table shows: at its end, and after `equal` seconds."""
    steps, seconds = ([0, *curve[k]] for k in ("steps", "seconds"))
    last = metrics["step"] > steps[-2]
    return {
        "ms_a_step": float(1000 * np.median(np.diff(seconds) / np.diff(steps))),
        **{k: float(metrics[k][last].mean()) for k in ("reconstruction", "kl")},
        **{k: curve[k][-1] for k in ("seconds", *SCORES)},
        **{f"{k}_at_equal_seconds": float(np.interp(equal, curve["seconds"], curve[k])) for k in SCORES},
    }


def summary(run: lab.Run) -> dict[str, Any]:
    """Ends of the curves, and what each method has after equal seconds or needs for the same goal.

    `equal_seconds` is the time of the fastest penalised method; `goal` a local MIG, .9 of the exact JL1's;
    `to_goal` where the mean over seeds first reaches it, None for a method that does not.
    """
    each = {name: run.read(name, train.read_validations) for name in run.rows}
    mean = {name: {k: np.mean([c[k] for c in seeds], 0) for k in seeds[0]} for name, seeds in each.items()}
    equal = min(m["seconds"][-1] for name, m in mean.items() if name != "beta_vae")
    goal, rows, to_goal = 0.9 * mean["jl1_exact"]["local_mig"][-1], {}, {}
    for name, m in mean.items():
        records = zip(each[name], run.read(name, train.read_metrics), strict=True)
        rows[name] = [ends(curve, metrics, equal) for curve, (metrics, _) in records]
        hits = np.flatnonzero(m["local_mig"] >= goal)
        to_goal[name] = {k: float(m[k][hits[0]]) for k in ("steps", "seconds")} if hits.size else None
    scores = {name: {k: [r[k] for r in seeds] for k in SCORES} for name, seeds in rows.items()}
    exact = scores.pop("jl1_exact")
    minus = {name: {k: welch_ci95(of[k], exact[k]) for k in SCORES} for name, of in scores.items()}
    told = {"equal_seconds": equal, "goal": goal, "to_goal": to_goal, "minus_exact": minus}
    return {"rows": rows, "curves": each, **told}


def main(config: Config) -> dict[str, Any]:
    """Train, report and draw."""
    run = lab.run(config, PRESETS, ROWS, training, None, summary)
    names = ("ms_a_step", "seconds", "local_mig_at_equal_seconds", "reconstruction", "kl")
    run.table({**{title: name for name, title in SCORES.items()}, **{name: name for name in names}})
    for name, to in run.report.get("to_goal", {}).items():
        print(f"{METHODS[name][0]} to local MIG {run.report['goal']:.3f}: {to or 'not reached'}")
    seconds = partial(lab.along, names=SCORES, axis="seconds", xscale="log")
    return run.draw(against_steps=partial(lab.along, names=SCORES), against_seconds=seconds)


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
