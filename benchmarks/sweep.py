"""How the cost of the penalty grows: with d, the side, B, the method and the chunk.

    python -m benchmarks.jacobian --sweep --output sweep.json --figures figures

Training steps as `fit` runs them, on whatever device jax sees. In a setting the methods alternate. The floor
is that of `benchmarks.jacobian`: multiply-adds at the rate of one large product measured in the same run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.steps import PRODUCT, build, compile_step, product, step_multiply_adds, time_in_turn
from vaejax import objectives, plots, runs
from vaejax.ops.chunks import automatic_chunk
from vaejax.plots.panels import legend, panels
from vaejax.plots.style import INK, NORMAL, model_colors
from vaejax.progress import Bar

METHODS = {"beta_vae": "beta-VAE", "columns1": "JL1, 1 column", "exact": "JL1, exact"}
LATENTS, SIDES, BATCHES, CHUNKS = (2, 5, 10, 32, 64), (16, 32, 64), (16, 64, 256), (1, 4, 16, 64)


class Setting(NamedTuple):
    """One point of the sweep; `microbatch` and `chunk` are examples at a time, "auto" as many as is fast."""

    side: int = 32
    d: int = 10
    B: int = 64
    microbatch: int | str | None = "auto"
    chunk: int | None = None

    @property
    def sliced(self) -> bool:
        """Whether it is the penalty alone that is cut, inside the term."""
        return self.chunk is not None


def settings() -> list[Setting]:
    """d and side together, then B, the chunk of the penalty and the microbatch of the step, each alone."""
    grid = [Setting(side=side, d=d) for side in SIDES for d in LATENTS]
    batches = [Setting(B=B) for B in BATCHES]
    chunks = [Setting(microbatch=None, chunk=m) for m in CHUNKS]
    return list(dict.fromkeys([*grid, *batches, *chunks, *(Setting(microbatch=m) for m in CHUNKS)]))


def penalty_of(method: str, chunk: int | None) -> Any:
    """The term that a method adds to the beta-VAE."""
    if method == "beta_vae":
        return None
    return objectives.jacobian_l1(method="exact" if method == "exact" else "columns", chunk=chunk)


def floor_seconds(setting: Setting, method: str, rate: float) -> float:
    """(3 (1 + m) decoder + 3 encoder) B multiply-adds, m tangents an example, at `rate` a second."""
    m = {"beta_vae": 0, "columns1": 1, "exact": setting.d}[method]
    return step_multiply_adds(build(setting.side, setting.d), setting.side, setting.B, m) / rate


def measure(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """One row a method; the product whose rate sets the floor has its turn among them."""
    methods = ["columns1", "exact"] if setting.sliced else list(METHODS)
    programs = {
        method: compile_step(
            penalty_of(method, setting.chunk),
            setting.B,
            automatic_chunk if isinstance(setting.microbatch, str) else setting.microbatch,
            side=setting.side,
            latents=setting.d,
        )
        for method in methods
    }
    seconds = time_in_turn({**programs, "product": product()}, 1, rounds)
    rate = PRODUCT / float(np.median(seconds["product"]))
    return [
        {
            "method": METHODS[method],
            **setting._asdict(),
            "ms, median": 1000 * float(np.median(seconds[method])),
            "min": 1000 * min(seconds[method]),
            "max": 1000 * max(seconds[method]),
            "floor, ms": 1000 * floor_seconds(setting, method, rate),
            "GFLOP/s of the product": 2e-9 * rate,
            "temporaries, MiB": program.temporaries_mib,
            "compile, s": program.compile_seconds,
        }
        for method, program in programs.items()
    ]


def main(
    rounds: int, output: Path | None, figures: Path | None, chosen: list[Setting] | None = None
) -> dict[str, Any]:
    """Measure every setting, or the chosen ones; print the table, write JSON and figures."""
    rows = []
    for setting in (bar := Bar(chosen or settings(), desc="settings")):
        bar.set_postfix_str(" ".join(f"{k}={v}" for k, v in setting._asdict().items() if v is not None))
        rows += measure(setting, rounds)
    print(f"{runs.table(rows)}\n\n{jax.devices()[0]}\n")
    result = {"rows": rows, "manifest": runs.manifest(seconds=0.0)}
    if output is not None:
        runs.write_json(output, result)
    if figures is not None:
        plots.save(grid_figure(rows), figures / "jacobian_latents.png")
        plots.save(lines_figure(rows), figures / "jacobian_sizes.png")
    return result


def grid_figure(rows: list[dict[str, Any]]) -> Figure:
    """Time and memory against d, a column of panels for each side."""
    figure, axes = panels(2 * len(SIDES), len(SIDES), 3.3, 2.6)
    for n, (key, label) in enumerate((("ms, median", "ms a step"), ("temporaries, MiB", "temporaries, MiB"))):
        for ax, side in zip(axes[n * len(SIDES) :], SIDES, strict=False):
            here = [row for row in rows if _is(row, side=side, B=64, microbatch="auto")]
            _lines(ax, here, "d", key)
            _name(ax, f"{side} x {side}", "latents d", label)
    _finish(figure, axes)
    return figure


def lines_figure(rows: list[dict[str, Any]]) -> Figure:
    """Time and memory against B, the chunk and the microbatch, at side 32 and d = 10."""
    base = [row for row in rows if row["side"] == 32 and row["d"] == 10]
    kinds = (
        ("B", "batch B", [row for row in base if _is(row, microbatch="auto")]),
        ("chunk", "examples in a chunk of the penalty, B = 64", [row for row in base if row["chunk"]]),
        (
            "microbatch", "examples in a microbatch, B = 64",
            [row for row in base if isinstance(row["microbatch"], int)],
        ),
    )  # fmt: skip
    figure, axes = panels(2 * len(kinds), len(kinds), 3.3, 2.6)
    for n, (key, label) in enumerate((("ms, median", "ms a step"), ("temporaries, MiB", "temporaries, MiB"))):
        for ax, (field, name, here) in zip(axes[n * len(kinds) :], kinds, strict=False):
            _lines(ax, here, field, key)
            _name(ax, "", name, label)
    _finish(figure, axes)
    return figure


def _is(row: dict[str, Any], **fields: Any) -> bool:
    return row["chunk"] is None and all(row[name] == value for name, value in fields.items())


def _lines(ax: Any, rows: list[dict[str, Any]], field: str, key: str) -> None:
    for label, color in model_colors(METHODS.values()).items():
        mine = sorted((row for row in rows if row["method"] == label), key=lambda row: row[field])
        at = [row[field] for row in mine]
        ax.plot(at, [row[key] for row in mine], "o-", color=color, markersize=3.5, linewidth=1.4)
        if key.startswith("ms"):
            ax.fill_between(
                at, [r["min"] for r in mine], [r["max"] for r in mine], color=color, alpha=0.15, lw=0
            )
            ax.plot(at, [row["floor, ms"] for row in mine], ":", color=color, linewidth=1.1)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    at = sorted({row[field] for row in rows})
    ax.set_xticks(at, [str(value) for value in at])
    ax.minorticks_off()


def _name(ax: Any, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=NORMAL, color=INK)
    ax.set_xlabel(x, fontsize=NORMAL, color=INK)
    ax.set_ylabel(y, fontsize=NORMAL, color=INK)


def _finish(figure: Figure, axes: list[Any]) -> None:
    """One range for each row of panels, plain numbers, and the legend."""
    half = len(axes) // 2
    for row in (axes[:half], axes[half:]):
        ends = [end for ax in row for end in ax.get_ylim()]
        for ax in row:
            ax.set_ylim(min(1.0, *ends), max(ends))
            ax.yaxis.set_major_formatter("{x:g}")
    legend(figure, _handles())


def _handles() -> list[Line2D]:
    colors = model_colors(METHODS.values())
    lines = [Line2D([], [], color=c, marker="o", markersize=3.5, label=name) for name, c in colors.items()]
    return [*lines, Line2D([], [], color=INK, linestyle=":", label="floor (multiply-adds)")]
