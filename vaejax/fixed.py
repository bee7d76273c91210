"""Functions with their first arguments fixed that know their equals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Fixed:
    """`functools.partial(function, *arguments)`, equal to another with equal function and arguments.

    A jitted function compiles again for a bound model whose functions are not equal to those that it has
    seen, and `functools.partial` is equal to itself alone. So is this where an argument has no hash: a net
    with a dict or an array for a field.
    """

    __slots__ = ("_arguments", "_function", "_hash", "_identity")

    def __init__(self, function: Callable, *arguments: Any):
        self._function, self._arguments = function, arguments
        self._identity: tuple = (function, *arguments)
        try:
            self._hash = hash(self._identity)
        except TypeError:
            self._identity = (object(),)
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
