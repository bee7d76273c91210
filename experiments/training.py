"""What experiments share that set a JL1-VAE beside a beta-VAE: settings, trainings, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import optax
from matplotlib.figure import Figure

from experiments import jobs, parallel, sweep
from experiments.dry_run import Kind, estimate
from experiments.jobs import Job
from vaejax import objectives, plots, runs, train
from vaejax.checks import check_choice, check_positive_int
from vaejax.ops.chunks import automatic_chunk
from vaejax.types import Model, Split, Update

MODELS = {"beta_vae": "beta-VAE", "jl1_vae": "JL1-VAE"}
UNITS = {"reconstruction": "nats", "kl": "nats", "KL": "nats", "jacobian_l1": "sum of |J|"}
ACTIVE = 0.1  # nats: a latent with a smaller KL is not in use, and scores of columns leave it out
SCORING = 0.1  # what the scores take, as a share of the training; for the bar


@dataclass(frozen=True)
class Seeded(jobs.Settings):
    """Settings of a beta-VAE trained with several seeds, and of what is set beside it."""

    seeds: int = 3
    """Number of seeds for each model."""
    first_seed: int = 0
    """The first seed; the others follow."""
    images: int = 50_000
    """Training images."""
    latents: int = 10
    """d, the number of latents."""
    width: float = 1.0
    """Multiplier of channels and hidden units; 1 is the paper's model."""
    steps: int = 10_000
    """Training steps."""
    batch_size: int = 64
    """Images per step."""
    learning_rate: float = 1e-3
    """Adam's."""
    beta: float = 1.0
    """Weight of the KL, reached at the end of the ramp."""
    ramp: int = 2000
    """Steps over which both weights rise linearly from 0."""
    microbatch: int | None = 8
    """Images per slice of a step, for speed on CPU; 0 takes as many as are fast on the device, None the batch
    at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("seeds", "images", "latents", "steps", "batch_size"):
            check_positive_int(getattr(self, name), name)
        jobs.check_finite(self, ("first_seed", "beta", "ramp"))
        jobs.check_finite(self, ("learning_rate",), positive=True)


@dataclass(frozen=True)
class Settings(Seeded):
    """Settings of a beta-VAE and a JL1-VAE."""

    gamma: float = 0.1
    """Weight of the Jacobian penalty of the JL1-VAE, reached at the end of the ramp."""
    method: str = "columns"
    """How the penalty is computed: exact, columns (unbiased sample of them) or finite_difference."""
    columns: int = 1
    """Jacobian columns per image and step, for method=columns."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.method, ("exact", "columns", "finite_difference"), "method")
        jobs.check_finite(self, ("gamma",))


Config = TypeVar("Config", bound=Settings)


def objective(config: Settings, name: str) -> Any:
    """-log p(x|z) + beta KL, and + gamma ||J||_{1,1} for the JL1-VAE; both weights rise over the ramp."""
    if name == "beta_vae":
        return ramped(config)
    columns = config.columns if config.method == "columns" else 1
    penalty = objectives.jacobian_l1(method=config.method, columns=columns)
    return ramped(config, jacobian_l1=(config.gamma, penalty))


def ramped(config: Seeded, **penalties: tuple[float, Any]) -> Any:
    """-log p(x|z) + beta KL + penalties, each a weight and a term; all weights rise over the ramp."""
    weighted = {"kl": (config.beta, objectives.kl), **penalties}
    terms = {name: objectives.scaled(ramp(config, weight), term) for name, (weight, term) in weighted.items()}
    return objectives.compose(reconstruction=objectives.reconstruction, **terms)


def ramp(config: Seeded, weight: float) -> optax.Schedule:
    """A weight that rises from 0 over the config's ramp."""
    # optax would stay at 0 for ever without steps to rise in
    return optax.linear_schedule(0.0, weight, config.ramp) if config.ramp else lambda step: weight


def update(config: Settings, model: Model, name: str) -> Update:
    """Adam on the objective."""
    return adam(config, model, objective(config, name))


def adam(config: Seeded, model: Model, loss: Any) -> Update:
    """Adam with the config's learning rate and microbatch."""
    return train.gradient_update(loss, model, optax.adam(config.learning_rate), microbatch=microbatch(config))


def microbatch(config: Seeded) -> int | Callable[..., int] | None:
    """The config's, for `gradient_update`."""
    return automatic_chunk if config.microbatch == 0 else config.microbatch


def open_run(
    title: str, config: Config, presets: Mapping[str, Config]
) -> tuple[Config, Path, dict[str, list[Path]]]:
    """The config, the run's folder, and those of its trainings, {model: one per seed}.

    The folder is `config.folder`, else runs/TITLE-PRESET, with a digest of the config where flags changed
    the preset. With `report_only` the config is the one that the folder holds.
    """
    config, folder = jobs.open_folder(title, config, presets)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    return config, folder, {name: [folder / f"{name}-seed{seed}" for seed in seeds] for name in MODELS}


