"""Sets of several modalities: joined, cut, captioned, hidden."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from vaejax import data
from vaejax.checks import check_split
from vaejax.data.transforms import binarise, cast
from vaejax.types import Split

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (8, 5, 4, 1)).astype(np.uint8)
Y = np.stack([np.arange(8) % 2, np.arange(8) % 3], axis=1)
IMAGE = Split({"x": IMAGES, "y": Y}, "binary", binarise)
SOUND = Split({"x": RNG.normal(size=(8, 2)).astype(np.float32), "y": Y}, "real", cast)
BOTH = data.joined({"sound": SOUND, "image": IMAGE})


def set_of(split, **more):
    return SimpleNamespace(train=split, validation=split, test=split, **more)


def test_each_modality_keeps_its_values_its_support_and_its_transform():
    check_split(BOTH)
    assert (BOTH.size, BOTH.support) == (8, {"image": "binary", "sound": "real"})
    made = BOTH.transform(jax.random.key(0), {**BOTH.arrays, "index": np.arange(8)})
    np.testing.assert_array_equal(made["x"]["sound"], SOUND.arrays["x"])
    assert set(np.unique(made["x"]["image"])) == {0.0, 1.0}
    rows = np.array([6, 1])
    part = {"x": {k: a[rows] for k, a in BOTH.arrays["x"].items()}, "index": rows}
    np.testing.assert_array_equal(
        BOTH.transform(jax.random.key(0), part)["x"]["image"], made["x"]["image"][rows]
    )
    twice = data.joined({"a": IMAGE, "b": IMAGE})
    made = twice.transform(jax.random.key(0), dict(twice.arrays))
    assert (made["x"]["a"] != made["x"]["b"]).any()  # noise of their own
    assert hash(twice.transform) == hash(data.joined({"b": IMAGE, "a": IMAGE}).transform)
    whole = data.joined({"image": set_of(IMAGE), "sound": set_of(SOUND)})
    assert whole.test.size == 8
    assert data.first(BOTH, 3).size == 3


def test_one_may_be_taken_out_again():
    some = data.only(data.missing_modalities(BOTH, 0.5), ["sound"])
    check_split(some)
    assert set(some.arrays["x"]) == set(some.support) == set(some.arrays["observed"]) == {"sound"}
    made = some.transform(jax.random.key(0), dict(some.arrays))
    np.testing.assert_array_equal(made["x"]["sound"], SOUND.arrays["x"])


def test_a_share_of_modalities_is_hidden_and_every_example_keeps_one():
    many = data.joined({k: Split({"x": np.zeros((4000, 1), np.float32)}, "real") for k in "abc"})
    observed = data.missing_modalities(many, 0.4, seed=1).arrays["observed"]
    there = np.stack(list(observed.values()), axis=1)
    assert there.any(axis=1).all()
    # hidden with .4, but for the .4^3 who would have none and keep one of three
    np.testing.assert_allclose(there.mean(axis=0), 0.6 + 0.4**3 / 3, atol=4.5 * 0.5 / np.sqrt(4000))
    assert np.cov(there[there.sum(1) < 3].T)[0, 1] < 0
    assert data.missing_modalities(many, 0).arrays["observed"]["a"].all()
    again = data.missing_modalities(many, 0.4, seed=1).arrays["observed"]
    np.testing.assert_array_equal(again["b"], observed["b"])


def test_captions_name_every_factor():
    images = set_of(IMAGE, num_values=(2, 3), factor_names=("kind", "size"))
    made = data.captioned(images)
    text = made.train.arrays["x"]["text"]
    assert text.shape == (8, 2, 5)
    assert made.train.support == {"image": "binary", "text": "one_hot"}
    np.testing.assert_array_equal(text.sum(axis=-1), 1)
    np.testing.assert_array_equal(text.argmax(axis=-1), Y + np.array([0, 2]))
    np.testing.assert_array_equal(data.read_captions(text, (2, 3)), Y)
    likely = 0.5 * text + 0.1
    likely[:, 0, 3] = 2  # no word of the first factor
    np.testing.assert_array_equal(data.read_captions(likely, (2, 3)), Y)
    with pytest.raises(ValueError, match=r"text: expected \[N, 2, 5\], got \[8, 5\]"):
        data.read_captions(text[:, 0], (2, 3))
    assert made.factor_names == ("kind", "size")
    np.testing.assert_array_equal(made.test.arrays["y"], Y)


def test_halves_are_the_image():
    made = data.halves(set_of(IMAGE))
    x = made.test.arrays["x"]
    assert (x["top"].shape, x["bottom"].shape) == ((8, 2, 4, 1), (8, 3, 4, 1))
    np.testing.assert_array_equal(np.concatenate([x["top"], x["bottom"]], axis=1), IMAGES)
    assert made.test.support == {"bottom": "binary", "top": "binary"}
    assert made.test.transform(jax.random.key(0), dict(made.test.arrays))["x"]["top"].max() == 1


def test_one_hot_data_are_checked():
    rows = np.eye(3, dtype=np.uint8)[[[0, 2], [1, 1]]]
    assert data.from_arrays(rows, rows, support="one_hot", validation=rows).train.support == "one_hot"
    for bad in (rows * 0, rows + 1):
        with pytest.raises(ValueError, match="for support 'one_hot'"):
            data.from_arrays(bad, rows, support="one_hot", validation=rows)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: data.joined({}), TypeError, "parts: expected {name: Split}"),
        (lambda: data.joined({"a": IMAGES}), TypeError, r"parts\['a'\]: expected a Split or a data set"),
        (
            lambda: data.joined({"a": IMAGE, "b": set_of(SOUND)}),
            TypeError,
            "parts: expected Splits or data sets",
        ),
        (
            lambda: data.joined({"a": IMAGE, "b": data.first(SOUND, 3)}),
            ValueError,
            "expected as many examples of each",
        ),
        (lambda: data.joined({"a": BOTH}), TypeError, r"parts\['a'\]: expected an x that is one array"),
        (
            lambda: data.joined({"a": IMAGE, "b": Split({**SOUND.arrays, "y": 1 - Y}, "real")}),
            ValueError,
            r"parts\['b'\]: expected the labels of 'a', got others",
        ),
        (
            lambda: data.joined({"a": Split({**SOUND.arrays, "c": Y}, "real")}),
            ValueError,
            "expected arrays x and y, got c",
        ),
        (lambda: data.only(BOTH, ["smell"]), ValueError, "names: expected some of image, sound; got smell"),
        (lambda: data.only(IMAGE, ["image"]), TypeError, "split: expected several modalities"),
        (lambda: data.missing_modalities(BOTH, 1.0), ValueError, r"share: expected a number in \[0, 1\)"),
        (
            lambda: data.missing_modalities(data.missing_modalities(BOTH, 0.1), 0.1),
            ValueError,
            "expected no observed",
        ),
        (lambda: data.captioned(IMAGE), TypeError, "images: expected a set with factors"),
        (lambda: data.halves(set_of(SOUND)), ValueError, r"images: expected x \[N, H, W, C\]"),
        (lambda: data.halves(IMAGE), TypeError, "images: expected a set of three splits"),
        (
            lambda: data.from_arrays({"a": IMAGES}, {"a": IMAGES}, support="real"),
            TypeError,
            "data.joined makes one set",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
