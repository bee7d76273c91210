"""A streamed split beside the resident one: steps a second in alternation, and memory.

    python -m benchmarks.stream --output stream.json

Speed: the beta-VAE of 64x64 images, B = 64, on noise in a file of `--file-mib`, as `fit` runs it: chunks of
one program, whose examples the resident run takes from its device and the streamed one from threads that
read the mapped file. Both have their turn in every round. Memory: a process each trains a small model on
`--small-mib` resident, and on a sparse file of `--large-gib` streamed; its pages hold nothing, but are read
as any others. Each says the most memory that was its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
import tyro

from benchmarks.steps import LATENTS, SIDE, build, judged, time_in_turn
from vaejax import distributions, models, nets, objectives, runs, train
from vaejax.data.transforms import unit_from_bytes
from vaejax.ops.chunks import automatic_chunk
from vaejax.train.feed import Resident, Streamed, chunk_program
from vaejax.train.loop import initialiser
from vaejax.train.step import Order, Placement, alone
from vaejax.types import Model, Split, Update

MIB = 2**20
SPEED, MEMORY = 0.95, 600.0  # at least, of the resident rate; at most, MiB above the resident program's
BYTES = SIDE * SIDE  # of an image


@dataclass(frozen=True)
class Config:
    """Streamed beside resident."""

    rounds: int = 7
    """Timed rounds, after one that warms up."""
    chunk: int = 20
    """Steps of a program, and of a turn."""
    batch_size: int = 64
    """B of the run that is timed."""
    width: float = 1.0
    """Of its nets; 1 is the paper's model."""
    file_mib: int = 1024
    """The file of the run that is timed."""
    small_mib: int = 64
    """The resident set of the baseline of memory."""
    large_gib: float = 20.0
    """The sparse file."""
    steps: int = 4000
    """Steps of the runs whose memory is measured, of 256 images each."""
    folder: Path | None = None
    """Where the files lie, for as long as they are needed; by default a temporary folder."""
    only: Literal["both", "speed", "memory"] = "both"
    """What is measured."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure."""
    child: Literal["resident", "streamed"] | None = None
    """Used by the benchmark itself: the training of one of its processes."""


def noise_file(folder: Path, mib: int) -> Split:
    """Random images in a mapped file."""
    path, rng = folder / "noise.npy", np.random.default_rng(0)
    n = mib * MIB // BYTES
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (n, SIDE, SIDE, 1)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(mib):
            file.write(rng.bytes(MIB))
    return Split({"x": np.load(path, mmap_mode="r")}, "unit_interval", unit_from_bytes)


def sparse_file(folder: Path, gib: float) -> Split:
    """Black images in a file that takes no disk."""
    shape = (int(gib * 2**30) // BYTES, SIDE, SIDE, 1)
    path = folder / "sparse.npy"
    np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=shape
    )  # nothing is written but its header
    return Split({"x": np.load(path, mmap_mode="r")}, "unit_interval", unit_from_bytes)


def chunks_of(
    resident: bool, model: Model, update: Update, split: Split, batch_size: int, chunk: int
) -> Callable[[int], None]:
    """A training as `fit` has it, without its records: a function that does n chunks more."""
    key, shape, placement = jax.random.key(0), (chunk, batch_size), Placement()
    program = chunk_program(update, split, shape, placement, resident)
    advance = jax.jit(alone(program, not resident), donate_argnums=0)
    state = jax.tree.map(lambda a: a[None], jax.jit(initialiser(model, update, split))(key))
    feed = (Resident if resident else Streamed)(split, [Order(key, split.size, batch_size)], shape, placement)
    keys, n = key[None], np.array([chunk], np.int32)
    done = 0

    def advanced(times: int) -> None:
        nonlocal state, done
        for _ in range(times):
            examples, rows = feed.chunk([done], [chunk], [chunk])
            state, metrics = advance(state, keys, examples, rows, n)
            jax.device_get(metrics)
            done += chunk

    return advanced


