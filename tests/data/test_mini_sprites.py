"""Mini-sprites: the renderer against rotated corners, the grid of factors, the splits on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math

import jax
import numpy as np
import pytest

from vaejax.data import mini_sprites
from vaejax.data.__main__ import main

KEY = jax.random.key(0)
N = 20_736


def corners(factors) -> np.ndarray:
    """The corners of a square or triangle, clockwise, in sides of the image."""
    shape, scale, turn, x, y = factors
    size = (3 + scale) / 6
    angle, period, reach = {0: (45, 90, 0.17 * math.sqrt(2)), 2: (0, 120, 0.24)}[shape]
    phi = np.radians(np.arange(angle, 360 + angle, period) + turn / 12 * period)  # clockwise from upright
    centre = 31 / 128 + np.array([x, y]) * 3 / 64
    return centre + size * reach * np.stack([np.sin(phi), -np.cos(phi)], axis=1)


def brute_force(factors, side: int) -> np.ndarray:
    """The oracle: the share of each pixel's 4 x 4 points in a polygon of 720 corners or fewer."""
    shape, scale, turn, x, y = factors
    if shape == 1:
        t, phi = np.linspace(0, 2 * np.pi, 720, endpoint=False), np.radians(turn * 15)
        a, b = 0.24 * np.cos(t), 0.12 * np.sin(t)
        turned = np.stack([a * np.cos(phi) - b * np.sin(phi), a * np.sin(phi) + b * np.cos(phi)], axis=1)
        polygon = 31 / 128 + np.array([x, y]) * 3 / 64 + (3 + scale) / 6 * turned
    else:
        polygon = corners(factors)
    point = (np.arange(4 * side) + 0.5) / (4 * side)
    px, py = np.meshgrid(point, point)
    inside = np.ones_like(px, bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        inside &= (bx - ax) * (py - ay) - (by - ay) * (px - ax) >= -1e-6
    return inside.reshape(side, 4, side, 4).mean((1, 3))


@pytest.mark.parametrize("side", [16, 32, 48])
def test_images_are_those_of_rotated_corners(side):
    sprites = mini_sprites(side, pixels="unit_interval")
    factors = sprites.factors_of(np.random.default_rng(side).integers(0, N, 20))
    images = sprites.sample_images(factors)
    assert (images.shape, images.dtype) == ((20, side, side, 1), np.float32)
    differ = np.abs(images[..., 0] - np.stack([brute_force(f, side) for f in factors]))
    assert differ.max() <= 4 / 16  # points on an edge: the angles are rounded
    assert differ.mean() < 1e-3


def test_binary_pixels_are_covered_by_half():
    factors = mini_sprites().factors_of(np.arange(0, N, 97))
    grey = mini_sprites(pixels="unit_interval").sample_images(factors)
    assert set(np.unique(16 * grey)) == set(range(17))
    np.testing.assert_array_equal(mini_sprites().sample_images(factors), grey >= 0.5)


def test_factors_and_places_in_the_grid_are_inverse():
    sprites = mini_sprites()
    assert sprites.factor_names == ("shape", "scale", "orientation", "x", "y")
    assert (sprites.num_values, sprites.num_images) == ((3, 4, 12, 12, 12), N)
    everything = sprites.factors_of(np.arange(N))
    np.testing.assert_array_equal(sprites.index_of(everything), np.arange(N))
    np.testing.assert_array_equal(everything.max(0), [2, 3, 11, 11, 11])
    assert sprites.index_of(np.array([[1, 2, 3, 4, 5]])) == 1 * 6912 + 2 * 1728 + 3 * 144 + 4 * 12 + 5
    np.testing.assert_array_equal(
        sprites.factors_of(np.array([0, 1, N - 1]))[1:], [[0] * 4 + [1], [2, 3] + 3 * [11]]
    )


def test_all_images_differ_and_stay_inside_the_frame():
    sprites = mini_sprites()
    x = sprites.sample_images(sprites.factors_of(np.arange(N))).astype(np.uint8)
    assert len({image.tobytes() for image in x}) == N
    area = x.sum((1, 2, 3)).reshape(3, 4, -1)
    assert np.ptp(area, axis=2).max() <= 10  # nothing is cut off, at any place or angle
    largest = np.array([0.34**2, math.pi * 0.24 * 0.12, 3 * math.sqrt(3) / 4 * 0.24**2]) * 32**2
    np.testing.assert_allclose(area.mean(2), largest[:, None] * (np.arange(3, 7) / 6) ** 2, rtol=0.05)


def test_x_runs_to_the_right_y_downwards_and_turns_are_clockwise():
    def image(*factors):
        return mini_sprites(pixels="unit_interval").sample_images(np.array([factors]))[0, ..., 0]

    row, column = (np.arange(32) + 0.5 for _ in range(2))
    x = image(1, 3, 0, 9, 2)
    middle = (x.sum(0) @ column / x.sum() / 32, x.sum(1) @ row / x.sum() / 32)
    assert middle == pytest.approx((31 / 128 + 9 * 3 / 64, 31 / 128 + 2 * 3 / 64), abs=5e-4)
    tilted = image(1, 3, 2, 5, 5)  # an ellipse, 30 degrees: its right end is lower
    dx, dy = column - tilted.sum(0) @ column / tilted.sum(), row - tilted.sum(1) @ row / tilted.sum()
    assert (dy @ tilted @ dx) / tilted.sum() > 2


# A change of these digests is a change of the data: move `_VERSION` in mini_sprites.py with them.
@pytest.mark.parametrize(
    ("side", "digest"),
    [
        (16, "638adaacd270d90a29c927171dc8a122d14cbccfa6fd6cded5512b58d8e5079f"),
        (32, "6d211d0375450111624a4d98ef73ecd99327f84c3cd94834f1422fe099e071bd"),
    ],
)
def test_renders_never_change(side, digest):
    sprites = mini_sprites(side, pixels="unit_interval")
    counts = np.rint(16 * sprites.sample_images(sprites.factors_of(np.arange(N)))).astype(np.uint8)
    assert hashlib.sha256(counts.tobytes()).hexdigest() == digest


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder where the command has prepared the set, what it printed and what it showed."""
    folder, out, err = tmp_path_factory.mktemp("data"), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(["mini_sprites", "--folder", str(folder)]) == 0
    return folder, out.getvalue(), err.getvalue()


def test_splits_share_out_the_grid(prepared):
    folder = prepared[0]
    binary, grey = mini_sprites(folder=folder), mini_sprites(pixels="unit_interval", folder=folder)
    places = []
    for name, size in (("train", N - 4000), ("validation", 2000), ("test", 2000)):
        for sprites, support in ((binary, "binary"), (grey, "unit_interval")):
            split = getattr(sprites, name)
            x, y = split.arrays["x"], split.arrays["y"]
            assert (split.size, split.support, x.shape[1:], x.dtype) == (size, support, (32, 32, 1), np.uint8)
            assert (y.shape, y.dtype) == ((size, 5), np.uint8)
            for transform in (split.transform, jax.jit(split.transform)):  # to the bit, compiled or not
                seen = np.asarray(transform(KEY, {"x": x[:500], "y": y[:500]})["x"])
                assert seen.dtype == np.float32
                np.testing.assert_array_equal(seen, sprites.sample_images(y[:500]))
        places.append(binary.index_of(y))
    assert sorted(np.concatenate(places)) == list(range(N))
    assert np.abs(np.corrcoef(np.arange(N - 4000), places[0])[0, 1]) < 0.05  # mixed
    assert len(list(folder.glob("mini_sprites/*/1.0.0"))) == 1
    other = mini_sprites(seed=1)
    mixed = [next(iter(s.recipe.splits["train"]()))["y"] for s in (binary, other)]
    np.testing.assert_array_equal(mixed[0], binary.train.arrays["y"][0])
    assert not np.array_equal(*mixed)


def test_the_command_prepares_it(prepared):
    folder, out, err = prepared
    assert "mini_sprites: 100%" in err
    assert out.splitlines() == [
        "train: x uint8 [16736, 32, 32, 1], y uint8 [16736, 5]",
        "validation: x uint8 [2000, 32, 32, 1], y uint8 [2000, 5]",
        "test: x uint8 [2000, 32, 32, 1], y uint8 [2000, 5]",
        f"mini_sprites lies in {folder}/mini_sprites/side32-validation2000-test2000-seed0/1.0.0",
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"side": 16.0}, TypeError, r"side: expected an int, got float \(16.0\)"),
        ({"side": 24}, ValueError, "side: expected a multiple of 16, got 24"),
        ({"pixels": "bytes"}, ValueError, "pixels: expected one of 'binary', 'unit_interval'; got 'bytes'"),
        ({"num_test": 0}, ValueError, "num_test: expected at least 1, got 0"),
        ({"num_test": 18_736}, ValueError, r"num_validation, num_test: .* 20736 together, got 2000 \+ 18736"),
        ({"seed": True}, TypeError, r"seed: expected an int, got bool \(True\)"),
        ({"folder": 3}, TypeError, r"folder: expected a path or None, got int \(3\)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        mini_sprites(**arguments)


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (np.zeros((2, 5)), TypeError, "factors: expected integers, got float64"),
        (np.zeros((2, 6), int), ValueError, r"factors: expected shape \[n, 5\], got \[2, 6\]"),
        (np.array([[0, 4, 0, 0, 0]]), ValueError, r"factors: expected values in 0..3, got 4..4 in column 1"),
        (np.array([[0, 0, 0, 0, -1]]), ValueError, r"expected values in 0..11, got -1..-1 in column 4"),
    ],
)
def test_bad_factors(factors, error, message):
    for function in (mini_sprites().sample_images, mini_sprites().index_of):
        with pytest.raises(error, match=message):
            function(factors)


@pytest.mark.parametrize(
    ("index", "error"),
    [(np.zeros(2), TypeError), (np.zeros((1, 1), int), ValueError), (np.array([N]), ValueError)],
)
def test_bad_places(index, error):
    with pytest.raises(error, match="index: expected"):
        mini_sprites().factors_of(index)
