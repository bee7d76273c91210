"""Laws of the figures of numbers: every curve, seed, mean, interval and reference is where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax import plots
from vaejax.plots.curves import _smooth

RNG = np.random.default_rng(0)


def tick_texts(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_smooth_is_a_centred_mean_that_keeps_constants():
    np.testing.assert_allclose(_smooth(np.arange(5.0), 3), [0.5, 1, 2, 3, 3.5])
    np.testing.assert_allclose(_smooth(np.full(4, 7.0), 9), 7)
    np.testing.assert_array_equal(_smooth(np.array([3.0, 1, 2]), 1), [3, 1, 2])
    assert np.isnan(_smooth(np.array([1.0, np.nan, 1, 1, 1]), 3)).tolist() == [True, True, True, False, False]


def test_training_curves_draw_each_seed_and_the_smoothed_mean():
    loss = RNG.uniform(1, 2, size=(3, 7))
    curves = {"VAE": {"loss": loss, "kl": loss[0]}, "IWAE": {"loss": loss[0] + 1}}
    steps = {"VAE": np.arange(7) * 10, "IWAE": range(7)}
    figure = plots.training_curves(curves, smooth=3, steps=steps, units="nats")
    first, second = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (nats)", "kl (nats)"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}
    lines = first.get_lines()
    assert len(lines) == (3 + 1) + (1 + 1)
    assert len(second.get_lines()) == 2
    np.testing.assert_array_equal([line.get_ydata() for line in lines[:3]], loss)
    np.testing.assert_allclose(lines[3].get_ydata(), _smooth(loss.mean(axis=0), 3))
    np.testing.assert_array_equal(lines[0].get_xdata(), np.arange(7) * 10)
    assert lines[0].get_zorder() < lines[3].get_zorder()
    assert lines[0].get_linewidth() < lines[3].get_linewidth()
    colors = plots.model_colors(curves)
    assert [line.get_color() for line in lines] == [colors["VAE"]] * 4 + [colors["IWAE"]] * 2
    assert legend_texts(figure) == ["VAE", "IWAE"]


def xdata(figure):
    """The x of every line of every panel."""
    return [[list(line.get_xdata()) for line in axes.get_lines()] for axes in figure.axes]


def test_training_curves_show_the_range_of_the_smoothed_lines():
    curves = {"a": {"loss": [1.0, 1.0, 1.0, 100.0, 16.0, 16.0, 16.0, np.nan]}, "b": {"loss": [2.0] * 8}}
    (raw,) = plots.training_curves(curves).axes
    assert raw.get_ylim()[1] > 100
    for yscale, expected in (("linear", (-9.75, 54.75)), ("log", (44**-0.25, 44**1.25))):  # from 1 to 44
        (axes,) = plots.training_curves(curves, smooth=3, yscale=yscale).axes
        assert axes.get_ylim() == pytest.approx(expected)
    (flat,) = plots.training_curves({"a": {"loss": [3.0, np.nan, 3.0]}}, smooth=3).axes
    assert flat.get_ylim()[0] < 3 < flat.get_ylim()[1]


def test_training_curves_take_what_fit_returns():
    """A label's "step" is its x axis, never a panel; metrics have no unit unless one is given."""
    n = np.arange(1, 5)
    metrics = {"step": n, "loss": 1.0 / n, "grad_norm": 2.0 / n, "weight/kl": 0.0 * n}
    figure = plots.training_curves({"a": metrics})
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "grad_norm", "weight/kl"]
    assert xdata(figure) == [[[1, 2, 3, 4]] * 2] * 3
    seeds = {name: np.tile(value, (3, 1)) for name, value in metrics.items()}
    assert xdata(plots.training_curves({"a": seeds}, metrics=["loss"])) == [[[1, 2, 3, 4]] * 4]
    # A "step" of zero or less is no reason against a log scale.
    zero = plots.training_curves({"a": {"step": [0, 1], "loss": [1.0, 2.0]}}, yscale="log")
    assert xdata(zero) == [[[0, 1]] * 2]


