"""What codes cost beside PyTorch: the nearest of 512 vectors, and the step of a VQ-VAE with running means.

    python -m benchmarks.codes --threads 2 --output codes.json

Vectors are 64 x 16 x 16 of 64. "straight_through" is the nearest codes, their look-up, the commitment, and
the gradient in the vectors; "codebook" has the gradient in the codes beside. The peer is VectorQuantize of
vector-quantize-pytorch, in training with the same costs, its codebook frozen or learned; the same written in
PyTorch by hand has a turn too, of which no ratio is taken. "ema_vq_vae" is a whole step on images of 32x32x3,
64 at a time, under Adam: two convolutions of stride 2, two residual blocks either side, 128 channels, 512
codes of 64 on a grid of 8x8. vaejax's is the program that `fit` runs; the peer is eager PyTorch written for
it, in channels_last, with the fused Adam. All alternate; a ratio is of medians, and beside it stand that of
the minima and the least and the most of the rounds' own. The temporaries of the nearest search are the most
of any number of vectors up to 2^22. Vectors and images are noise: no time depends on what they are.

On two quiet cores (AMD EPYC, AVX2): the nearest codes 15 ms, VectorQuantize 148, by hand 22; a step 193,
PyTorch 247 (ratios .10 and .78). With AVX-512, and before the 3x3 convolutions were products of 4x4 tiles
(`nets/winograd.py`), a step took 115, PyTorch's 93.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

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
from vaejax.ops import codes
from vaejax.types import Array, Model, Split

VECTORS, CODES, COMMITMENT = (64, 16, 16, 64), 512, 0.25
SIDE, CHANNELS, FEATURES, DIM, BATCH, SCALE, DECAY = 32, 3, 128, 64, 64, 0.2, 0.99
BARS = {  # key: (bar, aim)
    "straight_through/torch": (0.6, 0.35),
    "codebook/torch": (0.6, 0.35),
    "ema_vq_vae/torch": (0.7, 0.5),
    "nearest_temporaries_mib": (32.0, 16.0),
}
NUMBERS = (1, 2**10, 3 * 2**10 + 1, 2**14, 2**18, 2**22)  # of vectors, whose search is compiled


@dataclass(frozen=True)
class Config:
    """The cost of codes."""

    threads: int = 2
    """CPU threads of both frameworks; an accelerator does not mind."""
    rounds: int = 9
    """Timed rounds, after one that warms up; in each, both frameworks have a turn."""
    steps: int = 3
    """Steps of the VQ-VAE in a round, and ten times as many searches."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


def vectors(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors z, a codebook, and the gradient that comes back to the codes of z."""
    rng = np.random.default_rng(seed)
    z, e, g = (rng.normal(size=n) for n in (VECTORS, (CODES, VECTORS[-1]), VECTORS))
    return z.astype(np.float32), e.astype(np.float32), g.astype(np.float32)


def cost(z: Array, e: Array, g: Array) -> tuple[Array, tuple[Array, Array]]:
    """<g, q> + beta mean |z - q|^2 of the codes q of z, straight through; q and their indices."""
    k = codes.nearest(z, e)
    q = e[k]
    through = codes.straight_through(z, q)
    return jnp.sum(g * through) + COMMITMENT * jnp.mean(jnp.square(z - q)), (through, k)


def quantise(learned: bool) -> Callable[[int], None]:
    """Forward and backward, n times; with the gradient in the codebook if it is learned."""
    z, e, g = (jax.device_put(a) for a in vectors())
    compiled = (
        jax.jit(jax.value_and_grad(cost, (0, 1) if learned else 0, has_aux=True)).lower(z, e, g).compile()
    )

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(compiled(z, e, g))

    return run


def build() -> Model:
    """The VQ-VAE with running means, with a Gaussian on every pixel."""
    return models.vae(
        encoder=nets.ConvDown(DIM, FEATURES),
        decoder=nets.ConvUp(SIDE, CHANNELS, FEATURES),
        posterior=posteriors.vq((SIDE // 4, SIDE // 4), DIM, CODES, decay=DECAY),
        likelihood=distributions.gaussian(SCALE),
        prior=priors.codes(),
    )


def images(n: int = 512) -> np.ndarray:
    """White noise."""
    return np.random.default_rng(0).random((n, SIDE, SIDE, CHANNELS)).astype(np.float32)


def compile_step(n: int) -> Program:
    """The program that `fit` runs, in chunks of n steps."""
    commitment = objectives.scaled(COMMITMENT, objectives.commitment)
    objective = objectives.compose(reconstruction=objectives.reconstruction, commitment=commitment)
    return compile_chunk(
        build(), objective, optax.adam(1e-3), Split({"x": images()}, "unit_interval"), BATCH, n
    )


def temporaries(n: int, dim: int = VECTORS[-1], V: int = CODES) -> float:
    """MiB of temporaries of the search for the nearest of V codes of n vectors, as it is compiled."""
    z, e = (jax.ShapeDtypeStruct((rows, dim), jnp.float32) for rows in (n, V))
    analysis = jax.jit(codes.nearest).lower(z, e).compile().memory_analysis()
    return analysis.temp_size_in_bytes / 2**20 if analysis else float("nan")


def time_all(config: Config) -> dict[str, dict[str, list[float]]]:
    """Seconds of a search and of a step, {row: {framework: [rounds]}}."""
    from benchmarks.torch_codes_peer import TorchVQVAE, make_quantise

    seconds = {}
    for row in ("straight_through", "codebook"):
        learned = row == "codebook"
        kinds: dict[str, Callable[[int], Any]] = {"vaejax": quantise(learned)}
        for name, by_hand in (("torch", False), ("torch, by hand", True)):
            peer = make_quantise(*vectors(), learned, COMMITMENT, by_hand)
            kinds[name] = lambda n, step=peer: [step() for _ in range(n)]
        seconds[row] = time_in_turn(kinds, 10 * config.steps, config.rounds)
    model = TorchVQVAE(CHANNELS, FEATURES, DIM, CODES, DECAY, SCALE, COMMITMENT)
    step = model.make_step(images(), BATCH)
    kinds = {"vaejax": compile_step(config.steps), "torch": lambda n: [step() for _ in range(n)]}
    return seconds | {"ema_vq_vae": time_in_turn(kinds, config.steps, config.rounds)}


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(config.threads)
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    result = report(config, time_all(config), {n: temporaries(n) for n in NUMBERS})
    return judged(result, config.output, config.check)


def report(
    config: Config, seconds: dict[str, dict[str, list[float]]], mebibytes: dict[int, float]
) -> dict[str, Any]:
    """The tables, printed, and everything as plain data."""
    rows, comparisons = [], {}
    for name, of in seconds.items():
        rows += milliseconds(of, **{"": name})
        comparisons[f"{name}/torch"] = compared(of["vaejax"], of["torch"], *BARS[f"{name}/torch"])
    most = max(mebibytes.values())
    comparisons["nearest_temporaries_mib"] = below(most, *BARS["nearest_temporaries_mib"])
    more = {"seconds": seconds, "temporaries_mib": {str(n): value for n, value in mebibytes.items()}}
    return reported("ms", rows, comparisons, **more, threads=config.threads)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
