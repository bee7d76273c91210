"""Laws of the figures: what is drawn is what was given, and what is wrong is named."""

from __future__ import annotations

import inspect

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from vaejax import plots
from vaejax.plots.jacobian import CMAP

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(5, 6, 4, 1))  # higher than wide: a transposed image would be seen


def shown(axes):
    """The arrays that an Axes shows, in the order drawn."""
    return [np.asarray(image.get_array()) for image in axes.images]


def corners(axes):
    """(left, top) of every image, in widths of an image."""
    return [(image.get_extent()[0], image.get_extent()[3]) for image in axes.images]


def tick_texts(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def every_figure():
    steps = np.arange(3)
    return {
        "band_curves": plots.band_curves({"MIG": {"a": [[1.0, 2.0], [3.0, 1.0]]}}, {"a": [1, 2]}, "s"),
        "bound_curves": plots.bound_curves({"a": {"curve_nll": [2.0, 1.0], "curve_samples": [1, 9]}}),
        "codes": plots.codes({"a": RNG.normal(size=(50, 2))}),
        "density_panels": plots.density_panels({"a": {"b": X[0, :, :, 0]}}, (-1, 1)),
        "image_grid": plots.image_grid(X, columns=2),
        "image_rows": plots.image_rows({"a": X, "b": X}, title="t"),
        "interpolations": plots.interpolations({"a": X}),
        "jacobian_columns": plots.jacobian_columns({"a": X[None] - 0.5}, images=X[:1]),
        "ratings": plots.ratings({"ab": {"q": {"strengths": {"a": {"mean": 2.0, "ci95": (1.5, 3.0)}}}}}),
        "reconstructions": plots.reconstructions(X, {"a": X}),
        "score_comparison": plots.score_comparison(
            {"s": {"a": {"mean": 1.0, "ci95": (0.5, 1.5), "per_seed": [0.9, 1.1]}}}
        ),
        "sweep_curves": plots.sweep_curves(
            {"s": {"a": {0.1: {"mean": 1.0, "ci95": (0.5, 1.5)}, 0.2: {"mean": 2.0, "ci95": None}}}}, "gamma"
        ),
        "training_curves": plots.training_curves({"a": {"loss": steps}}),
        "traversals": plots.traversals(X[None], values=np.arange(5), base=X[0]),
    }


def test_every_public_figure_can_be_written_and_its_layout_is_settled(tmp_path):
    figures = every_figure()
    assert sorted([*figures, "model_colors", "save"]) == plots.__all__ == sorted(plots.__all__)
    for name, figure in figures.items():
        assert type(figure) is Figure
        assert figure.get_layout_engine() is not None
        path = plots.save(figure, tmp_path / "deep" / "er" / f"{name}.png")
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        # A second drawing changes nothing: the layout has settled.
        assert plots.save(figure, tmp_path / "again.png").read_bytes() == path.read_bytes()


def money(*texts):
    """Texts that matplotlib would set as a formula, lose a dollar of, or refuse."""
    return [f"{text}: $5, $\\frac$ and \\$6" for text in texts]


def test_a_dollar_in_a_text_of_the_user_is_a_dollar(tmp_path):
    a, b, unit, metric, title = money("a", "b", "unit", "metric", "title")
    entry = {"mean": 1.0, "ci95": (0.5, 1.5), "per_seed": [0.9, 1.1]}
    figures = {  # a figure, and the texts that it was given
        "band_curves": (plots.band_curves({metric: {a: [1.0, 2.0]}}, {a: [1, 2]}, b, units=unit), [a, b]),
        "bound_curves": (plots.bound_curves({a: {"curve_nll": [2.0], "curve_samples": [1]}}), [a]),
        "codes": (plots.codes({a: X[:, 0, :2, 0], b: X[:, 0, :2, 0]}), [a, b]),
        "density_panels": (
            plots.density_panels({a: {b: X[0, :, :, 0]}}, (-1, 1), notes={a: {b: title}}), [a, b, title]
        ),
        "image_grid": (plots.image_grid({metric: X[:2]}, columns=2, titles={metric: [a, b]}), [a, b, metric]),
        "image_rows": (plots.image_rows({a: X, b: X}, title=title), [a, b, title]),
        "interpolations": (plots.interpolations({a: X, b: X}), [a, b]),
        "jacobian_columns": (plots.jacobian_columns({a: X[None] - 0.5}, images=X[:1]), [a]),
        "ratings": (plots.ratings({"ab": {"q": {"strengths": {a: entry, b: entry}}}}), [a, b]),
        "reconstructions": (
            plots.reconstructions(X, {a: X}, data_label=b, groups=[(title, 5)]), [a, b, title]
        ),
        "score_comparison": (
            plots.score_comparison({metric: {a: entry}}, references={metric: {a: 1.0}}, reference_label=b),
            [a, b, metric],
        ),
        "sweep_curves": (
            plots.sweep_curves({metric: {a: {b: entry, "c": entry}}}, title), [a, b, metric, title]
        ),
        "training_curves": (plots.training_curves({a: {metric: [1.0, 2.0]}}, units=unit), [a]),
        "traversals": (plots.traversals({a: X[None]}, values=np.arange(5)), [a]),
    }  # fmt: skip
    assert sorted([*figures, "model_colors", "save"]) == plots.__all__
    for name, (figure, given) in figures.items():
        plots.save(figure, tmp_path / f"{name}.png")  # a formula that is none would raise here
        drawn = [text for text in figure.findobj(Text) if text.get_text()]
        for text in given:
            found = [t for t in drawn if t.get_text() == text]
            assert found, (name, text)
            assert not any(t._preprocess_math(t.get_text())[1] for t in found), (name, text)
        of_user = [t for t in drawn if "$5" in t.get_text()]
        assert not any(t.get_parse_math() for t in of_user), name
    formula = [t for t in figures["traversals"][0].findobj(Text) if "z_j" in t.get_text()]
    assert formula
    assert all(t.get_parse_math() for t in formula)  # ours stay formulas


def test_figures_leave_no_global_state():
    before = dict(matplotlib.rcParams)
    every_figure()
    assert dict(matplotlib.rcParams) == before
    assert Gcf.get_all_fig_managers() == []  # pyplot knows none of them


def test_options_are_keyword_only():
    for name in plots.__all__:
        if name in ("save", "model_colors"):
            continue
        parameters = inspect.signature(getattr(plots, name)).parameters.values()
        positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
        assert all(p.default is p.empty for p in positional), name


def test_save_refuses_another_format(tmp_path):
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.png, got '.*a\.pdf'"):
        plots.save(Figure(), tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())


def test_model_colors():
    colors = plots.model_colors(["b", "a", "b"])
    assert list(colors) == ["b", "a"]
    assert colors["a"] != colors["b"]
    assert plots.model_colors(["b"])["b"] == colors["b"]
    assert plots.model_colors(["a"], colors) == {"a": colors["a"]}
    names = [str(i) for i in range(10)]
    assert len(set(plots.model_colors(names).values())) == 10
    with pytest.raises(ValueError, match=r"labels: expected at most 10 .* got 11"):
        plots.model_colors([*names, "10"])
    with pytest.raises(ValueError, match=r"colors: expected a colour for every label, got none for \['c'\]"):
        plots.model_colors(["a", "c"], colors)


# Images


def test_image_grid_shows_the_images_row_by_row():
    (axes,) = plots.image_grid(jnp.asarray(X), columns=3, titles=list("abcde")).axes
    for image, given in zip(axes.images, X, strict=True):
        np.testing.assert_allclose(image.get_array(), given[..., 0], atol=1e-7)
        assert image.get_interpolation() == "nearest"
        assert image.get_clim() == (0, 1)
        left, right, bottom, top = image.get_extent()
        np.testing.assert_allclose((right - left, bottom - top), (1, 6 / 4))
    lefts, tops = zip(*corners(axes), strict=True)
    assert len(set(lefts)) == 3
    assert len(set(tops)) == 2
    assert lefts[:3] == tuple(sorted(lefts[:3]))
    assert tops[0] < tops[3]
    assert lefts[3] == lefts[0]
    assert axes.yaxis_inverted()
    assert axes.get_aspect() == 1
    assert [text.get_text() for text in axes.texts] == list("abcde")
    # A title stands above its image and below the one of the row before.
    assert tops[0] + 1.5 < axes.texts[3].get_position()[1] < tops[3]


def test_images_rgb_bytes_and_limits():
    rgb = RNG.uniform(size=(2, 4, 4, 3))
    np.testing.assert_array_equal(shown(plots.image_grid(rgb, columns=2).axes[0]), rgb)
    bytes_ = np.array([[[[0], [51]], [[102], [255]]]], np.uint8)
    (grey,) = shown(plots.image_grid(bytes_, columns=1).axes[0])
    np.testing.assert_allclose(grey, [[0, 0.2], [0.4, 1]])
    signed = np.array([[[[-2.0], [-1.0]], [[0.0], [3.0]]]])
    (grey,) = shown(plots.image_grid(signed, columns=1, limits=(-1, 1)).axes[0])
    np.testing.assert_array_equal(grey, [[0, 0], [0.5, 1]])


def test_means_that_rounding_took_out_of_their_range_are_shown():
    means = np.array([1 + 4e-7, -3e-7], np.float32).reshape(1, 1, 2, 1)
    (grey,) = shown(plots.image_grid(means, columns=1).axes[0])
    np.testing.assert_array_equal(grey, [[1.0, 0.0]])
    with pytest.raises(ValueError, match=r"got \[0, 1.0001\]"):
        plots.image_grid(np.array([0.0, 1.0001]).reshape(1, 1, 2, 1), columns=1)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (X[0], {}, r"images: expected shape \[n, H, W, C\], .* C of 1 or 3; got \(6, 4, 1\)"),
        (np.zeros((2, 4, 4, 2)), {}, r"C of 1 or 3; got \(2, 4, 4, 2\)"),
        (np.zeros((0, 4, 4, 1)), {}, r"no axis empty.* got \(0, 4, 4, 1\)"),
        (X * np.nan, {}, "images: expected finite values, got 120 that are not"),
        (X + 1, {}, r"images: expected values in \[0, 1\] .* pass limits"),
        (X, {"limits": (1, 0)}, r"limits: expected finite \(black, white\) .* got \(1, 0\)"),
        (X, {"columns": 0}, "columns: expected at least 1, got 0"),
        (X, {"titles": ["a"]}, "titles: expected 5, one per image, got 1"),
    ],
)
def test_image_grid_refuses(images, options, message):
    with pytest.raises(ValueError, match=message):
        plots.image_grid(images, **{"columns": 2, **options})


