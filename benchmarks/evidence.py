"""What an importance-weighted step and log p(x) cost beside PyTorch, in one run.

    python -m benchmarks.evidence --threads 1 --output evidence.json

The one-layer model of Burda, Grosse & Salakhutdinov (2015): 784-200-200-50, tanh both ways, a Bernoulli on
every pixel; Adam with eps = 1e-4 at a fixed rate. vaejax's steps are the program that `fit` runs on
`iwae(K)`, its log p(x) is `marginal_log_likelihood` with its curve and effective sample size; the peer's is
the sum alone. The peer runs in eager mode and by torch.compile, with its fused Adam, and ratios are of the
faster of the two; beside them its default Adam. All alternate; a ratio is of medians, and beside it stand
that of the minima and the least and the most of the rounds' own. Images are binary noise: no time depends on
what is on one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import tyro

from benchmarks.steps import Program, compared, compile_chunk, judged, time_in_turn, use_cores
from vaejax import distributions, evaluation, models, nets, objectives, runs
from vaejax.types import VAE, Model, Split

PIXELS, FEATURES, LATENTS = 784, (200, 200), 50
BARS = {  # key: (bar, aim)
    "step_B20_K1/torch": (0.42, 0.35),
    "step_B100_K1/torch": (0.40, 0.33),
    "step_B20_K50/torch": (0.68, 0.60),
    "step_B100_K50/torch": (0.68, 0.60),
    "log_px/torch": (0.58, 0.50),
}
STEPS = {
    "step_B20_K1": (20, 1),
    "step_B100_K1": (100, 1),
    "step_B20_K50": (20, 50),
    "step_B100_K50": (100, 50),
}
EAGER, COMPILED = "torch, eager", "torch, compiled"  # the bars are of the faster one
DEFAULT = "torch, default Adam"  # in eager mode
# Examples at a time where a CPU is faster with fewer than all, (vaejax, PyTorch)
MICROBATCH = {"step_B100_K50": (10, 20)}
# Images and samples of each at a time, from which both choose; all near the fastest of either on a CPU
CHUNKS = ((100, 5), (50, 10), (20, 20), (20, 50), (10, 100))


@dataclass(frozen=True)
class Config:
    """The cost of importance weights."""

    threads: int = 1
    """CPU threads of both frameworks; an accelerator does not mind."""
    rounds: int = 9
    """Timed rounds of every kind of step, after one that warms up; in each, both frameworks have a turn."""
    steps: int = 100
    """Steps in a round at (B, K) = (20, 1); of the others as many as see as many samples, at least 3."""
    images: int = 1000
    """Test images of log p(x)."""
    k_eval: int = 5000
    """K of log p(x)."""
    parts: int = 10
    """log p(x) is timed on this many equal parts of the images, in turn; chunks are tried on the first."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


def build() -> Model:
    """Burda's model of one stochastic layer."""
    return models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=LATENTS, features=FEATURES, activation="tanh"),
        decoder=nets.MLP(features=FEATURES[::-1], output_shape=(PIXELS,), activation="tanh"),
        latents=LATENTS,
        likelihood=distributions.bernoulli(),
    )


def binary_images(n: int) -> np.ndarray:
    """[n, 784] of 0 and 1, as sparse as handwritten digits."""
    return (np.random.default_rng(0).random((n, PIXELS)) < 0.13).astype(np.float32)


def compile_step(batch_size: int, K: int, n: int, microbatch: int | None = None) -> Program:
    """The program that `fit` runs on `iwae(K)`, in chunks of n steps."""
    objective = objectives.compose(iwae=objectives.iwae(K))
    split = Split({"x": binary_images(1000)}, "binary")
    adam = optax.adam(1e-3, b2=0.999, eps=1e-4)
    return compile_chunk(build(), objective, adam, split, batch_size, n, microbatch)


