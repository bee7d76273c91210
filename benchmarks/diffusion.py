"""What a training step and samples of a diffusion decoder cost beside PyTorch.

    python -m benchmarks.diffusion --threads 2 --output diffusion.json

A VAE of 28 x 28 real images whose decoder is a U-Net of about a million parameters, the bound in continuous
time, batches of 64, Adam at a fixed rate; and 64 images by 100 steps of DDIM. vaejax's step is the program
that `fit` runs; the peer is PyTorch, channels_last, with the same layers and the fused Adam, eager and by
`torch.compile`, of which the faster counts. All alternate; a ratio is of medians. Images are noise: no time
depends on what is on one.

Each core is a device, and they share a batch. Two cores (Intel Xeon, AVX-512), `--rounds 3 --steps 2
--no-compiled`: 386 to 620 ms a step, median 457, PyTorch 280, 1.6; 64 samples 8.8 s, PyTorch 8.2, 1.07. Both
bars are missed; nearly all of the arithmetic is 3x3 convolutions of 32 to 80 channels. With `torch.compile` a
run takes more than five minutes.
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
    compared,
    compile_chunk,
    images,
    judged,
    milliseconds,
    placement,
    reported,
    time_in_turn,
    use_cores,
)  # fmt: skip
from vaejax import distributions, models, nets, objectives
from vaejax.types import Model, Split

SIDE, LATENTS, HIDDEN, FEATURES, EMBED = 28, 16, (256, 256), (32, 64, 80), 128
BARS = {"step/torch": (0.7, 0.5), "samples/torch": (0.7, 0.5)}  # key: (bar, aim)


@dataclass(frozen=True)
class Config:
    """The cost of a diffusion decoder."""

    threads: int = 2
    """CPU threads of both frameworks; an accelerator does not mind."""
    batch_size: int = 64
    """Images per step, and images that are sampled."""
    rounds: int = 7
    """Timed rounds, after one that warms up; in each, every kind has a turn."""
    steps: int = 4
    """Steps in a round."""
    sampling: int = 100
    """DDIM steps of a sample."""
    compiled: bool = True
    """Whether `torch.compile` is tried, too; it needs a C++ compiler."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


def build(sampling: int = 100) -> Model:
    """The VAE."""
    return models.gaussian_vae(
        encoder=nets.MLPEncoder(LATENTS, HIDDEN, event_ndims=3),
        decoder=nets.UNet((SIDE, SIDE, 1), features=FEATURES, embed=EMBED), latents=LATENTS,
        likelihood=distributions.diffusion(sampling_steps=sampling, eta=0.0),
    )  # fmt: skip


def compile_step(config: Config) -> Program:
    """The program that `fit` runs on the ELBO, in chunks of `config.steps`."""
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    split = Split({"x": images(SIDE)}, "unit_interval")
    adam, few = optax.adam(1e-3), max(1, config.batch_size // 8)  # examples at a time: what was fastest
    return compile_chunk(build(), objective, adam, split, config.batch_size, config.steps, few)


def compile_sampler(config: Config) -> Callable[[int], Any]:
    """Draws of x at as many draws of the prior; the devices share them."""
    model, placed = build(config.sampling), placement()
    params, _ = jax.jit(model.init)(jax.random.key(0), {"x": jnp.zeros((1, SIDE, SIDE, 1))})

    def draw(vae: Any, key: Any) -> Any:
        z = vae.sample_prior(key, config.batch_size)
        z = z if placed.batch is None else jax.lax.with_sharding_constraint(z, placed.batch)
        return vae.decode(z).sample(seed=key)

    compiled, vae = jax.jit(draw), model.bind(jax.device_put(params, placed.copied))
    return lambda n: [jax.block_until_ready(compiled(vae, jax.random.key(i))) for i in range(n)]


def peers(config: Config) -> dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]]:
    """(steps, samples) of PyTorch, eager and compiled."""
    import torch  # pyright: ignore[reportMissingImports]

    from benchmarks.torch_diffusion_peer import TorchDiffusionVAE

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    made = {}
    for name in ("torch", "torch, compiled")[: 1 + config.compiled]:
        peer = TorchDiffusionVAE(SIDE, FEATURES, LATENTS, HIDDEN, EMBED)
        step = peer.make_step(images(SIDE), config.batch_size, name != "torch")
        draw = peer.make_sampler(config.batch_size, config.sampling, name != "torch")
        made[name] = tuple(lambda n, of=of: [of() for _ in range(n)] for of in (step, draw))
    return made


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(config.threads, devices=config.threads)
    program, sampler, others = compile_step(config), compile_sampler(config), peers(config)
    steps = time_in_turn(
        {"vaejax": program, **{k: v[0] for k, v in others.items()}}, config.steps, config.rounds
    )
    draws = time_in_turn({"vaejax": sampler, **{k: v[1] for k, v in others.items()}}, 1, config.rounds)
    return judged(report(config, steps, draws, program), config.output, config.check)


def report(
    config: Config, steps: dict[str, list[float]], draws: dict[str, list[float]], program: Program
) -> dict[str, Any]:
    """The tables, printed, and everything as plain data; the faster of the peers counts."""
    comparisons = {}
    for name, seconds in (("step/torch", steps), ("samples/torch", draws)):
        peer = min((k for k in seconds if k != "vaejax"), key=lambda k, s=seconds: np.median(s[k]))
        comparisons[name] = compared(seconds["vaejax"], seconds[peer], *BARS[name])
    rows = milliseconds(steps, of="a step") + milliseconds(draws, of=f"{config.batch_size} samples")
    more = {"steps": steps, "draws": draws, "threads": config.threads}
    sizes = {"compile_seconds": program.compile_seconds, "temporaries_mib": program.temporaries_mib}
    return reported("ms", rows, comparisons, **more, **sizes)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
