"""Grids of a dataclass's fields: their values, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from vaejax.fields import grid


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    size: int = 4
    slices: int | None = None
    fast: bool = False
    kind: str = "a"
    method: Literal["p", "q"] = "p"
    shape: tuple[int, ...] = ()
    where: str = "here"
    axes: tuple[str, ...] = ()


def _values(*axes):
    return grid(Settings, axes, ("where", "axes"), "sweep")


def test_the_cells_are_all_combinations_with_the_fields_types():
    cells = _values("rate=.5,1", "slices=none,2")
    points = [(0.5, None), (0.5, 2), (1.0, None), (1.0, 2)]
    assert cells == [{"rate": r, "slices": s} for r, s in points]
    assert type(cells[2]["rate"]) is float
    assert _values("fast=True,false", "kind= b , 1") == [
        {"fast": f, "kind": k} for f in (True, False) for k in ("b", "1")
    ]
    assert _values("method=q") == [{"method": "q"}]
    assert _values() == [{}]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("rat=1",), "expected one of fast, .*; got 'rat': the config has no such field"),
        (("where=1",), "expected one of .*; got 'where': it cannot be swept"),
        (("axes=1",), "got 'axes': it cannot be swept"),
        (("size=1.5",), "expected size=value,value,... with values of int; got '1.5'"),
        (("size=none",), "with values of int; got 'none'"),
        (("slices=x",), r"with values of int \| None; got 'x'"),
        (("fast=1",), "with values of bool; got '1'"),
        (("method=r",), r"with values of typing.Literal\['p', 'q'\]; got 'r'"),
        (("shape=1",), r"with values of tuple\[int, ...\]; got '1'"),
        (("kind",), "with values of str; got ''"),
        (("rate=1,,2",), "with values of float; got ''"),
        (("rate=.1,0.1",), "expected every value once, got 'rate=.1,0.1'"),
        (("rate=1", "rate=2"), "expected every field once, got rate again"),
    ],
)
def test_what_is_no_grid_is_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        _values(*axes)
