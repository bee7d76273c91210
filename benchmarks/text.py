"""What a training step of a VAE of sentences costs beside PyTorch.

    python -m benchmarks.text --threads 2 --output text.json

An LSTM either side with 256 units and vectors of 256 for 8000 words, 32 latents, 32 sentences of 30 words a
step, the negative ELBO under Adam. vaejax's step is the program that `fit` runs; the peer is PyTorch written
for it, its own LSTM and the fused Adam, eager and through torch.compile: the faster of the two counts. All
alternate; a ratio is of medians, and beside it stand that of the minima and the least and the most of the
rounds' own. Words are noise and sentences full: no time depends on what they say.

Two quiet cores (AMD EPYC, AVX-512): 68.1 ms a step, PyTorch 91.4, .745; the bar is missed. Three products of
960 x 256 x 8000 are two thirds of the arithmetic; on one busy core XLA did them at 57 GFLOP/s, PyTorch at 75.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from vaejax import distributions, models, nets, objectives
from vaejax.types import Model, Split

VOCABULARY, LENGTH, LATENTS, FEATURES, EMBEDDING, BATCH = 8000, 30, 32, 256, 256, 32
BARS = {"step/torch": (0.6, 0.5)}  # key: (bar, aim)


@dataclass(frozen=True)
class Config:
    """The cost of an LSTM either side."""

    threads: int = 2
    """CPU threads of both frameworks; an accelerator does not mind."""
    rounds: int = 9
    """Timed rounds, after one that warms up; in each, all have a turn."""
    steps: int = 4
    """Steps in a round."""
    compiled: bool = True
    """Whether the peer has a turn through torch.compile too."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


def build() -> Model:
    """The VAE of sentences."""
    return models.gaussian_vae(
        encoder=nets.LSTMEncoder(LATENTS, VOCABULARY, FEATURES, EMBEDDING),
        decoder=nets.LSTMDecoder(LENGTH, VOCABULARY, FEATURES, EMBEDDING),
        latents=LATENTS,
        likelihood=distributions.token_sequence(),
    )


def sentences(n: int = 512) -> np.ndarray:
    """Words at random, none of them the end."""
    return np.random.default_rng(0).integers(1, VOCABULARY, (n, LENGTH)).astype(np.int32)


def compile_step(n: int) -> Program:
    """The program that `fit` runs, in chunks of n steps."""
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    return compile_chunk(build(), objective, optax.adam(1e-3), Split({"x": sentences()}, "tokens"), BATCH, n)


def time_all(config: Config) -> dict[str, list[float]]:
    """Seconds of a step, {framework: [rounds]}."""
    from benchmarks.torch_text_peer import TorchText

    def peer(compiled: bool) -> Callable[[int], Any]:
        step = TorchText(VOCABULARY, LATENTS, FEATURES, EMBEDDING).make_step(sentences(), BATCH, compiled)
        return lambda n: [step() for _ in range(n)]

    kinds = {"vaejax": compile_step(config.steps), "torch": peer(False)}
    if config.compiled:
        kinds["torch, compiled"] = peer(True)
    return time_in_turn(kinds, config.steps, config.rounds)


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(config.threads)
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    return judged(report(config, time_all(config)), config.output, config.check)


def report(config: Config, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """The table, printed, and everything as plain data."""
    fastest = min((name for name in seconds if name != "vaejax"), key=lambda name: np.median(seconds[name]))
    comparisons = {"step/torch": compared(seconds["vaejax"], seconds[fastest], *BARS["step/torch"])}
    return reported("ms", milliseconds(seconds), comparisons, seconds=seconds, threads=config.threads)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
