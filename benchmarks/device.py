"""What vaejax does on a machine with one accelerator: the parts of benchmarks/device.sh that are Python.

    python -m benchmarks.device --part precision --output precision.json
    python -m benchmarks.device --part collect --folder device --output device.json

`precision`: the training steps of the Jacobian benchmark with nets in bfloat16 beside float32, in turn, and
how far losses and gradients of one step are apart on the same weights, images and noise. `collect`: the files
of all parts in one, with the name of the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.steps import build, compile_step, images, time_in_turn
from vaejax import nets, objectives, runs
from vaejax.ops.chunks import automatic_chunk
from vaejax.types import Model

KINDS = ("float32", "bfloat16")
PENALTIES = {
    "beta_vae": lambda: None,
    "columns1": lambda: objectives.jacobian_l1(method="columns"),
    "exact": objectives.jacobian_l1,
}


@dataclass(frozen=True)
class Config:
    """Parts of the benchmark of a device."""

    part: Literal["precision", "collect"] = "precision"
    """What to do."""
    rounds: int = 7
    """Timed rounds, after one that warms up."""
    steps: int = 10
    """Steps of a turn."""
    side: int = 64
    """Pixels on a side, a power of two of at least 16."""
    width: float = 1.0
    """Multiplier of channels; 1 is the paper's model."""
    batch_size: int = 64
    """B."""
    folder: Path | None = None
    """Of collect: where the files of the parts are."""
    output: Path | None = None
    """A JSON file."""


def model_of(config: Config, dtype: str) -> Model:
    """The paper's model with nets that compute in a dtype."""
    encoder = nets.ConvEncoder(latents=10, width=config.width, dtype=dtype)
    decoder = nets.ConvDecoder(side=config.side, width=config.width, dtype=dtype)
    return build(config.side, 10, encoder, decoder)


def first_step(config: Config, dtype: str) -> dict[str, float]:
    """The loss of one batch, its terms, and the norm of its gradient, at the first weights."""
    model, key = model_of(config, dtype), jax.random.key(0)
    batch = {"x": jnp.asarray(images(config.side, config.batch_size)), "index": jnp.arange(config.batch_size)}
    terms = {"reconstruction": objectives.reconstruction, "kl": objectives.kl}
    terms |= {"jacobian_l1": objectives.jacobian_l1(method="columns")}
    objective = objectives.compose(**terms)

    def loss(params: Any) -> tuple[Any, Any]:
        total, (metrics, _) = objective(key, model.bind(params, step=0), batch, 0)
        return total, metrics

    params, _ = model.init(key, batch)
    gradient, metrics = jax.jit(jax.grad(loss, has_aux=True))(params)
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient)))
    return {**{name: float(value) for name, value in metrics.items()}, "grad_norm": float(norm)}


def precision(config: Config) -> dict[str, Any]:
    """Milliseconds a step in both dtypes, and the values of one."""
    programs = {
        f"{name}, {dtype}": compile_step(
            make(), config.batch_size, automatic_chunk, model_of(config, dtype), config.side
        )
        for name, make in PENALTIES.items()
        for dtype in KINDS
    }
    seconds = time_in_turn(programs, config.steps, config.rounds, warm=1)
    ms = {name: 1000 * float(np.median(of)) for name, of in seconds.items()}
    values = {dtype: first_step(config, dtype) for dtype in KINDS}
    apart = {
        name: abs(values["bfloat16"][name] / value - 1) if value else None
        for name, value in values["float32"].items()
    }
    print(runs.table([{"step": name, "ms": of} for name, of in ms.items()]))
    print(runs.table([{"of one step": k, **{d: values[d][k] for d in KINDS}} for k in values["float32"]]))
    speedup = {name: ms[f"{name}, float32"] / ms[f"{name}, bfloat16"] for name in PENALTIES}
    return {"ms": ms, "seconds": seconds, "speedup": speedup, "values": values, "relative difference": apart}


def collect(folder: Path) -> dict[str, Any]:
    """The parts by their names; one that did not end in time is null."""
    names = ("sweep", "precision", "stream", "flagship")
    paths = {name: folder / f"{name}.json" for name in names}
    parts = {name: runs.read_json(path) if path.exists() else None for name, path in paths.items()}
    device = jax.devices()[0]
    missing = [name for name, part in parts.items() if part is None]
    print(
        f"{device.device_kind}: {len(parts) - len(missing)} of {len(parts)} parts"
        + f", without {missing}" * bool(missing)
    )
    return {"device": device.device_kind, "platform": device.platform, **parts}


def main(config: Config) -> dict[str, Any]:
    """Do the part, and write it."""
    if config.part == "collect" and config.folder is None:
        raise ValueError("folder: expected that of the parts, got None")
    result = precision(config) if config.folder is None else collect(config.folder)
    result["manifest"] = runs.manifest(seconds=0.0)
    if config.output is not None:
        runs.write_json(config.output, result)
    return result


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
