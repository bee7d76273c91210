"""One process of a job of two: run by test_processes.py.

python -m tests.train.processes PORT INDEX FOLDER STEPS
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.train.devices import covariance, setup
from vaejax import nets, objectives
from vaejax.train import fit, gradient_update


def training(folder, steps, devices=None, progress=False):
    """A short training with a term that mixes the batch, and a validation."""
    model, split, terms = setup(nets.MLPEncoder(4, (8,), event_ndims=3), nets.MLP((8,), (16, 16, 1)))
    objective = objectives.compose(**terms, covariance=covariance)
    return fit(
        jax.random.key(5), model, gradient_update(objective, model, optax.adam(1e-3)), split, steps,
        batch_size=16, chunk=5, save_every=1, folder=folder, resume=folder is not None, devices=devices,
        validate=lambda key, vae: {"neg_elbo": jnp.mean(vae.decode(jnp.zeros((1, 4))).mean())},
        progress=progress,
    )  # fmt: skip


def main(port, index, folder, steps):
    jax.distributed.initialize(f"localhost:{port}", 2, index, heartbeat_timeout_seconds=10)
    assert len(jax.devices()) == 2

    def say(n, record):
        print("step", int(record["step"]), flush=True)

    result = training(folder, steps, jax.devices(), say)
    if index == 0:
        leaves = jax.tree.leaves((result.state, result.best))
        np.savez(Path(folder) / "end.npz", *leaves, loss=result.metrics["loss"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
