"""Settings of experiments, frozen dataclasses whose annotations say what is refused; flags, folders."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from vaejax import runs
from vaejax.checks import check_choice
from vaejax.fields import NonNegative, Positive, check_fields
from vaejax.files import expanded
from vaejax.ops.chunks import automatic_chunk

Config = TypeVar("Config")

# fields that do not change the results
SHOWN_ONLY = ("folder", "workers", "report_only", "dry_run", "retry", "tensorboard")


@dataclass(frozen=True)
class Settings:
    """Settings of every experiment; the values are those of its presets.

    A field of a subclass is annotated as Positive[int], NonNegative[float], a Literal of choices, or a tuple
    of these: other values are refused when an instance is made. The comment behind it is what `--help` says.
    """

    preset: str = "fast"  # named settings; read first, the other flags change them
    folder: Path | None = None
    """Where the run goes; by default runs/EXPERIMENT-PRESET, with a digest if flags change the preset."""
    chunk: Positive[int] = 100  # steps per program on the device
    workers: NonNegative[int] = 0  # trainings side by side; 0: one per CPU core, or one on an accelerator
    tensorboard: bool = False  # also write TensorBoard events
    report_only: bool = False  # rebuild report and figures of a finished run; train nothing
    dry_run: bool = False  # print steps, sizes, memory and an estimated time; train nothing
    retry: bool = False  # train again, from the start, what diverged
    seeds: Positive[int] = 1  # number of seeds of every training
    first_seed: Annotated[int, "at least 0", tyro.conf.arg(aliases=("--seed",))] = 0
    """The first seed, of weights, order and noise; the others follow."""
    sweep: tuple[str, ...] = ()
    """A grid, as `learning_rate=1e-3,2e-3 latents=8,16`: all combinations in one table and one figure, whose
    axis is the first field. Trainings that cells share are done once. Without values: no sweep."""
    latents: Positive[int] = 10  # d, the number of latents
    steps: Positive[int] = 10_000  # training steps
    batch_size: Positive[int] = 64  # examples per step
    learning_rate: Positive[float] = 1e-3  # Adam's

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class BetaVAE(Settings):
    """Settings of a convolutional beta-VAE, and of what is set beside it."""

    images: Positive[int] = 50_000  # training images
    width: Positive[float] = 1.0  # multiplier of channels and hidden units; 1 is the paper's model
    beta: NonNegative[float] = 1.0  # weight of the KL, reached at the end of the ramp
    ramp: NonNegative[int] = 2000  # steps over which the weights rise linearly from 0
    microbatch: NonNegative[int] | None = 8
    """Images per slice of a step, for speed on CPU; 0: as many as are fast here, None: the batch at once."""

    @property
    def slices(self) -> Any:
        """`microbatch` as `train.gradient_update` takes it."""
        return automatic_chunk if self.microbatch == 0 else self.microbatch


def parse(
    presets: Mapping[str, Config], description: str | None, arguments: Sequence[str] | None = None
) -> Config:
    """Read `--preset` first, then every other flag on top of that preset's values.

    Args:
      presets: name -> settings of that name; the first is the default. `--help` lists them.
      description: the script's header; its first three paragraphs are shown: title, command, purpose.
      arguments: the command line; None reads sys.argv.

    Raises:
      SystemExit: after --help, or with a message for unknown flags, values or presets.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default=next(iter(presets)))
    name = first.parse_known_args(arguments)[0].preset
    if name not in presets:
        raise SystemExit(f"--preset: expected one of {', '.join(presets)}; got {name!r}")
    shown = "\n\n".join([*(description or "").split("\n\n")[:3], f"Presets: {', '.join(presets)}."])
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    prog = f"python -m {module}" if module else None
    return tyro.cli(type(presets[name]), default=presets[name], args=arguments, description=shown, prog=prog)


def opened(title: str, config: Any, presets: Mapping[str, Any]) -> tuple[Any, Path]:
    """The config, with `report_only` the one that the folder holds, and the folder.

    By default it is runs/TITLE-PRESET, with a digest where flags changed the preset, and "-sweep" for a grid.
    """
    check_choice(config.preset, tuple(presets), "preset")
    free = {k: getattr(config, k) for k in (*SHOWN_ONLY, "sweep")}
    changed = config != dataclasses.replace(presets[config.preset], **free)
    name = f"{title}-{config.preset}" + (f"-{digest(config, free)}" if changed else "")
    folder = expanded(config.folder or Path("runs") / (name + ("-sweep" if config.sweep else "")))
    saved = runs.read_json(folder / "config.json") if config.report_only else {}  # JSON has no tuples
    as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items() if k not in SHOWN_ONLY}
    return dataclasses.replace(config, **as_tuples), folder


def digest(config: Any, free: Collection[str]) -> str:
    """Eight letters that tell configs apart by all but the fields `free`, for names of folders."""
    plain = {k: v for k, v in dataclasses.asdict(config).items() if k not in free}
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:8]
