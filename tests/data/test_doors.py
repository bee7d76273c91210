"""Every function that takes splits made by hand checks their arrays, and takes numbers of numpy."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax import data, disentanglement, evaluation, plots, runs
from vaejax.data import Dataset
from vaejax.types import Split

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (6, 4, 4, 1), np.uint8)
TABLE = RNG.normal(size=(6, 3))
Y = np.array([[0, 1], [0, 0], [1, 1], [1, 0], [0, 1], [1, 1]])
GOOD = Split({"x": X, "y": Y}, "bytes")


def three(split):
    return Dataset(split, split, split)


class Images(Dataset):
    """With factors of two values each."""

    num_values = (2, 2)


OF_SPLITS = {
    "first": lambda split: data.first(split, 2),
    "sample": lambda split: data.sample(three(split), 2),
    "pooled": lambda split: data.pooled(split, 2),
    "joined": lambda split: data.joined({"a": split, "b": GOOD}),
    "only": lambda split: data.only(split, "a"),
    "missing_modalities": lambda split: data.missing_modalities(split, 0.2),
    "pairs": lambda split: data.pairs(split),
    "with_condition": lambda split: data.with_condition(split, "y", classes=(2, 2)),
    "keep_labels": lambda split: data.keep_labels(split, 3, classes=(2, 2)),
    "with_holes": lambda split: data.with_holes(split, 0.2),
    "standardised": lambda split: data.standardised(three(split)),
    "halves": lambda split: data.halves(three(split)),
    "captioned": lambda split: data.captioned(Images(split, split, split)),
}
BAD = [
    (Split({"x": X, "y": Y[:3]}, "bytes"), "expected as many of each array as examples x"),
    (Split({"x": X.astype(">f4"), "y": Y}, "bytes"), "x: expected native byte order"),
    (Split({"x": X, "y": Y.astype(">i4")}, "bytes"), "y: expected native byte order"),
    (Split({"x": X.astype(object), "y": Y}, "bytes"), "x: expected integers or floats"),
    (Split({"x": np.ma.masked_equal(X, 3), "y": Y}, "bytes"), "x: expected an array without a mask"),
    (Split({"x": X[:0], "y": Y[:0]}, "bytes"), "expected x of at least one example"),
    (Split({"x": X, "y": Y}, "grey"), "support of the data: expected one of"),
]


@pytest.mark.parametrize("name", OF_SPLITS)
def test_arrays_that_jax_does_not_take_are_named(name):
    for split, message in BAD:
        with pytest.raises((TypeError, ValueError), match=message):
            OF_SPLITS[name](split)


@pytest.mark.parametrize(
    "name", ["first", "only", "missing_modalities", "pairs", "keep_labels", "with_holes"]
)
def test_what_is_no_split_is_said_to_be_none(name):
    for given in (X, three(GOOD), None):
        with pytest.raises(TypeError, match=r"expected a (vaejax\.Split|set)|expected an x that is one"):
            OF_SPLITS[name](given)
    with pytest.raises(TypeError, match="images: expected a data set with a split `train`, got ndarray"):
        data.sample(X, 2)


def test_what_is_of_one_array_says_so_of_modalities():
    both = data.joined({"a": GOOD, "b": GOOD})
    for name, message in (
        ("with_holes", "an x that is one array, got modalities"), ("pairs", "an x that is one numpy array"),
        ("joined", "an x that is one array, got modalities"), ("pooled", "expected x as uint8"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            OF_SPLITS[name](both)
    tables = Split({"x": {"a": TABLE, "b": TABLE}}, {"a": "real", "b": "real"})
    with pytest.raises(ValueError, match=r"dataset: expected a table, x \[N, D\]; got modalities"):
        data.standardised(three(tables))


def test_labels_of_several_modalities_are_kept_and_repeated():
    both = data.joined({"a": GOOD, "b": GOOD})
    kept = data.keep_labels(both, 2, classes=(2, 2), share=0.5)
    labelled = (kept.arrays["y"] >= 0).all(axis=1)
    assert labelled.sum() == (~labelled).sum() == 4  # two labels, twice each, beside four rows without
    assert kept.arrays["x"]["a"].shape == kept.arrays["x"]["b"].shape == (8, 4, 4, 1)
    places = [np.flatnonzero((x == X).all(axis=(1, 2, 3)))[0] for x in kept.arrays["x"]["b"][labelled]]
    np.testing.assert_array_equal(kept.arrays["y"][labelled], Y[places])


def test_numbers_of_numpy_are_numbers():
    both = data.joined({"a": GOOD, "b": GOOD})
    third = data.missing_modalities(both, np.float32(0.25), seed=np.int64(3)).arrays["observed"]
    same = data.missing_modalities(both, 0.25, seed=3).arrays["observed"]
    assert all((third[name] == same[name]).all() for name in "ab")
    table = three(Split({"x": TABLE}, "real"))
    some = data.standardised(table, columns=np.arange(2)).train.transform
    assert some == data.standardised(table, columns=(0, 1)).train.transform
    with pytest.raises(TypeError, match=r"columns: expected places of columns, as \(0, 1\); got 3"):
        data.standardised(table, columns=3)
    for share in (float("nan"), 1.0, -0.1):
        with pytest.raises(ValueError, match=r"share: expected a number in \[0, 1\)"):
            data.missing_modalities(both, share)


MASKED = np.ma.masked_greater(RNG.random((4, 8, 8, 1)), 0.5)
OF_ARRAYS = {
    "image_grid": lambda: plots.image_grid(MASKED, columns=2),
    "interpolations": lambda: plots.interpolations({"a": MASKED}),
    "hoyer": lambda: disentanglement.hoyer(MASKED),
    "sharpness": lambda: evaluation.sharpness(MASKED),
    "variance_explained": lambda: evaluation.variance_explained(MASKED.data, MASKED),
    "paired": lambda: evaluation.paired(MASKED[:, 0, 0, 0], np.zeros(4)),
    "mean_ci95": lambda: runs.mean_ci95(MASKED[:, 0, 0, 0]),
    "one_hot": lambda: data.one_hot(np.ma.masked_equal(Y[:, 0], 1), 2),
    "read_captions": lambda: data.read_captions(np.ma.masked_equal(np.eye(4)[None, :2], 0), (2, 2)),
}


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_what_a_mask_hides_is_not_taken(name):
    with pytest.raises(TypeError, match="expected an array without a mask"):
        OF_ARRAYS[name]()


def test_captions_and_halves_are_of_splits_with_what_they_need():
    without = Split({"x": X}, "bytes")
    with pytest.raises(ValueError, match="train: expected factors y, got"):
        data.captioned(Images(without, without, without))
    with pytest.raises(ValueError, match="text: expected probabilities or one-hot rows, got nan"):
        data.read_captions(np.full((1, 2, 4), np.nan), (2, 2))
    plain = three(Split({"x": TABLE}, "real"))  # without a transform, as one makes it by hand
    assert data.standardised(plain).train.transform.mean == tuple(TABLE.mean(axis=0))


def test_a_mark_of_byte_order_is_no_word(tmp_path):
    file = tmp_path / "marked.txt"
    file.write_text("\ufeffa cat\n" + "a dog\n" * 9, encoding="utf-8")
    text = data.sentences(file, length=2, vocabulary=9, folder=tmp_path / "sets")
    assert text.vocabulary == ("<end>", "<unk>", "a", "dog", "cat")[: len(text.vocabulary)]
