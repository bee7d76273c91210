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
from vaejax.models.levels import Level
from vaejax.models.posteriors.family import Posterior
from vaejax.models.priors.family import Prior
from vaejax.types import Model

__all__ = ["from_spec"]


def spec_of(part: Any) -> Any:
    """A net, a family, a level or plain data as plain data; numbers of numpy as Python's."""
    if isinstance(part, nn.Module):
        return net_spec(part)
    if isinstance(part, Likelihood):
        return likelihood_spec(part)
    if isinstance(part, Posterior | Prior):
        return _family_spec(part)
    if isinstance(part, Level):
        fields = dataclasses.fields(part)
        return {"name": "models.Level", "options": {f.name: spec_of(getattr(part, f.name)) for f in fields}}
    if isinstance(part, Mapping):  # of named nets; those that take one take pairs too
        return tuple((name, spec_of(value)) for name, value in part.items())
    if isinstance(part, tuple | list):
        return tuple(map(spec_of, part))
    return spec_of(part.tolist()) if isinstance(part, jax.Array | np.ndarray) else plain(part)


# fields that came later, where they have their default: specs from before stay theirs
_LATER = (("dtype", None, None), ("context", 0, 0), ("zero", False, False))


def net_spec(net: nn.Module) -> dict[str, Any]:
    """{"name": class, "options": fields}; the full name and no options for nets that are not vaejax's own.

    A field that is a net is a spec in turn, also inside a tuple. `dtype` stands there where it is given, and
    `context` where there is one.
    """
    kind = type(net)
    if (
        kind.__name__ not in nets.__all__ or getattr(nets, kind.__name__) is not kind
    ):  # a namesake is not ours
        return {"name": f"{kind.__module__}.{kind.__qualname__}", "options": None}
    known = [f for f in dataclasses.fields(net) if f.name not in ("parent", "name")]
    fields = {
        f.name: getattr(net, f.name) for f in known if (f.name, f.default, getattr(net, f.name)) not in _LATER
    }
    return {"name": kind.__name__, "options": {name: spec_of(value) for name, value in fields.items()}}


def likelihood_spec(likelihood: Likelihood) -> dict[str, Any]:
    """{"name": factory, "options": keyword arguments}."""
    return {"name": likelihood.name, "options": {k: _of_options(v) for k, v in likelihood.options.items()}}


def _of_options(value: Any) -> Any:
    """An option of a likelihood: plain data, a further likelihood with its home, or a mapping to such."""
    if isinstance(value, Mapping):
        return {key: _of_options(part) for key, part in value.items()}
    if not isinstance(value, Likelihood):
        return value
    spec = likelihood_spec(value)
    return {**spec, "name": f"distributions.{spec['name']}"}


def _family_spec(family: Posterior | Prior) -> dict[str, Any]:
    """{"name": "posteriors.<factory>", "options": keyword arguments}; no options for what is not vaejax's.

    It is vaejax's own if the factory of that name makes its equal.
    """
    home = "posteriors" if isinstance(family, Posterior) else "priors"
    make = _families(home).get(family.name)
    if make is None or _made(make, family.options) != family:
        return {"name": f"{home}: {family.name}", "options": None}
    options = {name: spec_of(value) for name, value in family.options.items()}
    return {"name": f"{home}.{family.name}", "options": options}


def _families(home: str) -> dict[str, Any]:
    """The public factories of `models.posteriors` or `models.priors` by name."""
    from vaejax import models  # the builders import this module

    package = getattr(models, home)
    return {name: getattr(package, name) for name in package.__all__ if name.islower()}


def _made(make: Any, options: Mapping[str, Any]) -> Any:
    """What a factory makes of its options; `parts` are its positional arguments."""
    options = dict(options)
    try:
        return make(*options.pop("parts", ()), **options)
    except TypeError:  # the options of a namesake
        return None


def from_spec(spec: Mapping[str, Any]) -> Model:
    """Build a model again from `model.spec`, also after a round trip through JSON.

    Only public names of `vaejax.models`, `vaejax.nets` and `vaejax.distributions`, and of `posteriors` and
    `priors` there, are looked up: a spec from a stranger runs no code of theirs.

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
        home = distributions if name == "likelihood" else nets
        arguments[name] = from_spec(value) if name == "model" else _option(home, value)
    return _public(models, spec.get("builder"))(**arguments)


def _public(module: Any, name: Any) -> Any:
    if name not in module.__all__ or not callable(getattr(module, name)):
        raise ValueError(
            f"spec: expected a public name of {module.__name__}, got {name!r}; a model with parts of your "
            "own is built by your code: pass it as model="
        )
    return getattr(module, name)


def _option(home: Any, value: Any) -> Any:
    """An argument from its spec: a part, plain data, or a tuple of those; JSON has no tuples."""
    if isinstance(value, Mapping):
        if "name" not in value:
            return {key: _option(home, part) for key, part in value.items()}
        return _built(home, value)
    return tuple(_option(home, v) for v in value) if isinstance(value, list | tuple) else value


def _built(home: Any, part: Mapping[str, Any]) -> Any:
    """A public part, of the package that its name says or else of `home`, and the parts among its options."""
    package, _, name = str(part["name"]).rpartition(".")
    options = {k: _option(nets, v) for k, v in (part["options"] or {}).items()}
    if package == "distributions":
        home = distributions
    elif package in ("posteriors", "priors", "models"):
        from vaejax import models

        home = models if package == "models" else getattr(models, package)
    else:
        name = part["name"]
    return _public(home, name)(*options.pop("parts", ()), **options)
