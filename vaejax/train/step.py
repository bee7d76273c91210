"""The jitted part of training: a chunk of steps on the device."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.keys import named_key
from vaejax.types import Array, Batch, PyTree, TrainState, Update

__all__ = ["chunk_indices", "make_chunk"]


def make_chunk(update: Update, transform: Callable[[Array, Batch], Batch], batch_size: int) -> Callable:
    """Build `run(state, key, arrays, indices, n) -> (state, metrics)`, n steps as one program.

    `key` is the root key of the run, `arrays` the training data on the device, `indices` [chunk, B] the
    rows of each step's batch; n <= chunk is traced, so that a shorter last chunk compiles nothing new.
    metrics: {name: [chunk]}, the first n entries valid. Not jitted here; donate the state.
    """

    def batch_of(key: Array, arrays: PyTree, rows: Array) -> Batch:
        batch = jax.tree.map(lambda a: a[rows], arrays)
        batch = {**batch, "index": jnp.arange(batch_size)}
        return transform(named_key(key, "/transform"), batch)

    def step(state: TrainState, key: Array, arrays: PyTree, rows: Array) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(key, state.step)
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
