"""Sweeps: the grid and what is refused, its table and the lines of its figure."""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass

import pytest

from experiments import sweep


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    size: int = 4
    slices: int | None = None
    fast: bool = False
    kind: str = "a"
    shape: tuple[int, ...] = ()
    where: str = "here"
    sweep: tuple[str, ...] = ()

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"size: expected at least 1, got {self.size}")


def _values(*axes):
    return [cell.values for cell in sweep.cells(Settings(sweep=axes), ("where",))]


def test_the_cells_are_all_combinations_with_the_fields_types():
    cells = sweep.cells(Settings(kind="z", sweep=("rate=.5,1", "slices=none,2")), ("where",))
    grid = [(0.5, None), (0.5, 2), (1.0, None), (1.0, 2)]
    assert [cell.config for cell in cells] == [Settings(r, slices=s, kind="z") for r, s in grid]
    assert [cell.values for cell in cells] == [{"rate": r, "slices": s} for r, s in grid]
    assert type(cells[2].values["rate"]) is float
    assert _values("fast=True,false", "kind= b , 1") == [
        {"fast": f, "kind": k} for f in (True, False) for k in ("b", "1")
    ]
    assert sweep.cells(Settings(size=7), ()) == [({}, Settings(size=7))]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("rat=1",), "expected one of fast, .*; got 'rat': the config has no such field"),
        (("where=1",), "expected one of .*; got 'where': it cannot be swept"),
        (("sweep=1",), "got 'sweep': it cannot be swept"),
        (("size=1.5",), "expected size=value,value,... with values of int; got '1.5'"),
        (("size=none",), "with values of int; got 'none'"),
        (("slices=x",), r"with values of int \| None; got 'x'"),
        (("fast=1",), "with values of bool; got '1'"),
        (("shape=1",), r"with values of tuple\[int, ...\]; got '1'"),
        (("kind",), "with values of str; got ''"),
        (("rate=1,,2",), "with values of float; got ''"),
        (("rate=.1,0.1",), "expected every value once, got 'rate=.1,0.1'"),
        (("rate=1", "rate=2"), "expected every field once, got rate again"),
        (("size=1,0",), "size: expected at least 1, got 0"),
    ],
)
def test_what_is_no_grid_is_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        _values(*axes)


def _entry(mean, low=None, high=None):
    return {"mean": mean, "ci95": [low, high], "per_seed": [mean]}


RESULTS = [
    sweep.Result(
        {"rate": r, "kind": k},
        {"mig": {"A": _entry(r, r - 1, r + 1), "B": _entry(2 * r)}, "r": {"": {"mean": r}}},
    )
    for r, k in itertools.product((0.5, 1e-7), ("x", "y"))
]


def test_the_table_has_a_row_per_cell_and_its_numbers_are_kept_in_full(tmp_path):
    assert sweep.table(RESULTS)[:3:2] == [
        {"rate": "0.5", "kind": "x", "A mig": "0.5 [-0.5, 1.5]", "B mig": "1", "r": "0.5"},
        {"rate": "1e-07", "kind": "x", "A mig": "1e-07 [-1, 1]", "B mig": "2e-07", "r": "1e-07"},
    ]
    rows = sweep.numbers(RESULTS)
    sweep.write_csv(tmp_path / "deep" / "sweep.csv", rows)
    with (tmp_path / "deep" / "sweep.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == [
        "rate",
        "kind",
        "A mig",
        "A mig low",
        "A mig high",
        "B mig",
        "B mig low",
        "B mig high",
        "r",
    ]
    assert [[r["kind"], float(r["A mig"]), float(r["A mig low"]), r["B mig low"]] for r in read] == [
        [k, r, r - 1, ""] for r, k in itertools.product((0.5, 1e-7), ("x", "y"))
    ]
    assert sweep.text(1.00000001) != sweep.text(1.00000002)


def test_the_lines_run_over_the_first_field_and_name_the_others():
    lines = sweep.lines(RESULTS)
    assert list(lines["mig"]) == ["A, kind=x", "B, kind=x", "A, kind=y", "B, kind=y"]
    assert lines["mig"]["B, kind=y"] == {0.5: _entry(1.0), 1e-7: _entry(2e-7)}
    alone = [sweep.Result({"rate": r.values["rate"]}, r.scores) for r in RESULTS[::2]]
    assert list(sweep.lines(alone)["mig"]) == ["A", "B"]