def test_rows_stand_below_each_other_with_their_names():
    (axes,) = plots.image_rows({"zero": X, "one": X / 2}, title="digits").axes
    np.testing.assert_array_equal(shown(axes), np.concatenate([X, X / 2])[..., 0])
    at = np.array(corners(axes)).reshape(2, 5, 2)
    assert (at[0, :, 0] == at[1, :, 0]).all()
    assert tick_texts(axes.yaxis) == ["zero", "one"]
    np.testing.assert_allclose(axes.get_yticks(), at[:, 0, 1] + 0.75)
    assert axes.get_title() == "digits"
    with pytest.raises(ValueError, match=r"images\['one'\]: expected 5 images, got 4"):
        plots.image_rows({"zero": X, "one": X[:4]})
    with pytest.raises(ValueError, match=r"images\['one'\]: expected images \[H, W, C\] = \(6, 4, 1\)"):
        plots.image_rows({"zero": X, "one": X[:, :4]})


def test_reconstructions_put_each_model_below_the_data():
    (axes,) = plots.reconstructions(X, {"VAE": X / 2, "IWAE": X / 4}, data_label="x").axes
    np.testing.assert_array_equal(shown(axes), np.concatenate([X, X / 2, X / 4])[..., 0])
    at = np.array(corners(axes)).reshape(3, 5, 2)
    assert (at[0, :, 0] == at[1, :, 0]).all()
    assert (np.diff(at[:, 0, 1]) > 1.5).all()
    assert tick_texts(axes.yaxis) == ["x", "VAE", "IWAE"]
    np.testing.assert_allclose(axes.get_yticks(), at[:, 0, 1] + 0.75)  # the middles of the rows
    with pytest.raises(ValueError, match=r"reconstructions\['VAE'\]: expected the shape of x, .* got \(4, 6"):
        plots.reconstructions(X, {"VAE": X[:4]})
    (apart,) = plots.reconstructions(X, {"VAE": X}, groups=(("left", 2), ("right", 3))).axes
    lefts = np.array(corners(apart))[:5, 0]
    assert np.diff(lefts) == pytest.approx([1.07, 1.47, 1.07, 1.07])
    assert {text.get_text(): text.get_position()[0] for text in apart.texts} == pytest.approx(
        {"left": (lefts[0] + lefts[1] + 1) / 2, "right": lefts[3] + 0.5}
    )
    with pytest.raises(ValueError, match=r"groups: expected sizes of at least 1 that sum to 5, got \[2, 2\]"):
        plots.reconstructions(X, {"VAE": X}, groups=(("left", 2), ("right", 2)))
    with pytest.raises(ValueError, match="reconstructions: expected at least one entry"):
        plots.reconstructions(X, {})


