"""JL1-VAE against beta-VAE on three-dots (Rhodes & Lee 2021, arXiv 2106.02923).

    python -m experiments.jl1_three_dots --preset fast

Trains both models on the same images, with the same budget, for several seeds, and scores them with the
paper's local disentanglement metrics. Some five minutes of CPU time; expect a local MIG near .05 for the
beta-VAE and .08 for the JL1-VAE (docs/results.md has the table).

Grey images are scored with a Bernoulli cross-entropy, as in the paper: a cost, not a log-likelihood.
The intervals are over training seeds. All models are scored on the same neighbourhoods and test images,
whose own spread is in the report as `local_mig_cluster_se`; a seed gives both models the same initial
weights and data order, which the Welch interval does not use.

The settings of `fast` were chosen on seeds 100-102 and on other neighbourhoods than the report's, all but the
two columns: `jl1_cost` found these, for their speed, on seeds 0-2 and the report's neighbourhoods. Local MIG
of single seeds, at width .5, radius .08 and one column, in the last two lines two:

    B=64, lr 1e-3,  6000 steps  beta-VAE .041 .047; JL1 gamma .1: .064, .2: .097 .069, .4: .077 .092, .8: .093
    B=32, lr 1e-3, 12000 steps  beta-VAE .048;      JL1 gamma .2: .094
    B=64, lr 2e-3,  6000 steps                      JL1 gamma .2: .099
    B=32, lr 2e-3, 10000 steps  beta-VAE .046 .042; JL1 gamma .2: .102 .100, .4: .081 .092
    B=32, lr 3e-3,  6000 steps  beta-VAE .042 .050; JL1 gamma .2: .086 .092 (linear schedule)
    B=32, lr 3e-3,  5000 steps  beta-VAE .043;      JL1 gamma .2: .078 (by a cosine from the start)
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import VAE, compose, data, distributions, evaluation, lab, models, nets, objectives, scaled, train

PAIR = ("jl1_vae", "beta_vae")
PENALTY, TERMS = ("gamma", "method", "columns"), ("reconstruction", "kl", "jacobian_l1")
LOCAL = {"local MIG": "local_mig", "local modularity": "local_modularity"}
SHOWN: dict[str, Any] = {title: lab.UnitScore(name) for title, name in LOCAL.items()}
SHOWN |= {f"{title}, locality 1": lab.UnitScore(f"{name}_locality_1") for title, name in LOCAL.items()}
SHOWN |= {"prior samples with three dots": lab.UnitScore("three_dots")}
SHOWN |= {"reconstruction": "reconstruction", "KL": "kl"}
PAPER = {  # Rhodes & Lee 2021, figures, three-dots 64x64 after 300 000 steps, read off to .003
    "local MIG": {"beta-VAE": .054, "JL1-VAE": .125}, "local modularity": {"beta-VAE": .889, "JL1-VAE": .941},
}  # fmt: skip


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """beta-VAE and Jacobian-L1 VAE on three-dots."""

    gamma: lab.NonNegative[float] = 0.2  # weight of the Jacobian penalty, reached at the end of the ramp
    method: Literal["exact", "columns", "finite_difference"] = "columns"  # columns: unbiased sample of them
    columns: lab.Positive[int] = 2  # Jacobian columns per image and step, for method=columns
    side: lab.Positive[int] = 32  # pixels on a side, a power of two of at least 16
    radius: float = 0.08  # of a dot, as a share of the side
    schedule: Literal["constant", "linear"] = "constant"  # of the rate; linear: to 0 in the last 3/10
    clusters: lab.Positive[int] = 20  # neighbourhoods of the local metrics
    samples: lab.Positive[int] = 10_000  # images per neighbourhood


_AUTHORS = Config(side=64, microbatch=0, method="exact", columns=1, beta=4.0, gamma=0.1)
PRESETS = {
    "fast": Config(seeds=4, steps=6000, ramp=1000, width=0.5, batch_size=32, microbatch=None,
                   learning_rate=3e-3, schedule="linear"),
    "small": replace(_AUTHORS, preset="small", images=20_000, steps=30_000, ramp=10_000),
    "paper": replace(_AUTHORS, preset="paper", images=500_000, steps=300_000, ramp=100_000, seeds=10,
                     learning_rate=1e-4, sweep=("gamma=0,.05,.1,.2,.4",)),  # gamma = 0 is the beta-VAE
}  # fmt: skip


def rows(config: Config) -> dict[str, lab.Row]:
    """Both models; without the penalty there is one."""
    unread = () if config.method == "columns" else ("columns",)
    penalised = lab.Row("JL1-VAE", unread=unread) if config.gamma else lab.Row("JL1-VAE", "beta_vae", PENALTY)
    return {"beta_vae": lab.Row("beta-VAE", unread=PENALTY), "jl1_vae": penalised}


def training(config: Config, name: str) -> lab.Training:
    """-log p(x|z) + beta KL, and + gamma ||J||_{1,1} for the JL1-VAE; both weights rise over the ramp."""
    encoder = nets.ConvEncoder(latents=config.latents, width=config.width)
    decoder = nets.ConvDecoder(side=config.side, width=config.width)
    pixels = distributions.bernoulli(cross_entropy=True)
    model = models.gaussian_vae(encoder=encoder, decoder=decoder, latents=config.latents, likelihood=pixels)
    rise = partial(objectives.ramp_schedule, transition_steps=config.ramp)
    terms = {"reconstruction": objectives.reconstruction, "kl": scaled(rise(config.beta), objectives.kl)}
    if name == "jl1_vae":
        columns = config.columns if config.method == "columns" else 1
        penalty = objectives.jacobian_l1(method=config.method, columns=columns)
        terms["jacobian_l1"] = scaled(rise(config.gamma), penalty)
    held = 7 * config.steps // 10
    falling = optax.linear_schedule(config.learning_rate, 0.0, config.steps - held, held)
    rate = falling if config.schedule == "linear" else config.learning_rate
    update = train.gradient_update(compose(**terms), model, optax.adam(rate), microbatch=config.slices)
    dots = data.three_dots(config.side, config.radius, num_train=config.images)
    validate = lab.jacobian_norm(dots.sample_images(dots.separate(16)))
    return lab.Training(model, update, dots, work=2.0 if name == "jl1_vae" else 1.0, validate=validate)


def score(config: Config, name: str, vae: VAE, dots: data.ThreeDots) -> dict[str, Any]:
    """The paper's metrics at both localities, on the same images for all models, and the price."""
    key, m, n, scores = jax.random.key(2106), config.clusters, config.samples, {}
    for suffix, locality in {"": 0.1, "_locality_1": 1.0}.items():
        local = evaluation.local_scores(key, vae, dots, locality=locality, clusters=m, num_samples=n).values
        for metric in ("mig", "modularity"):
            scores[f"local_{metric}{suffix}"] = local[metric]
            scores[f"local_{metric}_cluster_se{suffix}"] = local[f"{metric}_se"]
            scores[f"active_local_{metric}{suffix}"] = local[f"active_{metric}"]
        scores[f"local_mig_over_ceiling{suffix}"] = local["mig_over_ceiling"]
    parts = evaluation.elbo_parts(jax.random.key(2022), vae, dots.test)
    drawn, seen = evaluation.prior_samples(jax.random.key(3), vae, 500), dots.test.arrays["y"][:500]
    for what, x in {"three_dots": np.asarray(drawn), "images_of_three": dots.sample_images(seen)}.items():
        scores[what] = float(np.mean(dots.clear_dots(x) == 3))  # dots that touch or leave the frame are fewer
    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "active_units")
    return {**scores, **{k: parts[k] for k in (*names, "kl_per_dimension")}}


