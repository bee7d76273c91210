"""Laws of the table of densities: which values stand where, on which scale."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax import plots

Z = np.linspace(-2.0, 2.0, 41)
RIGHT, UP = np.meshgrid(Z, Z)
ONE = np.exp(-((RIGHT - 1) ** 2 + UP**2) / 0.1)  # a peak at z = (1, 0)


def test_a_peak_stands_where_it_is_and_a_row_has_the_scale_of_its_first_panel():
    densities = {"a": {"true": ONE, "fit": 5 * ONE}, "b": {"true": 3 * ONE, "fit": ONE.T}}
    notes, points = {"a": {"fit": "0.1 nats"}}, {"b": {"true": [[1.0, 0.5], [0.0, -1.0]]}}
    figure = plots.density_panels(densities, {"a": (-2, 2), "b": (-1, 1)}, notes=notes, points=points)
    panels = np.reshape(figure.axes, (2, 2))
    for row, cells in zip(panels, densities.values(), strict=True):
        for axes, values in zip(row, cells.values(), strict=True):
            (image,) = axes.images
            np.testing.assert_array_equal(image.get_array(), values)
            assert (image.norm.vmin, image.norm.vmax) == (0, next(iter(cells.values())).max())
            assert image.norm(image.norm.vmax / 4) == pytest.approx(0.5)  # the square root
    low, high, bottom, top = panels[0, 0].images[0].get_extent()
    assert (low, high, bottom, top) == (-2, 2, -2, 2)
    pixels = _drawn(figure, panels[0, 0])
    rows, columns = np.nonzero(pixels.sum(-1) < pixels.sum(-1).min() + 30)
    assert columns.mean() / pixels.shape[1] == pytest.approx(0.75, abs=0.03)  # z_1 = 1, to the right
    assert rows.mean() / pixels.shape[0] == pytest.approx(0.5, abs=0.03)
    assert panels[1, 1].get_xlim() == (-1, 1)
    assert [axes.get_title() for axes in panels.ravel()] == ["true", "fit", "", ""]
    assert [axes.get_ylabel() for axes in panels.ravel()] == ["a", "", "b", ""]
    assert [[text.get_text() for text in axes.texts] for axes in panels.ravel()] == [[], ["0.1 nats"], [], []]
    (dots,) = panels[1, 0].get_lines()
    np.testing.assert_array_equal(dots.get_xydata(), points["b"]["true"])
    assert not panels[0, 0].get_lines()


def _drawn(figure, axes):
    """The pixels inside a panel, its upper row first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image, box = np.asarray(canvas.buffer_rgba())[..., :3].astype(int), axes.get_window_extent()
    height = len(image)
    inside = image[height - int(box.y1) : height - int(box.y0), int(box.x0) : int(box.x1)]
    return inside[3:-3, 3:-3]


def test_a_row_may_lack_columns():
    figure = plots.density_panels({"a": {"p": ONE}, "b": {"p": ONE, "q": ONE}}, (-2, 2))
    assert [axes.get_title() for axes in figure.axes] == ["p", "", "q"]
    assert len(figure.axes) == 3


@pytest.mark.parametrize(
    ("densities", "limits", "more", "message"),
    [
        ({}, (0, 1), {}, "densities: expected at least one entry"),
        ({"a": {}}, (0, 1), {}, r"densities\['a'\]: expected at least one entry"),
        (
            {"a": {"p": np.ones(3)}},
            (0, 1),
            {},
            r"\['a'\]\['p'\]: expected a grid \[m, n\] .* got shape \(3,\)",
        ),
        ({"a": {"p": -ONE}}, (0, 1), {}, r"values -1 to 0"),
        ({"a": {"p": ONE * np.nan}}, (0, 1), {}, "of finite values >= 0"),
        ({"a": {"p": 0 * ONE}}, (0, 1), {}, r"\['a'\]\['p'\]: expected a value > 0"),
        ({"a": {"p": ONE}}, (1, 0), {}, r"limits: expected finite .* got \(1, 0\)"),
        ({"a": {"p": ONE}}, {"b": (0, 1)}, {}, "limits: expected .* for every row, got none for 'a'"),
        (
            {"a": {"p": ONE}},
            (0, 1),
            {"points": {"a": {"q": [[0, 0]]}}},
            "points: expected panels .* 'a', 'q'",
        ),
        (
            {"a": {"p": ONE}},
            (0, 1),
            {"points": {"a": {"p": [0, 0]}}},
            r"points\['a'\]\['p'\]: expected shape",
        ),
        ({"a": {"p": ONE}}, (0, 1), {"notes": {"b": {"p": "x"}}}, "notes: expected panels .* 'b', 'p'"),
    ],
)
def test_what_does_not_fit_is_refused(densities, limits, more, message):
    with pytest.raises(ValueError, match=message):
        plots.density_panels(densities, limits, **more)
