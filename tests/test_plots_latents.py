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


def test_panels_of_traversals_put_the_most_nats_first():
    images = {"VAE": RNG.uniform(size=(3, 2, 4, 4, 1)), "JL1": RNG.uniform(size=(2, 2, 4, 4, 1))}
    figure = plots.traversal_panels(images, {"VAE": [0.1, 3.0, 1.504], "JL1": [1.0, 2.0]}, rows=2)
    vae, jl1 = figure.axes
    for axes, shown in ((vae, images["VAE"][[1, 2]]), (jl1, images["JL1"][[1, 0]])):
        np.testing.assert_array_equal([i.get_array() for i in axes.images], shown.reshape(4, 4, 4))
        rows = [i.get_extent() for i in axes.images[::2]]
        np.testing.assert_allclose(axes.get_yticks(), [(e[2] + e[3]) / 2 for e in rows], atol=0.1)
    assert [t.get_text() for t in vae.get_yticklabels()] == ["3.00", "1.50"]
    assert [t.get_text() for t in jl1.get_yticklabels()] == ["2.00", "1.00"]
    assert [axes.get_title() for axes in figure.axes] == ["VAE", "JL1"]
    whole = plots.traversal_panels(images, {"VAE": [0.1, 3.0, 1.5], "JL1": [1.0, 2.0]})
    assert len(whole.axes[0].images) == 6


@pytest.mark.parametrize(
    ("images", "kl", "message"),
    [
        ({}, {}, "images: expected at least one entry"),
        ({"a": np.zeros((2, 3, 4, 4))}, {"a": [1, 2]}, r"images: expected \[d, n, H, W, C\] of one n, got"),
        ({"a": np.zeros((1, 3, 4, 4, 1)), "b": np.zeros((1, 2, 4, 4, 1))}, {"a": [1], "b": [1]}, "of one n"),
        ({"a": np.zeros((2, 3, 4, 4, 1))}, {"a": [1]}, r"kl\['a'\]: expected \[d\] = \(2,\) nats, got \[1\]"),
        ({"a": np.zeros((2, 3, 4, 4, 1))}, {"b": [1, 2]}, r"kl\['a'\]: expected .*, got None"),
    ],
)
def test_panels_of_traversals_refuse(images, kl, message):
    with pytest.raises(ValueError, match=message):
        plots.traversal_panels(images, kl)
