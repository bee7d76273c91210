"""Natural patches: the filter by its formula, patches as slices of pictures, splits that share no pixel."""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import skimage

from vaejax.data import natural, natural_patches, whiten

SMALL = {"num_train": 3000, "num_validation": 403, "num_test": 300}


def grey(name: str) -> np.ndarray:
    picture = getattr(skimage.data, name)().astype(float)
    return picture if picture.ndim == 2 else picture @ [0.2125, 0.7154, 0.0721]


@pytest.mark.parametrize("cutoff", [200 / 512, 0.1])
def test_the_spectrum_of_filtered_white_noise_is_the_filter(cutoff):
    noise = np.random.default_rng(0).normal(size=(12, 15)) + 3
    out = whiten(noise, cutoff)
    k, l = (np.array([i if i <= n / 2 else i - n for i in range(n)]) / n for n in noise.shape)
    f = np.sqrt(k[:, None] ** 2 + l**2)  # cycles per pixel
    expected = np.fft.fft2(noise) * f * np.exp(-(f**4) / cutoff**4)
    np.testing.assert_allclose(np.fft.fft2(out), expected, atol=1e-10)
    assert out.mean() == pytest.approx(0, abs=1e-12)


def test_a_wave_keeps_its_place_and_gets_the_gain_of_its_frequency():
    row, column = np.mgrid[:24, :40]
    wave = np.cos(2 * np.pi * (3 * row / 24 + 8 * column / 40) + 0.3)
    f = math.hypot(3 / 24, 8 / 40)
    np.testing.assert_allclose(whiten(wave), f * math.exp(-((f * 512 / 200) ** 4)) * wave, atol=1e-12)


def test_pictures_are_ten_whitened_photographs_on_one_scale():
    patches = natural_patches(**SMALL)
    filtered = [whiten(grey(name))[8:-8, 8:-8] for name in patches.photographs]
    assert len(patches.pictures) == len(filtered) == 10
    low, high = min(map(np.min, filtered)), max(map(np.max, filtered))
    for picture, raw in zip(patches.pictures, filtered, strict=True):
        assert picture.dtype == np.float32
        np.testing.assert_allclose(picture, (raw - low) / (high - low), atol=1e-6)
    assert (min(map(np.min, patches.pictures)), max(map(np.max, patches.pictures))) == (0, 1)


def test_the_photographs_lie_in_the_package():
    folder = Path(skimage.__file__).parent / "data"
    for name in natural_patches(**SMALL).photographs:
        assert len(list(folder.glob(f"{name}.*"))) == 1


def test_patches_are_slices_of_the_pictures():
    patches = natural_patches(**SMALL)
    for split, size in ((patches.train, 3000), (patches.validation, 403), (patches.test, 300)):
        x, y = split.arrays["x"], split.arrays["y"]
        assert (split.support, x.shape, x.dtype) == ("unit_interval", (size, 16, 16, 1), np.float32)
        assert (y.shape, y.dtype) == ((size, 3), np.int32)
        expected = [patches.pictures[p][r : r + 16, c : c + 16] for p, r, c in y]
        np.testing.assert_array_equal(x[..., 0], expected)
        counts = np.bincount(y[:, 0], minlength=10)
        assert counts.max() - counts.min() <= 1
        np.testing.assert_array_equal(split.transform(jax.random.key(0), dict(split.arrays))["x"], x)


@pytest.mark.parametrize(("side", "seed"), [(16, 0), (16, 3), (5, 0), (32, 0)])
def test_no_pixel_is_in_two_splits(side, seed):
    patches = natural_patches(side, seed=seed, num_train=20_000, num_validation=3000, num_test=3000)
    seen = [np.zeros((3, *picture.shape), bool) for picture in patches.pictures]
    for s, split in enumerate((patches.train, patches.validation, patches.test)):
        for p, r, c in split.arrays["y"]:
            seen[p][s, r : r + side, c : c + side] = True
    for masks in seen:
        assert masks.sum(0).max() == 1
        assert masks.any((1, 2)).all()  # every picture is in every split


@pytest.mark.parametrize("side", [2, 16, 31, 32])
def test_the_blocks_of_the_splits_tile_every_picture(side):
    pictures = natural_patches(**SMALL).pictures
    for picture, regions in zip(pictures, natural._regions(pictures, side, 0), strict=True):
        count = np.zeros(picture.shape, int)
        for top, bottom, left, right in np.concatenate(regions):
            assert min(bottom - top, right - left) >= 4 * side
            count[top:bottom, left:right] += 1
        assert (count == 1).all()
        train, validation, test = map(len, regions)
        assert test == validation == max(1, (train + validation + test) // 10)


def test_places_never_change():
    patches = natural_patches(**SMALL)
    places = b"".join(s.arrays["y"].tobytes() for s in (patches.train, patches.validation, patches.test))
    assert (
        hashlib.sha256(places).hexdigest()
        == "c6c3ad1836c4d4e4fc0bb30eb46c784a913ab9d8840ccbef708b3b70b4afa090"
    )


def test_splits_and_seeds_are_different_streams():
    patches, other = natural_patches(**SMALL), natural_patches(**SMALL, seed=1)
    places = [s.arrays["y"][:300, 1:] for s in (patches.train, patches.validation, patches.test, other.train)]
    for i, a in enumerate(places):
        for b in places[i + 1 :]:
            assert np.mean(a == b) < 0.02


def test_arrays_are_read_only():
    patches = natural_patches(**SMALL)
    for array in (patches.train.arrays["x"], patches.pictures[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("module", ["skimage", "skimage.data"])
def test_without_scikit_image_the_extra_is_named(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"checkout of vaejax, pip install .*-e '\.\[eval\]'"):
        natural_patches()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"side": 16.0}, TypeError, r"side: expected an int, got float \(16.0\)"),
        ({"side": 1}, ValueError, r"side: expected 2\.\.32, got 1"),
        ({"side": 33}, ValueError, r"side: expected 2\.\.32, got 33"),
        ({"num_train": 0}, ValueError, "num_train: expected at least 1, got 0"),
        ({"num_test": 2.0}, TypeError, "num_test: expected an int, got float"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"seed": None}, TypeError, "seed: expected an int, got NoneType"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        natural_patches(**arguments)


def test_bad_pictures():
    with pytest.raises(ValueError, match=r"picture: expected \[H, W\], got shape \[4, 4, 3\]"):
        whiten(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"cutoff: expected positive cycles per pixel, got 0\.0"):
        whiten(np.zeros((4, 4)), 0.0)


def test_patches_to_look_at_are_one_of_each_picture_at_four_fifths_of_its_contrasts():
    patches = natural_patches(**SMALL)
    x, picture = patches.test.arrays["x"], patches.test.arrays["y"][:, 0]
    contrast = x.std((1, 2, 3))
    shown = patches.contrasted(10)
    assert shown.shape == (10, 16, 16, 1)
    for p, patch in enumerate(shown):
        (place,) = np.flatnonzero((x == patch).all((1, 2, 3)))
        assert picture[place] == p
        mine = contrast[picture == p]
        assert np.sum(mine < contrast[place]) == 4 * len(mine) // 5
    np.testing.assert_array_equal(patches.contrasted(3), shown[:3])
    for n, error, message in (
        (11, ValueError, "n: expected at most 10 pictures, got 11"),
        (0, ValueError, "n: "),
    ):
        with pytest.raises(error, match=message):
            patches.contrasted(n)
