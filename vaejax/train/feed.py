"""Where the examples of a chunk of steps come from: the device, or the host one chunk ahead."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from vaejax.checks import check_array
from vaejax.rows import RowSource, forget, gather, num_bytes, read_at_random, read_into
from vaejax.train.step import Order, Placement, make_chunk
from vaejax.types import Array, Device, PyTree, Split, Update

__all__ = ["Resident", "Streamed", "chunk_program", "is_resident", "like_chunk"]

_MIB = 2**20
_WORKERS, _ROWS = 8, 1024  # threads that gather rows, and rows that one reads at once, at most
_LARGE_CHUNK = 2**28  # bytes of a chunk's examples from which on a smaller one is worth a word
_log = logging.getLogger("vaejax")


def is_resident(resident: Any, data: Split, devices: Sequence[Device] | None) -> bool:
    """Whether `fit` holds the split on the device; the log has it, and why.

    Raises:
      ValueError: for anything but True, False and "auto".
    """
    if not isinstance(resident, bool) and resident != "auto":
        raise ValueError(f'resident: expected True, False or "auto", got {resident!r}')
    why, size = "as asked for", num_bytes(dict(data.arrays))
    if resident == "auto":
        here = jax.local_devices() if devices is None else [d for d in devices if _is_here(d)]
        budget, of_what = min(map(_budget, here[:1] if devices is None else here))
        resident = size <= budget
        why = f"{'up to' if resident else 'more than'} {budget / _MIB:.0f} MiB, {of_what}"
        if jax.process_count() > 1:  # which may have hosts of several sizes
            resident = bool(multihost_utils.broadcast_one_to_all(np.asarray(resident)))
    held = "held on the device" if resident else "streamed from the host"
    _log.info("the %d examples, %.1f MiB, are %s (%s)", data.size, size / _MIB, held, why)
    return bool(resident)


def _is_here(device: Device) -> bool:
    return device.process_index == jax.process_index()


def _budget(device: Device) -> tuple[float, str]:
    """The most bytes that a split may take of a device's memory, and what they are."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return limit / 2, "half of the device's memory"
    return host_memory() / 4, "a quarter of the host's memory"


def host_memory() -> float:
    """Bytes of memory that this process may have, by the machine or its control group; inf where unknown."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return math.inf
    least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # there is none, or it is "max"
            least = min(least, int(Path("/sys/fs/cgroup", name).read_text()))
    return least


def like_chunk(data: Split, shape: tuple[int, int], resident: bool) -> PyTree:
    """The examples that one run's chunk of [chunk, B] steps is given, in shapes: the split, or its own."""
    lead = None if resident else shape

    def of(array: Any) -> jax.ShapeDtypeStruct:
        whole = array.shape if lead is None else (*lead, *array.shape[1:])
        return jax.ShapeDtypeStruct(whole, jax.dtypes.canonicalize_dtype(array.dtype))

    return jax.tree.map(of, dict(data.arrays))


def chunk_program(
    update: Update, data: Split, shape: tuple[int, int], placement: Placement, resident: bool
) -> Callable:
    """The program of a chunk of [chunk, B] steps (`make_chunk`) on the resident or the streamed split."""
    further = None if resident else (data.size, _further(data, shape, placement))
    return make_chunk(update, data.transform, shape[1], placement.batch, further)


def _further(data: Split, shape: tuple[int, int], placement: Placement) -> Callable[[Array], PyTree]:
    """A function of the program that asks the host for further rows, [B] -> examples [B, ...]."""
    of_steps = like_chunk(data, shape, resident=False)
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), of_steps)

    def of_host(rows: Any) -> PyTree:
        examples = gather(dict(data.arrays), np.asarray(rows))
        jax.tree.map(lambda a: check_array(a, "data"), examples)
        return jax.tree.map(lambda a, to: a.astype(to.dtype), examples, like)

    def further(rows: Array) -> PyTree:
        if placement.batch is not None:
            raise ValueError(
                "resident: expected True for an update that takes batches of its own (repeat, aggressive) "
                "where devices share a batch; got a streamed split"
            )
        return jax.pure_callback(of_host, like, rows, vmap_method="sequential")

    return further


class Resident:
    """The split on the device; a chunk is its rows."""

    def __init__(self, data: Split, orders: Sequence[Order], shape: tuple[int, int], placement: Placement):
        self._orders, self._shape = orders, shape
        self._arrays = jax.device_put(jax.tree.map(_host, dict(data.arrays)), placement.copied)

    def chunk(
        self, done: Sequence[int], now: Sequence[int], then: Sequence[int]
    ) -> tuple[PyTree, np.ndarray]:
        """The arrays and the rows of the next chunk, [S, chunk, B]: `now` steps of a run after `done`."""
        del then
        return self._arrays, _rows(self._orders, done, now, self._shape)

    def close(self) -> None:
        """Nothing is under way."""


def _host(array: Any) -> Any:
    return np.asarray(array) if isinstance(array, RowSource) else array


def _rows(
    orders: Sequence[Order], done: Sequence[int], n: Sequence[int], shape: tuple[int, int]
) -> np.ndarray:
    """The rows of the data that each run's next chunk reads, [S, chunk, B]; 0 for a run that rests."""
    rows = np.zeros((len(orders), *shape), np.int32)
    for i, order in enumerate(orders):
        if n[i]:
            rows[i] = order.rows(done[i], shape[0])
    return rows


