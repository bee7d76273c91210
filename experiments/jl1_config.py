"""Settings of the flagship, and the trainings and folders they ask for."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments import sweep
from vaejax.checks import check_choice, check_positive_int

MODELS = {"beta_vae": "beta-VAE", "jl1_vae": "JL1-VAE"}
# fields that do not change the results
SHOWN_ONLY = ("folder", "workers", "report_only", "dry_run", "tensorboard")
PENALTY = ("gamma", "method", "columns")  # fields that a beta-VAE does not depend on


@dataclass(frozen=True)
class Config:
    """beta-VAE and Jacobian-L1 VAE on three-dots."""

    preset: str = "fast"
    """Named settings; read first, the other flags change them."""
    folder: Path | None = None
    """Where the run goes; by default runs/jl1_three_dots-PRESET, with a digest if flags change the preset."""
    seeds: int = 4
    """Number of seeds for each model."""
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
    steps: int = 10_000
    """Training steps."""
    batch_size: int = 32
    """Images per step."""
    learning_rate: float = 2e-3
    """Adam's."""
    beta: float = 1.0
    """Weight of the KL, reached at the end of the ramp."""
    gamma: float = 0.2
    """Weight of the Jacobian penalty of the JL1-VAE, reached at the end of the ramp."""
    ramp: int = 2000
    """Steps over which both weights rise linearly from 0."""
    method: str = "columns"
    """How the penalty is computed: exact, columns (unbiased sample of them) or finite_difference."""
    columns: int = 2
    """Jacobian columns per image and step, for method=columns; `jl1_cost` found 2 best."""
    microbatch: int | None = 8
    """Images per slice of a step, for speed on CPU; none takes the batch at once."""
    chunk: int = 100
    """Steps per program on the device."""
    clusters: int = 20
    """Neighbourhoods of the local metrics."""
    samples: int = 10_000
    """Images per neighbourhood."""
    sweep: tuple[str, ...] = ()
    """A grid, as `gamma=.05,.1,.2 beta=1,4`: all combinations in one table and one figure, whose axis is the
    first field. Trainings that cells share are done once and found again. Without values: no sweep."""
    workers: int = 0
    """Trainings side by side; 0 means one per CPU core, or one on an accelerator."""
    tensorboard: bool = False
    """Also write TensorBoard events."""
    report_only: bool = False
    """Rebuild report and figures of a finished run; train nothing."""
    dry_run: bool = False
    """Print steps, sizes, memory and an estimated time from a few measured steps; train nothing."""

    def __post_init__(self) -> None:
        for name in ("seeds", "images", "latents", "steps", "batch_size", "chunk", "clusters", "samples"):
            check_positive_int(getattr(self, name), name)
        check_choice(self.method, ("exact", "columns", "finite_difference"), "method")
        for name in ("beta", "gamma", "ramp", "workers", "first_seed", "learning_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: expected a finite number of at least 0, got {getattr(self, name)}")


_AUTHORS = Config(
    side=64,
    width=1.0,
    batch_size=64,
    microbatch=2,
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


class Job(NamedTuple):
    """A training: one model, one seed, a folder of its own."""

    config: Config
    folder: Path
    name: str
    seed: int


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
    depends = {k: v for k, v in stored(config).items() if k not in (*SHOWN_ONLY, "preset")}
    return Job(config, folder / "trainings" / f"{name}-{sweep.digest(depends)}-seed{seed}", name, seed)


def distinct(cells: list[tuple[sweep.Cell[Config], dict[str, list[Job]]]]) -> list[Job]:
    """Every training once."""
    return list({job.folder: job for _, jobs in cells for each in jobs.values() for job in each}.values())


def stored(config: Config) -> dict[str, Any]:
    """The config as folders keep it; without a sweep as it was before there were any."""
    plain = dataclasses.asdict(config)
    return plain if config.sweep else {k: v for k, v in plain.items() if k != "sweep"}


def default_folder(config: Config) -> Path:
    """runs/jl1_three_dots-<preset>, with a digest of the config where flags changed the preset."""
    plain = {k: v for k, v in stored(config).items() if k not in (*SHOWN_ONLY, "sweep")}
    changed = any(getattr(PRESETS[config.preset], k) != v for k, v in plain.items())
    name = f"jl1_three_dots-{config.preset}" + (f"-{sweep.digest(plain)}" if changed else "")
    return Path("runs") / (name + ("-sweep" if config.sweep else ""))
