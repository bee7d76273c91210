"""The jitted part of training: a chunk of steps on the device, of one run or of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vaejax.keys import named_key, threefry_key
from vaejax.machine import compiler_options
from vaejax.train.shared import examples_over
from vaejax.types import Array, Batch, Device, PyTree, TrainState, Update

__all__ = ["Order", "Placement", "alone", "chunk_indices", "jitted", "make_chunk", "over_runs"]

Run = Callable[..., tuple[TrainState, dict[str, Array]]]


class Placement(NamedTuple):
    """Where a program's arrays lie; None: on the default device."""

    mesh: Mesh | None = None
    runs: NamedSharding | None = None  # states, keys and rows of the runs
    copied: NamedSharding | None = None  # the data
    batch: NamedSharding | None = None  # the examples of a step
    streamed: NamedSharding | None = None  # the examples of a chunk, [S, chunk, B, ...]

    @classmethod
    def over(cls, devices: Sequence[Device], split_runs: bool) -> Placement:
        """Split the runs over the devices, or else the examples of each batch; copy all else."""
        mesh = jax.make_mesh((len(devices),), ("device",), (AxisType.Auto,), devices=list(devices))
        axes = ((), ("device",), (None, None, "device"))
        copied, split, of_batches = (NamedSharding(mesh, PartitionSpec(*of)) for of in axes)
        if split_runs:
            return cls(mesh, split, copied, None, split)
        return cls(mesh, copied, copied, split, of_batches)


def make_chunk(
    update: Update,
    transform: Callable[[Array, Batch], Batch],
    batch_size: int,
    batch_sharding: NamedSharding | None = None,
    further: tuple[int, Callable[[Array], PyTree]] | None = None,
) -> Run:
    """Build `run(state, key, arrays, indices, n) -> (state, metrics)`, n steps as one program.

    `key` is the root key of the run, `arrays` the training data on the device, `indices` [chunk, B] the
    rows of each step's batch; n <= chunk is traced, so that a shorter last chunk compiles nothing new.
    metrics: {name: [chunk]}, the first n entries valid. Not jitted here; donate the state. With
    `batch_sharding` the examples of a batch lie on several devices.

    With `further`, (N, rows [B] -> examples), the data are streamed: `arrays` are the examples of the chunk's
    steps, [chunk, B, ...], and the function gives those that an update asks for beside its batch.
    """

    def batch_of(key: Array, batch: PyTree) -> Batch:
        batch = transform(named_key(key, "/transform"), {**batch, "index": jnp.arange(batch_size)})
        return batch if batch_sharding is None else jax.lax.with_sharding_constraint(batch, batch_sharding)

    def step(state: TrainState, key: Array, arrays: PyTree, indices: Array, i: Any) -> tuple:
        key = jax.random.fold_in(threefry_key(key), state.step)
        size, examples = further or (jax.tree.leaves(arrays)[0].shape[0], partial(_at, arrays))

        def take(key: Array) -> Batch:
            rows = jax.random.randint(named_key(key, "/rows"), (batch_size,), 0, size)
            return batch_of(key, examples(rows))

        batch = batch_of(key, _at(arrays, indices[i] if further is None else i))
        with examples_over(batch_sharding):
            state, metrics = update.apply(state, key, batch, take)
        return state._replace(step=state.step + 1), metrics

    traced_once = jax.jit(step, inline=True)  # for its shapes, for the loop, for `alone` and `over_runs`

    def run(state: TrainState, key: Array, arrays: PyTree, indices: Array, n: Array):
        shapes = jax.eval_shape(traced_once, state, key, arrays, indices, jnp.int32(0))[1]
        buffers = jax.tree.map(lambda s: jnp.zeros((len(indices), *s.shape), s.dtype), shapes)

        def body(i: Array, carry: tuple[TrainState, dict]) -> tuple[TrainState, dict]:
            state, buffers = carry
            i = jax.lax.convert_element_type(i, jnp.int32)  # not weakly
            state, metrics = traced_once(state, key, arrays, indices, i)
            return state, jax.tree.map(lambda b, m: b.at[i].set(m), buffers, metrics)

        return jax.lax.fori_loop(0, n, body, (state, buffers))

    return run


def jitted(run: Run, **options: Any) -> Any:
    """`run` as a program, which writes over the state that it is given."""
    return jax.jit(run, donate_argnums=0, compiler_options=compiler_options(), **options)


def _at(arrays: PyTree, rows: Any) -> PyTree:
    return jax.tree.map(lambda a: a[rows], arrays)


def alone(run: Run, streamed: bool = False) -> Run:
    """`run` of the one run on a leading axis [1], which streamed examples have too."""

    def one(states: TrainState, keys: Array, arrays: PyTree, indices: Array, n: Array):
        state = jax.tree.map(lambda a: a[0], states)
        arrays = jax.tree.map(lambda a: a[0], arrays) if streamed else arrays
        return jax.tree.map(lambda a: a[None], run(state, keys[0], arrays, indices[0], n[0]))

    return one


def over_runs(run: Run, mesh: Mesh | None, streamed: bool = False) -> Run:
    """`run` on a leading axis [S] of states, keys, indices, n and streamed examples: S runs in one program.

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
            axes = (0, 0, 0 if streamed else None, 0, 0)
            return jax.vmap(guarded, in_axes=axes)(states, keys, arrays, indices, n)
        if streamed:
            return jax.lax.map(lambda a: guarded(*a), (states, keys, arrays, indices, n))
        return jax.lax.map(lambda a: guarded(a[0], a[1], arrays, *a[2:]), (states, keys, indices, n))

    if mesh is None:
        return several
    mine, everywhere = PartitionSpec("device"), PartitionSpec()
    specs = (mine, mine, mine if streamed else everywhere, mine, mine)
    # nothing crosses devices: the check of what does would only want every constant marked
    return jax.shard_map(several, mesh=mesh, in_specs=specs, out_specs=mine, check_vma=False)


class Order:
    """The rows of every step of a run, of a stream permuted anew each epoch.

    A pure function of the root key and the step: resuming needs no cursor. The ragged rest of an epoch,
    size mod B rows of its permutation, is dropped. The permutations of the epochs asked for last are kept.
    """

    def __init__(self, key: Array, size: int, batch_size: int):
        self._key, self._size, self._batch_size = named_key(key, "/order"), size, batch_size
        self._epochs: dict[int, np.ndarray] = {}

    def rows(self, start: int, chunk: int) -> np.ndarray:
        """The rows of steps start..start+chunk-1, [chunk, B]."""
        per_epoch = self._size // self._batch_size
        steps = np.arange(start, start + chunk)
        epochs = np.unique(steps // per_epoch).tolist()
        self._epochs = {epoch: self._epoch(epoch) for epoch in epochs}
        rows = np.empty((chunk, self._batch_size), np.int32)
        for epoch, order in self._epochs.items():
            mine = steps // per_epoch == epoch
            rows[mine] = order[steps[mine] % per_epoch]
        return rows

    def _epoch(self, epoch: int) -> np.ndarray:
        """The rows of an epoch's steps, [size // B, B]."""
        if epoch in self._epochs:
            return self._epochs[epoch]
        order = np.asarray(jax.random.permutation(jax.random.fold_in(self._key, epoch), self._size))
        return order[: self._size // self._batch_size * self._batch_size].reshape(-1, self._batch_size)


def chunk_indices(key: Array, start: int, chunk: int, size: int, batch_size: int) -> np.ndarray:
    """The rows of steps start..start+chunk-1 of an `Order`, [chunk, B]."""
    return Order(key, size, batch_size).rows(start, chunk)
