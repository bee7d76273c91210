"""What a run folder says of its run, for whoever loads it: config.json and model.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaejax.files import dumps, loads, read_json, write_json

__all__ = ["Description", "Lock", "check_config", "check_model", "only_writer"]

_FIT = {"made_by": "vaejax.train.fit"}  # in a config.json that is `fit`'s own and not an experiment's
_SHOWN = 5


class Description(NamedTuple):
    """What `fit` leaves beside checkpoints and metrics: the model's spec and how it was called.

    `transform`: the spec of the split's transform, where it has one (`data.standardised`).

    An experiment's own config.json (`runs.create`) is left as it is.
    """

    spec: Any
    config: Mapping[str, Any]
    transform: Any = None

    def check(self, folder: Path, step: int) -> None:
        """Raise ValueError if the folder's model.json is another model's; at step 0 `fit`'s own may go."""
        dumps(self.spec, name="model.spec")  # refused before it is to be written
        if step or not _made_by_fit(folder):
            check_model(folder, self.spec)
        path = folder / "transform.json"
        if step and path.exists() and not _same(read_json(path), self.transform):
            raise ValueError(
                f"data: {folder} holds a run on data of another transform; see its transform.json"
            )

    def write(self, folder: Path, **more: Any) -> None:
        """Write model.json, and config.json, with `more`, where it is `fit`'s own."""
        if _made_by_fit(folder):
            write_json(folder / "config.json", {**_FIT, **self.config, **more})
        write_json(folder / "model.json", self.spec)
        if self.transform is None:
            (folder / "transform.json").unlink(missing_ok=True)
        else:
            write_json(folder / "transform.json", self.transform)


def check_config(folder: Path, config: Any, ignore: Sequence[str] = ()) -> None:
    """Raise unless `config` is that of the folder's config.json, if it has one, but for fields to ignore."""
    now = loads(dumps(config, name="config"))
    if not isinstance(now, dict):
        raise TypeError(f"config: expected a dataclass or a dict, got {type(config).__name__}")
    if _made_by_fit(folder):
        return
    changed = _differing(read_json(folder / "config.json"), now, ignore)
    if changed:
        raise ValueError(f"folder: {folder} holds a run of another config ({'; '.join(changed.values())})")


def check_model(folder: Path, spec: Any) -> None:
    """Raise ValueError if the folder has a model.json, and of another model."""
    now, path = _flat(loads(dumps(spec, name="model.spec"))), folder / "model.json"
    if not path.exists():
        return
    differing = _differing(_flat(read_json(path)), now)
    others = [
        name.removesuffix("name") for name in differing if name.endswith(".name")
    ]  # nets of another class
    for of in others:
        differing = {n: text for n, text in differing.items() if n == f"{of}name" or not n.startswith(of)}
    if changed := list(differing.values()):
        more = f"; {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        shown = "; ".join(changed[:_SHOWN]) + more
        raise ValueError(f"model: {folder} holds a run of another model ({shown}); see its model.json")


class Lock(NamedTuple):
    """That this process alone writes to a folder, until it is closed or the process ends."""

    file: int | None

    def close(self) -> None:
        """Let others write."""
        if self.file is not None:
            os.close(self.file)


def only_writer(folder: Path) -> Lock:
    """Make the folder and lock it against other trainings, where the system can.

    Raises:
      ValueError: if a training writes to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        return Lock(None)
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system takes it back from a dead process
    except BlockingIOError:
        os.close(file)
        raise ValueError(f"folder: {folder} is in use by another training; expected one at a time") from None
    except OSError:  # some network file systems have no locks
        os.close(file)
        return Lock(None)
    return Lock(file)


def _made_by_fit(folder: Path) -> bool:
    """Whether there is no config.json but `fit`'s."""
    path = folder / "config.json"
    if not path.exists():
        return True
    config = read_json(path)
    return isinstance(config, dict) and config.items() >= _FIT.items()


def _differing(
    saved: Mapping[str, Any], now: Mapping[str, Any], ignore: Sequence[str] = ()
) -> dict[str, str]:
    """{name: text} of the entries that differ; None is as good as none: older versions had fewer options."""
    return {
        name: f"{name}: {saved.get(name)!r} there, {now.get(name)!r} now"
        for name in sorted((saved.keys() | now.keys()) - set(ignore))
        if not _same(saved.get(name), now.get(name))
    }


def _same(a: Any, b: Any) -> bool:
    return json.loads(dumps([a])) == json.loads(dumps([b]))  # where nan is nan


def _flat(spec: Any, prefix: str = "") -> dict[str, Any]:
    """{dotted name: value} of a spec; a net of the user's own without its module, which a script moves."""
    if not isinstance(spec, Mapping):
        return {prefix or "spec": spec}
    if spec.keys() == {"name", "options"} and spec["options"] is None:
        spec = {"name": f"{spec['name'].rsplit('.', 1)[-1]} (not of vaejax)"}
    flat = {}
    for name, value in spec.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat
