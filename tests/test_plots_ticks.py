"""Log axes say where they are: three ticks or more in whatever range they show."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax import plots
from vaejax.plots.ticks import log_ticks

RANGES = [(1, 1000), (0.02, 70), (61, 68), (95, 105), (9.5, 30), (1e-7, 1e5), (0.9995, 1.0005), (2, 2.9)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_three_round_numbers_or_more_and_not_many(low, high):
    at = log_ticks(low, high)
    assert 3 <= len(at) <= 12
    assert (np.diff(at) > 0).all()
    assert low * (1 - 1e-6) <= at[0]
    assert at[-1] <= high * (1 + 1e-6)
    assert max(len(f"{tick:g}") for tick in at) <= 7  # their texts are as short
    assert len({f"{tick:g}" for tick in at}) == len(at)


def test_powers_of_ten_where_three_are_in_view():
    np.testing.assert_allclose(log_ticks(0.5, 2000), [1, 10, 100, 1000])
    np.testing.assert_allclose(log_ticks(2, 400), [3, 10, 30, 100, 300])
    np.testing.assert_allclose(log_ticks(15, 150), [20, 50, 100])


def drawn(axis):
    low, high = sorted(axis.get_view_interval())
    return [t for t, at in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True) if low <= at <= high]


def test_figures_on_log_axes_have_them():
    curves = {"a": {"kl": np.linspace(61.0, 68.0, 30)}}
    (axes,) = plots.training_curves(curves, yscale="log").axes
    assert len(drawn(axes.yaxis)) >= 3
    (axes,) = plots.band_curves({"MIG": [1.0, 2.0]}, [8.0, 40.0], "seconds", xscale="log").axes
    assert len(drawn(axes.xaxis)) >= 3
    report = {"ab": {"q": {"strengths": {"a": {"mean": 1.0, "ci95": (0.9, 1.1)}}}}}
    (axes,) = plots.ratings(report).axes
    assert len(drawn(axes.xaxis)) >= 3