def test_training_curves_place_each_label_by_steps_then_its_step_then_its_index():
    own, bare = {"step": [5, 6], "loss": [1.0, 2.0]}, {"loss": [1.0, 2.0]}
    curves = {"own": own, "bare": bare}
    assert xdata(plots.training_curves(curves)) == [[[5, 6]] * 2 + [[0, 1]] * 2]
    assert xdata(plots.training_curves(curves, steps={"bare": [7, 8]})) == [[[5, 6]] * 2 + [[7, 8]] * 2]
    assert xdata(plots.training_curves({"own": own}, steps={"own": [7, 8]})) == [[[7, 8]] * 2]


def test_training_curves_options():
    curves = {"a": {"loss": [1.0, 2.0], "accuracy": [0.1, 0.2]}}
    figure = plots.training_curves(
        curves, metrics=["accuracy"], units={"loss": "nats"}, yscale="log", colors={"a": "red"}
    )
    (axes,) = figure.axes
    assert axes.get_ylabel() == "accuracy"
    assert axes.get_yscale() == "log"
    assert axes.get_lines()[0].get_color() == "red"


def test_training_curves_panels_fill_rows_and_leave_no_empty_axes():
    figure = plots.training_curves({"a": {name: [1.0] for name in "pqr"}}, columns=2)
    rows = [axes.get_subplotspec().rowspan.start for axes in figure.axes]
    assert rows == [0, 0, 1]
    with pytest.raises(TypeError, match=r"columns: expected an int, got float \(2\.0\)"):
        plots.training_curves({"a": {"p": [1.0]}}, columns=2.0)


@pytest.mark.parametrize(
    ("curves", "options", "message"),
    [
        ({}, {}, "curves: expected at least one entry"),
        (
            {"a": {"loss": np.zeros((1, 2, 3))}},
            {},
            r"curves\['a'\]\['loss'\]: expected shape \[n\] or .* 2, 3\)",
        ),
        ({"a": {"loss": [1.0]}}, {"metrics": ["kl"]}, r"metrics: expected some of \['loss'\], got \['kl'\]"),
        (
            {"a": {"loss": [1.0]}},
            {"steps": {"b": [0]}},
            "steps: expected one array per label .* none for 'a'",
        ),
        (
            {"a": {"loss": [1.0]}},
            {"steps": {"a": [0, 1]}},
            r"steps\['a'\]: expected shape \(1,\).* got \(2,\)",
        ),
        (
            {"a": {"step": [1], "loss": [1.0]}},
            {"metrics": ("step",)},
            r"metrics: expected some of \['loss'\], got \['step'\]",
        ),
        ({"a": {"step": [1]}}, {}, r"metrics: expected some of \[\], got \[\]"),
        (
            {"a": {"step": [1, 2], "loss": [1.0]}},
            {},
            r"curves\['a'\]\['step'\]: expected shape \(1,\).* got \(2,\)",
        ),
        (
            {"a": {"step": [[1, 2], [1, 3]], "loss": np.ones((2, 2))}},
            {},
            r"curves\['a'\]\['step'\]: expected numbers, the same in every row",
        ),
        ({"a": {"loss": [1.0]}}, {"smooth": 0}, "smooth: expected at least 1, got 0"),
        ({"a": {"loss": [1.0]}}, {"yscale": "logit"}, "yscale: expected 'linear' or 'log', got 'logit'"),
        ({"a": {"loss": [1.0, -2.0]}}, {"yscale": "log"}, "expected values > 0 on a log scale, got -2"),
    ],
)
def test_training_curves_refuse(curves, options, message):
    with pytest.raises(ValueError, match=message):
        plots.training_curves(curves, **options)


def score(mean, ci95, per_seed):
    return {"mean": mean, "ci95": ci95, "per_seed": per_seed}


