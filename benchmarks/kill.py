"""Kill a training with SIGKILL at random moments, resume it each time, and compare its end bit for bit.

    python -m benchmarks.kill --kills 100

About 7 s a kill on one core: most of it is starting Python and jax again.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import tyro

from vaejax import distributions, evaluation, models, nets, objectives, train
from vaejax.progress import Bar
from vaejax.types import Split


@dataclass(frozen=True)
class Config:
    """SIGKILL a training again and again."""

    kills: int = 100
    """How often the training is killed."""
    steps: int = 20_000
    """Steps of the training; it must not end before the last kill."""
    chunk: int = 20
    """Steps between checkpoints."""
    patience: float = 1.5
    """A kill comes at a random moment up to this many seconds after the first chunk."""
    seed: int = 0
    """Of the random moments."""
    folder: Path | None = None
    """Where the run goes; by default a temporary folder."""
    child: bool = False
    """Train in `folder`, once; the parent starts this."""


def training(config: Config, folder: Path | None, progress: Any = False) -> train.Fit:
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
        jax.random.key(3), model, update, Split({"x": x[:500]}, "binary"), config.steps,
        batch_size=32, chunk=config.chunk, save_every=1, folder=folder, resume=folder is not None,
        validate=lambda key, vae: evaluation.elbo_parts(key, vae, held_out, aggregate=False),
        progress=progress,
    )  # fmt: skip


def run_child(config: Config, folder: Path) -> subprocess.Popen:
    """Start the training in a process of its own; it writes a line when the first chunk is done."""
    options = ["--steps", str(config.steps), "--chunk", str(config.chunk), "--folder", str(folder), "--child"]
    command = [sys.executable, "-m", "benchmarks.kill", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main(config: Config) -> dict[str, Any]:
    """Kill, resume, compare; raises AssertionError where anything differs."""
    rng = random.Random(config.seed)
    folder = config.folder or Path(tempfile.mkdtemp()) / "run"
    start, at = time.perf_counter(), []
    for _ in Bar(range(config.kills), unit="kill"):
        child = run_child(config, folder)
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"the training failed: {child.communicate()[1][-2000:]}")
        time.sleep(rng.uniform(0, config.patience))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        if child.returncode != -signal.SIGKILL:
            done = f"the training ended before kill {len(at) + 1}"
            raise RuntimeError(f"steps: expected more than {config.steps}, {done}")
        at.append(int(line))
    killed, whole = training(config, folder), training(config, None)
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


def child(config: Config) -> None:
    """Train; say the step once, after the first chunk."""
    said = []

    def progress(n: int, record: dict[str, float]) -> None:
        if not said:
            said.append(print(int(record["step"]), flush=True))

    training(config, config.folder, progress)


if __name__ == "__main__":
    parsed = tyro.cli(Config, description=__doc__)
    if parsed.child:
        child(parsed)
    else:
        main(parsed)
