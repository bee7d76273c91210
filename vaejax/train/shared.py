"""Which devices share the examples of a batch, told to the update that is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
from jax.sharding import NamedSharding, PartitionSpec

from vaejax.types import Batch, PyTree

__all__ = ["apart", "examples_over", "shares"]

_sharding: ContextVar[NamedSharding | None] = ContextVar("_sharding", default=None)


@contextmanager
def examples_over(sharding: NamedSharding | None) -> Iterator[None]:
    """What is traced within has the examples of its batch on these devices; None: on one."""
    before = _sharding.set(sharding)
    try:
        yield
    finally:
        _sharding.reset(before)


def shares() -> int:
    """How many devices share a batch."""
    sharding = _sharding.get()
    return 1 if sharding is None else sharding.mesh.size


def apart(mean: Callable[[PyTree, Batch], PyTree]) -> Callable[[PyTree, Batch], PyTree]:
    """`mean(params, batch)` of all examples: each device takes that of its own, and they meet once.

    Left to itself XLA sums over devices wherever a gradient is made, in every slice of a batch anew.
    """
    sharding = _sharding.get()
    if sharding is None:
        return mean
    (axis,), everywhere = sharding.spec, PartitionSpec()

    def mine(params: PyTree, batch: Batch) -> PyTree:
        return jax.lax.pmean(mean(params, batch), axis)

    return jax.shard_map(
        mine, mesh=sharding.mesh, in_specs=(everywhere, sharding.spec), out_specs=everywhere, check_vma=False
    )
