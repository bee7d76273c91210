"""The one place where a Flax module meets its parameters."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import jax
from flax import errors
from flax import linen as nn

from vaejax.precision import at_least_float32
from vaejax.types import Array, PyTree

_ADVICE = {
    "state": "; nothing would keep it from one step to the next: make it a parameter or a field",
    "batch_stats": "; statistics over a batch (BatchNorm, SpectralNorm) are not kept, tie examples together "
    "and break vmap and jacfwd: use nn.GroupNorm or nn.LayerNorm",
    "key": "; nets get no key and are not told whether they train: leave nn.Dropout out or make it "
    "deterministic=True, and draw what is random in the model",
}


def apply(net: nn.Module, params: PyTree, *arrays: Any, method: str | None = None) -> Any:
    """`net(*arrays)`, or a method of it, with these parameters, in float32 at least, whatever it computes in.

    What a net sows as "intermediates" is dropped, as flax itself does.

    Raises:
      ValueError: if the net asks for a random key or for variables beside its parameters, or its input has
        another shape than they are for.
    """
    return _applied(type(net).__name__, net, params, *arrays, method=method)


def initialised(name: str, net: nn.Module, key: Array, *arrays: Any) -> tuple[Any, PyTree]:
    """What `net(*arrays)` is, as shapes and dtypes, and its parameters, for the part `name` of a model.

    Raises:
      ValueError: if the net has variables beside its parameters, or asks for a random key.
    """
    try:
        variables = dict(net.init(key, *arrays))
    except ValueError as error:  # a Dropout or BatchNorm that is not told which of its two it is
        lacks = re.match(r'Parameter "(\w+)" must be passed to the constructor', str(error))
        advice = {"deterministic": "key", "use_running_average": "batch_stats"}.get(lacks[1] if lacks else "")
        if lacks is None or advice is None:
            raise
        raise _not_pure(name, net, f"has a layer without {lacks[1]!r}", advice) from error
    except KeyError as error:  # of flax.nnx, over its bridge
        if "No RngStream named" not in str(error):
            raise
        raise _not_pure(name, net, f"asks for a key: {_said(error)}", "key") from error
    params = variables.pop("params", {})
    for path, _ in jax.tree_util.tree_leaves_with_path(variables):
        collection, *place = (jax.tree_util.keystr((entry,), simple=True) for entry in path)
        advice = "batch_stats" if collection == "batch_stats" else "state"
        raise _not_pure(name, net, f"has {'/'.join(place)!r} in {collection!r}", advice)
    return jax.eval_shape(partial(_applied, name, net), params, *arrays), params


def _applied(name: str, net: nn.Module, params: PyTree, *arrays: Any, method: str | None = None) -> Any:
    try:
        output = net.apply({"params": params}, *arrays, method=method)
    except errors.InvalidRngError as error:
        raise _not_pure(name, net, f"asks for a key: {_said(error)}", "key") from error
    except errors.ScopeParamShapeError as error:
        shapes = jax.tree.map(lambda a: getattr(a, "shape", a), arrays)
        raise ValueError(
            f"{name}: expected inputs of the shapes that its parameters are for, got {shapes}: {_said(error)}"
        ) from error
    except (
        errors.ModifyScopeVariableError,
        errors.ScopeCollectionNotFound,
        errors.ScopeVariableNotFoundError,
    ) as error:
        advice = "batch_stats" if '"batch_stats"' in str(error) else "state"
        raise _not_pure(name, net, f"asks for state: {_said(error)}", advice) from error
    return jax.tree.map(at_least_float32, output)


def _not_pure(name: str, net: nn.Module, what: str, advice: str) -> ValueError:
    return ValueError(
        f"{name}: expected a net that is a function of its parameters and its input alone; "
        f"{type(net).__name__} {what}{_ADVICE[advice]}"
    )


def _said(error: Exception) -> str:
    """flax's message without its link."""
    return str(error).split(" (http")[0].rstrip(".")
