"""Sprites-multi: the renderer against brute force, tiles that are independent, and the splits."""

from __future__ import annotations

import hashlib
import math

import jax
import numpy as np
import pytest

from vaejax import disentanglement
from vaejax.data import sprites_multi

SMALL = {"num_train": 200, "num_validation": 30, "num_test": 20}
KEY = jax.random.key(0)
GROUND = [(236, 226, 208), (206, 226, 236), (222, 234, 208), (232, 212, 230)]
ARM = [(196, 58, 40), (28, 88, 168), (36, 124, 56), (122, 48, 146)]


def joints(a: float, b: float) -> list[tuple[float, float]]:
    """Shoulder, elbow and hand of one arm, in sides of its tile: x to the right, y downwards."""
    points = [(0.5, 0.7)]
    angle = 0.0
    for turn, length in ((-60 + 120 * a / 39, 0.25), (-90 + 180 * b / 39, 0.2)):
        angle += math.radians(turn)
        x, y = points[-1][0] + length * math.sin(angle), points[-1][1] - length * math.cos(angle)
        points.append((round(4096 * x) / 4096, round(4096 * y) / 4096))
    return points


def brute_force(factors: np.ndarray, side: int) -> np.ndarray:
    """The oracle: distances to 2000 points on each segment, [side, side, 3] in 0..255."""
    image, half = np.zeros((side, side, 3)), side // 2
    for tile in range(4):
        shoulder, elbow, hand = (np.array(p) for p in joints(*factors[2 * tile : 2 * tile + 2]))
        t = np.linspace(0, 1, 2000)[:, None]
        points = np.concatenate([shoulder + t * (elbow - shoulder), elbow + t * (hand - elbow)])
        for i in range(half):
            for j in range(half):
                pixel = np.array([(j + 0.5) / half, (i + 0.5) / half])
                share = np.clip(0.5 + (0.05 - np.linalg.norm(points - pixel, axis=1).min()) / 0.06, 0, 1)
                colour = (1 - share) * np.array(GROUND[tile]) + share * np.array(ARM[tile])
                image[half * (tile // 2) + i, half * (tile % 2) + j] = colour
    return image


@pytest.mark.parametrize("side", [16, 34])
def test_images_equal_brute_force(side):
    factors = np.array([[0] * 8, [39] * 8, [0, 39] * 4, *np.random.default_rng(side).integers(0, 40, (3, 8))])
    images = 255 * sprites_multi(side).sample_images(factors)
    assert images.shape == (6, side, side, 3)
    expected = np.stack([brute_force(f, side) for f in factors])
    assert np.abs(images - expected).max() < 0.501  # the rounding of the colour


def test_a_factor_moves_its_own_tile_alone():
    sprites = sprites_multi(32)
    assert sprites.factor_names == ("a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4")
    rng = np.random.default_rng(0)
    for k in range(8):
        factors = rng.integers(0, 40, (40, 8))
        moved = factors.copy()
        moved[:, k] = (moved[:, k] + rng.integers(1, 40, 40)) % 40
        changed = sprites.sample_images(factors) != sprites.sample_images(moved)
        mine = np.broadcast_to(sprites.tiles == k // 2, changed.shape)
        assert not changed[~mine].any()
        assert changed[mine].reshape(40, -1).any(1).all()


def test_the_tiles_are_quarters_in_reading_order():
    tiles = sprites_multi(16).tiles
    assert tiles.shape == (16, 16, 3)
    assert [tiles[0, 0, 0], tiles[7, 8, 2], tiles[8, 7, 1], tiles[15, 15, 0]] == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.bincount(tiles.ravel()), [192] * 4)


def test_arms_stay_inside_their_tiles():
    reach = 0.05 + 0.06 / 2
    ends = np.array([joints(a, b) for a in range(40) for b in range(40)])
    assert ends.min() > reach
    assert ends.max() < 1 - reach


def test_angles_turn_clockwise():
    def centre(a, b):
        image = 1 - sprites_multi(64).sample_images(np.array([[a, b] * 4]))[0, :32, :32, 2]
        weight = image - image.min()
        return (weight * (np.arange(32) + 0.5)).sum() / weight.sum() / 32

    assert centre(0, 20) < 0.42 < 0.58 < centre(39, 20)
    assert centre(20, 0) < 0.48 < 0.52 < centre(20, 39)


# A change of these digests is a change of the data.
@pytest.mark.parametrize(
    ("side", "digest"),
    [
        (32, "091bef3e0f3e570ead3234bd518e3b8fcb7e982db1f72282df202a6da990e27c"),
        (64, "414904741418cb5161c88bbba28e643c0b2303cd65a0ff4609bc8b015c11a0a3"),
    ],
)
def test_renders_never_change(side, digest):
    factors = (np.arange(1600) * 2654435761 % 2**32 // 7919 % 40).reshape(200, 8)
    images = np.rint(255 * sprites_multi(side).sample_images(factors)).astype(np.uint8)
    assert hashlib.sha256(images.tobytes()).hexdigest() == digest


def test_splits_hold_the_images_of_their_factors():
    sprites = sprites_multi(16, **SMALL)
    for split, size in ((sprites.train, 200), (sprites.validation, 30), (sprites.test, 20)):
        x, y = split.arrays["x"], split.arrays["y"]
        assert split.size == size
        assert (split.support, x.shape, x.dtype) == ("unit_interval", (size, 16, 16, 3), np.uint8)
        assert (y.shape, y.dtype) == ((size, 8), np.uint8)
        images = sprites.sample_images(y)
        assert images.dtype == np.float32
        assert 0 < images.min() < images.max() < 1
        for transform in (split.transform, jax.jit(split.transform)):  # to the bit, compiled or not
            np.testing.assert_array_equal(np.asarray(transform(KEY, dict(split.arrays))["x"]), images)
        with pytest.raises(ValueError, match="read-only"):
            x[0] = 0


def test_factors_never_change_and_streams_differ():
    sprites = sprites_multi(16, **SMALL)
    splits = [s.arrays["y"] for s in (sprites.train, sprites.validation, sprites.test)]
    digest = hashlib.sha256(b"".join(y.tobytes() for y in splits)).hexdigest()
    assert digest == "34b4e82a1481dd8a0dec02647f5e6dfa9e6725948374530218b53a3b9891da5c"
    first = [y[:20] for y in splits] + [sprites_multi(16, **SMALL, seed=1).train.arrays["y"][:20]]
    for i, a in enumerate(first):
        for b in first[i + 1 :]:
            assert np.mean(a == b) < 0.12  # 1/40 where they are independent


def test_factors_are_uniform():
    y = sprites_multi(16, num_train=4000).train.arrays["y"]
    counts = np.stack([np.bincount(column, minlength=40) for column in y.T])
    assert counts.shape == (8, 40)
    assert np.sum((counts - 100) ** 2 / 100) == pytest.approx(8 * 39, abs=5 * math.sqrt(2 * 8 * 39))  # chi^2


def test_codes_that_read_the_angles_off_the_image_score_the_ceiling():
    sprites = sprites_multi(16)
    known = {}

    def render(factors):
        images = sprites.sample_images(factors)
        known.update(zip((x.tobytes() for x in images), factors, strict=True))
        return images

    def represent(images):
        return np.stack([known[x.tobytes()] for x in images]).astype(float)

    factors = disentanglement.local_clusters(KEY, sprites.num_values, clusters=2, num_samples=2000)
    local = disentanglement.score_local(
        disentanglement.represent_factors(represent, render, factors), factors
    )
    assert local.mig_over_ceiling > 0.9  # so no two angles of one cluster have the same image
    assert local.modularity > 0.99


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"side": 16.0}, TypeError, r"side: expected an int, got float \(16.0\)"),
        ({"side": 17}, ValueError, "side: expected an even number of at least 16, got 17"),
        ({"side": 14}, ValueError, "side: expected an even number of at least 16, got 14"),
        ({"num_validation": 0}, ValueError, "num_validation: expected at least 1, got 0"),
        ({"num_test": 2.0}, TypeError, "num_test: expected an int, got float"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"seed": True}, TypeError, r"seed: expected an int, got bool \(True\)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        sprites_multi(**arguments)


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (np.zeros((2, 8)), TypeError, "factors: expected integers, got float64"),
        (np.zeros(8, int), ValueError, r"factors: expected shape \[n, 8\], got \[8\]"),
        (np.zeros((8, 2), int), ValueError, r"factors: expected shape \[n, 8\], got \[8, 2\]"),
        (np.full((1, 8), 40), ValueError, r"factors: expected values in 0..39, got 40..40"),
        (np.full((1, 8), -1), ValueError, r"factors: expected values in 0..39, got -1..-1"),
    ],
)
def test_bad_factors(factors, error, message):
    with pytest.raises(error, match=message):
        sprites_multi(16).sample_images(factors)
