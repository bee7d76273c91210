"""Laws of the figures of codes and of traversals: the heights, images and texts that they draw."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy import stats

from vaejax import plots

RNG = np.random.default_rng(0)


def test_codes_are_densities_beside_the_priors():
    z = {"narrow": np.full((4, 3), 0.1), "two": np.array([[0.1, 0.1, 0.1], [-3.0, 2.05, 0.1]])}
    narrow, two, lengths = plots.codes(z).axes
    tops = [[outline.get_xy()[:, 1].max() for outline in axes.patches] for axes in (narrow, two)]
    assert tops == [pytest.approx([5.0] * 3), pytest.approx([2.5, 2.5, 5.0])]  # bins are .2 wide
    where = two.patches[1].get_xy()
    assert set(where[where[:, 1] > 0, 0].round(6)) == {0.0, 0.2, 2.0, 2.2}
    assert narrow.get_ylim() == two.get_ylim()
    width = 2.2 * np.sqrt(3) / 40
    assert [outline.get_xy()[:, 1].max() for outline in lengths.patches] == pytest.approx(
        [1 / width, 0.5 / width]
    )
    for axes, law in ((narrow, stats.norm), (two, stats.norm), (lengths, stats.chi(3))):
        (prior,) = axes.get_lines()
        np.testing.assert_allclose(prior.get_ydata(), law.pdf(prior.get_xdata()), atol=1e-12)
    colors = plots.model_colors(["narrow", "two"])
    assert [outline.get_edgecolor()[:3] for outline in lengths.patches] == [
        pytest.approx(to_rgb(colors[label])) for label in z
    ]
    texts = [text.get_text() for text in narrow.figure.legends[0].get_texts()]
    assert texts == ["narrow", "two", "prior"]


@pytest.mark.parametrize(
    ("z", "message"),
    [
        ({}, "z: expected at least one entry"),
        ({"a": np.zeros(3)}, r"z: expected \[N, d\] with one d, got \[\(3,\)\]"),
        ({"a": np.zeros((3, 2)), "b": np.zeros((3, 1))}, r"got \[\(3, 2\), \(3, 1\)\]"),
    ],
)
def test_codes_refuse(z, message):
    with pytest.raises(ValueError, match=message):
        plots.codes(z)


def names(axes):
    """Of the latents, from above."""
    rows = [text for text in axes.texts if text.get_text().startswith("$z_{")]
    assert [text.get_ha() for text in rows] == ["right"] * len(rows)
    return [text.get_text() for text in sorted(rows, key=lambda text: text.get_position()[1])]


def others(axes):
    return [t.get_text() for t in axes.texts if t.get_text() and not t.get_text().startswith("$z_{")]


def values(axes):
    return [text.get_text() for text in axes.get_xticklabels()]


def pictures(axes):
    return np.array([image.get_array() for image in axes.images])


def test_traversals_show_every_row_its_values_and_its_nats():
    images = RNG.uniform(size=(3, 2, 4, 4, 1))
    options = {"values": [-2, 2], "kl": {"VAE": [0.1, 3.0, 1.5]}}
    (axes,) = plots.traversals({"VAE": images}, **options).axes
    np.testing.assert_array_equal(pictures(axes), images.reshape(6, 4, 4))
    assert names(axes) == ["$z_{0}$", "$z_{1}$", "$z_{2}$"]
    assert values(axes) == ["\N{MINUS SIGN}2", "2"]
    assert axes.get_title() == "VAE"
    (axes,) = plots.traversals(images, values=[-2, 2], kl=[0.1, 3.0, 1.5], order_by_kl=True, top=2).axes
    np.testing.assert_array_equal(pictures(axes), images[[1, 2]].reshape(4, 4, 4))
    assert names(axes) == ["$z_{1}$", "$z_{2}$"]
    assert axes.get_title() == ""
    assert others(axes) == ["3.00", "1.50", "KL (nats)"]
    heights = {text.get_position()[1] for text in axes.texts if text.get_text() in ("3.00", "$z_{1}$")}
    assert heights == {0.5}  # the middle of the first row


def test_the_image_that_is_traversed_stands_at_the_left():
    images, x = RNG.uniform(size=(2, 3, 4, 4, 1)), RNG.uniform(size=(4, 4, 1))
    (axes,) = plots.traversals(images, values=[-1, 0, 1], base=x).axes
    np.testing.assert_array_equal(pictures(axes)[0], x[..., 0])
    np.testing.assert_array_equal(pictures(axes)[1:], images.reshape(6, 4, 4))
    lefts = [image.get_extent()[0] for image in axes.images]
    assert lefts[0] == 0
    assert min(lefts[1:]) > 1.1
    assert others(axes) == ["$x$"]
    np.testing.assert_allclose(axes.get_xticks(), np.array(lefts[1:4]) + 0.5)


def test_several_models_have_a_panel_each_with_images_of_one_size():
    images = {"VAE": RNG.uniform(size=(3, 2, 4, 4, 1)), "JL1": RNG.uniform(size=(2, 2, 4, 4, 1))}
    nats = {"VAE": [0.1, 3.0, 1.504], "JL1": [1.0, 2.0]}
    figure = plots.traversals(images, values=[0, 1], kl=nats, order_by_kl=True)
    vae, jl1 = figure.axes
    for axes, shown in ((vae, images["VAE"][[1, 2, 0]]), (jl1, images["JL1"][[1, 0]])):
        np.testing.assert_array_equal(pictures(axes), shown.reshape(-1, 4, 4))
        assert values(axes) == ["0", "1"]
    assert names(jl1) == ["$z_{1}$", "$z_{0}$"]
    assert others(vae) == ["3.00", "1.50", "0.10", "KL (nats)"]
    assert [axes.get_title() for axes in figure.axes] == ["VAE", "JL1"]
    assert vae.get_ylim() == jl1.get_ylim()
    first = plots.traversals(images, values=[0, 1], top=1)
    assert [len(axes.images) for axes in first.axes] == [2, 2]


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ({}, {}, "images: expected at least one entry"),
        (np.zeros((2, 3, 4, 4)), {}, r"images: expected shape \[d, steps, H, W, C\]"),
        ({"a": np.zeros((2, 3, 4, 4))}, {}, r"images\['a'\]: expected shape \[d, steps, H, W, C\]"),
        (
            {"a": np.zeros((1, 3, 4, 4, 1)), "b": np.zeros((1, 2, 4, 4, 1))},
            {},
            r"values: expected shape \[steps\] = \(2,\), got \(3,\)",
        ),
        (np.zeros((1, 2, 4, 4, 1)), {}, r"values: expected shape \[steps\] = \(2,\), got \(3,\)"),
        (np.zeros((1, 3, 4, 4, 1)), {"kl": [1.0, 2.0]}, r"kl: expected \[d\] = \(1,\) nats, got \(2,\)"),
        ({"a": np.zeros((1, 3, 4, 4, 1))}, {"kl": {"b": [1.0]}}, r"kl\['a'\]: expected \[d\] = \(1,\) nats"),
        (np.zeros((1, 3, 4, 4, 1)), {"order_by_kl": True}, r"kl: expected \[d\] nats to order .*, got None"),
        (np.zeros((1, 3, 4, 4, 1)), {"top": 0}, "top: expected at least 1, got 0"),
        (np.zeros((1, 3, 4, 4, 1)), {"base": np.zeros((5, 4, 1))}, r"base: expected images .*\(4, 4, 1\)"),
    ],
)
def test_traversals_refuse(images, options, message):
    with pytest.raises(ValueError, match=message):
        plots.traversals(images, values=[0, 1, 2], **options)
