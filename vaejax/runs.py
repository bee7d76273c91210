"""A run folder: config, manifest, report, means and intervals, tables; and loading a finished run.

    folder/config.json     the experiment's dataclass
    folder/model.json      the model's spec
    folder/manifest.json   versions, device, commit, parameters, wall time, peak memory
    folder/report.json     results
    folder/metrics.jsonl, folder/checkpoints/   from `train.fit`
    folder/figures/        pictures, rebuilt from the report and the checkpoints

Everything is JSON or plain arrays: loading a folder runs no code of whoever made it.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from vaejax import models
from vaejax.checks import check_choice
from vaejax.evaluation import posterior_mean
from vaejax.train import Checkpoints
from vaejax.types import VAE, Array, Model, PyTree

__all__ = [
    "Run",
    "create",
    "load",
    "load_encoder",
    "manifest",
    "mean_ci95",
    "read_json",
    "table",
    "welch_ci95",
    "write_json",
]

_PACKAGES = (
    "vaejax", "jax", "jaxlib", "flax", "optax", "distrax", "orbax-checkpoint", "numpy", "scikit-learn",
)  # fmt: skip


class Run(NamedTuple):
    """A finished run: its config as a plain dict, the model, and host arrays of a checkpoint."""

    folder: Path
    config: dict[str, Any]
    model: Model
    params: dict[str, PyTree]
    variables: PyTree

    @property
    def vae(self) -> VAE:
        """The model with the run's parameters bound."""
        return self.model.bind(self.params, self.variables)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON in one piece: a reader never sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, default=_plain, allow_nan=False)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text + "\n")
    temporary.replace(path)


def _plain(value: Any) -> Any:
    """Numpy and jax numbers and arrays, paths and dataclasses as what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    raise TypeError(f"value: expected plain data, numbers or arrays; got {type(value).__name__}")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text())


def create(folder: str | Path, config: Any, model: Model | None = None, ignore: Sequence[str] = ()) -> Path:
    """Make a run folder, or go on with one that has the same config.

    Args:
      folder: the folder.
      config: a dataclass or a dict of plain data.
      model: its spec is stored too, so that `load` can build it again.
      ignore: names of config fields that may differ (where it runs, how it is shown).

    Raises:
      ValueError: if the folder holds a run of another config; the differing fields are shown.
    """
    folder = Path(folder)
    config = json.loads(json.dumps(config, default=_plain))
    if (folder / "config.json").exists():
        saved = read_json(folder / "config.json")
        names = sorted((saved.keys() | config.keys()) - set(ignore))
        changed = [
            f"{name}: {saved.get(name)!r} there, {config.get(name)!r} now"
            for name in names
            if saved.get(name) != config.get(name)
        ]
        if changed:
            raise ValueError(f"folder: {folder} holds a run of another config ({'; '.join(changed)})")
    write_json(folder / "config.json", config)
    if model is not None:
        spec = json.loads(json.dumps(model.spec, default=_plain))
        if (folder / "model.json").exists() and read_json(folder / "model.json") != spec:
            raise ValueError(f"model: {folder} holds a run of another model; see its model.json")
        write_json(folder / "model.json", spec)
    return folder


def manifest(*, seconds: float, params: PyTree = None, **more: Any) -> dict[str, Any]:
    """What a run ran on: versions, device, commit, parameters, wall time, peak memory.

    Args:
      seconds: wall time of the run.
      params: its parameters, counted; None where there are several sets.
      **more: further plain entries.
    """
    device = jax.devices()[0]
    accelerator = device.memory_stats() if device.platform != "cpu" else None
    return {
        "versions": {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "platform": platform.platform(),
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "commit": _commit(),
        "parameters": None if params is None else sum(a.size for a in jax.tree.leaves(params)),
        "wall_seconds": round(seconds, 1),
        "peak_memory_mib": _peak_memory_mib(),
        "device_peak_memory_mib": accelerator and round(accelerator["peak_bytes_in_use"] / 2**20),
        **more,
    }


def _peak_memory_mib() -> int | None:
    """The largest this process or one it started has been; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there, KiB elsewhere
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(w).ru_maxrss for w in who) * unit / 2**20)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the source tree, with "+" if it has changes; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True
        ).stdout

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not someone else's repository
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def load(folder: str | Path, *, checkpoint: str = "latest", model: Model | None = None) -> Run:
    """Load a finished run.

    Args:
      folder: a folder with config.json, model.json and checkpoints.
      checkpoint: "latest", the last step, or "best", the lowest validation neg_elbo.
      model: the model, where its parts are not vaejax's own; None builds it from model.json.

    Raises:
      FileNotFoundError: if the folder holds no run.
      ValueError: if it holds no such checkpoint, or the model cannot be built from model.json.
    """
    folder = Path(folder)
    check_choice(checkpoint, ("latest", "best"), "checkpoint")
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"folder: expected a run folder with config.json, got {folder}")
    if not (folder / "checkpoints" / checkpoint).is_dir():
        raise ValueError(f"checkpoint: {folder} holds no {checkpoint!r} checkpoint")
    if model is None:
        model = models.from_spec(read_json(folder / "model.json"))
    checkpoints = Checkpoints(folder / "checkpoints" / checkpoint)
    try:
        params, variables = checkpoints.restore_params()
    finally:
        checkpoints.close()
    return Run(folder, read_json(folder / "config.json"), model, params, variables)


