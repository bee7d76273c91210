"""How time and memory grow: with the batch, latents, pixels and channels of a step, and with N of a score.

    python -m benchmarks.growth --output growth.json

Every line is one number that is doubled, all others held: seconds of training steps as `fit` runs them (side
32, d = 10, B = 64, the paper's channels) and of what scores N test images. The slope is that of seconds in
logarithms, 1 where twice as much takes twice as long; beside it that of the step's multiply-adds, its floor.
Bars: no step's slope is .15 above its floor's or above 1 in what is linear; no score's above 1, but for the
aggregate posterior, which compares all codes with all, N^2; a step's temporaries are at most a quarter more
where B or d is doubled for the last time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro

from benchmarks.steps import (
    Program,
    build,
    compile_step,
    images,
    judged,
    step_multiply_adds,
    time_in_turn,
    use_cores,
)
from vaejax import Split, evaluation, nets, objectives, runs
from vaejax.ops.chunks import automatic_chunk
from vaejax.progress import Bar

STEPS: dict[str, Callable[[], Any] | None] = {
    "beta-VAE": None,
    "JL1, one column": lambda: objectives.jacobian_l1(method="columns"),
    "JL1, exact": objectives.jacobian_l1,
}
SLACK, MEMORY = 0.15, 1.25


class Setting(NamedTuple):
    """What a step is of."""

    side: int = 32
    d: int = 10
    B: int = 64
    width: float = 1.0


LINES: dict[str, list[Setting]] = {
    "B": [Setting(B=B) for B in (32, 64, 128)],
    "d": [Setting(d=d) for d in (5, 10, 20)],
    "side": [Setting(side=side) for side in (16, 32, 64)],
    "width": [Setting(width=width) for width in (0.5, 1.0, 2.0)],
}
SIZES = (1000, 2000, 4000, 8000)  # N


@dataclass(frozen=True)
class Config:
    """The growth of time and memory."""

    threads: int = 1
    """CPU threads."""
    rounds: int = 3
    """Timed rounds, after one that warms up; in each, every point of a line has a turn."""
    steps: int = 2
    """Steps of a turn."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure."""


def slope(sizes: list[float], values: list[float]) -> float:
    """Of the line through the logarithms, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def size_of(setting: Setting, axis: str) -> float:
    """What grows along an axis: pixels for the side."""
    return float(getattr(setting, axis)) ** (2 if axis == "side" else 1)


@functools.cache
def program_of(setting: Setting, penalty: Callable[[], Any] | None) -> tuple[Program, float]:
    """A step, and its multiply-adds."""
    encoder = nets.ConvEncoder(setting.d, setting.width)
    model = build(setting.side, setting.d, encoder, nets.ConvDecoder(setting.side, width=setting.width))
    term = penalty() if penalty else None
    program = compile_step(term, setting.B, automatic_chunk, model, setting.side, setting.d)
    tangents = 0 if term is None else setting.d if penalty is objectives.jacobian_l1 else 1
    return program, step_multiply_adds(model, setting.side, setting.B, tangents)


def grown_steps(config: Config) -> list[dict[str, Any]]:
    """A row for every step and axis."""
    rows = []
    for axis, label in (bar := Bar([(a, k) for a in LINES for k in STEPS], desc="steps")):
        bar.set_postfix_str(f"{label} against {axis}")
        made = [program_of(setting, STEPS[label]) for setting in LINES[axis]]
        turns = {str(i): program for i, (program, _) in enumerate(made)}
        seconds = time_in_turn(turns, config.steps, config.rounds)
        sizes = [size_of(setting, axis) for setting in LINES[axis]]
        median = [float(np.median(seconds[i])) for i in turns]
        found, floor = slope(sizes, median), slope(sizes, [adds for _, adds in made])
        temporaries = [program.temporaries_mib for program, _ in made]
        flat = axis not in ("B", "d") or temporaries[-1] <= MEMORY * temporaries[-2]
        rows.append(
            {"": label, "against": axis, "from": sizes[0], "to": sizes[-1], "slope": found, "floor": floor,
             "ms, first": 1000 * median[0], "ms, last": 1000 * median[-1],
             "MiB, first": temporaries[0], "MiB, last": temporaries[-1],
             "held": flat and found <= max(1.0, floor) + SLACK}
        )  # fmt: skip
    return rows


def scores_of() -> dict[str, Callable[[int], Any]]:
    """What is taken of N images, {name: function of N}."""
    x, key = images(32, max(SIZES)), jax.random.key(0)
    model = build(32, 10)
    vae = model.bind(jax.jit(model.init)(key, {"x": x[:2]})[0])

    def split(n: int) -> Split:
        return Split({"x": x[:n]}, "unit_interval")

    def likelihood(n: int) -> Any:
        return evaluation.marginal_log_likelihood(key, vae, split(n // 10), num_samples=100)

    return {
        "elbo_parts": lambda n: evaluation.elbo_parts(key, vae, split(n), aggregate=False),
        "elbo_parts, aggregate": lambda n: evaluation.elbo_parts(key, vae, split(n)),
        "log p(x), N / 10": likelihood,
    }


def grown_scores(config: Config) -> list[dict[str, Any]]:
    """A row for every score."""
    rows = []
    for label, score in scores_of().items():
        turns = {str(n): lambda _, n=n, score=score: score(n) for n in SIZES}
        seconds = time_in_turn(turns, 1, config.rounds)
        median = [float(np.median(seconds[str(n)])) for n in SIZES]
        found, bar = slope([float(n) for n in SIZES], median), 2.0 if "aggregate" in label else 1.0
        rows.append(
            {"": label, "against": "N", "from": SIZES[0], "to": SIZES[-1], "slope": found,
             "ms, first": 1000 * median[0], "ms, last": 1000 * median[-1], "held": found <= bar + SLACK}
        )  # fmt: skip
    return rows


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(config.threads)
    rows = [*grown_steps(config), *grown_scores(config)]
    columns = list(rows[0])
    shown = [{**{c: row.get(c, "") for c in columns}, "held": "yes" if row["held"] else "no"} for row in rows]
    print(runs.table(shown))
    result = {
        "rows": rows, "passed": {f"{row['']} against {row['against']}": row["held"] for row in rows},
        "threads": config.threads, "manifest": runs.manifest(seconds=0.0),
    }  # fmt: skip
    return judged(result, config.output, config.check)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
