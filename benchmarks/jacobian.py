"""What a Jacobian penalty costs: whole training steps, side by side, in one run.

    python -m benchmarks.jacobian --threads 1 --output jacobian.json

The paper's model (Rhodes & Lee 2021) at 64x64x1, d = 10, B = 64, Adam: vaejax's beta-VAE, exact penalty and
sampled columns, the same penalty by jacfwd through lax's convolutions, and PyTorch in eager mode and by
torch.compile. Each of the two is run in the fastest of its ways, which short trials find: both memory
layouts, and the penalty by the authors' finite differences or exactly, by jacfwd. The bars are of the faster
one, `torch`. Steps alternate; ratios are of medians, with the spread of the rounds beside them. The floor of
a step is its multiply-adds, (3 (1 + m) decoder + 3 encoder) B, at the rate of a product of 4096x1024x1024
that has its turn in every round too. They are those of convolutions as they are defined: minimal filtering
needs fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import sweep
from benchmarks.lax_peer import LaxDecoder, LaxEncoder
from benchmarks.steps import (
    LATENTS,
    PRODUCT,
    SIDE,
    Program,
    build,
    compile_step,
    images,
    judged,
    product,
    step_multiply_adds,
    time_in_turn,
    use_cores,
)
from vaejax import objectives, runs
from vaejax.checks import check_positive_int
from vaejax.machine import cores
from vaejax.progress import Bar

BARS = {  # key: (one thread, two threads)
    "beta_vae/torch": (0.60, 0.60),
    "exact/torch": (0.38, 0.38),
    "exact/floor": (2.2, 2.8),
    "columns1/torch": (0.105, 0.105),
    "columns1/floor": (2.5, 3.2),
    "exact_temporaries_mib": (64, 64),
}
PEERS = {"beta_vae": "beta_vae", "exact": "jl1", "columns1": "jl1"}  # ours: PyTorch's
# Every term on the decoder's geometry, by its public name; the cost of each is a row of the table
PENALTIES: dict[str, dict[str, Callable[[], Any]]] = {
    "jacobian_l1": {
        "exact": objectives.jacobian_l1,
        "columns1": lambda: objectives.jacobian_l1(method="columns"),
        "columns2": lambda: objectives.jacobian_l1(method="columns", columns=2),
        "finite_difference": lambda: objectives.jacobian_l1(method="finite_difference"),
    },
    "jacobian_l2": {
        "jacobian_l2": objectives.jacobian_l2,
        "jacobian_l2_hutchinson": lambda: objectives.jacobian_l2(method="hutchinson"),
    },
    "column_group_l1": {"column_group_l1": objectives.column_group_l1},
    "row_group_l1": {"row_group_l1": objectives.row_group_l1},
    "orthogonality": {
        "orthogonality": objectives.orthogonality,
        "orthogonality_estimator": lambda: objectives.orthogonality(method="hutchinson"),
    },
    "hessian_penalty": {"hessian_penalty_estimator": lambda: objectives.hessian_penalty(method="hutchinson")},
    "spectral_norm": {"spectral_norm": objectives.spectral_norm},
    "kumar_poole": {"kumar_poole": lambda: objectives.kumar_poole(beta=1.0)},
    "ima": {"ima": objectives.ima},
    "contractive": {"contractive": objectives.contractive},
}


@dataclass(frozen=True)
class Config:
    """The cost of Jacobian penalties."""

    threads: int = 1
    """CPU threads of both frameworks, for vaejax as many devices; an accelerator does not mind."""
    rounds: int = 7
    """Timed rounds, after one that warms up; in each, every kind of step has its turn."""
    steps: int = 2
    """Steps of a kind in a round, after as many that are not timed."""
    penalties: bool = False
    """Also time every other penalty."""
    naive: bool = True
    """Also time jacfwd through lax's convolutions, once: seconds a step on a CPU."""
    batch_size: int = 64
    """B."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    sweep: bool = False
    """Instead: d, sides, B, methods and chunks, without the peer, on whatever device jax sees."""
    setting: tuple[int, int, int] | None = None
    """One setting of the sweep alone: side, d and B, as `64 10 64`, that of the README's table."""
    figures: Path | None = None
    """A folder for the figures of the sweep."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""

    def __post_init__(self) -> None:
        for name in ("threads", "rounds", "steps", "batch_size"):
            check_positive_int(getattr(self, name), name)
        if self.threads > cores():
            raise ValueError(f"threads: expected at most the {cores()} cores there are, got {self.threads}")


def main(config: Config) -> dict[str, Any]:
    """Time, print, and write."""
    use_cores(config.threads, devices=config.threads)
    if config.sweep:
        one = None if config.setting is None else [sweep.Setting(*config.setting)]
        return sweep.main(config.rounds, config.output, config.figures, one)
    programs, temporaries = compile_all(config)
    turns = {**programs, **peers(config), "product": product()}
    seconds = time_in_turn(turns, config.steps, config.rounds, warm=config.steps)
    if config.naive:
        model = build(encoder=LaxEncoder(LATENTS), decoder=LaxDecoder())
        naive = compile_step(objectives.jacobian_l1(chunk=config.batch_size), config.batch_size, None, model)
        seconds["naive_jacfwd"] = time_in_turn({"": naive}, 1, 1)[""]
        programs["naive_jacfwd"] = naive
    result = report(config, programs, seconds, temporaries)
    return judged(result, config.output, config.check)


def peers(config: Config) -> dict[str, Callable[[int], None]]:
    """PyTorch in eager mode and compiled, without and with the penalty, each in its fastest way."""
    from benchmarks.torch_peer import make_step, variants

    fastest = {}
    for kind, gamma in (("beta_vae", 0.0), ("jl1", 0.1)):
        options = (images(SIDE), LATENTS, config.batch_size, gamma, config.threads)
        tried = variants(penalty=gamma > 0)
        ways = {v.label: _repeated(make_step(*options, v)) for v in tried}
        seconds = time_in_turn(ways, config.steps, 1, warm=config.steps)
        print(runs.table([{"PyTorch": f"{kind}: {k}", "ms": 1e3 * t} for k, (t,) in seconds.items()]))
        for compiled in (False, True):
            best = min((v.label for v in tried if v.compiled == compiled), key=lambda k: seconds[k])
            fastest[f"{'compiled' if compiled else 'eager'}_{kind}"] = ways[best]
    return fastest


def _repeated(step: Callable[[], None]) -> Callable[[int], None]:
    def steps(n: int) -> None:
        for _ in range(n):
            step()

    return steps


def compile_all(config: Config) -> tuple[dict[str, Program], dict[int, float]]:
    """Every step of vaejax, compiled; and the temporaries of the exact one at B and 8 B."""
    wanted = {"beta_vae": None, **{k: v() for k, v in PENALTIES["jacobian_l1"].items()}}
    del wanted["finite_difference"]
    if config.penalties:
        wanted |= {label: make() for group in PENALTIES.values() for label, make in group.items()}
    programs = {
        name: compile_step(penalty, config.batch_size)
        for name, penalty in Bar(wanted.items(), desc="compiling")
    }
    larger = compile_step(wanted["exact"], 8 * config.batch_size)
    sizes = {
        config.batch_size: programs["exact"].temporaries_mib,
        8 * config.batch_size: larger.temporaries_mib,
    }
    return programs, sizes


def report(
    config: Config, programs: dict[str, Program], seconds: dict[str, list[float]],
    temporaries: dict[int, float],
) -> dict[str, Any]:  # fmt: skip
    """The table, printed, and everything as plain data."""
    model = build()
    columns = {"beta_vae": 0, "exact": LATENTS, "columns1": 1, "columns2": 2}
    rate = PRODUCT / float(np.median(seconds["product"]))
    floor = {k: step_multiply_adds(model, SIDE, config.batch_size, m) / rate for k, m in columns.items()}
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    rows = [_row(name, values, programs.get(name), floor.get(name)) for name, values in seconds.items()]
    beside = {f"{a}/{by}": median[f"{by}_{b}"] for a, b in PEERS.items() for by in ("eager", "compiled")}
    beside |= {f"{a}/torch": min(beside[f"{a}/eager"], beside[f"{a}/compiled"]) for a in PEERS}
    beside |= {f"{a}/floor": floor[a] for a in PEERS}
    ratios = {key: median[key.split("/")[0]] / of for key, of in beside.items()}
    ratios["exact_temporaries_mib"] = max(temporaries.values())
    ends = {key: [f(seconds[key.split("/")[0]]) / of for f in (min, max)] for key, of in beside.items()}
    bar = {key: each[min(config.threads, 2) - 1] for key, each in BARS.items()}
    # flat in B, but for the indices of the examples
    flat = max(temporaries.values()) <= 1.01 * min(temporaries.values())
    passed = {k: ratios[k] <= bar[k] and (flat or k != "exact_temporaries_mib") for k in BARS}
    print(f"{runs.table(rows)}\n\nproduct rate {2e-9 * rate:.0f} GFLOP/s, {config.threads} thread(s)\n")
    table = [
        {"ratio": k, "": v, **dict(zip(("least", "most"), ends.get(k, ("", "")), strict=True)),
         "bar": bar.get(k, ""), "held": {True: "yes", False: "no", None: ""}[passed.get(k)]}
        for k, v in ratios.items()
    ]  # fmt: skip
    print(runs.table(table))
    return {
        "ratios": ratios, "spread": ends, "bars": bar, "passed": passed, "rows": rows, "seconds": seconds,
        "floor_seconds": floor, "gflops": 2e-9 * rate, "temporaries_mib": temporaries,
        "threads": config.threads, "batch_size": config.batch_size, "manifest": runs.manifest(seconds=0.0),
    }  # fmt: skip


def _row(name: str, seconds: list[float], program: Program | None, floor: float | None) -> dict[str, Any]:
    """What a step takes, as the table shows it."""
    median = float(np.median(seconds))
    return {
        "step": name,
        "ms, median": 1000 * median,
        "min": 1000 * min(seconds),
        "max": 1000 * max(seconds),
        "over the floor": median / floor if floor else "",
        "temporaries, MiB": program.temporaries_mib if program else "",
        "compile, s": program.compile_seconds if program else "",
    }


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
