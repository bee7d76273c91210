"""An experiment of two rows on the toy model of the loop's tests: it trains in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import jax
import numpy as np
import optax

from tests.train.toy import DATA, toy_model, toy_objective, toy_update
from vaejax import lab, runs

ROWS = {"near": "near", "far": lab.Row("far away", unread=("pull",))}


@dataclass(frozen=True)
class Config(lab.Settings):
    """Settings of the toy."""

    steps: lab.Positive[int] = 4  # training steps
    batch_size: lab.Positive[int] = 6  # rows per step
    chunk: lab.Positive[int] = 2
    workers: lab.NonNegative[int] = 1
    pull: lab.NonNegative[float] = 0.5  # a weight
    breaks: int = 0  # the step from which the loss is not finite; 0: never
    kind: Literal["a", "b"] = "a"
    sizes: tuple[lab.Positive[int], ...] = (1, 2)
    slices: lab.NonNegative[int] | None = None


PRESETS = {"fast": Config(), "slow": Config(preset="slow", steps=6)}
COLUMNS = {"size": "size", "pull": ("pull", "error"), "kind": lambda m: m["kind"]}


def training(config: Config, name: str) -> lab.Training:
    """Adam towards the data; the row "far" starts elsewhere."""
    if config.kind == "b":
        raise ValueError("kind: expected a, got b")
    start = {"encoder": [1.0, -2.0, 0.5], "decoder": 3.0 if name == "near" else 30.0, "critic": [0.25, 4.0]}
    model = toy_model(start)
    objective = toy_objective(nan_from=config.breaks or None)
    update = toy_update(objective, optax.adam(config.learning_rate), model)
    return lab.Training(model, update, SimpleNamespace(train=DATA), work=2.0 if name == "far" else 1.0)


def score(config: Config, name: str, vae: Any, data: Any) -> dict[str, Any]:
    """Numbers of the parameters."""
    assert data.train is DATA
    encoder = np.asarray(vae.heads["encoder"]())
    if config.pull == 13:
        raise ValueError("pull: unlucky")
    return {
        "size": float(np.sum(encoder, dtype=np.float64)),
        "pull": config.pull, "error": 0.25, "kind": name, "list": [1, 2], "none": None,
        "arrays": {"encoder": encoder},
    }  # fmt: skip


def run(config: Config, **options: Any) -> lab.Run:
    """What a script's main does first."""
    return lab.run(config, PRESETS, ROWS, training, score, **options)


def params(folder: Any) -> Any:
    """The last parameters of a training."""
    return jax.device_get(runs.load(folder, model=toy_model()).params)