def test_score_comparison_draws_seeds_means_intervals_and_references():
    scores = {
        "nll": {"VAE": score(2.0, (1.5, 2.5), [1.0, 3.0]), "IWAE": score(1.0, None, [1.0])},
        "MIG": {"IWAE": score(0.5, [None, None], [0.5])},
    }
    figure = plots.score_comparison(scores, references={"nll": {"VAE": 1.8}}, units={"nll": "nats"})
    nll, mig = figure.axes
    assert (nll.get_ylabel(), mig.get_ylabel()) == ("nll (nats)", "MIG")
    assert tick_texts(nll.xaxis) == tick_texts(mig.xaxis) == ["VAE", "IWAE"]
    seeds, mean, seed_iwae, mean_iwae = nll.get_lines()
    np.testing.assert_array_equal(seeds.get_ydata(), [1, 3])
    assert list(mean.get_ydata()) == [2]
    assert list(mean_iwae.get_ydata()) == [1]
    assert (np.abs(seeds.get_xdata()) < 0.5).all()
    assert (np.abs(seed_iwae.get_xdata() - 1) < 0.5).all()
    interval, reference = (c.get_segments()[0] for c in nll.collections)
    np.testing.assert_allclose(interval[:, 1], [1.5, 2.5])
    np.testing.assert_allclose(reference, [[-0.4, 1.8], [0.4, 1.8]])
    assert not mig.collections  # one seed has no interval
    assert mig.get_lines()[0].get_color() == seed_iwae.get_color() != seeds.get_color()
    assert legend_texts(figure) == ["seed", "mean, 95 % interval", "reported"]
    assert legend_texts(plots.score_comparison(scores)) == ["seed", "mean, 95 % interval"]


@pytest.mark.parametrize(
    ("entry", "options", "message"),
    [
        ({"mean": 1.0}, {}, r"scores\['s'\]\['a'\]: expected mean, ci95 and per_seed, got no ci95, per_seed"),
        (score(1.0, 0.5, [1.0]), {}, r"\['ci95'\]: expected \(low, high\), got shape \(\)"),
        (
            score(1.0, (0.1, 0.2), [1.0]),
            {},
            r"\['ci95'\]: expected low <= mean = 1 <= high, got \(0\.1, 0\.2\)",
        ),
        (score(1.0, None, []), {}, r"\['per_seed'\]: expected shape \[seeds\], not empty; got \(0,\)"),
        (
            score(1.0, None, [1.0]),
            {"references": {"t": {"a": 1}}},
            r"references\['t'\]: expected labels .* \['a'\]",
        ),
    ],
)
def test_score_comparison_refuses(entry, options, message):
    with pytest.raises(ValueError, match=message):
        plots.score_comparison({"s": {"a": entry}}, **options)


def test_training_curves_of_one_model_need_no_name():
    metrics = {"step": [5, 6], "loss": [1.0, 2.0]}
    figure = plots.training_curves(metrics)
    assert xdata(figure) == [[[5, 6]] * 2]
    assert not figure.legends
    with pytest.raises(ValueError, match=r"curves\['loss'\]: expected shape"):
        plots.training_curves({"loss": np.zeros((1, 2, 3))})
    with pytest.raises(TypeError, match=r"curves\['loss'\]: expected a mapping"):
        plots.training_curves({"a": metrics, "loss": [1.0]})


def test_long_curves_are_smoothed_unless_one_says_how():
    noise = RNG.normal(size=500)
    for smooth, window in ((None, 10), (1, 1), (50, 50)):
        (axes,) = plots.training_curves({"loss": noise}, smooth=smooth).axes
        faint, bold = axes.get_lines()
        np.testing.assert_array_equal(faint.get_ydata(), noise)
        assert faint.get_alpha() == 0.25
        np.testing.assert_allclose(bold.get_ydata(), _smooth(noise, window))


def test_a_trace_of_many_points_is_fainter():
    (axes,) = plots.training_curves({"loss": RNG.normal(size=10_000)}).axes
    assert axes.get_lines()[0].get_alpha() == 0.015


def test_scores_that_are_all_one_number_have_one_tick():
    same = {"a": score(0.0, (0.0, 0.0), [0.0, 0.0]), "b": score(0.0, None, [0.0])}
    (axes,) = plots.score_comparison({"share": same}).axes
    assert list(axes.get_yticks()) == [0.0]


@pytest.mark.parametrize(("names", "slanted"), [(["beta-VAE", "JL1-VAE"], False), (["x" * 30, "b"], True)])
def test_labels_are_slanted_where_they_have_no_room(names, slanted):
    (axes,) = plots.score_comparison({"s": {name: score(1.0, None, [1.0]) for name in names}}).axes
    assert {text.get_rotation() > 0 for text in axes.get_xticklabels()} == {slanted}
