"""What a training step of VDVAE costs beside PyTorch.

    python -m benchmarks.vdvae --threads 2 --output vdvae.json

12 levels on bytes of 32 x 32 x 3, batches of 16, a mixture of 10 discretised logistics, Adam at a fixed
rate. vaejax's step is the program that `fit` runs; the peer is eager PyTorch, channels_last, with the same
layers and the fused Adam. Both alternate; a ratio is of medians, and beside it stand that of the minima and
the least and the most of the rounds' own. Images are noise: no time depends on what is on one.

On two quiet cores (AMD EPYC, AVX-512): 180 ms a step, PyTorch 302.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optax
import tyro

from benchmarks.steps import (
    Program,
    compared,
    compile_chunk,
    judged,
    milliseconds,
    reported,
    time_in_turn,
    use_cores,
)  # fmt: skip
from vaejax import distributions, models, objectives
from vaejax.types import Model, Split

SIDE, CHANNELS, COMPONENTS = 32, 16, 10
LEVELS = {1: 1, 4: 3, 8: 3, 16: 3, 32: 2}  # how many levels each side has
BLOCKS = {1: 1, 4: 1, 8: 2, 16: 2, 32: 2}  # how many of the encoder's blocks, beside that before a mean
BARS = {"step/torch": (0.7, 0.5)}  # key: (bar, aim)


@dataclass(frozen=True)
class Config:
    """The cost of a deep hierarchy."""

    threads: int = 2
    """CPU threads of both frameworks; an accelerator does not mind."""
    width: int = 64
    """Channels of the maps, a quarter of them inside the blocks."""
    batch_size: int = 16
    """Images per step."""
    rounds: int = 9
    """Timed rounds, after one that warms up; in each, both frameworks have a turn."""
    steps: int = 4
    """Steps in a round."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


def images() -> np.ndarray:
    """[256, 32, 32, 3] bytes."""
    return np.random.default_rng(0).integers(0, 256, (256, SIDE, SIDE, 3), np.uint8)


def layers(counts: dict[int, int], between: str) -> str:
    """Counts as `models.vdvae` has them."""
    pairs = list(pairwise(counts))
    if between == "d":
        return ",".join([f"{side}x{n}" for side, n in counts.items()] + [f"{b}d{b // a}" for a, b in pairs])
    plain = [f"{side}x{n - (i > 0)}" for i, (side, n) in enumerate(counts.items())]
    return ",".join(plain + [f"{b}m{a}" for a, b in pairs])


def build(width: int) -> Model:
    """The hierarchy."""
    return models.vdvae(
        (SIDE, SIDE, 3), layers(LEVELS, "m"), layers(BLOCKS, "d"), width=width, channels=CHANNELS,
        likelihood=distributions.discretised_logistic_mixture(COMPONENTS),
    )  # fmt: skip


def compile_step(config: Config) -> Program:
    """The program that `fit` runs on the ELBO, in chunks of `config.steps`."""
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    split = Split({"x": images()}, "bytes")
    return compile_chunk(
        build(config.width), objective, optax.adam(1e-3), split, config.batch_size, config.steps
    )


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(config.threads)
    import torch  # pyright: ignore[reportMissingImports]

    from benchmarks.torch_vdvae_peer import TorchVDVAE

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    program = compile_step(config)
    step = TorchVDVAE(LEVELS, BLOCKS, config.width, CHANNELS, COMPONENTS).make_step(
        images(), config.batch_size
    )
    kinds: dict[str, Callable[[int], Any]] = {
        "vaejax": program,
        "torch": lambda n: [step() for _ in range(n)],
    }
    seconds = time_in_turn(kinds, config.steps, config.rounds)
    return judged(report(config, seconds, program), config.output, config.check)


def report(config: Config, seconds: dict[str, list[float]], program: Program) -> dict[str, Any]:
    """The tables, printed, and everything as plain data."""
    comparisons = {"step/torch": compared(seconds["vaejax"], seconds["torch"], *BARS["step/torch"])}
    sizes = {"compile_seconds": program.compile_seconds, "temporaries_mib": program.temporaries_mib}
    more = {"seconds": seconds, "threads": config.threads, **sizes}
    result = reported("ms a step", milliseconds(seconds), comparisons, **more)
    print(f"\ncompiled in {program.compile_seconds:.1f} s, {program.temporaries_mib:.0f} MiB of temporaries")
    return result


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
