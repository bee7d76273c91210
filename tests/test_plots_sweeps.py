"""Laws of the figure of a sweep: means and intervals are at their values, on the axis that suits these."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from vaejax import plots
from vaejax.plots.style import PALETTE


def entry(mean, ci95=(None, None)):
    return {"mean": mean, "ci95": ci95, "per_seed": [mean]}


def over(values, labels=("a",)):
    """One metric of the labels over the values; the mean of label i at place j is i + j/10."""
    points = {
        label: {v: entry(i + j / 10, (i + j / 10 - 0.01, i + j / 10 + 0.02)) for j, v in enumerate(values)}
        for i, label in enumerate(labels)
    }
    return plots.sweep_curves({"m": points}, "setting")


def tick_texts(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_means_and_intervals_stand_at_their_values():
    scores = {
        "kl": {"VAE": {0.2: entry(3.0, (2.5, 4.0)), 0.1: entry(2.0)}, "JL1": {0.1: entry(1.0, (0.9, 1.1))}},
        "MIG": {"JL1": {0.3: entry(0.5, None)}},
    }
    figure = plots.sweep_curves(scores, "gamma", units={"kl": "nats"})
    kl, mig = figure.axes
    assert (kl.get_ylabel(), mig.get_ylabel(), kl.get_xlabel(), mig.get_xlabel()) == (
        "kl (nats)", "MIG", "gamma", "gamma",
    )  # fmt: skip
    vae, jl1 = kl.get_lines()
    assert (list(vae.get_xdata()), list(vae.get_ydata())) == ([0.1, 0.2], [2.0, 3.0])  # by value
    assert (list(jl1.get_xdata()), list(jl1.get_ydata())) == ([0.1], [1.0])
    segments = [[s.tolist() for s in bars.get_segments()] for bars in kl.collections]
    assert segments == [[[[0.2, 2.5], [0.2, 4.0]]], [[[0.1, 0.9], [0.1, 1.1]]]]
    (alone,) = mig.get_lines()
    assert (list(alone.get_xdata()), list(alone.get_ydata())) == ([0.3], [0.5])
    assert not any(bars.get_segments() for bars in mig.collections)
    colors = plots.model_colors(["VAE", "JL1"])
    assert (vae.get_color(), jl1.get_color(), alone.get_color()) == (
        colors["VAE"],
        colors["JL1"],
        colors["JL1"],
    )
    assert [to_hex(bars.get_color()[0]) for bars in kl.collections] == [c.lower() for c in colors.values()]
    for axes in figure.axes:  # the same ticks in every panel
        assert tick_texts(axes.xaxis) == ["0.1", "0.2", "0.3"]
    assert legend_texts(figure) == ["VAE", "JL1", "95 % interval"]
    assert legend_texts(plots.sweep_curves({"m": {"a": {1: entry(1.0)}}}, "x")) == ["a"]


@pytest.mark.parametrize(
    ("values", "scale", "texts"),
    [
        ((0.4, 0, 0.05), "linear", ["0", "0.05", "0.4"]),
        ((1, 9), "linear", ["1", "9"]),
        ((1, 10), "log", ["1", "10"]),
        ((1e-2, 1e-4, 1e-3), "log", ["0.0001", "0.001", "0.01"]),
        ((0.0, 0.1, 1.0), "symlog", ["0", "0.1", "1"]),
        ((-1, 1, 20), "symlog", ["-1", "1", "20"]),
        ((0,), "linear", ["0"]),
    ],
)
def test_numbers_over_a_decade_are_on_a_log_axis_and_all_are_ticks(values, scale, texts):
    (axes,) = over(values).axes
    assert axes.get_xscale() == scale
    assert tick_texts(axes.xaxis) == texts
    assert list(axes.get_xticks(minor=True)) == []
    line = axes.get_lines()[0]
    assert list(line.get_xdata()) == list(axes.get_xticks()) == sorted(values)
    assert line.get_linestyle() == "-"
    low, high = axes.get_xlim()
    assert low < min(values) <= max(values) < high


@pytest.mark.parametrize("values", [("z", "b"), (None, 8, 2), (True, False), (np.inf, 1.0)], ids=str)
def test_what_is_no_number_is_a_category_in_the_order_given(values):
    figure = over(values, ("a", "b"))
    (axes,) = figure.axes
    assert axes.get_xscale() == "linear"
    assert tick_texts(axes.xaxis) == [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    for line in axes.get_lines():
        assert list(line.get_xdata()) == list(range(len(values)))
        assert line.get_linestyle() == "None"


def test_labels_stand_side_by_side_in_the_picture_alone():
    (axes,) = over((1, 2), ("a", "b", "c")).axes
    axes.figure.draw_without_rendering()
    at = [line.get_transform().transform((1.0, 0.0))[0] for line in axes.get_lines()]
    bars = [bars.get_transform().transform((1.0, 0.0))[0] for bars in axes.collections]
    points = 72 / axes.figure.dpi
    np.testing.assert_allclose(np.diff(at) * points, 4)
    np.testing.assert_allclose(at, bars)
    np.testing.assert_allclose(at[1], axes.transData.transform((1.0, 0.0))[0])


def test_the_eleventh_label_has_the_first_colour_and_another_line():
    lines = over((1, 2), [f"l{i}" for i in range(21)]).axes[0].get_lines()
    styles = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines]
    assert len(set(styles)) == 21
    assert [color for color, _, _ in styles[:11]] == [*PALETTE, PALETTE[0]]
    named = plots.sweep_curves({"m": {"a": {1: entry(1.0)}}}, "x", colors={"a": "red"})
    assert named.axes[0].get_lines()[0].get_color() == "red"


def test_long_names_are_slanted():
    assert {t.get_rotation() for t in over(("a", "b")).axes[0].get_xticklabels()} == {0}
    slanted = over(("finite_difference", "columns", "exact")).axes[0].get_xticklabels()
    assert {t.get_rotation() for t in slanted} == {35}


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ({}, {}, "scores: expected at least one entry"),
        ({"m": {}}, {}, r"scores\['m'\]: expected at least one entry"),
        ({"m": {"a": {}}}, {}, "scores: expected at least one value of the setting"),
        ({"m": {"a": {1: {"mean": 1.0}}}}, {}, r"\['m'\]\['a'\]\[1\]: expected mean and ci95, got no ci95"),
        ({"m": {"a": {1: entry(1.0, (2.0, 3.0))}}}, {}, r"\[1\]\['ci95'\]: expected low <= mean = 1 <= high"),
        (
            {"m": {"a": {1: entry(1.0)}}},
            {"colors": {"b": "red"}},
            "colors: expected a colour for every label",
        ),
        ({"m": {"a": {1: entry(1.0)}}}, {"columns": 0}, "columns: expected at least 1, got 0"),
    ],
)
def test_sweep_curves_refuse(scores, options, message):
    with pytest.raises(ValueError, match=message):
        plots.sweep_curves(scores, "x", **options)


def test_a_training_that_is_missing_is_a_cross_at_its_value():
    points = {"a": {1.0: entry(0.5), 10.0: {"missing": "diverged"}}, "b": {1.0: entry(0.4), 10.0: entry(0.3)}}
    figure = plots.sweep_curves({"m": points}, "rate")
    (axes,) = figure.axes
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[10.0]]
    assert [list(line.get_xdata()) for line in axes.lines if line not in crosses] == [[1.0], [1.0, 10.0]]
    assert legend_texts(figure) == ["a", "b", "diverged"]
    assert tick_texts(axes.xaxis) == ["1", "10"]
    assert "diverged" not in legend_texts(over([1, 2]))