class _Ahead(NamedTuple):
    """A chunk that is being gathered: of which steps of each run, their rows, and its examples to come."""

    steps: tuple[tuple[int, int], ...]  # done, and how many
    rows: np.ndarray
    examples: Future[PyTree]


class Streamed:
    """The split on the host, or on disk: threads gather the rows of a chunk while the one before is computed.

    Two chunks of examples are in memory at a time. Of the examples of a batch that several processes share
    each reads those that are its devices'.
    """

    def __init__(self, data: Split, orders: Sequence[Order], shape: tuple[int, int], placement: Placement):
        self._arrays, self._orders, self._shape = dict(data.arrays), orders, shape
        self._sharding, self._ahead = placement.streamed, None
        self._columns = _columns(shape[1], placement)
        workers = min(_WORKERS, os.cpu_count() or 1)
        self._workers = ThreadPoolExecutor(workers, "vaejax-rows")
        self._loader = ThreadPoolExecutor(1, "vaejax-chunks")
        read_at_random(self._arrays, True)
        self._parts = workers
        size = shape[0] * shape[1] * len(orders) * num_bytes(dict(data.arrays)) // data.size
        _log.info("a chunk of %d steps takes %.1f MiB, and two are in memory", shape[0], size / _MIB)
        if size > _LARGE_CHUNK:
            _log.warning(
                "chunk: %d steps take %.0f MiB of memory, twice; fewer take less", shape[0], size / _MIB
            )

    def chunk(
        self, done: Sequence[int], now: Sequence[int], then: Sequence[int]
    ) -> tuple[PyTree, np.ndarray]:
        """The examples of the next chunk, [S, chunk, B, ...], and their rows; begin the chunk after it.

        After `done` steps of each run these are `now` steps, and `then` steps follow, if no run ends before.
        """
        ahead = self._ahead
        if ahead is None or any(n and (d, n) != s for d, n, s in zip(done, now, ahead.steps, strict=True)):
            ahead = self._begin(done, now)
        examples = ahead.examples.result()
        self._ahead = (
            self._begin([d + n for d, n in zip(done, now, strict=True)], then) if any(then) else None
        )
        return examples, ahead.rows

    def close(self) -> None:
        """Leave what is under way, and end the threads."""
        for pool in (self._loader, self._workers):
            pool.shutdown(wait=True, cancel_futures=True)
        forget(self._arrays)
        read_at_random(self._arrays, False)

    def _begin(self, done: Sequence[int], n: Sequence[int]) -> _Ahead:
        rows = _rows(self._orders, done, n, self._shape)
        steps = tuple(zip(done, n, strict=True))
        return _Ahead(steps, rows, self._loader.submit(self._load, rows, tuple(n)))

    def _load(self, rows: np.ndarray, n: tuple[int, ...]) -> PyTree:
        """Gather the examples of these rows, the first n steps of each run, and put them on the devices."""
        leaves, tree = jax.tree.flatten(self._arrays)
        rows = rows[:, :, self._columns]
        # fresh memory for each chunk: on a CPU the device reads it where it lies
        outs = [np.empty((*rows.shape, *a.shape[1:]), a.dtype) for a in leaves]
        tasks = []
        for i, steps in enumerate(n):
            mine = rows[i, :steps].ravel()
            flat = [out[i].reshape(-1, *out.shape[3:]) for out in outs]
            each = max(1, min(_ROWS, math.ceil(len(mine) / self._parts)))
            for start in range(0, len(mine), each):
                here = slice(start, start + each)
                part = [out[here] for out in flat]
                tasks.append(self._workers.submit(self._read, leaves, mine[here], part))
        for task in tasks:
            task.result()
        for i, steps in enumerate(n):
            for out in outs:
                check_array(out[i, :steps], "data")  # 64-bit integers that jax would wrap around
        return jax.tree.map(self._placed, tree.unflatten(outs))

    def _read(self, leaves: list[Any], rows: np.ndarray, outs: list[np.ndarray]) -> None:
        """Read rows; let go of pages of a mapped file: around each that is read the system maps 16."""
        read_into(leaves, rows, outs)
        forget(self._arrays)

    def _placed(self, examples: np.ndarray) -> Array:
        """Examples [S, chunk, b, ...] of this process's columns on its devices."""
        if self._sharding is None:
            return jax.device_put(examples)
        shape = (*examples.shape[:2], self._shape[1], *examples.shape[3:])

        def of(index: Any) -> np.ndarray:
            wanted = np.arange(self._shape[1])[index[2]]
            start = np.searchsorted(self._columns, wanted[0])
            part = examples[index[0], :, start : start + len(wanted)]
            return part.astype(jax.dtypes.canonicalize_dtype(part.dtype), copy=False)

        return jax.make_array_from_callback(shape, self._sharding, of)


def _columns(batch_size: int, placement: Placement) -> np.ndarray:
    """The places of a batch, of 0..B-1, whose examples the devices of this process are given."""
    if placement.batch is None:
        return np.arange(batch_size)
    of_devices: Any = placement.batch.addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[index] for (index,) in of_devices]))
