"""The figure of what raters said: points and intervals, shares of levels, a panel for each question."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax import plots

ENTRY = {"mean": 2.0, "ci95": [1.5, 3.0]}
REPORT = {
    "scale": ["bad", "fair", "good"],
    "ab": {"quality": {"strengths": {"$one": ENTRY, "two": {"mean": 0.5, "ci95": [None, None]}}}},
    "likert": {
        "quality": {
            "systems": {
                "$one": {"counts": [1, 1, 2], "n": 4, "median": 2.5, "mean": 2.25},
                "two": {"counts": [0, 0, 0], "n": 0, "median": None, "mean": None},
            }
        }
    },
    "turing": {"origin": {"systems": {"two": {"balanced_accuracy": {"mean": 0.9, "ci95": [0.85, 0.93]}}}}},
}


def test_points_intervals_and_shares_stand_where_they_should():
    figure = plots.ratings(REPORT)
    strengths, levels, told = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "quality: strength", "quality: share of each level", "origin: told from real",
    ]  # fmt: skip
    assert strengths.get_xscale() == "log"
    neutral, *points = strengths.get_lines()
    assert set(neutral.get_xdata()) == {1.0}
    assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in points] == [(2.0, 0), (0.5, 1)]
    (segments,) = strengths.collections  # one has no interval
    np.testing.assert_allclose(segments.get_segments()[0], [[1.5, 0], [3.0, 0]])
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in levels.patches]
    np.testing.assert_allclose(bars[:3], [[0, 0.25, 0], [0.25, 0.25, 0], [0.5, 0.5, 0]])
    assert [text.get_text() for text in levels.texts] == ["2.5"]
    assert [text.get_text() for text in told.get_yticklabels()] == ["two"]
    assert set(told.get_lines()[0].get_xdata()) == {0.5}
    colors = plots.model_colors(["$one", "two"])
    assert [p.get_color() for p in points] == [*colors.values()]
    assert told.get_lines()[1].get_color() == colors["two"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1 bad", "2 fair", "3 good"]
    figure.draw_without_rendering()


def test_a_report_without_questions_is_refused():
    with pytest.raises(ValueError, match="report: expected scores of a question"):
        plots.ratings({"raters": {}})
    with pytest.raises(TypeError, match="report: expected a mapping"):
        plots.ratings([])
