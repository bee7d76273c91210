"""What came in the place of what was expected, in words that say what to do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

_SHORT = 60


def takes(function: Callable[..., Any], n: int) -> bool:
    """Whether a function can be called with n arguments by their places; True where it does not say."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * n)
    except TypeError:
        return False
    return True


def name_of(function: Any) -> str:
    """The name of a function, or else what kind of object it is."""
    return getattr(function, "__name__", type(function).__name__)


def described(value: Any, kind: type | None = None) -> str:
    """`value` in words, short; of the class or factory of what was expected, that it is to be called.

    Args:
      value: what came.
      kind: what was expected, for its classes.
    """
    of_class = value if isinstance(value, type) else type(value)
    if any(base.__module__.startswith("flax.nnx") for base in of_class.__mro__):
        name = of_class.__name__
        return f"{name}, a module of flax.nnx: flax.nnx.bridge.to_linen({name}, ...) makes one of flax.linen"
    if isinstance(value, type) and kind is not None and issubclass(value, kind):
        return f"the class {value.__name__}: call it, as {value.__name__}(...)"
    if inspect.isfunction(value) and value.__module__.startswith("vaejax."):
        return f"the function {name_of(value)}: call it, as {name_of(value)}(...)"
    shown = repr(value)
    return shown if len(shown) <= _SHORT else f"{of_class.__name__} {shown[:_SHORT].splitlines()[0]}..."


def check_batch(value: Any) -> None:
    """Raise TypeError unless `value` maps names to what there is of every example, "x" among them."""
    if not isinstance(value, Mapping) or "x" not in value:
        shape = getattr(value, "shape", None)
        got = type(value).__name__ if shape is None else f'an array {list(shape)}, as {{"x": array}}'
        got = f"a mapping of {sorted(map(str, value))}" if isinstance(value, Mapping) else got
        raise TypeError(f'batch: expected {{"x": [B, ...], "c"?: [B, ...]}}, got {got}')


def extra(name: str) -> str:
    """How an extra of pyproject.toml is installed: no registry has vaejax, its checkout does."""
    return f"in the checkout of vaejax, pip install -c constraints.txt -e '.[{name}]'"
