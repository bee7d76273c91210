"""Settings of the flagship, and the trainings and folders they ask for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path

from experiments import sweep, training
from experiments.jobs import SHOWN_ONLY, Job
from experiments.training import MODELS
from vaejax.checks import check_positive_int
from vaejax.data.dots import check_geometry

PENALTY = ("gamma", "method", "columns")  # fields that a beta-VAE does not depend on


@dataclass(frozen=True)
class Dots(training.Seeded):
    """Settings of trainings on three-dots that are judged by local metrics."""

    width: float = 0.5
    """Multiplier of channels and hidden units; 1 is the paper's model."""
    batch_size: int = 32
    """Images per step."""
    learning_rate: float = 2e-3
    """Adam's."""
    side: int = 32
    """Pixels on a side, a power of two of at least 16."""
    radius: float = 0.08
    """Radius of a dot, as a share of the side."""
    clusters: int = 20
    """Neighbourhoods of the local metrics."""
    samples: int = 10_000
    """Images per neighbourhood."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clusters", "samples"):
            check_positive_int(getattr(self, name), name)
        check_geometry(self.side, self.radius)


@dataclass(frozen=True)
class Config(Dots, training.Settings):
    """beta-VAE and Jacobian-L1 VAE on three-dots."""

    seeds: int = 4
    """Number of seeds for each model."""
    gamma: float = 0.2
    """Weight of the Jacobian penalty of the JL1-VAE, reached at the end of the ramp."""
    columns: int = 2
    """Jacobian columns per image and step, for method=columns; `jl1_cost` found 2 best."""
    sweep: tuple[str, ...] = ()
    """A grid, as `gamma=.05,.1,.2 beta=1,4`: all combinations in one table and one figure, whose axis is the
    first field. Trainings that cells share are done once and found again. Without values: no sweep."""


_AUTHORS = Config(
    side=64,
    width=1.0,
    batch_size=64,
    microbatch=0,
    method="exact",
    columns=1,
    beta=4.0,
    gamma=0.1,
    learning_rate=1e-3,
)
PRESETS = {
    "fast": Config(),
    "small": replace(_AUTHORS, preset="small", images=20_000, steps=30_000, ramp=10_000, seeds=1),
    "paper": replace(
        _AUTHORS,
        preset="paper",
        images=500_000,
        steps=300_000,
        ramp=100_000,
        learning_rate=1e-4,
        seeds=10,
        sweep=("gamma=0,.05,.1,.2,.4",),  # gamma = 0 is the beta-VAE
    ),
}


def plan(config: Config, folder: Path) -> list[tuple[sweep.Cell[Config], dict[str, list[Job]]]]:
    """The cells of the sweep, or the config itself without one, and the trainings of each by model."""
    job = _shared if config.sweep else _alone
    cells = []
    for cell in sweep.cells(config, (*SHOWN_ONLY, "preset")):
        seeds = range(cell.config.first_seed, cell.config.first_seed + cell.config.seeds)
        jobs = {name: [job(cell.config, folder, name, seed) for seed in seeds] for name in MODELS}
        cells.append((cell, jobs))
    return cells


def _alone(config: Config, folder: Path, name: str, seed: int) -> Job:
    """A training of a run without a sweep."""
    return Job(config, folder / f"{name}-seed{seed}", name, seed)


def _shared(config: Config, folder: Path, name: str, seed: int) -> Job:
    """A training of a sweep, in a folder named by what it depends on: cells that need it find it there."""
    name = name if config.gamma else "beta_vae"  # no penalty, no other model
    free = ["seeds", "first_seed"]
    if name == "beta_vae":
        free += PENALTY
    elif config.method != "columns":
        free += ["columns"]
    config = replace(config, **{field: getattr(Config(), field) for field in free})
    depends = {k: v for k, v in dataclasses.asdict(config).items() if k not in (*SHOWN_ONLY, "preset")}
    return Job(config, folder / "trainings" / f"{name}-{sweep.digest(depends)}-seed{seed}", name, seed)


def distinct(cells: list[tuple[sweep.Cell[Config], dict[str, list[Job]]]]) -> list[Job]:
    """Every training once."""
    return list({job.folder: job for _, jobs in cells for each in jobs.values() for job in each}.values())
