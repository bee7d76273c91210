"""Slopes in logarithms, and what is called growth of more than a bar; no speed is asserted."""

import pytest

from benchmarks import growth
from benchmarks.growth import Config, Setting
from benchmarks.steps import Program, multiply_adds


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_slope_is_the_power(power):
    sizes = [2.0, 5.0, 10.0, 40.0]
    assert growth.slope(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_a_side_grows_by_its_pixels():
    assert growth.size_of(Setting(side=16), "side") == 256
    assert growth.size_of(Setting(B=16), "B") == 16


def test_multiply_adds_are_those_of_the_batch_and_its_tangents(monkeypatch):
    monkeypatch.setattr(growth, "compile_step", lambda *of: None)
    exact = growth.STEPS["JL1, exact"]
    per_batch = [growth.program_of(Setting(16, 3, B), None)[1] for B in (2, 6)]
    assert per_batch[1] == 3 * per_batch[0]
    plain, one, four = (
        growth.program_of(Setting(16, d, 1), p)[1] for d, p in ((4, None), (1, exact), (4, exact))
    )
    decoder = multiply_adds(growth.build(16, 4), 16)[1]
    assert four - plain == 3 * 4 * decoder
    assert one < four


@pytest.mark.parametrize(
    ("seconds", "mebibytes", "held"),
    [((1.0, 2.0), (8, 8), True), ((1.0, 4.0), (8, 8), False), ((1.0, 2.0), (8, 16), False)],
)
def test_more_than_linear_in_the_batch_or_memory_that_grows_misses_the_bar(
    monkeypatch, seconds, mebibytes, held
):
    monkeypatch.setattr(growth, "LINES", {"B": [Setting(B=B) for B in (2, 4)]})
    monkeypatch.setattr(growth, "STEPS", {"beta-VAE": None})
    programs = iter([(Program(print, [], 0.0, m), B) for m, B in zip(mebibytes, (2, 4), strict=True)])
    monkeypatch.setattr(growth, "program_of", lambda *of: next(programs))
    monkeypatch.setattr(
        growth, "time_in_turn", lambda turns, *of: {k: [s] for k, s in zip(turns, seconds, strict=True)}
    )
    (row,) = growth.grown_steps(Config())
    assert row["held"] is held
    assert row["floor"] == pytest.approx(1.0)
