"""What a model may be given: checked where shapes and dtypes are known, before anything compiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from vaejax import nets
from vaejax.distributions import Likelihood
from vaejax.hints import check_batch, described
from vaejax.models.posteriors import Posterior
from vaejax.models.priors import Prior
from vaejax.types import Batch

KINDS = {
    "encoder": nn.Module,
    "decoder": nn.Module,
    "posterior": Posterior,
    "prior": Prior,
    "likelihood": Likelihood,
    "conditional": bool,
}


def check_kinds(**arguments: Any) -> None:
    """Raise TypeError unless each argument of a builder is of the kind that its name says."""
    for name, value in arguments.items():
        kind = KINDS[name]
        if not isinstance(value, kind):
            raise TypeError(
                f"{name}: expected a {kind.__module__}.{kind.__name__}, got {described(value, kind)}"
            )


# data of these supports are whole numbers, and the same ones as integers and as floats
_WHOLE = ("bytes", "counts", "mixed", "one_hot", "tokens")


def check_input(batch: Any, support: Any) -> None:
    """Raise TypeError unless a batch maps names to arrays, and x is of a kind that the model may see.

    Integers are, where the likelihood scores integers. Elsewhere they are data that no transform has seen:
    bytes under a model of [0, 1] are 255 times too large, and nothing else would say so.
    """
    check_batch(batch)
    each = batch["x"] if isinstance(batch["x"], Mapping) else {"": batch["x"]}
    for name, x in each.items():
        of = support.get(name) if isinstance(support, Mapping) else support
        dtype = jnp.result_type(x)
        if of not in _WHOLE and not jnp.issubdtype(dtype, jnp.floating):
            where = f"x[{name!r}]" if name else "x"
            raise TypeError(
                f"{where}: expected floats, as the split's transform makes them (of bytes x / 255), for a "
                f"likelihood of support {of!r}; got {dtype}"
            )


def check_params(params: Any) -> None:
    """Raise unless parameters are a mapping of groups, with those that all models have."""
    if not isinstance(params, Mapping):
        hint = "; of (params, variables), as init gives them, bind(*both)" if type(params) is tuple else ""
        raise TypeError(
            "params: expected a mapping of parameter groups, as fit.state.params or the first that init "
            f"gives; got {type(params).__name__}{hint}"
        )
    if "decoder" not in params or "encoder" not in params:
        raise ValueError(f"params: expected the groups encoder, decoder, ...; got {list(params)}")


def condition(conditional: bool, c: Any) -> tuple[Any, ...]:
    """The inputs of a net beside x or z: (c,) or (); ValueError where c is missing or not expected."""
    if conditional and c is None:
        raise ValueError(
            "c: expected an array, this model has a condition; got None (put c into the batch, or pass it)"
        )
    if not conditional and c is not None:
        raise ValueError(
            "c: expected None, this model has no condition; got an array (leave c out of the batch)"
        )
    return () if c is None else (c,)


def check_bytes(encoder: nn.Module, batch: Batch, support: Any) -> None:
    """Raise ValueError if a net of vaejax is to see bytes as they are, 0..255: it would start far off.

    What a net of the user's own does with them is not known here.
    """
    each = batch["x"] if isinstance(batch["x"], Mapping) else {"": batch["x"]}
    for name in each:
        raw = _raw(encoder, name)
        if raw is not None and (support.get(name) if isinstance(support, Mapping) else support) == "bytes":
            kind = type(raw).__name__
            raise ValueError(
                f"encoder: expected nets.FromBytes({kind}(...)), which brings bytes 0..255 to [-1, 1]; got "
                f"{kind} on data of support 'bytes', of which log-variances would be in the hundreds"
            )


def _raw(net: nn.Module, modality: str) -> nn.Module | None:
    """The net of vaejax that sees x first; None where it scales x, or is none of vaejax's."""
    if isinstance(net, nets.Modalities):
        return _raw(dict(net.nets)[modality], "") if modality in dict(net.nets) else None
    scales = isinstance(net, nets.FromBytes | nets.FromCounts)
    if scales or getattr(nets, type(net).__name__, None) is not type(net):
        return None
    inner = getattr(net, "net", getattr(net, "body", None))
    return _raw(inner, modality) if isinstance(inner, nn.Module) else net
