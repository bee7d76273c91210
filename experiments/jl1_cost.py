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

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import jl1_config, jl1_cost_report, jobs, parallel, training
from experiments.cli import parse
from experiments.dry_run import Kind, estimate
from experiments.jl1_three_dots import METRIC_KEY, build, load
from experiments.jobs import Job
from vaejax import data, disentanglement, evaluation, objectives, runs, train
from vaejax.checks import check_positive_int
from vaejax.types import VAE, Model, Split, Update


class Method(NamedTuple):
    """A penalty, the field of the config that is its weight, and the work of a step in beta-VAE steps."""

    label: str
    penalty: Callable[..., jax.Array] | None
    weight: str
    work: float


METHODS = {
    "beta_vae": Method("beta-VAE", None, "", 1),
    "jl1_exact": Method("JL1, exact", objectives.jacobian_l1(), "gamma", 6),
    "jl1_1": Method("JL1, 1 column", objectives.jacobian_l1(method="columns"), "gamma", 2),
    "jl1_2": Method("JL1, 2 columns", objectives.jacobian_l1(method="columns", columns=2), "gamma", 2.5),
    "jl2": Method("JL2, 1 column", objectives.jacobian_l2(method="columns"), "gamma_jl2", 2),
    "orojar": Method("OroJaR, 2 probes", objectives.orthogonality(method="hutchinson"), "gamma_orojar", 2.5),
}


@dataclass(frozen=True)
class Config(jl1_config.Dots):
    """Jacobian penalties on three-dots, by what they cost."""

    steps: int = 5000
    """Training steps, a multiple of `every`."""
    ramp: int = 1000
    """Steps over which both weights rise linearly from 0."""
    gamma: float = 0.2
    """Weight of ||J||_{1,1}, reached at the end of the ramp."""
    gamma_jl2: float = 3.0
    """Weight of ||J||_F^2, likewise."""
    gamma_orojar: float = 3.0
    """Weight of the orthogonality of columns, likewise."""
    every: int = 500
    """Steps between scores, at least three chunks."""
    samples: int = 2000
    """Images per neighbourhood."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_int(self.every, "every")
        jobs.check_finite(self, ("gamma", "gamma_jl2", "gamma_orojar"))
        if self.every % self.chunk or self.every < 3 * self.chunk:
            raise ValueError(
                f"every: expected a multiple of chunk={self.chunk}, three chunks or more; got {self.every}"
            )
        if self.steps % self.every:
            raise ValueError(f"steps: expected a multiple of every={self.every}, got {self.steps}")


PRESETS = {"fast": Config()}


def update(config: Config, model: Model, name: str) -> Update:
    """Adam on -log p(x|z) + beta KL + gamma penalty; both weights rise over the ramp."""
    method = METHODS[name]
    own = {"penalty": (getattr(config, method.weight), method.penalty)} if method.penalty else {}
    return training.adam(config, model, training.ramped(config, **own))


class Watch:
    """Measures steps alone: the median of the chunks between two scores leaves compilation out."""

    def __init__(self) -> None:
        self._rates: list[float] = []
        self._mark = time.perf_counter()

    def chunk(self, n: int) -> None:
        """A chunk of n steps is done."""
        self._rates.append(1000 * (time.perf_counter() - self._mark) / n)
        self._mark = time.perf_counter()

    def read(self) -> float:
        """Milliseconds a step since the last reading; NaN where a killed process has measured them."""
        rate = float(np.median(self._rates)) if self._rates else math.nan
        self._rates = []
        return rate

    def go_on(self) -> None:
        """What was done since the last chunk is not training."""
        self._mark = time.perf_counter()


def scorer(config: Config, dots: data.ThreeDots) -> Callable[[Any], dict[str, float]]:
    """A function of a VAE to its local scores, on the flagship's neighbourhoods."""
    factors = disentanglement.local_clusters(
        jax.random.key(METRIC_KEY), dots.num_values,
        clusters=config.clusters, num_samples=config.samples,
    )  # fmt: skip
    encode = jax.jit(evaluation.posterior_mean)  # compiles once for all VAEs

    def score(vae: Any) -> dict[str, float]:
        codes = disentanglement.represent_factors(
            lambda x: encode(vae, {"x": x}), dots.sample_images, factors
        )
        local = disentanglement.score_local(codes, factors)
        return {"local_mig": local.mig, "local_modularity": local.modularity}

    return score


def train_one(job: Job) -> None:
    """Train one method with one seed, scored along the way; a finished training is left as it is."""
    config, folder, name, _ = job
    dots, model, watch = load(config), build(config), Watch()
    score = scorer(config, dots)

    def validate(_: Any, vae: VAE) -> dict[str, float]:
        record = {"ms_a_step": watch.read(), **score(vae)}
        watch.go_on()
        return record

    work = METHODS[name].work
    jobs.train_job(
        job, model, update(config, model, name), lambda: dots,
        lambda *_: jl1_cost_report.along(*train.read_metrics(folder), config.every),
        steps=config.steps, work=work, amount=config.steps * work, chunk_done=watch.chunk,
        validate=validate, save_every=config.every // config.chunk,
    )  # fmt: skip


def dry_run(config: Config) -> dict[str, Any]:
    """Say what the trainings would take, from a few steps of each method on blank images."""
    model = build(config)
    blank = np.zeros((config.batch_size, config.side, config.side, 1), np.float32)
    split = Split({"x": blank}, "unit_interval")
    kinds = {
        method.label: Kind(
            model, update(config, model, name), split, config.batch_size, config.steps, config.seeds
        )
        for name, method in METHODS.items()
    }
    return estimate(kinds, config.workers or parallel.default_workers())


def main(config: Config) -> dict[str, Any]:
    """Train, report and draw."""
    if config.dry_run:
        return dry_run(config)
    config, folder = jobs.open_folder("jl1_cost", config, PRESETS)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    folders = {name: [folder / f"{name}-seed{seed}" for seed in seeds] for name in METHODS}
    if not config.report_only:
        each = [Job(config, folders[name][i], name, seed) for name in METHODS for i, seed in enumerate(seeds)]
        amounts = [config.steps * METHODS[job.name].work for job in each]
        jobs.run(train_one, each, amounts, config, folder, prepare=lambda: load(config).train)
    report = {**jl1_cost_report.summarise(folders), "config": config}
    runs.write_json(folder / "report.json", report)
    labels = {name: method.label for name, method in METHODS.items()}
    jl1_cost_report.draw(folder, report, labels)
    print(jl1_cost_report.table(report, labels))
    return report


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