def summary(run: lab.Run) -> dict[str, Any]:
    """JL1-VAE minus beta-VAE, and the verdict: local MIG at least 1.5 times, both local scores above."""
    jl1, beta = (run.report["models"][name]["local_mig"]["mean"] for name in PAIR)
    difference, ratio = run.minus(*PAIR), jl1 / max(beta, 1e-12)
    lows = [difference[k]["ci95"][0] for k in ("local_mig", "local_modularity")]
    passed = None if None in lows else bool(ratio >= 1.5 and min(lows) > 0)
    return {"difference": difference, "local_mig_ratio": ratio, "passed": passed}


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw; models are shown at their first seed."""
    run = lab.run(config, PRESETS, rows, training, score, summary)
    more = {"test images with three dots": "images_of_three", "seconds of training": "train_seconds"}
    run.side_by_side(SHOWN | more, minus=PAIR)
    if "passed" in run.report:
        verdict = {True: "passed", False: "not passed", None: "not decided: an interval needs two seeds"}
        ratio, passed = run.report["local_mig_ratio"], verdict[run.report["passed"]]
        print(f"local MIG over the beta-VAE's: {ratio:.2f} (1.5 and both differences above zero: {passed})")
    dots = data.three_dots(run.config.side, run.config.radius)
    x = dots.sample_images(dots.separate(8))
    views = lab.views(x) | {"traversals": partial(lab.traversals, names=PAIR[::-1], x=x[0], top=None)}
    scores = partial(lab.scores, columns=SHOWN, references=PAPER, reference_label="paper, 64x64")
    return run.draw(training_curves=partial(lab.curves, names=TERMS, yscale="log"), scores=scores, **views)


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
