"""What a step of `gaussian_vae` costs in this checkout beside an earlier one, compile time too.

    python -m benchmarks.before ../before --output before.json

`../before` is a checkout of the earlier commit, as `git worktree add ../before 543bb67` makes one.
Burda's MLP, 784-200-200-50, a Bernoulli on every pixel, batches of 100, Adam, the ELBO with its closed KL.
Each checkout has a process of its own on this interpreter and its packages; they take turns. One thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from benchmarks.steps import compared, judged, reported, time_in_turn, use_cores
from vaejax.files import expanded

BARS = {"step/before": (1.03, 1.0), "compile/before": (1.03, 1.0)}
HERE = Path(__file__).resolve().parent.parent
# What both checkouts run: it compiles the step, or takes as many as one round has, whenever it is told to.
CHILD = """
import sys
import jax, numpy as np, optax
from vaejax import Split, compose, distributions, models, nets, objectives, train
from vaejax.train.step import chunk_indices, make_chunk
from vaejax.train.loop import initialiser

x = (np.random.default_rng(0).random((1000, 784)) < 0.13).astype(np.float32)
split = Split({"x": x}, "binary")
model = models.gaussian_vae(
    encoder=nets.MLPEncoder(latents=50, features=(200, 200), activation="tanh"),
    decoder=nets.MLP(features=(200, 200), output_shape=(784,), activation="tanh"),
    latents=50, likelihood=distributions.bernoulli(),
)
objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
update = train.gradient_update(objective, model, optax.adam(1e-3))
key, n = jax.random.key(0), int(sys.argv[1])
state = jax.jit(initialiser(model, update, split))(key)
rows = chunk_indices(key, 0, n, split.size, 100)
arguments = [state, key, jax.device_put(dict(split.arrays)), rows]
for line in sys.stdin:
    if line == "compile\\n":
        jax.clear_caches()
        run = jax.jit(make_chunk(update, split.transform, 100), donate_argnums=0)
        compiled = run.lower(*arguments, 1).compile()
    else:
        arguments[0], metrics = compiled(*arguments, n)
        jax.block_until_ready(metrics)
    print("done", flush=True)
"""


@dataclass(frozen=True)
class Config:
    """The cost of an earlier commit and of this one."""

    before: Annotated[Path, tyro.conf.Positional]
    """The folder of the earlier checkout."""
    rounds: int = 15
    """Timed rounds, after one that warms up; in each, both have a turn."""
    steps: int = 200
    """Steps in a round."""
    compilations: int = 9
    """Timed compilations of each, in turn too, after one that warms up."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


class Checkout:
    """A process that runs `child`, a program, with the vaejax of a folder; it answers a line with a line."""

    def __init__(self, folder: Path, child: str, *arguments: str):
        if not (folder / "vaejax" / "__init__.py").is_file():
            raise FileNotFoundError(f"before: expected a checkout of vaejax, got {folder}")
        environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
        self.process = subprocess.Popen(
            [sys.executable, "-c", child, *arguments],
            text=True, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def answer(self, what: str) -> str:
        """What it says when it has done it; RuntimeError if it has ended instead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"a process of this benchmark ended with {self.process.wait()}")
        return line

    def does(self, what: str) -> Callable[[int], str]:
        """A function that has the process do it."""
        return lambda n: self.answer(what)


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(1)
    folders = {"before": expanded(config.before, "before"), "now": HERE}
    sides = {name: Checkout(folder, CHILD, str(config.steps)) for name, folder in folders.items()}
    compiling, steps = (
        {name: side.does(what) for name, side in sides.items()} for what in ("compile", "step")
    )
    compile_seconds = time_in_turn(compiling, 1, config.compilations)
    seconds = time_in_turn(steps, config.steps, config.rounds)
    for side in sides.values():
        side.process.communicate()
    return judged(report(seconds, compile_seconds), config.output, config.check)


def report(seconds: dict[str, list[float]], compiling: dict[str, list[float]]) -> dict[str, Any]:
    """The tables, printed, and everything as plain data."""
    both = {"step": seconds, "compile": compiling}
    rows = [
        {"": what, "of": side, "median": float(np.median(values)), "min": min(values)}
        for what, of in both.items()
        for side, values in of.items()
    ]
    comparisons = {
        f"{what}/before": compared(of["now"], of["before"], *BARS[f"{what}/before"])
        for what, of in both.items()
    }
    return reported("seconds", rows, comparisons, **both)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
