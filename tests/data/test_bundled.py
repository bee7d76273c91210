"""Digits and colour patches: they are scikit-learn's and scikit-image's; and every view of their pixels."""

from __future__ import annotations

import hashlib
import sys

import jax
import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_digits

from vaejax.checks import check_support
from vaejax.data import colour_patches, digits
from vaejax.data.__main__ import main
from vaejax.data.pixels import make_dataset

KEY = jax.random.key(0)
SPLITS = ("train", "validation", "test")


def arrays(dataset, name):
    return np.concatenate([getattr(dataset, split).arrays[name] for split in SPLITS])


def seen(split, key=KEY):
    return np.asarray(jax.jit(split.transform)(key, dict(split.arrays))["x"])


def test_digits_are_those_of_scikit_learn_in_its_order():
    ours, theirs = digits(), load_digits()
    assert [getattr(ours, split).size for split in SPLITS] == [1397, 200, 200]
    x, y = arrays(ours, "x"), arrays(ours, "y")
    assert (x.shape, x.dtype, y.dtype) == ((1797, 8, 8, 1), np.uint8, np.uint8)
    np.testing.assert_array_equal(y, theirs.target)
    np.testing.assert_array_less(abs(x[..., 0] - 255 * theirs.images / 16), 0.5 + 1e-9)
    assert (x.min(), x.max()) == (0, 255)


def test_colour_patches_are_places_of_the_photographs_without_overlap():
    patches = colour_patches(24, seed=3)
    x, y = arrays(patches, "x"), arrays(patches, "y")
    pictures = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    assert len(x) == sum((p.shape[0] // 24) * (p.shape[1] // 24) for p in pictures)
    assert (x.shape[1:], x.dtype, y.dtype) == ((24, 24, 3), np.uint8, np.int32)
    for image, (picture, row, column) in zip(x, y, strict=True):
        np.testing.assert_array_equal(image, pictures[picture][row : row + 24, column : column + 24])
    assert len(np.unique(y, axis=0)) == len(y)
    assert not (y[:, 1:] % 24).any()
    sizes = [getattr(patches, split).size for split in SPLITS]
    assert sizes == [len(x) - 2 * (len(x) // 10), len(x) // 10, len(x) // 10]
    for split in SPLITS:  # all four, about as often as elsewhere
        share = (
            np.bincount(getattr(patches, split).arrays["y"][:, 0], minlength=4) / sizes[SPLITS.index(split)]
        )
        np.testing.assert_allclose(share, np.bincount(y[:, 0]) / len(y), atol=0.15)


def test_colour_patches_are_a_function_of_the_seed():
    a, b, c = (arrays(colour_patches(48, seed=seed), "y") for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert len(arrays(colour_patches(), "x")) == 3493


def test_scaled_bytes_and_thresholded_pixels_are_functions_of_the_grey_value():
    x = digits().test.arrays["x"].astype(np.float32)
    for pixels, support, expected in (
        ("unit_interval", "unit_interval", x * np.float32(1 / 255)),
        ("bytes", "bytes", x),
        ("threshold", "binary", x > 127),
    ):
        split = digits(pixels=pixels).test
        assert split.support == support
        np.testing.assert_array_equal(seen(split), expected)
        assert seen(split).dtype == np.float32


def test_every_call_shares_its_transform():  # a jitted function of the transform compiles once
    for pixels in ("unit_interval", "bytes", "dequantised", "dynamic", "static", "threshold"):
        first, second = digits(pixels=pixels), digits(pixels=pixels)
        assert first.train.transform is first.validation.transform is second.test.transform


def test_dynamic_pixels_are_drawn_anew_and_dequantised_ones_lie_inside():
    dynamic, inside = digits(pixels="dynamic").test, digits(pixels="dequantised").test
    assert (dynamic.support, inside.support) == ("binary", "unit_interval")
    first, second = seen(dynamic), seen(dynamic, jax.random.key(1))
    grey = (dynamic.arrays["x"] > 0) & (dynamic.arrays["x"] < 255)
    assert 0.2 < (first != second)[grey].mean() < 0.5
    np.testing.assert_array_equal(first[~grey], (dynamic.arrays["x"] == 255)[~grey])
    np.testing.assert_array_equal(np.floor(256 * seen(inside)), inside.arrays["x"])


def test_static_pixels_are_one_draw_from_seed_0():
    static, grey = digits(pixels="static"), arrays(digits(), "x")
    x = arrays(static, "x")
    for split in SPLITS:
        one = getattr(static, split)
        assert one.support == "binary"
        np.testing.assert_array_equal(seen(one), one.arrays["x"])
        np.testing.assert_array_equal(seen(one, jax.random.key(1)), one.arrays["x"])
        assert not one.arrays["x"].flags.writeable
    np.testing.assert_array_equal(x, arrays(digits(pixels="static"), "x"))
    for value in np.unique(grey):
        p, n = value / 255, (grey == value).sum()
        assert abs(x[grey == value].mean() - p) <= 4 * np.sqrt(p * (1 - p) / n)
    assert (
        hashlib.sha256(np.ascontiguousarray(x)).hexdigest()
        == "9e6cb580da399d061531bb4cfb4c92ef23b78a3429630b294cab23b0983f37a6"
    )


def test_static_draws_of_the_splits_are_different_streams():
    grey = {split: {"x": np.full((100, 4), 128, np.uint8)} for split in SPLITS}
    data = make_dataset(grey, "static", num_validation=1, num_test=1)
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        same = getattr(data, a).arrays["x"] == getattr(data, b).arrays["x"]
        assert 0.4 < same.mean() < 0.6


def test_likelihoods_of_their_support_may_score_them():
    for pixels, likelihood in (("dynamic", "binary"), ("bytes", "bytes"), ("dequantised", "unit_interval")):
        check_support(likelihood, digits(pixels=pixels).train.support)
    with pytest.raises(ValueError, match="use continuous_bernoulli"):
        check_support("binary", digits().train.support)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: digits(pixels="grey"),
            ValueError,
            "pixels: expected one of 'binary', 'bytes', .* got 'grey'",
        ),
        (lambda: digits(pixels="binary"), ValueError, "expected 'dynamic', .* for stored values of 0..255"),
        (lambda: colour_patches(1), ValueError, "side: expected 2..64, got 1"),
        (lambda: colour_patches(65), ValueError, "side: expected 2..64, got 65"),
        (lambda: colour_patches(8.0), TypeError, "side: expected an int, got float"),
        (lambda: colour_patches(seed=-1), ValueError, "seed: expected at least 0, got -1"),
        (lambda: colour_patches(seed=None), TypeError, "seed: expected an int, got NoneType"),
        (lambda: colour_patches(pixels=""), ValueError, "pixels: expected one of"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "module", "library"),
    [(digits, "sklearn.datasets", "scikit-learn"), (colour_patches, "skimage.data", "scikit-image")],
)
def test_a_missing_library_is_named(make, module, library, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"expected {library}, .*; .*pip install .*-e '\.\[eval\]'"):
        make()


def test_the_command_says_that_there_is_nothing_to_prepare(tmp_path, capsys):
    assert main(["colour_patches", "--folder", str(tmp_path)]) == 0
    assert "colour_patches needs no preparing: data.colour_patches()" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