def speed(config: Config, folder: Path) -> dict[str, Any]:
    """Seconds a chunk of both, in turn."""
    split, model = noise_file(folder, config.file_mib), sized(config.width)
    terms = {"reconstruction": objectives.reconstruction, "kl": objectives.kl}
    update = train.gradient_update(
        objectives.compose(**terms), model, optax.adam(1e-3), microbatch=automatic_chunk
    )
    turns = {
        name: chunks_of(name == "resident", model, update, split, config.batch_size, config.chunk)
        for name in ("resident", "streamed")
    }
    seconds = time_in_turn(turns, 1, config.rounds)
    medians = {name: float(np.median(of)) for name, of in seconds.items()}
    by_round = [a / b for a, b in zip(seconds["resident"], seconds["streamed"], strict=True)]
    return {
        "ms a step": {name: 1000 * of / config.chunk for name, of in medians.items()},
        "rate, streamed / resident": medians["resident"] / medians["streamed"],
        "least and most of a round": [min(by_round), max(by_round)],
        "seconds a chunk": seconds,
    }


def sized(width: float) -> Model:
    """The paper's model, or a narrower one."""
    if width == 1:
        return build()
    return build(
        encoder=nets.ConvEncoder(latents=LATENTS, width=width),
        decoder=nets.ConvDecoder(side=SIDE, width=width),
    )


def small_training(split: Split, config: Config, resident: bool) -> train.Fit:
    """A model so small that many images are read in a short time, through `fit` itself."""
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=2, features=(8,), event_ndims=3),
        decoder=nets.MLP(features=(8,), output_shape=(SIDE, SIDE, 1)),
        latents=2,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = train.gradient_update(loss, model, optax.adam(1e-3))
    return train.fit(
        jax.random.key(0), model, update, split, config.steps, batch_size=256, chunk=config.chunk,
        progress=False, resident=resident,
    )  # fmt: skip


def child(config: Config, folder: Path) -> None:
    """Train in this process and print what memory it took."""
    resident = config.child == "resident"
    split = noise_file(folder, config.small_mib) if resident else sparse_file(folder, config.large_gib)
    fitted = small_training(split, config, resident)
    assert np.isfinite(fitted.metrics["loss"]).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else MIB)
    print(json.dumps({"peak_mib": peak, "file_mib": split.arrays["x"].nbytes / MIB}))


def memory(config: Config) -> dict[str, Any]:
    """The most memory of a process of each kind, MiB."""
    flags = {"steps": config.steps, "chunk": config.chunk, "small-mib": config.small_mib}
    flags |= {"large-gib": config.large_gib}
    found = {}
    for name in ("resident", "streamed"):
        command = [sys.executable, "-m", "benchmarks.stream", "--child", name]
        command += [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
        command += [] if config.folder is None else ["--folder", str(config.folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the {name} process ended with {done.returncode}: {done.stderr[-2000:]}")
        found[name] = json.loads(done.stdout.splitlines()[-1])
    read = config.steps * 256 * BYTES / MIB
    above = found["streamed"]["peak_mib"] - found["resident"]["peak_mib"]
    return {**found, "images read, MiB": read, "streamed above resident, MiB": above}


def main(config: Config) -> dict[str, Any]:
    """Measure, print, and write."""
    with tempfile.TemporaryDirectory(dir=config.folder) as folder:
        if config.child is not None:
            child(config, Path(folder))
            return {}
        passed, result = {}, {}
        if config.only != "memory":
            result["speed"] = found = speed(config, Path(folder))
            passed["speed"] = found["rate, streamed / resident"] >= SPEED
    if config.only != "speed":
        result["memory"] = found = memory(config)
        passed["memory"] = found["streamed above resident, MiB"] <= MEMORY
    for name, of in result.items():
        print(f"\n{name}:\n\n{runs.table([{'': k, 'value': v} for k, v in _numbers(of).items()])}")
    plain = {k: v for k, v in vars(replace(config, folder=None, output=None)).items()}
    result |= {"bars": {"speed": SPEED, "memory": MEMORY}, "passed": passed, "config": plain}
    return judged({**result, "manifest": runs.manifest(seconds=0.0)}, config.output, config.check)


def _numbers(found: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The numbers of nested dicts by their names in a row; what is a list stays in the file."""
    flat: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            flat |= _numbers(value, f"{prefix}{name}, ")
        elif not isinstance(value, list):
            flat[prefix + name] = value
    return flat


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