def test_grids_are_a_panel_per_label_with_images_of_one_size():
    figure = plots.image_grid({"a": X, "b": X[:2], "c": X[:1], "d": X[::-1]}, columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d"]
    for axes, given in zip(figure.axes, (X, X[:2], X[:1], X[::-1]), strict=True):
        np.testing.assert_array_equal(shown(axes), given[..., 0])
    figure.draw_without_rendering()
    widths = [axes.get_window_extent().width for axes in figure.axes]
    np.testing.assert_allclose(widths, widths[0])
    with pytest.raises(ValueError, match=r"images\['b'\]: expected images \[H, W, C\] = \(6, 4, 1\), got"):
        plots.image_grid({"a": X, "b": X[:, :5]})


def test_interpolations_rows_and_t():
    (axes,) = plots.interpolations({"lerp": X, "slerp": X[::-1]}).axes
    np.testing.assert_array_equal(shown(axes), np.concatenate([X, X[::-1]])[..., 0])
    assert tick_texts(axes.yaxis) == ["lerp", "slerp"]
    assert tick_texts(axes.xaxis) == ["0", "0.25", "0.5", "0.75", "1"]
    assert axes.get_xlabel() == "$t$"
    (axes,) = plots.interpolations({"a": np.stack([X, X]), "b": X}, t=[-1, 0, 1, 2, 3]).axes
    tops = np.array(corners(axes))[::5, 1]
    np.testing.assert_allclose(axes.get_yticks(), [tops[:2].mean() + 0.75, tops[2] + 0.75])
    assert tick_texts(axes.xaxis)[0] == "\N{MINUS SIGN}1"
    with pytest.raises(ValueError, match=r"images\['b'\]: expected \[steps, H, W, C\] = \(5, 6, 4, 1\), got"):
        plots.interpolations({"a": X, "b": X[:3]})
    with pytest.raises(ValueError, match=r"t: expected shape \[steps\] = \(5,\), got \(4,\)"):
        plots.interpolations({"a": X}, t=np.zeros(4))


# Jacobians

J = RNG.normal(size=(2, 3, 6, 4, 1)) * np.array([0.1, 5.0, 1.0])[None, :, None, None, None]


def test_jacobian_columns_show_data_and_columns_on_a_symmetric_scale():
    figure = plots.jacobian_columns({"VAE": J, "JL1": J[:, :2] / 10}, images=X[:2])
    panels = figure.axes[:2]
    assert [axes.get_title("left") for axes in panels] == ["VAE", "JL1"]
    for axes, block in zip(panels, (J, J[:, :2] / 10), strict=True):
        d = block.shape[1]
        np.testing.assert_array_equal(shown(axes)[:2], X[:2, ..., 0])
        np.testing.assert_array_equal(shown(axes)[2:], block.reshape(2 * d, 6, 4))
        largest = np.quantile(np.abs(J), 0.995)  # of the model where it is largest, for both
        assert all(image.get_clim() == (-largest, largest) for image in axes.images[2:])
        assert tick_texts(axes.xaxis) == ["$x$", *(f"$z_{{{j}}}$" for j in range(d))]
        lefts = np.array(corners(axes))[:, 0]
        assert (lefts[:2] == 0).all()
        assert (np.diff(lefts[2 : 2 + d]) > 1).all()
        assert lefts[2] > 1
    assert len(figure.axes) == 3  # one colour bar
    assert tick_texts(figure.axes[2].yaxis)[1] == "0"
    assert figure.axes[2]._colorbar.extend == "both"
    few = np.zeros((1, 1, 40, 40, 1))
    few[0, 0, 0, 0] = 3.0  # nearly all are 0: the largest it is
    (image,) = plots.jacobian_columns(few).axes[0].images
    assert image.get_clim() == (-3, 3)


def test_jacobian_columns_by_norm_and_with_one_scale():
    figure = plots.jacobian_columns({"a": J, "b": J / 10}, order_by_norm=True, limit=2.0)
    a, b, bar = figure.axes
    for axes in (a, b):
        assert tick_texts(axes.xaxis) == ["$z_{1}$", "$z_{2}$", "$z_{0}$"]
        assert all(image.get_clim() == (-2, 2) for image in axes.images)
    np.testing.assert_array_equal(shown(a), J[:, [1, 2, 0]].reshape(6, 6, 4))
    assert bar._colorbar.extend == "both"  # a goes beyond 2
    assert plots.jacobian_columns(J, limit=99.0).axes[1]._colorbar.extend == "neither"


def test_jacobian_colours_zero_is_white_and_rgb_zero_is_grey():
    assert to_hex(CMAP(0.5)) == "#ffffff"
    red, blue = np.array(CMAP(1.0)), np.array(CMAP(0.0))
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    rgb = np.zeros((1, 1, 2, 2, 3))
    rgb[..., 0, 0, :] = [4.0, -4.0, 2.0]
    (axes,) = plots.jacobian_columns({"a": rgb}).axes
    (image,) = shown(axes)
    np.testing.assert_allclose(image[0, 0], [1, 0, 0.75], atol=0.01)
    np.testing.assert_allclose(image[1], 0.5)
    assert r"\pm$4" in axes.get_title("right")
    (axes, _) = plots.jacobian_columns({"a": np.zeros((1, 1, 2, 2, 1))}).axes  # J = 0 has a scale too
    assert axes.images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"a": J[0]}, {}, r"columns\['a'\]: expected shape \[rows, d, H, W, C\], .* got \(3, 6, 4, 1\)"),
        ({"a": J, "b": J[:1]}, {}, r"columns\['b'\]: expected 2 rows, got 1"),
        ({"a": J}, {"images": X}, r"columns\['a'\]: expected 5 rows, got 2"),
        ({"a": J}, {"images": X[:2, :5]}, r"columns\['a'\]: expected images .* \(5, 4, 1\), got \(6, 4, 1\)"),
        ({"a": J}, {"limit": -1.0}, r"limit: expected positive and finite, got -1\.0"),
        ({}, {}, "columns: expected at least one entry"),
    ],
)
def test_jacobian_columns_refuse(columns, options, message):
    with pytest.raises(ValueError, match=message):
        plots.jacobian_columns(columns, **options)


def test_a_note_stands_at_the_foot_of_a_figure_below_all_else(tmp_path):
    figure = plots.image_grid(X, columns=2)
    plots.save(figure, tmp_path / "a.png", note="seed $3")
    (note,) = [text for text in figure.findobj(Text) if text.get_text() == "seed $3"]
    assert not note.get_parse_math()
    assert note.get_window_extent().y1 <= figure.axes[0].get_tightbbox().y0
    assert (tmp_path / "a.png").stat().st_size > 0


def test_a_note_makes_no_image_smaller(tmp_path):
    sizes = []
    for note in ("", "seed 3"):
        figure = plots.reconstructions(X, {"VAE": X}, groups=(("left", 2), ("right", 3)))
        plots.save(figure, tmp_path / "a.png", note=note)
        figure.draw_without_rendering()
        sizes.append(figure.axes[0].get_window_extent().width)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
