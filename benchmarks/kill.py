"""Kill a training with SIGKILL at random moments, resume it each time, and compare its end bit for bit.

    python -m benchmarks.kill --kills 100

Every second training streams its data, and so does the last.
About 3 s a kill on one core: most of it is starting jax again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import tyro

from vaejax import distributions, evaluation, models, nets, objectives, train
from vaejax.files import expanded
from vaejax.progress import Bar
from vaejax.types import Split


@dataclass(frozen=True)
class Config:
    """SIGKILL a training again and again."""

    kills: int = 100
    """How often the training is killed."""
    steps: int = 200
    """Steps after the last kill."""
    chunk: int = 20
    """Steps between checkpoints."""
    patience: float = 1.5
    """A kill comes at a random moment up to this many seconds after the first chunk."""
    seed: int = 0
    """Of the random moments."""
    folder: Path | None = None
    """Where the run goes; by default a temporary folder."""


ENDLESS = 10_000_000
# its processes have imported everything, and nothing of jax runs in the one that they are forked from
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["benchmarks.kill"])


def training(
    chunk: int, steps: int, folder: Path | None, progress: Any = False, resident: bool = True
) -> train.Fit:
    """A small VAE on binary noise, with validation, checkpointed at every chunk."""
    x = (np.random.default_rng(0).random((600, 12)) < 0.3).astype(np.float32)
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=2, features=(8,)),
        decoder=nets.MLP(features=(8,), output_shape=(12,)),
        latents=2,
        likelihood=distributions.bernoulli(),
    )
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = train.gradient_update(objective, model, optax.adam(1e-3))
    held_out = Split({"x": x[500:]}, "binary")
    return train.fit(
        jax.random.key(3), model, update, Split({"x": x[:500]}, "binary"), steps,
        batch_size=32, chunk=chunk, save_every=1, folder=folder, resume=folder is not None,
        validate=lambda key, vae: evaluation.elbo_parts(key, vae, held_out, aggregate=False),
        progress=progress, resident=resident,
    )  # fmt: skip


def child(chunk: int, folder: Path, resident: bool, first: Connection) -> None:
    """Train until killed; say the step after the first chunk, once; end when nobody is left to kill it."""
    said, server = [], os.getppid()

    def progress(n: int, record: dict[str, float]) -> None:
        if not said:
            said.append(first.send(int(record["step"])))
        if os.getppid() != server:
            raise SystemExit("the process that kills has ended")

    training(chunk, ENDLESS, folder, progress, resident)


def kill_one(config: Config, folder: Path, wait: float, resident: bool) -> int:
    """Start the training in a process of its own, kill it, and return the step after its first chunk."""
    here, there = FRESH.Pipe()
    process = FRESH.Process(target=child, args=(config.chunk, folder, resident, there), daemon=True)
    process.start()
    there.close()
    try:
        step = here.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"the training failed with {process.exitcode}; see what it wrote above") from None
    time.sleep(wait)
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the training ended by itself, with {process.exitcode}")
    return step


def main(config: Config) -> dict[str, Any]:
    """Kill, resume, compare; raises AssertionError where anything differs."""
    rng = random.Random(config.seed)
    folder = expanded(config.folder or Path(tempfile.mkdtemp()) / "run")
    start, at = time.perf_counter(), []
    for kill in Bar(range(config.kills), unit="kill"):
        at.append(kill_one(config, folder, rng.uniform(0, config.patience), kill % 2 == 1))
    *whole_lines, _ = (folder / "metrics.jsonl").read_text().splitlines()  # the last may be cut
    steps = config.steps + max(json.loads(line)["step"] for line in whole_lines)
    killed = training(config.chunk, steps, folder, resident=False)
    whole = training(config.chunk, steps, None)
    for a, b in zip(jax.tree.leaves(killed.state), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_array_equal(a, b)
    for name, values in whole.metrics.items():
        np.testing.assert_array_equal(killed.metrics[name], values, err_msg=name)
    assert killed.validation == whole.validation
    for a, b in zip(jax.tree.leaves(killed.best), jax.tree.leaves(whole.best), strict=True):
        np.testing.assert_array_equal(a, b)
    seconds = time.perf_counter() - start
    print(
        f"{config.kills} kills, resumed each time, the last at step {at[-1]} or later, in {seconds:.0f} s. "
        "Parameters, optimiser state, metrics, validations and best state are bit-identical to those of "
        "the uninterrupted run."
    )
    return {"kills": config.kills, "at": at, "identical": True, "seconds": seconds}


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