def load_encoder(folder: str | Path, *, checkpoint: str = "latest", model: Model | None = None):
    """The encoder of a finished run alone: a function of images [n, ...] to posterior means [n, d]."""
    return jax.tree_util.Partial(_encoded, load(folder, checkpoint=checkpoint, model=model).vae)


def _encoded(vae: VAE, x: Any) -> Array:
    return posterior_mean(vae, {"x": x})


def mean_ci95(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds with its Student t 95 % interval: {mean, ci95: [low, high], per_seed}.

    With one value the interval is [None, None]: one seed says nothing of the spread.

    Raises:
      ValueError: if values is not a list of one or more numbers.
    """
    a = _numbers(values, "values")
    mean = float(a.mean())
    if a.size < 2:
        return {"mean": mean, "ci95": [None, None], "per_seed": a.tolist()}
    half = float(stats.t.ppf(0.975, a.size - 1) * a.std(ddof=1) / np.sqrt(a.size))
    return {"mean": mean, "ci95": [mean - half, mean + half], "per_seed": a.tolist()}


def welch_ci95(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """mean(a) - mean(b) with Welch's 95 % interval: {mean, ci95: [low, high], p}, p two-sided.

    With fewer than two values on a side the interval and p are None.

    se^2 = va + vb,  va = var(a) / na,  degrees of freedom (va + vb)^2 / (va^2/(na - 1) + vb^2/(nb - 1)).

    Raises:
      ValueError: if a or b is not a list of one or more numbers.

    Source: Welch 1947, doi 10.1093/biomet/34.1-2.28.
    """
    x, y = _numbers(a, "a"), _numbers(b, "b")
    difference = float(x.mean() - y.mean())
    if min(x.size, y.size) < 2:
        return {"mean": difference, "ci95": [None, None], "p": None}
    if np.ptp(x) == np.ptp(y) == 0:  # no spread: the interval is a point and t is not defined
        difference = float(x[0] - y[0])  # the mean of equal floats may be off by rounding
        return {"mean": difference, "ci95": [difference, difference], "p": float(difference == 0)}
    va, vb = x.var(ddof=1) / x.size, y.var(ddof=1) / y.size
    degrees = (va + vb) ** 2 / (va**2 / (x.size - 1) + vb**2 / (y.size - 1))
    se = np.sqrt(va + vb)
    half = float(stats.t.ppf(0.975, degrees) * se)
    p = float(2 * stats.t.sf(abs(difference) / se, degrees))
    return {"mean": difference, "ci95": [difference - half, difference + half], "p": p}


def _numbers(values: Sequence[float], name: str) -> np.ndarray:
    a = np.asarray(values, np.float64)
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"{name}: expected a list of one or more numbers, got shape {a.shape}")
    return a


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of {column: text or number} as a Markdown table; floats to four digits."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name, "")) for name in columns] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(columns)]
    lines = [columns, ["-" * w for w in widths], *cells]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in lines
    )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
