"""One process of a job of two: forked by test_processes.py from one that has imported all of this."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.sources import Read
from tests.train.devices import covariance, setup
from vaejax import nets, objectives
from vaejax.train import fit, gradient_update
from vaejax.types import Split


def training(folder, steps, devices=None, progress=False, source=None, resident="auto"):
    """A short training with a term that mixes the batch, and a validation; of `source(images)` if given."""
    model, split, terms = setup(nets.MLPEncoder(4, (8,), event_ndims=3), nets.MLP((8,), (16, 16, 1)))
    objective = objectives.compose(**terms, covariance=covariance)
    split = split if source is None else Split({"x": source(split.arrays["x"])}, split.support)
    return fit(
        jax.random.key(5), model, gradient_update(objective, model, optax.adam(1e-3)), split, steps,
        batch_size=16, chunk=5, save_every=1, folder=folder, resume=folder is not None, devices=devices,
        validate=lambda key, vae: {"neg_elbo": jnp.mean(vae.decode(jnp.zeros((1, 4))).mean())},
        progress=progress, resident=resident,
    )  # fmt: skip


def member(port: int, index: int, folder: Path, steps: int, patience: int, streamed: bool, said: Connection):
    """Train as one of two, and tell each step that ends a chunk; what it writes goes to a file of its own.

    If its data are streamed, the rows that it read of them too.

    It waits so many seconds for a sign of the other, and ends when nobody listens any more.
    """
    out = os.open(folder / f"said-{index}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    jax.config.update("jax_platforms", "cpu")
    jax.distributed.initialize(f"localhost:{port}", 2, index, heartbeat_timeout_seconds=patience)
    assert len(jax.devices()) == 2
    sources = []

    def recorded(x):
        sources.append(Read(x))
        return sources[0]

    result = training(
        folder, steps, jax.devices(), lambda n, record: said.send(int(record["step"])),
        *((recorded, False) if streamed else ()),
    )  # fmt: skip
    if streamed:
        np.save(folder / f"rows-{index}.npy", sources[0].rows)
    if index == 0:
        leaves = jax.tree.leaves((result.state, result.best))
        np.savez(folder / "end.npz", *leaves, loss=result.metrics["loss"])