def steps_of(config: Config, batch_size: int, K: int) -> int:
    """How many steps a round has."""
    return max(3, config.steps * 20 // (batch_size * K))


def time_steps(config: Config) -> dict[str, dict[str, list[float]]]:
    """Seconds a step, {kind: {framework: [rounds]}}."""
    from benchmarks.torch_iwae_peer import TorchIWAE, make_step

    seconds = {}
    for name, (batch_size, K) in STEPS.items():
        n = steps_of(config, batch_size, K)
        ours, theirs = MICROBATCH.get(name, (None, None))
        kinds: dict[str, Callable[[int], Any]] = {"vaejax": compile_step(batch_size, K, n, ours)}
        for framework, fused, compiled in (
            (EAGER, True, False),
            (COMPILED, True, True),
            (DEFAULT, None, False),
        ):
            model = TorchIWAE(PIXELS, FEATURES, LATENTS)
            step = make_step(model, binary_images(1000), batch_size, K, theirs, fused, compiled)
            kinds[framework] = lambda n, step=step: [step() for _ in range(n)]
        seconds[name] = time_in_turn(kinds, n, config.rounds)
    return seconds


def evaluators() -> dict[str, Callable[[np.ndarray, int, int, int], np.ndarray]]:
    """(images [N, 784], K, images at a time, samples at a time) -> log p(x), [N] nats, of each."""
    from benchmarks.torch_iwae_peer import TorchIWAE, log_likelihood

    model = build()
    vae = model.bind(*model.init(jax.random.key(0), {"x": binary_images(1)}))
    peer = TorchIWAE(PIXELS, FEATURES, LATENTS)
    return {
        "vaejax": partial(marginal, vae),
        EAGER: partial(log_likelihood, peer),
        COMPILED: partial(log_likelihood, peer, compiled=True),
    }


def marginal(vae: VAE, x: np.ndarray, K: int, batch_size: int, chunk: int) -> np.ndarray:
    """log p(x) by vaejax, [N] nats."""
    split, key = Split({"x": x}, "binary"), jax.random.key(1)
    result = evaluation.marginal_log_likelihood(
        key, vae, split, num_samples=K, batch_size=batch_size, chunk=chunk
    )
    return result["per_example"]["log_likelihood"]


def time_log_px(config: Config) -> tuple[dict[str, list[float]], dict[str, dict[tuple[int, int], float]]]:
    """Seconds for all images, {framework: [parts]}, each at its fastest chunk; and those of every chunk.

    Chunks are tried on one part with a tenth of the samples.
    """
    evaluate = evaluators()
    parts = np.split(binary_images(config.images), config.parts)  # of one size: nothing compiles again
    K = math.ceil(config.k_eval / 10)
    tried: dict[str, dict[tuple[int, int], float]] = {name: {} for name in evaluate}
    for b, c in CHUNKS:
        trial = {name: lambda n, f=f, b=b, c=c: f(parts[0], K, b, c) for name, f in evaluate.items()}
        for name, seconds in time_in_turn(trial, 1, 3).items():
            tried[name][b, c] = min(seconds) * config.parts * config.k_eval / K
    best = {name: min(of, key=lambda chunk, of=of: of[chunk]) for name, of in tried.items()}
    left = {name: iter([parts[0], *parts]) for name in evaluate}  # the first warms up
    whole = {
        name: lambda n, f=f, name=name: f(next(left[name]), config.k_eval, *best[name])
        for name, f in evaluate.items()
    }
    timed = time_in_turn(whole, 1, config.parts)
    return {name: [config.parts * t for t in of] for name, of in timed.items()}, tried


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    if config.images % config.parts:
        raise ValueError(f"parts: expected a divisor of the {config.images} images, got {config.parts}")
    use_cores(config.threads)
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    seconds = time_steps(config)
    seconds["log_px"], tried = time_log_px(config)
    result = report(config, seconds, tried)
    return judged(result, config.output, config.check)


def report(
    config: Config,
    seconds: dict[str, dict[str, list[float]]],
    tried: dict[str, dict[tuple[int, int], float]],
) -> dict[str, Any]:
    """The tables, printed, and everything as plain data."""
    rows, comparisons = [], {}
    for name, of in seconds.items():
        for framework, values in of.items():
            unit, of_what = (1000, "ms a step") if name in STEPS else (1, f"s, {config.images} images")
            numbers = {"median": np.median(values), "min": min(values), "max": max(values)}
            numbers = {k: unit * float(v) for k, v in numbers.items()}
            rows.append({"": name, "by": framework, "unit": of_what, **numbers})
        faster = min((EAGER, COMPILED), key=lambda way, of=of: np.median(of[way]))
        comparisons[f"{name}/torch"] = compared(of["vaejax"], of[faster], *BARS[f"{name}/torch"])
        for way in (EAGER, COMPILED, DEFAULT):
            ratio = float(np.median(of["vaejax"]) / np.median(of[way])) if way in of else ""
            comparisons[f"{name}/torch"][f"of {way}"] = ratio
    chunks = [
        {"images": b, "samples": c, **{name: of[b, c] for name, of in tried.items()}}
        for b, c in next(iter(tried.values()))
    ]
    print(
        f"\n{runs.table(rows)}\n\nlog p(x), s for {config.images} images by chunk:\n\n{runs.table(chunks)}\n"
    )
    shown = [{**of, "held": "yes" if of["held"] else "no"} for of in comparisons.values()]
    print(runs.table([{"ratio": k, **row} for k, row in zip(comparisons, shown, strict=True)]))
    return {
        "ratios": {k: of["value"] for k, of in comparisons.items()},
        "passed": {k: of["held"] for k, of in comparisons.items()},
        "comparisons": comparisons, "rows": rows, "seconds": seconds, "chunks": chunks,
        "microbatch": MICROBATCH, "threads": config.threads, "images": config.images, "k_eval": config.k_eval,
        "manifest": runs.manifest(seconds=0.0),
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
