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

from benchmarks.steps import compared, judged, time_in_turn, use_cores, verdicts
from vaejax import runs

BARS = {"step/before": (1.03, 1.0), "compile/before": (1.03, 1.0)}
HERE = Path(__file__).resolve().parent.parent
# What both checkouts run: it says the seconds that compiling took, then takes as many steps as it is told to.
CHILD = """
import sys, time
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
for _ in range(int(sys.argv[2])):
    jax.clear_caches()
    start = time.perf_counter()
    run = jax.jit(make_chunk(update, split.transform, 100), donate_argnums=0)
    compiled = run.lower(*arguments, 1).compile()
    print(time.perf_counter() - start, flush=True)
for line in sys.stdin:
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
    compilations: int = 7
    """Compilations of each, of which the first is left out."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


class Checkout:
    """A process that takes steps of the vaejax in a folder."""

    def __init__(self, folder: Path, config: Config):
        if not (folder / "vaejax" / "__init__.py").is_file():
            raise FileNotFoundError(f"before: expected a checkout of vaejax, got {folder}")
        arguments = [sys.executable, "-c", CHILD, str(config.steps), str(config.compilations)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
        self.process = subprocess.Popen(arguments, text=True, cwd=folder, env=environment, **pipes)
        self.compiling = [float(self.line()) for _ in range(config.compilations)][1:]

    def line(self) -> str:
        """The next line that the process says; RuntimeError if it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.process.args} ended with {self.process.wait()}")
        return line

    def __call__(self, steps: int) -> None:
        assert self.process.stdin is not None
        print("step", file=self.process.stdin, flush=True)
        self.line()


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(1)
    sides = {"before": Checkout(config.before, config), "now": Checkout(HERE, config)}
    steps: dict[str, Callable[[int], Any]] = dict(sides)
    seconds = time_in_turn(steps, config.steps, config.rounds)
    for side in sides.values():
        side.process.communicate()
    compiling = {name: side.compiling for name, side in sides.items()}
    return judged(report(seconds, compiling), config.output, config.check)


def report(seconds: dict[str, list[float]], compiling: dict[str, list[float]]) -> dict[str, Any]:
    """The tables, printed, and everything as plain data."""
    both = {"step": seconds, "compile": compiling}
    rows = [
        {"seconds": what, "of": side, "median": float(np.median(values)), "min": min(values)}
        for what, of in both.items()
        for side, values in of.items()
    ]
    comparisons = {
        f"{what}/before": compared(of["now"], of["before"], *BARS[f"{what}/before"])
        for what, of in both.items()
    }
    print(f"\n{runs.table(rows)}\n\n{verdicts(comparisons)}")
    return {
        "ratios": {k: of["value"] for k, of in comparisons.items()},
        "passed": {k: of["held"] for k, of in comparisons.items()},
        "comparisons": comparisons, "rows": rows, **both, "manifest": runs.manifest(seconds=0.0),
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
