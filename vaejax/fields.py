"""Settings in frozen dataclasses: values that a field's annotation refuses, values read from text, grids."""

from __future__ import annotations

import contextlib
import itertools
import math
import numbers
from collections.abc import Collection, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vaejax.checks import check_choice, check_positive, check_positive_int

T = TypeVar("T")
Positive = Annotated[T, "above 0"]  # of a dataclass's field, for `check_fields`
NonNegative = Annotated[T, "at least 0"]  # likewise, and finite


def check_fields(instance: Any) -> None:
    """Raise unless the fields of a dataclass are what their annotations say, where these are known here.

    Known are `Positive` and `NonNegative` of int and float, a Literal, and tuples and optional ones of these.
    """
    for name, kind in get_type_hints(type(instance), include_extras=True).items():
        _check_kind(getattr(instance, name), kind, name)


def _check_kind(value: Any, kind: Any, name: str) -> None:
    """Raise unless a value is what its annotation says."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        others = [k for k in inner if k is not NoneType]
        if len(others) == 1 and value is not None:
            _check_kind(value, others[0], name)
    elif origin is tuple:
        for item in value:
            _check_kind(item, inner[0], name)
    elif origin is Literal:
        check_choice(value, inner, name)
    elif origin is Annotated and "above 0" in inner:
        (check_positive_int if inner[0] is int else check_positive)(value, name)
    elif origin is Annotated and "at least 0" in inner:
        number: Any = numbers.Integral if inner[0] is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, number):
            raise TypeError(f"{name}: expected {inner[0].__name__}, got {type(value).__name__} ({value!r})")
        if not 0 <= value < math.inf:  # type: ignore[operator]
            raise ValueError(f"{name}: expected a finite number of at least 0, got {value}")


def grid(kind: type, axes: Sequence[str], fixed: Collection[str], name: str) -> list[dict[str, Any]]:
    """Every combination of the values of some fields of a dataclass, {field: value}, the last the fastest.

    Args:
      kind: the dataclass.
      axes: field=value,value,... of each; - in a field's name is _, as in a flag.
      fixed: fields that are refused.
      name: of `axes`, for errors.

    Raises:
      ValueError: for no field=value,value,..., a field that is unknown, fixed or named twice, a value that is
        not of its type or comes twice.
    """
    kinds = get_type_hints(kind)
    free = sorted(kinds.keys() - {*fixed})
    values: dict[str, list[Any]] = {}
    for axis in axes:
        field, _, texts = axis.partition("=")
        field = field.strip().replace("-", "_")
        if field not in free:
            reason = "it cannot be swept" if field in kinds else "the config has no such field"
            raise ValueError(f"{name}: expected one of {', '.join(free)}; got {field!r}: {reason}")
        if field in values:
            raise ValueError(f"{name}: expected every field once, got {field} again")
        expected = f"{name}: expected {field}"
        values[field] = [_value(text.strip(), kinds[field], expected) for text in texts.split(",")]
        if len(set(values[field])) < len(values[field]):
            raise ValueError(f"{name}: expected every value once, got {axis!r}")
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def _value(text: str, kind: Any, expected: str) -> Any:
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
    of = kind.__name__ if isinstance(kind, type) else kind
    raise ValueError(f"{expected}=value,value,... with values of {of}; got {text!r}")
