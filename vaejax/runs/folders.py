"""The files of a run folder: its config, its manifest, and the model that it holds."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from vaejax import models
from vaejax.checks import check_choice
from vaejax.data import Standardise, transform_from_spec
from vaejax.evaluation import posterior_mean
from vaejax.files import expanded, read_json, write_json
from vaejax.train import Checkpoints
from vaejax.train.folder import check_config, check_model
from vaejax.types import VAE, Model, PyTree, shown

__all__ = ["Run", "create", "created", "load", "load_encoder", "manifest"]

_PACKAGES = (
    "vaejax", "jax", "jaxlib", "flax", "optax", "distrax", "orbax-checkpoint", "numpy", "scikit-learn",
)  # fmt: skip


class Run(NamedTuple):
    """A finished run: its config as a plain dict, the model, and host arrays of a checkpoint.

    `transform`: that of data that `data.standardised` made, whose `undo` brings what the model gives back to
    their units; None for others.
    """

    folder: Path
    config: dict[str, Any]
    model: Model
    params: dict[str, PyTree]
    variables: PyTree
    transform: Standardise | None = None

    def __repr__(self) -> str:
        return (
            f"Run({str(self.folder)!r}, config={self.config},\n  model={self.model.spec.get('builder')}, "
            f"params={shown(self.params)}, variables={shown(self.variables)}, transform={self.transform})"
        )

    @property
    def vae(self) -> VAE:
        """The model with the run's parameters bound."""
        return self.model.bind(self.params, self.variables)


def create(
    folder: str | os.PathLike[str], config: Any, model: Model | None = None, ignore: Sequence[str] = ()
) -> Path:
    """Make a run folder, or go on with one that has the same config.

    `train.fit` goes on in it, and in a folder of `fit` alone the config takes the place of `fit`'s own.

    Args:
      folder: the folder.
      config: a dataclass or a dict of plain data.
      model: its spec is stored too, so that `load` can build it again.
      ignore: names of config fields that may differ (where it runs, how it is shown).

    Raises:
      ValueError: if the folder holds a run of another config or model; what differs is shown.
      TypeError: for a config that is no plain data; the entry is named.
    """
    folder = expanded(folder)
    check_config(folder, config, ignore)
    if model is not None:
        check_model(folder, model.spec)
    write_json(folder / "config.json", config)
    if model is not None:
        write_json(folder / "model.json", model.spec)
    return folder


@contextlib.contextmanager
def created(
    folder: str | os.PathLike[str], config: Any, model: Model | None = None, ignore: Sequence[str] = ()
) -> Iterator[Path]:
    """`create` for what trains within: an error before any training takes the new folder's config out again.

    Args:
      folder: as for `create`.
      config: as for `create`.
      model: as for `create`.
      ignore: as for `create`.

    Raises:
      ValueError, TypeError: as `create`.
    """
    new = not (expanded(folder) / "config.json").exists()
    folder = create(folder, config, model, ignore)
    try:
        yield folder
    except BaseException:
        if new and next(folder.rglob("metrics.jsonl"), None) is None:
            for name in ("config.json", "model.json"):
                (folder / name).unlink(missing_ok=True)
        raise


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


def load(folder: str | os.PathLike[str], *, checkpoint: str = "latest", model: Model | None = None) -> Run:
    """Load a run: what `train.fit(..., folder=...)` left, whether it ended or was stopped.

    Args:
      folder: the folder of `fit`; of several seeds, that of one: folder/seed-0.
      checkpoint: "latest", the last step, or "best", the lowest validation neg_elbo.
      model: the model, where its parts are not vaejax's own; None builds it from model.json.

    Raises:
      FileNotFoundError: if the folder holds no run.
      TypeError: for another thing than a model.
      ValueError: if it holds no such checkpoint, the model cannot be built from model.json, or another model
        is given.
    """
    folder = expanded(folder)
    check_choice(checkpoint, ("latest", "best"), "checkpoint")
    if not (folder / "checkpoints").is_dir() and (seeds := sorted(folder.glob("seed-*/checkpoints"))):
        names = ", ".join(path.parent.name for path in seeds)
        raise FileNotFoundError(f"folder: expected that of one seed, got {folder}, which holds {names}")
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"folder: expected a run folder with config.json, got {folder}")
    place = folder / "checkpoints" / checkpoint
    if not place.is_dir():
        raise ValueError(f"checkpoint: {folder} holds no {checkpoint!r} checkpoint")
    if model is None:
        model = _stored_model(folder)
    elif not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    else:
        check_model(folder, model.spec)
    checkpoints = Checkpoints(place)
    try:
        if checkpoints.latest() is None:
            why = {
                "latest": "the run ended before its first; fit(..., resume=True) goes on with it",
                "best": "no validation has given a neg_elbo",
            }
            raise ValueError(f"checkpoint: expected a checkpoint in {place}, found none: {why[checkpoint]}")
        params, variables = checkpoints.restore_params()
    finally:
        checkpoints.close()
    config, transform = read_json(folder / "config.json"), _stored_transform(folder)
    return Run(folder, config, model, params, variables, transform)


def _stored_transform(folder: Path) -> Standardise | None:
    """What transform.json says, if it is one of `data.standardised`."""
    path = folder / "transform.json"
    spec = read_json(path) if path.exists() else {}
    return transform_from_spec(spec) if spec.get("name") == "Standardise" else None


def _stored_model(folder: Path) -> Model:
    """The model of model.json."""
    path = folder / "model.json"
    if not path.exists():
        raise ValueError(f"model: expected model=, since {folder} has no model.json; got None")
    try:
        return models.from_spec(read_json(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"model: expected model=, since {path} builds none by itself ({error})") from error


def load_encoder(folder: str | os.PathLike[str], *, checkpoint: str = "latest", model: Model | None = None):
    """The encoder of a run alone, loaded as by `load`: a function of images to codes.

    It is (x [n, ...], c=None) -> `evaluation.posterior_mean`, [n, d], or as the latents are; c: [n, ...], the
    conditions of a model that has one.
    """
    return jax.tree_util.Partial(_encoded, load(folder, checkpoint=checkpoint, model=model).vae)


def _encoded(vae: VAE, x: Any, c: Any = None) -> PyTree:
    return posterior_mean(vae, {"x": x} if c is None else {"x": x, "c": c})
