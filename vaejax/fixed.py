"""Functions with their first arguments fixed that know their equals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any


class Fixed:
    """`functools.partial(function, *arguments)`, equal to another with equal function and arguments.

    A jitted function compiles again for a bound model whose functions are not equal to those that it has
    seen, and `functools.partial` is equal to itself alone. So is this where an argument has no hash, lists,
    dicts and dataclasses of what has one apart: a net with an array for a field.
    """

    # jax holds what it traces by weak references
    __slots__ = ("__weakref__", "_arguments", "_function", "_hash", "_identity")

    def __init__(self, function: Callable, *arguments: Any):
        self._function, self._arguments = function, arguments
        try:
            self._identity: Hashable = (function, *map(_hashable, arguments))
            self._hash = hash(self._identity)
        except TypeError:
            self._identity = object()
            self._hash = hash(self._identity)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._function(*self._arguments, *arguments, **options)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Fixed) and self._hash == other._hash and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Fixed({', '.join(map(repr, (self._function, *self._arguments)))})"


def _hashable(value: Any) -> Hashable:
    """The value, or what tells its equals where it holds lists or dicts, as `flax.linen.Sequential` does."""
    try:
        hash(value)
    except TypeError:
        if isinstance(value, list | tuple):
            return (type(value), *map(_hashable, value))
        if isinstance(value, dict):
            return (dict, *((name, _hashable(item)) for name, item in value.items()))
        if dataclasses.is_dataclass(value):
            return (type(value), *(_hashable(getattr(value, f.name)) for f in dataclasses.fields(value)))
        raise
    return value
