"""Examples a few at a time, so that memory stays flat in the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

from vaejax.types import PyTree

__all__ = ["automatic_chunk", "largest_array", "map_examples"]

# What the forward pass of a chunk may write; with its backward pass, about a quarter is alive at once. On
# a CPU larger temporaries cost page faults, accelerators want examples side by side.
_BUDGET_MIB = {"cpu": 72}
_ACCELERATOR_BUDGET_MIB = 4096


def map_examples(fn: Callable[..., PyTree], *args: PyTree, chunk: int | None = None) -> PyTree:
    """`vmap(fn)(*args)`, by chunks of examples whose backward pass holds one chunk at a time.

    A batch of one chunk is the plain `vmap`. Several follow each other in a scan, and the backward pass
    computes each chunk's forward pass again: about a third more work, and memory that does not grow
    with B. Values and gradients do not depend on the chunk.

    Args:
      fn: arrays of one example -> arrays.
      *args: pytrees of arrays that lead with [B]; None where an argument is absent.
      chunk: examples at a time, >= 1. None: `automatic_chunk`.

    Returns:
      What fn returns, with [B] in front.
    """
    B = jax.tree.leaves(args)[0].shape[0]
    m = automatic_chunk(fn, *args) if chunk is None else chunk
    if m >= B:
        return jax.vmap(fn)(*args)
    # inside a scan nothing merges the second forward pass with the first
    one = jax.checkpoint(lambda args_i: fn(*args_i), prevent_cse=False)
    return jax.lax.map(one, args, batch_size=m)


def automatic_chunk(fn: Callable[..., PyTree], *args: PyTree) -> int:
    """How many examples keep what `fn` writes within 72 MiB on a CPU and 4 GiB elsewhere.

    What it writes is read from its trace at one example. On a CPU the temporaries of the gradient are
    then 14 to 24 MiB.

    Args:
      fn: arrays of one example -> arrays.
      *args: pytrees of arrays that lead with [B].

    Returns:
      1..B; a divisor of B, unless the largest were at most half of what the budget allows.
    """
    B = jax.tree.leaves(args)[0].shape[0]
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), args)
    budget = _BUDGET_MIB.get(jax.default_backend(), _ACCELERATOR_BUDGET_MIB) * 2**20
    most = min(B, max(1, budget // max(1, _written(jax.make_jaxpr(fn)(*one).jaxpr))))
    divisor = max(m for m in range(1, most + 1) if B % m == 0)
    return divisor if 2 * divisor > most else most


def largest_array(jaxpr: Any) -> int:
    """Elements of the largest array that an equation of a jaxpr makes, also inside loops and branches."""
    largest = 0
    for eqn in jaxpr.eqns:
        inner = [largest_array(sub) for value in eqn.params.values() for sub in _jaxprs(value)]
        largest = max(largest, *inner, *(math.prod(v.aval.shape) for v in eqn.outvars), 0)
    return largest


def _written(jaxpr: Any) -> int:
    """Bytes that the equations of a jaxpr write, the body of a loop once."""
    total = 0
    for eqn in jaxpr.eqns:
        inner = [_written(sub) for value in eqn.params.values() for sub in _jaxprs(value)]
        total += sum(inner) if inner else sum(v.aval.size * v.aval.dtype.itemsize for v in eqn.outvars)
    return total


def _jaxprs(value: Any) -> Iterator[Any]:
    for item in value if isinstance(value, tuple | list) else (value,):
        item = getattr(item, "jaxpr", item)
        if hasattr(item, "eqns"):
            yield item
