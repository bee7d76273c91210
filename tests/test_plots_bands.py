"""Laws of the figure of scores against what was spent: means and ranges of seeds at each label's places."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax import plots


def corners(band):
    """The band's outline as {x: (low, high)}."""
    x, y = band.get_paths()[0].vertices.T
    return {at: (y[x == at].min(), y[x == at].max()) for at in np.unique(x)}


def test_means_and_ranges_of_seeds_stand_at_the_places_of_their_label():
    curves = {
        "MIG": {"VAE": [[1.0, 2.0], [3.0, 2.5], [2.0, 6.0]], "JL1": [5.0, 6.0, 7.0]},
        "KL": {"JL1": [[0.0, 1.0, 2.0], [4.0, 1.0, 0.0]]},
    }
    at = {"VAE": [10, 20], "JL1": [1, 2, 4], "unused": [0]}
    figure = plots.band_curves(curves, at, "training, s", units={"KL": "nats"})
    mig, kl = figure.axes
    assert (mig.get_ylabel(), kl.get_ylabel()) == ("MIG", "KL (nats)")
    assert {axes.get_xlabel() for axes in figure.axes} == {"training, s"}
    vae, jl1 = mig.get_lines()
    assert (list(vae.get_xdata()), list(vae.get_ydata())) == ([10, 20], [2.0, 3.5])
    assert (list(jl1.get_xdata()), list(jl1.get_ydata())) == ([1, 2, 4], [5.0, 6.0, 7.0])
    (band,) = mig.collections  # one seed has no range
    assert corners(band) == {10: (1.0, 3.0), 20: (2.0, 6.0)}
    (mean,) = kl.get_lines()
    assert list(mean.get_ydata()) == [2.0, 1.0, 1.0]
    assert corners(kl.collections[0]) == {1: (0.0, 4.0), 2: (1.0, 1.0), 4: (0.0, 2.0)}
    colors = plots.model_colors(["VAE", "JL1"])
    assert [line.get_color() for line in (vae, jl1, mean)] == [colors[m] for m in ("VAE", "JL1", "JL1")]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["VAE", "JL1", "lowest to highest seed"]
    assert mig.get_xscale() == "linear"


def test_the_axis_may_be_logarithmic_and_one_seed_has_no_band():
    figure = plots.band_curves({"m": {"a": [1.0, 2.0]}}, {"a": [0.9, 30]}, "s", xscale="log")
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [text.get_text() for at, text in ticks if low <= at <= high] == ["1", "3", "10", "30"]
    assert not any(text.get_text() for text in axes.get_xticklabels(minor=True))
    assert axes.get_xscale() == "log"
    assert not axes.collections
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a"]


def test_places_that_are_whole_numbers_have_such_ticks():
    figure = plots.band_curves(
        {"m": {"a": [1.0, 2.0, np.nan]}, "n": {"b": [1.0, 2.0]}}, {"a": [1, 2, 3], "b": [0.5, 1]}, "level"
    )
    whole, others = ([t for t in axes.get_xticks() if 0 <= t <= 3] for axes in figure.axes)
    assert {t % 1 for t in whole} == {0}
    assert any(0.01 < t % 1 < 0.99 for t in others)


@pytest.mark.parametrize(
    ("curves", "at", "xscale", "message"),
    [
        ({}, {"a": [1]}, "linear", "curves: expected at least one entry"),
        ({"m": {}}, {"a": [1]}, "linear", r"curves\['m'\]: expected at least one entry"),
        ({"m": {"a": [1.0]}}, {"b": [1]}, "linear", "at: expected an array for every label .* for 'a'"),
        ({"m": {"a": [1.0]}}, {"a": [1, 2]}, "linear", r"\['m'\]\['a'\]: expected shape \[2\] or"),
        ({"m": {"a": [[[1.0]]]}}, {"a": [1]}, "linear", r"got \(1, 1, 1\)"),
        ({"m": {"a": [1.0, 2.0]}}, {"a": [2, 1]}, "linear", r"at\['a'\]: expected numbers .* increasing"),
        ({"m": {"a": [1.0, 2.0]}}, {"a": [0, 1]}, "log", r"at\['a'\]: expected values > 0"),
        ({"m": {"a": [1.0]}}, {"a": [1]}, "logit", "xscale: expected one of 'linear', 'log'"),
    ],
)
def test_what_does_not_fit_is_refused(curves, at, xscale, message):
    with pytest.raises(ValueError, match=message):
        plots.band_curves(curves, at, "s", xscale=xscale)


def test_a_bound_stands_at_its_numbers_of_samples():
    results = {
        "VAE": {"curve_nll": [9.0, 8.0, 7.5], "curve_samples": [1, 10, 100], "nll": 7.5},
        "IWAE": {"curve_nll": [20.0, 7.0], "curve_samples": [1, 50]},
    }
    (axes,) = plots.bound_curves(results).axes
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]
    assert lines == [([1, 10, 100], [9.0, 8.0, 7.5]), ([1, 50], [20.0, 7.0])]
    assert (axes.get_ylabel(), axes.get_xscale()) == ("-L\N{LATIN SUBSCRIPT SMALL LETTER K} (nats)", "log")
    with pytest.raises(ValueError, match="results: expected at least one entry"):
        plots.bound_curves({})
