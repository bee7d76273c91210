"""What a training step costs beside PyTorch and zuko where the latents are more than a diagonal Gaussian.

    python -m benchmarks.latents --threads 1 --output latents.json

Burda's MLP, 784-200-200-50, tanh both ways, a Bernoulli on every pixel, batches of 100, Adam at a fixed
rate, the ELBO of one sample. vaejax's steps are the program that `fit` runs; the peer is eager PyTorch with
zuko's masked networks and splines and the fused Adam. Both have the same sizes of nets and of context. All
alternate; a ratio is of medians, and beside it stand that of the minima and the least and the most of the
rounds' own. Seconds to compile a step have a bar of their own. Images are binary noise: no time depends on
what is on one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optax
import tyro

from benchmarks.evidence import FEATURES, LATENTS, PIXELS, binary_images
from benchmarks.steps import Program, compile_chunk, judged, time_in_turn, use_cores
from vaejax import distributions, models, nets, objectives, runs
from vaejax.models import posteriors
from vaejax.types import Model, Split

BATCH, CONTEXT, WIDTH, STEPS, BINS = 100, 64, 128, 4, 8
BARS = {  # key: (bar, aim)
    "iaf_4/torch": (0.6, 0.4),
    "spline_coupling_4/torch": (0.5, 0.35),
}
COMPILE = (15.0, 8.0)  # seconds of any of the steps on a quiet core: (bar, aim)
POSTERIORS: dict[str, Callable[[], posteriors.Posterior]] = {
    "iaf_4": lambda: posteriors.iaf(LATENTS, STEPS, (WIDTH,), CONTEXT),
    "spline_coupling_4": lambda: posteriors.coupling(
        LATENTS, STEPS, (WIDTH,), CONTEXT, kind="spline", bins=BINS
    ),
}


@dataclass(frozen=True)
class Config:
    """The cost of flows."""

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


def build(name: str) -> Model:
    """Burda's model of one stochastic layer, with a flow for its posterior."""
    return models.vae(
        encoder=nets.MLPEncoder(latents=LATENTS, features=FEATURES, activation="tanh", context=CONTEXT),
        decoder=nets.MLP(features=FEATURES[::-1], output_shape=(PIXELS,), activation="tanh"),
        posterior=POSTERIORS[name](),
        likelihood=distributions.bernoulli(),
    )


def compile_step(name: str, n: int) -> Program:
    """The program that `fit` runs on the ELBO, in chunks of n steps."""
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl_sampled)
    split = Split({"x": binary_images(1000)}, "binary")
    return compile_chunk(build(name), objective, optax.adam(1e-3), split, BATCH, n)


def time_steps(config: Config) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """Seconds a step, {row: {framework: [rounds]}}, and seconds to compile vaejax's."""
    from benchmarks.torch_flow_peer import peer

    seconds, compiling = {}, {}
    for name in POSTERIORS:
        program = compile_step(name, config.steps)
        step = peer(name, PIXELS, FEATURES, LATENTS, CONTEXT, WIDTH, STEPS, BINS).make_step(
            binary_images(1000), BATCH
        )
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
        for framework, values in of.items():
            numbers = {"median": np.median(values), "min": min(values), "max": max(values)}
            rows.append({"": name, "by": framework, **{k: 1000 * float(v) for k, v in numbers.items()}})
        a, b = np.array(of["vaejax"]), np.array(of["torch"])
        bar, aim = BARS[f"{name}/torch"]
        ratio = float(np.median(a) / np.median(b))
        comparisons[f"{name}/torch"] = {
            "value": ratio, "min": float(a.min() / b.min()), "least": float((a / b).min()),
            "most": float((a / b).max()), "bar": bar, "aim": aim, "held": ratio <= bar,
        }  # fmt: skip
    for name, value in compiling.items():
        bar, aim = COMPILE
        judged = {"value": value, "bar": bar, "aim": aim, "held": value <= bar}
        comparisons[f"{name}_compile_seconds"] = judged
    print(f"\nms a step:\n\n{runs.table(rows)}\n")
    shown = [{"": k, **of, "held": "yes" if of["held"] else "no"} for k, of in comparisons.items()]
    columns = ("", "value", "min", "least", "most", "bar", "aim", "held")
    print(runs.table([{c: row.get(c, "") for c in columns} for row in shown]))
    return {
        "ratios": {k: of["value"] for k, of in comparisons.items()},
        "passed": {k: of["held"] for k, of in comparisons.items()},
        "comparisons": comparisons, "rows": rows, "seconds": seconds, "compile_seconds": compiling,
        "threads": config.threads, "manifest": runs.manifest(seconds=0.0),
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
