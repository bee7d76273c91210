r"""Files: the paths that users give, and JSON in which nan and infinity have a form.

JSON has no nan and no infinity. Here each is null, and "not_finite" says which it was and where:

    {"psnr": null, "values": [0.5, null], "not_finite": {"psnr": "inf", "values.1": "nan"}}

A name is the keys and places on the way to the value, joined by dots (a dot inside a key is written `\.`, a
backslash `\\`). What is not a dict goes under "value" where it has such numbers. Reading gives them back.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import numbers
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["dumps", "expanded", "loads", "read_json", "write_json", "write_text"]

NOT_FINITE = "not_finite"
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

Way = tuple[Any, ...]  # what the tree is called, and the keys and places from its top to a value


def expanded(path: str | os.PathLike[str], name: str = "folder") -> Path:
    """The path that a user gave as the argument `name`, with "~" as the home folder.

    Raises:
      TypeError: for anything but a path.
      ValueError: if nobody's home is meant by its "~".
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{name}: expected a path, got {type(path).__name__} ({path!r})")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{name}: expected '~' to be somebody's home folder, got {str(path)!r}") from None


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON in one piece: a reader never sees half a file, and an error leaves the old one.

    Args:
      path: the file; its folder is made if needed.
      value: dicts, lists, tuples, strings, numbers, None; also named tuples and dataclasses (as dicts), numpy
        and jax numbers and arrays (as lists), paths and dtypes (as strings), enums (as their values).
        A nan or an infinity is null, and named under "not_finite"; `read_json` gives it back.

    Raises:
      TypeError, ValueError: for anything else, by the name of the entry, before anything is written.
    """
    write_text(expanded(path, "path"), dumps(value, indent=2) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; what "not_finite" names is nan or infinite again.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it does not hold JSON; the file is named.
    """
    path = expanded(path, "path")
    try:
        return loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"path: expected JSON in {path}, got something else ({error})") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece, by a temporary one beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def dumps(value: Any, indent: int | None = None, name: str = "value") -> str:
    """`value` as strict JSON, with "not_finite" where it is needed; see `write_json`. `name`: for errors."""
    special: dict[str, str] = {}
    try:
        tree = _plain(value, (name,), special)
    except RecursionError:
        raise ValueError(f"{name}: expected an end to it, got something that holds itself") from None
    if isinstance(tree, dict) and NOT_FINITE in tree:
        raise ValueError(f"{name}.{NOT_FINITE}: expected another name: this one lists what is not finite")
    if special:
        tree = {**(tree if isinstance(tree, dict) else {"value": tree}), NOT_FINITE: special}
    return json.dumps(tree, indent=indent, allow_nan=False)


def loads(text: str) -> Any:
    """What `dumps` wrote."""
    tree = json.loads(text)
    special = tree.get(NOT_FINITE) if isinstance(tree, dict) else None
    if not isinstance(special, dict) or not all(v in _SPECIAL for v in map(str, special.values())):
        return tree  # JSON of somebody else's
    del tree[NOT_FINITE]
    # names inside a dict {"value": ...} of the writer's own begin with "value"
    wrapped = tree.keys() == {"value"} and not any(name.split(".")[0] == "value" for name in special)
    return _restored(tree["value"] if wrapped else tree, ("",), special)


def _restored(tree: Any, way: Way, special: Mapping[str, str]) -> Any:
    """The tree with the nulls that `special` names as the numbers they were."""
    if isinstance(tree, dict):
        return {key: _restored(value, (*way, key), special) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_restored(value, (*way, i), special) for i, value in enumerate(tree)]
    return _SPECIAL[special[_name(way[1:])]] if tree is None and _name(way[1:]) in special else tree


def _name(way: Way) -> str:
    return ".".join(str(key).replace("\\", "\\\\").replace(".", "\\.") for key in way)


def _plain(value: Any, way: Way, special: dict[str, str]) -> Any:
    """`value` as what JSON has; fills `special` with the names of what is not finite."""
    if isinstance(value, enum.Enum):
        return _plain(value.value, way, special)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | PurePath):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        special[_name(way[1:])] = str(float(value))
        return None
    if (entries := _entries(value)) is not None:
        return _plain_dict(entries, way, special)
    if isinstance(value, list | tuple):
        return [_plain(v, (*way, i), special) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _plain(_listed(value, way), way, special)
    if (dtype := _dtype(value)) is not None:
        return dtype.name
    raise _refused(value, way)


def _dtype(value: Any) -> np.dtype | None:
    """The dtype that a dtype or a scalar type of numpy or jax stands for; None for anything else."""
    if isinstance(value, type):
        value = np.dtype(value) if issubclass(value, np.generic) else getattr(value, "dtype", None)
    return value if isinstance(value, np.dtype) else None


def _entries(value: Any) -> Mapping[Any, Any] | None:
    """{name: value} of what has names: a mapping, a named tuple, a dataclass; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and (names := getattr(value, "_fields", None)) is not None:
        return dict(zip(names, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _plain_dict(entries: Mapping[Any, Any], way: Way, special: dict[str, str]) -> dict[str, Any]:
    """A dict with strings for keys."""
    plain: dict[str, Any] = {}
    for key, value in entries.items():
        name = _plain(key, (*way, key), special) if isinstance(key, str | numbers.Real | enum.Enum) else None
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise TypeError(f"{_entry(way)}: expected names that are strings or numbers, got {key!r}")
        if str(name) in plain:
            raise ValueError(f"{_entry(way)}: expected different names, got {str(name)!r} twice")
        plain[str(name)] = _plain(value, (*way, name), special)
    return plain


def _listed(value: Any, way: Way) -> Any:
    """An array as lists of Python's numbers, or of what else an array of objects holds."""
    key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    if not (key or isinstance(value, np.ma.MaskedArray)):
        array = np.asarray(value)
        if array.dtype.kind in "biuUO":
            return array.tolist()
        if jnp.issubdtype(array.dtype, np.floating):  # half precision and long doubles too
            return array.astype(np.float64).tolist()
    raise _refused(value, way)


def _refused(value: Any, way: Way) -> TypeError:
    kind = f"{type(value).__name__}" + (f" of {value.dtype}" if hasattr(value, "dtype") else "")
    return TypeError(f"{_entry(way)}: expected plain data, numbers or arrays; got {kind}")


def _entry(way: Way) -> str:
    """What an entry is called in an error."""
    return ".".join(filter(None, (way[0], _name(way[1:]))))
