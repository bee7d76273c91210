"""What a Jacobian penalty buys per step and per second, on three-dots (Rhodes & Lee 2021, arXiv 2106.02923).

    python -m experiments.jl1_cost --preset fast

Trains the beta-VAE and five penalties beside it, with the same images, initial weights and data order, and
draws local MIG and modularity against steps and seconds. OroJaR has two random probes, its authors' k.

At a JL1-VAE after 1000 steps the weights make costs alike: 20 nats of JL1, 22 of JL2, 18 of OroJaR.

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

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments import jl1_config, jl1_cost_report, jl1_three_dots, parallel, sweep
from experiments.cli import parse
from experiments.dry_run import Kind, estimate
from experiments.jobs import SHOWN_ONLY, Job
from vaejax import data, evaluation, objectives, runs, train
from vaejax.checks import check_positive_int
from vaejax.types import Model, Split, Update


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
class Config:
    """Jacobian penalties on three-dots, by what they cost."""

    preset: str = "fast"
    """Named settings; read first, the other flags change them."""
    folder: Path | None = None
    """Where the run goes; by default runs/jl1_cost-PRESET, with a digest if flags change the preset."""
    seeds: int = 3
    """Number of seeds for each method."""
    first_seed: int = 0
    """The first seed; the others follow."""
    side: int = 32
    """Pixels on a side, a power of two of at least 16."""
    radius: float = 0.08
    """Radius of a dot, as a share of the side."""
    images: int = 50_000
    """Training images."""
    latents: int = 10
    """d, the number of latents."""
    width: float = 0.5
    """Multiplier of channels and hidden units; 1 is the paper's model."""
    steps: int = 5000
    """Training steps, a multiple of `every`."""
    batch_size: int = 32
    """Images per step."""
    learning_rate: float = 2e-3
    """Adam's."""
    beta: float = 1.0
    """Weight of the KL, reached at the end of the ramp."""
    gamma: float = 0.2
    """Weight of ||J||_{1,1}, reached at the end of the ramp."""
    gamma_jl2: float = 3.0
    """Weight of ||J||_F^2, likewise."""
    gamma_orojar: float = 3.0
    """Weight of the orthogonality of columns, likewise."""
    ramp: int = 1000
    """Steps over which both weights rise linearly from 0."""
    microbatch: int | None = 8
    """Images per slice of a step, for speed on CPU; none takes the batch at once."""
    chunk: int = 100
    """Steps per program on the device."""
    every: int = 500
    """Steps between scores, at least three chunks."""
    clusters: int = 20
    """Neighbourhoods of the local metrics."""
    samples: int = 2000
    """Images per neighbourhood."""
    workers: int = 0
    """Trainings side by side; 0 means one per CPU core, or one on an accelerator."""
    tensorboard: bool = False
    """Also write TensorBoard events."""
    report_only: bool = False
    """Rebuild report and figures of a finished run; train nothing."""
    dry_run: bool = False
    """Print steps, sizes, memory and an estimated time from a few measured steps; train nothing."""

    def __post_init__(self) -> None:
        for name in ("seeds", "images", "latents", "steps", "batch_size", "chunk", "every", "samples"):
            check_positive_int(getattr(self, name), name)
        for name in ("learning_rate", "beta", "gamma", "gamma_jl2", "gamma_orojar", "ramp", "workers"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: expected a finite number of at least 0, got {getattr(self, name)}")
        if self.every % self.chunk or self.every < 3 * self.chunk:
            raise ValueError(
                f"every: expected a multiple of chunk={self.chunk}, three chunks or more; got {self.every}"
            )
        if self.steps % self.every:
            raise ValueError(f"steps: expected a multiple of every={self.every}, got {self.steps}")


PRESETS = {"fast": Config()}


def build(config: Config) -> Model:
    """The flagship's model."""
    same = {name: getattr(config, name) for name in ("side", "latents", "width")}
    return jl1_three_dots.build(jl1_config.Config(**same))


def update(config: Config, model: Model, name: str) -> Update:
    """Adam on -log p(x|z) + beta KL + gamma penalty; both weights rise over the ramp."""

    def ramp(weight: float) -> optax.Schedule:
        # optax would stay at 0 for ever without steps to rise in
        return optax.linear_schedule(0.0, weight, config.ramp) if config.ramp else lambda step: weight

    method = METHODS[name]
    terms: dict[str, Any] = {
        "reconstruction": objectives.reconstruction,
        "kl": objectives.scaled(ramp(config.beta), objectives.kl),
    }
    if method.penalty is not None:
        terms["penalty"] = objectives.scaled(ramp(getattr(config, method.weight)), method.penalty)
    adam = optax.adam(config.learning_rate)
    return train.gradient_update(objectives.compose(**terms), model, adam, microbatch=config.microbatch)


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
    factors = evaluation.local_clusters(
        jax.random.key(jl1_three_dots.METRIC_KEY), dots.num_values,
        clusters=config.clusters, samples=config.samples,
    )  # fmt: skip
    encode = jax.jit(lambda vae, x: evaluation.representation(vae)(x))  # compiles once for all VAEs

    def score(vae: Any) -> dict[str, float]:
        codes = evaluation.represent_factors(lambda x: encode(vae, x), dots.sample_images, factors)
        local = evaluation.score_local(codes, factors)
        return {"local_mig": local.mig, "local_modularity": local.modularity}

    return score


def train_one(job: Job) -> None:
    """Train one method with one seed, scored along the way; a finished training is left as it is."""
    config, folder, name, seed = job
    if (folder / "report.json").exists():
        parallel.report(config.steps * METHODS[name].work)
        return
    start = time.perf_counter()
    dots = data.three_dots(config.side, config.radius, num_train=config.images)
    model = build(config)
    runs.create(folder, {**dataclasses.asdict(config), "method": name, "seed": seed}, model, SHOWN_ONLY)
    score, watch, done = scorer(config, dots), Watch(), []

    def progress(n: int, _: Any) -> None:
        watch.chunk(n)
        done.append(n)
        parallel.report(n * METHODS[name].work)

    def validate(_: Any, vae: Any) -> dict[str, float]:
        record = {"ms_a_step": watch.read(), **score(vae)}
        watch.go_on()
        return record

    fitted = train.fit(
        jax.random.key(seed), model, update(config, model, name), dots.train, config.steps,
        batch_size=config.batch_size, chunk=config.chunk, validate=validate,
        save_every=config.every // config.chunk, folder=folder, resume=True,
        tensorboard=config.tensorboard, progress=progress,
    )  # fmt: skip
    parallel.report((config.steps - sum(done)) * METHODS[name].work)  # what an earlier process did
    seconds = time.perf_counter() - start
    runs.write_json(folder / "manifest.json", runs.manifest(seconds=seconds, params=fitted.state.params))
    runs.write_json(folder / "report.json", jl1_cost_report.along(fitted, config.every))


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


def default_folder(config: Config) -> Path:
    """runs/jl1_cost-PRESET, with a digest of the config where flags changed the preset."""
    plain = {k: v for k, v in dataclasses.asdict(config).items() if k not in SHOWN_ONLY}
    changed = any(getattr(PRESETS[config.preset], k) != v for k, v in plain.items())
    return Path("runs") / (f"jl1_cost-{config.preset}" + (f"-{sweep.digest(plain)}" if changed else ""))


def run(config: Config, folder: Path, folders: Mapping[str, list[Path]]) -> None:
    """Train whatever is not finished yet."""
    start = time.perf_counter()
    runs.create(folder, config, ignore=SHOWN_ONLY)
    jobs = [
        Job(config, path, name, config.first_seed + i)
        for name, paths in folders.items()
        for i, path in enumerate(paths)
    ]
    if all((job.folder / "report.json").exists() for job in jobs):
        return
    data.three_dots(config.side, config.radius, num_train=config.images).train  # noqa: B018 - prepared once
    workers = min(config.workers or parallel.default_workers(), len(jobs))
    amounts = [config.steps * METHODS[job.name].work for job in jobs]
    parallel.run_all(train_one, jobs, amounts, workers, f"{len(jobs)} trainings")
    path = folder / "manifest.json"
    before = runs.read_json(path)["wall_seconds"] if path.exists() else 0.0
    runs.write_json(path, runs.manifest(seconds=before + time.perf_counter() - start))


def main(config: Config) -> dict[str, Any]:
    """Train, report and draw."""
    if config.dry_run:
        return dry_run(config)
    folder = config.folder or default_folder(config)
    if config.report_only:
        saved = runs.read_json(folder / "config.json")
        config = replace(config, **{k: v for k, v in saved.items() if k not in SHOWN_ONLY})
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    folders = {name: [folder / f"{name}-seed{seed}" for seed in seeds] for name in METHODS}
    if not config.report_only:
        run(config, folder, folders)
    report = {**jl1_cost_report.summarise(folders), "config": config}
    runs.write_json(folder / "report.json", report)
    labels = {name: method.label for name, method in METHODS.items()}
    jl1_cost_report.draw(folder, report, labels)
    print(jl1_cost_report.table(report, labels))
    return report


if __name__ == "__main__":
    main(parse(PRESETS, __doc__))
