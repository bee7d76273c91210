"""Settings of experiments, frozen dataclasses whose annotations say what is refused; flags, grids."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from vaejax import runs
from vaejax.checks import NonNegative, Positive, check_choice, check_fields
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
    batch_size: Positive[int] = 64  # images per step
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
    default = presets[name]
    shown = "\n\n".join([*(description or "").split("\n\n")[:3], f"Presets: {', '.join(presets)}."])
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    prog = f"python -m {module}" if module else None
    return tyro.cli(type(default), default=default, args=arguments, description=shown, prog=prog)


def opened(title: str, config: Any, presets: Mapping[str, Any]) -> tuple[Any, Path]:
    """The config, with `report_only` the one that the folder holds, and the folder.

    By default it is runs/TITLE-PRESET, with a digest where flags changed the preset, and "-sweep" for a grid.
    """
    check_choice(config.preset, tuple(presets), "preset")
    plain = {k: v for k, v in dataclasses.asdict(config).items() if k not in (*SHOWN_ONLY, "sweep")}
    changed = any(getattr(presets[config.preset], k) != v for k, v in plain.items())
    name = f"{title}-{config.preset}" + (f"-{digest(plain)}" if changed else "")
    folder = expanded(config.folder or Path("runs") / (name + ("-sweep" if config.sweep else "")))
    if not config.report_only:
        return config, folder
    saved = {k: v for k, v in runs.read_json(folder / "config.json").items() if k not in SHOWN_ONLY}
    as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}  # JSON has no tuples
    return dataclasses.replace(config, **as_tuples), folder


def digest(plain: Mapping[str, Any]) -> str:
    """Eight letters that tell plain configs apart, for names of folders."""
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:8]


def cells(config: Any, fixed: Collection[str]) -> list[tuple[dict[str, Any], Any]]:
    """Every cell of the grid of `config.sweep`, the last field fastest: swept values, the config with them.

    Raises:
      ValueError: for no field=value,value,..., a field that is unknown, `fixed` or swept twice, a value that
        is not of its type or comes twice, or one that the config refuses.
    """
    kinds = get_type_hints(type(config))
    names = sorted(kinds.keys() - {*fixed, "sweep"})
    grid: dict[str, list[Any]] = {}
    for axis in config.sweep:
        name, _, values = axis.partition("=")
        name = name.strip().replace("-", "_")  # as in a flag
        if name not in names:
            reason = "it cannot be swept" if name in kinds else "the config has no such field"
            raise ValueError(f"sweep: expected one of {', '.join(names)}; got {name!r}: {reason}")
        if name in grid:
            raise ValueError(f"sweep: expected every field once, got {name} again")
        grid[name] = [_value(part.strip(), kinds[name], name) for part in values.split(",")]
        if len(set(grid[name])) < len(grid[name]):
            raise ValueError(f"sweep: expected every value once, got {axis!r}")
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    return [(point, dataclasses.replace(config, sweep=(), **point)) for point in points]


def _value(text: str, kind: Any, name: str) -> Any:
    """The text as a value of a field's type; `none` is None where the type allows it."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if NoneType in options and text.lower() == "none":
        return None
    if bool in options and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if get_origin(kind) is Literal and text in get_args(kind):
        return text
    for option in (int, float, str):
        if option in options and text:
            with contextlib.suppress(ValueError):
                return option(text)
    expected = kind.__name__ if isinstance(kind, type) else kind
    raise ValueError(f"sweep: expected {name}=value,value,... with values of {expected}; got {text!r}")


def short(value: Any) -> str:
    """A swept value in few letters, and different ones in different letters."""
    few = isinstance(value, float) and float(f"{value:g}") == value
    return f"{value:g}" if few else str(value)
