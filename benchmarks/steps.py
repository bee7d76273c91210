"""Training steps of the Jacobian-regularised VAE, compiled and timed: what the benchmarks share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaejax import distributions, models, nets, objectives, runs, train
from vaejax.ops.chunks import automatic_chunk
from vaejax.progress import Bar
from vaejax.train.loop import initialiser
from vaejax.train.step import Placement, chunk_indices, jitted, make_chunk
from vaejax.types import Model, Split

SIDE, LATENTS = 64, 10


def build(side: int = SIDE, latents: int = LATENTS, encoder: Any = None, decoder: Any = None) -> Model:
    """The paper's model."""
    return models.gaussian_vae(
        encoder=encoder or nets.ConvEncoder(latents=latents),
        decoder=decoder or nets.ConvDecoder(side=side),
        latents=latents,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )


@dataclass
class Program:
    """A compiled training step, ready to be timed."""

    compiled: Callable
    arguments: list[Any]
    compile_seconds: float
    temporaries_mib: float

    def __call__(self, steps: int) -> None:
        state, metrics = self.compiled(*self.arguments, steps)
        self.arguments[0] = state
        jax.block_until_ready(metrics)


def images(side: int, n: int = 256) -> np.ndarray:
    """White noise: a step does not see what is on an image."""
    return np.random.default_rng(0).random((n, side, side, 1)).astype(np.float32)


def compile_step(
    penalty: Any,
    batch_size: int,
    microbatch: int | Callable[..., int] | None = automatic_chunk,
    model: Model | None = None,
    side: int = SIDE,
    latents: int = LATENTS,
) -> Program:
    """The program that `fit` runs, of the beta-VAE or with a penalty; its temporaries without the batch."""
    model = model or build(side, latents)
    terms: dict[str, Any] = {"reconstruction": objectives.reconstruction, "kl": objectives.kl}
    if penalty is not None:
        terms["penalty"] = objectives.scaled(0.1, penalty)
    split = Split({"x": images(side, max(256, batch_size))}, "unit_interval")
    objective = objectives.compose(**terms)
    program = compile_chunk(model, objective, optax.adam(1e-3), split, batch_size, 8, microbatch)
    of_batch = batch_size / len(jax.devices()) * side**2 * 4 / 2**20  # the batch itself is data
    program.temporaries_mib -= of_batch
    return program


def compile_chunk(
    model: Model, objective: Any, optimizer: Any, split: Split, batch_size: int, n: int,
    microbatch: Any = None,
) -> Program:  # fmt: skip
    """The program that `fit` runs, in chunks of n steps; the devices share a batch."""
    update = train.gradient_update(objective, model, optimizer, microbatch=microbatch)
    key = jax.random.key(0)
    placed = placement()
    state = jax.jit(initialiser(model, update, split))(key)
    rows = chunk_indices(key, 0, n, split.size, batch_size)
    arguments = list(jax.device_put((state, key, dict(split.arrays), rows), placed.copied))
    chunk = make_chunk(update, split.transform, batch_size, placed.batch)
    run = jitted(chunk, out_shardings=placed.copied)
    start = time.perf_counter()
    compiled = run.lower(*arguments, 1).compile()
    seconds = time.perf_counter() - start
    analysis = compiled.memory_analysis()
    mebibytes = analysis.temp_size_in_bytes / 2**20 if analysis else float("nan")
    return Program(compiled, arguments, seconds, mebibytes)


def placement() -> Placement:
    """All devices, which share the examples of a batch."""
    devices = jax.devices()
    return Placement.over(devices, split_runs=False) if len(devices) > 1 else Placement()


