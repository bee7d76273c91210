"""What a training step costs beside PyTorch and zuko where q or p is more than a diagonal Gaussian.

    python -m benchmarks.latents --threads 1 --output latents.json

Burda's MLP, 784-200-200-50, tanh both ways, a Bernoulli on every pixel, batches of 100, Adam at a fixed
rate, the ELBO of one sample. vaejax's steps are the program that `fit` runs; the peer is eager PyTorch with
zuko's masked networks and splines, or a VampPrior written for it, and the fused Adam. Both have the same
sizes of nets and of context. All alternate; a ratio is of medians, and beside it stand that of the minima and
the least and the most of the rounds' own. Seconds to compile a step have a bar of their own. Images are
binary noise: no time depends on what is on one.

On one quiet core (AMD EPYC, AVX-512), ms a step and PyTorch's: IAF 2.4 and 5.7, spline coupling 5.8 and 16.6,
VampPrior 6.9 and 31.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optax
import tyro

from benchmarks.evidence import FEATURES, LATENTS, PIXELS, binary_images
from benchmarks.steps import (
    Program,
    below,
    compared,
    compile_chunk,
    judged,
    milliseconds,
    reported,
    time_in_turn,
    use_cores,
)  # fmt: skip
from vaejax import distributions, models, nets, objectives
from vaejax.models import posteriors, priors
from vaejax.types import Model, Split

BATCH, CONTEXT, WIDTH, STEPS, BINS, PSEUDO_INPUTS = 100, 64, 128, 4, 8, 500
BARS = {  # key: (bar, aim)
    "iaf_4/torch": (0.6, 0.4),
    "spline_coupling_4/torch": (0.5, 0.35),
    "vamp_500/torch": (0.8, 0.6),
}
COMPILE = (15.0, 8.0)  # seconds of any of the steps on a quiet core: (bar, aim)
MODELS: dict[str, Callable[[], Model]] = {
    "iaf_4": lambda: build(posteriors.iaf(LATENTS, STEPS, (WIDTH,), CONTEXT), CONTEXT),
    "spline_coupling_4": lambda: build(
        posteriors.coupling(LATENTS, STEPS, (WIDTH,), CONTEXT, kind="spline", bins=BINS), CONTEXT
    ),
    "vamp_500": lambda: build(posteriors.gaussian(LATENTS), prior=priors.vamp(PSEUDO_INPUTS)),
}


@dataclass(frozen=True)
class Config:
    """The cost of flows and of the VampPrior."""

    threads: int = 1
    """CPU threads of both frameworks; an accelerator does not mind."""
    rounds: int = 9
    """Timed rounds, after one that warms up; in each, both frameworks have a turn."""
    steps: int = 50
    """Steps in a round."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


def build(posterior: posteriors.Posterior, context: int = 0, prior: priors.Prior | None = None) -> Model:
    """Burda's model of one stochastic layer, with another posterior or prior."""
    return models.vae(
        encoder=nets.MLPEncoder(latents=LATENTS, features=FEATURES, activation="tanh", context=context),
        decoder=nets.MLP(features=FEATURES[::-1], output_shape=(PIXELS,), activation="tanh"),
        posterior=posterior,
        likelihood=distributions.bernoulli(),
        prior=prior,
    )


def compile_step(name: str, n: int) -> Program:
    """The program that `fit` runs on the ELBO, in chunks of n steps."""
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl_sampled)
    split = Split({"x": binary_images(1000)}, "binary")
    return compile_chunk(MODELS[name](), objective, optax.adam(1e-3), split, BATCH, n)


def time_steps(config: Config) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """Seconds a step, {row: {framework: [rounds]}}, and seconds to compile vaejax's."""
    from benchmarks.torch_flow_peer import TorchVampVAE, peer

    seconds, compiling = {}, {}
    for name in MODELS:
        program = compile_step(name, config.steps)
        if name.startswith("vamp"):
            model = TorchVampVAE(PIXELS, FEATURES, LATENTS, PSEUDO_INPUTS)
        else:
            model = peer(name, PIXELS, FEATURES, LATENTS, CONTEXT, WIDTH, STEPS, BINS)
        step = model.make_step(binary_images(1000), BATCH)
        kinds: dict[str, Callable[[int], Any]] = {
            "vaejax": program,
            "torch": lambda n, step=step: [step() for _ in range(n)],
        }
        seconds[name] = time_in_turn(kinds, config.steps, config.rounds)
        compiling[name] = program.compile_seconds
    return seconds, compiling


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(config.threads)
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    result = report(config, *time_steps(config))
    return judged(result, config.output, config.check)


def report(
    config: Config, seconds: dict[str, dict[str, list[float]]], compiling: dict[str, float]
) -> dict[str, Any]:
    """The tables, printed, and everything as plain data."""
    rows, comparisons = [], {}
    for name, of in seconds.items():
        rows += milliseconds(of, **{"": name})
        comparisons[f"{name}/torch"] = compared(of["vaejax"], of["torch"], *BARS[f"{name}/torch"])
    comparisons |= {f"{name}_compile_seconds": below(value, *COMPILE) for name, value in compiling.items()}
    more = {"seconds": seconds, "compile_seconds": compiling, "threads": config.threads}
    return reported("ms a step", rows, comparisons, **more)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
