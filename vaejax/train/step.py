"""The jitted part of training: a chunk of steps on the device, of one run or of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vaejax.keys import named_key, threefry_key
from vaejax.types import Array, Batch, Device, PyTree, TrainState, Update

__all__ = ["Placement", "alone", "chunk_indices", "make_chunk", "over_runs"]

Run = Callable[..., tuple[TrainState, dict[str, Array]]]


class Placement(NamedTuple):
    """Where a program's arrays lie; None: on the default device."""

    mesh: Mesh | None = None
    runs: NamedSharding | None = None  # states, keys and rows of the runs
    copied: NamedSharding | None = None  # the data
    batch: NamedSharding | None = None  # the examples of a step

    @classmethod
    def over(cls, devices: Sequence[Device], split_runs: bool) -> Placement:
        """Split the runs over the devices, or else the examples of each batch; copy all else."""
        mesh = jax.make_mesh((len(devices),), ("device",), (AxisType.Auto,), devices=list(devices))
        copied, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("device",)))
        return cls(mesh, split, copied, None) if split_runs else cls(mesh, copied, copied, split)


def make_chunk(
    update: Update,
    transform: Callable[[Array, Batch], Batch],
    batch_size: int,
    batch_sharding: NamedSharding | None = None,
) -> Run:
    """Build `run(state, key, arrays, indices, n) -> (state, metrics)`, n steps as one program.

    `key` is the root key of the run, `arrays` the training data on the device, `indices` [chunk, B] the
    rows of each step's batch; n <= chunk is traced, so that a shorter last chunk compiles nothing new.
    metrics: {name: [chunk]}, the first n entries valid. Not jitted here; donate the state. With
    `batch_sharding` the examples of a batch lie on several devices.
    """

    def batch_of(key: Array, arrays: PyTree, rows: Array) -> Batch:
        batch = jax.tree.map(lambda a: a[rows], arrays)
        batch = transform(named_key(key, "/transform"), {**batch, "index": jnp.arange(batch_size)})
        return batch if batch_sharding is None else jax.lax.with_sharding_constraint(batch, batch_sharding)

    def step(state: TrainState, key: Array, arrays: PyTree, rows: Array) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(threefry_key(key), state.step)
        size = jax.tree.leaves(arrays)[0].shape[0]

        def take(key: Array) -> Batch:
            rows = jax.random.randint(named_key(key, "/rows"), (batch_size,), 0, size)
            return batch_of(key, arrays, rows)

        state, metrics = update.apply(state, key, batch_of(key, arrays, rows), take)
        return state._replace(step=state.step + 1), metrics

    def run(state: TrainState, key: Array, arrays: PyTree, indices: Array, n: Array):
        chunk = indices.shape[0]
        shapes = jax.eval_shape(step, state, key, arrays, indices[0])[1]
        buffers = jax.tree.map(lambda s: jnp.zeros((chunk, *s.shape), s.dtype), shapes)

        def body(i: Array, carry: tuple[TrainState, dict]) -> tuple[TrainState, dict]:
            state, buffers = carry
            state, metrics = step(state, key, arrays, indices[i])
            return state, jax.tree.map(lambda b, m: b.at[i].set(m), buffers, metrics)

        return jax.lax.fori_loop(0, n, body, (state, buffers))

    return run


def alone(run: Run) -> Run:
    """`run` of the one run on a leading axis [1]."""

    def one(states: TrainState, keys: Array, arrays: PyTree, indices: Array, n: Array):
        state = jax.tree.map(lambda a: a[0], states)
        return jax.tree.map(lambda a: a[None], run(state, keys[0], arrays, indices[0], n[0]))

    return one


def over_runs(run: Run, mesh: Mesh | None) -> Run:
    """`run` on a leading axis [S] of states, keys, indices and n: S runs in one program.

    One after the other (`lax.map`) on CPU, where that was measured faster than side by side (`vmap`), which
    is taken elsewhere unmeasured; where there are several devices each has its share. A run whose chunk
    ends in parameters or a loss that are not finite keeps the state it had, and takes no part in what
    happens to the others.
    """

    def guarded(state: TrainState, key: Array, arrays: PyTree, indices: Array, n: Array):
        moved, metrics = run(state, key, arrays, indices, n)
        losses = [values for name, values in metrics.items() if name.endswith("loss")]
        finite = [jnp.isfinite(a).all() for a in jax.tree.leaves((moved.params, losses))]
        good = jnp.stack(finite).all()
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), moved, state), metrics

    def several(states: TrainState, keys: Array, arrays: PyTree, indices: Array, n: Array):
        if jax.default_backend() != "cpu":
            return jax.vmap(guarded, in_axes=(0, 0, None, 0, 0))(states, keys, arrays, indices, n)
        return jax.lax.map(lambda a: guarded(a[0], a[1], arrays, *a[2:]), (states, keys, indices, n))

    if mesh is None:
        return several
    mine, everywhere = PartitionSpec("device"), PartitionSpec()
    specs = (mine, mine, everywhere, mine, mine)
    # nothing crosses devices: the check of what does would only want every constant marked
    return jax.shard_map(several, mesh=mesh, in_specs=specs, out_specs=mine, check_vma=False)


def chunk_indices(key: Array, start: int, chunk: int, size: int, batch_size: int) -> np.ndarray:
    """The rows of steps start..start+chunk-1, [chunk, B], of a stream permuted anew each epoch.

    A pure function of the root key and the step: resuming needs no cursor. The ragged rest of an epoch,
    size mod B rows of its permutation, is dropped.
    """
    per_epoch = size // batch_size
    steps = np.arange(start, start + chunk)
    rows = np.empty((chunk, batch_size), np.int32)
    for epoch in np.unique(steps // per_epoch):
        key_epoch = jax.random.fold_in(named_key(key, "/order"), int(epoch))
        order = np.asarray(jax.random.permutation(key_epoch, size))
        mine = steps // per_epoch == epoch
        place = steps[mine] % per_epoch
        rows[mine] = order[: per_epoch * batch_size].reshape(per_epoch, batch_size)[place]
    return rows