def multiply_adds(model: Model, side: int) -> tuple[int, int]:
    """(encoder, decoder) of one image, forward: every kernel entry times the places where it is used."""
    batch = {"x": jnp.zeros((1, side, side, 1))}
    params, _ = jax.eval_shape(lambda: model.init(jax.random.key(0), batch))

    def count(group: Any, first: int, step: Callable[[int], int], of_input: bool) -> int:
        total, place = 0, first
        for name in sorted(group, key=lambda name: (name == "out", name)):
            for kernel in [a for a in jax.tree.leaves(group[name]) if a.ndim > 1]:
                if kernel.ndim == 2:
                    total += kernel.size
                    continue
                after = step(place)
                total += kernel.size * (place if of_input else after) ** 2
                place = after
        return total

    encoder = count(params["encoder"], side, lambda s: (s - 4) // 2 + 1, of_input=False)
    return encoder, count(params["decoder"], 4, lambda s: 2 * s, of_input=True)


def step_multiply_adds(model: Model, side: int, B: int, tangents: int) -> int:
    """Of a training step, forwards and backwards, with so many columns of the Jacobian of every example."""
    encoder, decoder = multiply_adds(model, side)
    return (3 * (1 + tangents) * decoder + 3 * encoder) * B


PRODUCT = 4096 * 1024 * 1024  # multiply-adds of `product`


def product() -> Callable[[int], None]:
    """A 4096x1024x1024 float32 product, n times: what the floor of a step is measured with."""
    a, b = jnp.ones((4096, 1024)), jnp.ones((1024, 1024))
    compiled = jax.jit(jnp.matmul).lower(a, b).compile()

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(compiled(a, b))

    return run


def time_in_turn(
    steps: dict[str, Callable[[int], Any]], n: int, rounds: int, warm: int = 0
) -> dict[str, list[float]]:
    """Seconds a step, [rounds] for each, in alternation; the first round, which warms up, is left out.

    `warm`: steps at the start of each turn that are not timed either. Threads of the framework before spin
    on for a while, and the caches are full of its arrays.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in Bar(range(rounds + 1), desc="rounds"):
        for name, step in steps.items():
            if warm:
                step(warm)
            start = time.perf_counter()
            step(n)
            seconds[name].append((time.perf_counter() - start) / n)
    return {name: values[1:] for name, values in seconds.items()}


def compared(ours: Sequence[float], theirs: Sequence[float], bar: float, aim: float) -> dict[str, Any]:
    """The ratio of medians and its bar; beside it that of minima, and the rounds' least and most."""
    a, b = np.array(ours), np.array(theirs)
    rounds = {"min": float(a.min() / b.min()), "least": float((a / b).min()), "most": float((a / b).max())}
    return below(float(np.median(a) / np.median(b)), bar, aim) | rounds


def below(value: float, bar: float, aim: float) -> dict[str, Any]:
    """A number with its bar."""
    return {"value": value, "bar": bar, "aim": aim, "held": value <= bar}


def milliseconds(seconds: dict[str, list[float]], **beside: Any) -> list[dict[str, Any]]:
    """A row for each framework of {framework: [rounds]}: the median, the least and the most."""
    return [
        {
            **beside,
            "by": name,
            "median": 1000 * float(np.median(of)),
            "min": 1000 * min(of),
            "max": 1000 * max(of),
        }
        for name, of in seconds.items()
    ]


def reported(
    title: str, rows: list[dict[str, Any]], comparisons: dict[str, dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """Print the rows and the comparisons, and give both, `more` and the manifest as plain data."""
    columns = ("", "value", "min", "least", "most", "bar", "aim", "held")
    shown = [{"": k, **of, "held": "yes" if of["held"] else "no"} for k, of in comparisons.items()]
    verdicts = runs.table([{c: row.get(c, "") for c in columns} for row in shown])
    print(f"\n{title}:\n\n{runs.table(rows)}\n\n{verdicts}")
    return {
        "ratios": {k: of["value"] for k, of in comparisons.items()},
        "passed": {k: of["held"] for k, of in comparisons.items()},
        "comparisons": comparisons, "rows": rows, **more, "manifest": runs.manifest(seconds=0.0),
    }  # fmt: skip


def use_cores(threads: int, devices: int = 1) -> None:
    """Keep this process on so many cores, where the system can; to be called before jax makes its threads.

    With `devices` jax sees so many, of whose examples each has its share.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)


def judged(result: dict[str, Any], output: Path | None, check: bool) -> dict[str, Any]:
    """The result, written to `output`; SystemExit if `check` and one of its "passed" is false."""
    if output is not None:
        runs.write_json(output, result)
    missed = [name for name, held in result["passed"].items() if not held]
    if check and missed:
        raise SystemExit(f"bars missed: {', '.join(missed)}")
    return result
