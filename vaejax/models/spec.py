"""Models as plain data: what a run folder stores and a model is built from again, running no code of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from vaejax import distributions, nets
from vaejax.checks import plain
from vaejax.distributions import Likelihood
from vaejax.types import Model

__all__ = ["from_spec"]


def net_spec(net: nn.Module) -> dict[str, Any]:
    """{"name": class, "options": fields}; the full name and no options for nets that are not vaejax's own.

    A field that is a net is a spec in turn, also inside a tuple. `dtype` stands there where it is given.
    """
    kind = type(net)
    if (
        kind.__name__ not in nets.__all__ or getattr(nets, kind.__name__) is not kind
    ):  # a namesake is not ours
        return {"name": f"{kind.__module__}.{kind.__qualname__}", "options": None}
    fields = {
        f.name: getattr(net, f.name) for f in dataclasses.fields(net) if f.name not in ("parent", "name")
    }
    if fields.get("dtype", "") is None:  # the specs of runs from before there was one stay theirs
        del fields["dtype"]
    return {"name": kind.__name__, "options": {name: _option(value) for name, value in fields.items()}}


def _option(value: Any) -> Any:
    """A net's field as plain data, numbers of numpy as Python's."""
    if isinstance(value, nn.Module):
        return net_spec(value)
    if isinstance(value, tuple | list):
        return tuple(map(_option, value))
    return _option(value.tolist()) if isinstance(value, jax.Array | np.ndarray) else plain(value)


def likelihood_spec(likelihood: Likelihood) -> dict[str, Any]:
    """{"name": factory, "options": keyword arguments}."""
    return {"name": likelihood.name, "options": dict(likelihood.options)}


def from_spec(spec: Mapping[str, Any]) -> Model:
    """Build a model again from `model.spec`, also after a round trip through JSON.

    Only public names of `vaejax.models`, `vaejax.nets` and `vaejax.distributions` are looked up: a spec
    from a stranger runs no code of theirs.

    Args:
      spec: as a Model carries it.

    Raises:
      ValueError: if a name is not public in vaejax, as for a net of the user's own.
    """
    from vaejax import models  # the builders import this module

    arguments = {}
    for name, value in spec.items():
        if name == "builder":
            continue
        if isinstance(value, Mapping):
            home = distributions if name == "likelihood" else nets
            value = from_spec(value) if name == "model" else _built(home, value)
        arguments[name] = value
    return _public(models, spec.get("builder"))(**arguments)


def _public(module: Any, name: Any) -> Any:
    if name not in module.__all__:
        raise ValueError(
            f"spec: expected a public name of {module.__name__}, got {name!r}; a model with parts of your "
            "own is built by your code: pass it as model="
        )
    return getattr(module, name)


def _built(home: Any, part: Mapping[str, Any]) -> Any:
    """A public part of `home` and the nets among its options."""

    def option(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _built(nets, value)
        # JSON has no tuples, and fields must hash
        return tuple(map(option, value)) if isinstance(value, list | tuple) else value

    make = _public(home, part["name"])
    return make(**{k: option(v) for k, v in (part["options"] or {}).items()})