def run(train_one: Callable[[Job], None], config: Settings, folder: Path, folders: dict) -> None:
    """Call `train_one`, a module-level function, on every training that is not finished yet.

    Args:
      train_one: trains and scores one job in its folder, as `train_job` does.
      config, folder, folders: as `open_run` returns them.

    Raises:
      ValueError: the folder holds a run of another config.
    """
    each = [
        Job(config, path, name, config.first_seed + i)
        for name, paths in folders.items()
        for i, path in enumerate(paths)
    ]
    jobs.run(train_one, each, [amount(job) for job in each], config, folder)


def train_job(
    job: Job,
    model: Model,
    load: Callable[[], Any],
    score: Callable[[Any, Any], dict[str, Any]],
) -> None:
    """Train and score one model with one seed, in a folder of its own; a finished one is left as it is.

    Args:
      job: the training.
      model: its model.
      load: the data set, with a Split `train`.
      score: `score(vae, data) -> {name: value}`, plain numbers or arrays, for the folder's report.json.
    """
    config, work = job.config, cost(job)

    def scored(vae: Any, loaded: Any) -> dict[str, Any]:
        scores = score(vae, loaded)
        parallel.report(amount(job) - config.steps * work)
        return scores

    jobs.train_job(
        job, model, update(config, model, job.name), load, scored,
        steps=config.steps, work=work, amount=amount(job),
    )  # fmt: skip


def amount(job: Job) -> float:
    """Work of a training and its scores, in steps of the beta-VAE."""
    return job.config.steps * cost(job) * (1 + SCORING)


def cost(job: Job) -> float:
    """Work of a step for the bar, in steps of the beta-VAE: the penalty adds decoder passes."""
    if job.name == "beta_vae":
        return 1.0
    return 2.0 if job.config.method == "columns" else 8.0


def dry_run(config: Settings, model: Model, shape: Sequence[int]) -> dict[str, Any]:
    """Say what the trainings would take, from a few steps of both models on grey images [H, W, C]."""
    grey = Split({"x": np.full((config.batch_size, *shape), 0.5, np.float32)}, "unit_interval")
    kinds = {
        label: Kind(model, update(config, model, name), grey, config.batch_size, config.steps, config.seeds)
        for name, label in MODELS.items()
    }
    return estimate(kinds, config.workers or parallel.default_workers())


def summarise(folders: Mapping[str, list[Path]]) -> dict[str, Any]:
    """Means and intervals over seeds of what the trainings report, and JL1-VAE minus beta-VAE.

    Raises:
      FileNotFoundError: a training is not finished.
    """
    reports = jobs.read_reports({f: f for paths in folders.values() for f in paths})
    cells = {name: [reports[f] for f in paths] for name, paths in folders.items()}
    summary = {name: jobs.means(each, each[0]) for name, each in cells.items()}
    jl1, beta = summary["jl1_vae"], summary["beta_vae"]
    return {
        "models": summary,
        "difference": {k: runs.welch_ci95(jl1[k]["per_seed"], beta[k]["per_seed"]) for k in beta if k in jl1},
    }


def mean_defined(values: np.ndarray) -> float:
    """The mean over columns that have a value; 0 where none has, as in a model without a latent in use."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else 0.0


def table(report: Mapping[str, Any], shown: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """A Markdown table: a row per score, a column per model with 95 % intervals, and the difference.

    Args:
      report: as `summarise` returns it; further models may lack some of the scores.
      shown: title of a row -> name of the score.
      labels: model in the report -> title of its column.
    """
    rows = []
    timed = "train_seconds" in report["difference"]  # else not known of some training
    for title, key in {**shown, **({"seconds of training": "train_seconds"} if timed else {})}.items():
        entries = {label: report["models"][name].get(key) for name, label in labels.items()}
        row = {"": title} | {label: sweep.interval(e) if e else "" for label, e in entries.items()}
        rows.append(row | {"JL1-VAE minus beta-VAE": sweep.interval(report["difference"][key])})
    return runs.table(rows)


def curves(folders: Mapping[str, list[Path]], yscale: str = "linear") -> Figure:
    """The terms of both models over training, every seed a line; a log scale has gaps at values of 0."""
    shown = ("reconstruction", "kl", "jacobian_l1")
    lines = {}
    for name, label in MODELS.items():
        seeds = [train.read_metrics(path)[0] for path in folders[name]]
        terms = {m: np.stack([c[m] for c in seeds]) for m in shown if m in seeds[0]}
        if yscale == "log":  # a decoder may be flat, and its Jacobian 0
            terms = {m: np.where(c > 0, c, np.nan) for m, c in terms.items()}
        lines[label] = {"step": seeds[0]["step"], **terms}
    records = len(next(iter(lines.values()))["step"])
    return plots.training_curves(lines, smooth=max(1, records // 50), units=UNITS, yscale=yscale)


def scores(
    report: Mapping[str, Any], shown: Mapping[str, str], labels: Mapping[str, str], **references: Any
) -> Figure:
    """Scores of all models that have them, every seed a point; arguments as for `table` and the plot."""
    values = {
        title: {label: m[key] for name, label in labels.items() if key in (m := report["models"][name])}
        for title, key in shown.items()
    }
    return plots.score_comparison(values, units=UNITS, **references)
