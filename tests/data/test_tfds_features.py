"""Features of sets of tensorflow-datasets: which become x and y, and which are refused."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
import pytest
import tensorflow_datasets as tfds

from vaejax.data import from_tfds
from vaejax.data.cache import Field
from vaejax.data.tfds_sets import array_fields, column_names

FACTORS = {
    "dsprites": ((64, 64, 1), ("orientation", "scale", "shape", "x_position", "y_position")),
    "shapes3d": (
        (64, 64, 3),
        ("floor_hue", "object_hue", "orientation", "scale", "shape", "wall_hue"),
    ),
    "smallnorb": ((96, 96, 1), ("azimuth", "category", "elevation", "lighting")),
}


def features_of(name, folder):
    return tfds.builder(name, data_dir=folder, file_format="array_record").info.features


@pytest.mark.parametrize("name", FACTORS)
def test_factors_are_the_labels_in_the_order_of_their_names(name, tmp_path):
    shape, names = FACTORS[name]
    features = features_of(name, tmp_path)
    fields = array_fields(name, features)
    example = {feature: feature for feature in features}
    assert (fields["x"].shape, fields["x"].pick(example)) == (shape, "image")
    assert fields["y"].shape == (len(names),)
    assert fields["y"].pick(example) == tuple(f"label_{factor}" for factor in names)
    counts = [features[f"label_{factor}"].num_classes for factor in names]
    documented = ", ".join(f"{factor} ({V})" for factor, V in zip(names, counts, strict=True))
    assert f"{name}: {documented}\n" in from_tfds.__doc__


@pytest.mark.parametrize(
    ("name", "shape"), [("cifar10", (32, 32, 3)), ("omniglot", (105, 105, 3)), ("mnist", (28, 28, 1))]
)
def test_a_label_is_y(name, shape, tmp_path):
    fields = array_fields(name, features_of(name, tmp_path))
    assert (fields["x"].shape, fields["y"].shape) == (shape, ())
    assert fields["y"].pick({"image": 0, "label": 7, "alphabet": 1}) == 7


def test_attributes_and_no_labels(tmp_path):
    features = features_of("celeb_a", tmp_path)
    fields = array_fields("celeb_a", features)
    assert (fields["x"].shape, fields["y"].shape) == ((218, 178, 3), (40,))
    picked = fields["y"].pick({"attributes": {name: name for name in features["attributes"]}})
    assert (picked[0], picked[-1]) == ("5_o_Clock_Shadow", "Young")
    assert column_names(features)[0] == "5_o_Clock_Shadow"
    assert set(array_fields("binarized_mnist", features_of("binarized_mnist", tmp_path))) == {"x"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "imagenette",
            r"imagenette: expected an 'image' of uint8 and of one size, got uint8 \[None, None, 3\]",
        ),
        ("ag_news_subset", "ag_news_subset: expected a feature 'image', got label, title, description"),
    ],
)
def test_sets_without_images_of_one_size_are_refused(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        array_fields(name, features_of(name, tmp_path))


def tensor(dtype, shape=()):
    return tfds.features.Tensor(shape=shape, dtype=dtype)


@pytest.mark.parametrize(
    ("more", "shape", "dtype"),
    [
        ({"label": tensor(np.float32)}, (), np.float32),
        ({"label": tensor(np.bool_)}, (), np.int32),
        ({"label": tensor(np.int64, (4,))}, (4,), np.int32),
        ({"label_a": tensor(np.int64), "label_b": tensor(np.float64)}, (2,), np.float32),
        ({"attributes": {"a": tensor(np.bool_)}}, (1,), np.int32),
        ({"attributes": tensor(np.int64)}, None, None),
    ],
)
def test_labels_of_every_number(more, shape, dtype):
    features = tfds.features.FeaturesDict({"image": tensor(np.uint8, (2, 3, 1)), **more})
    y = array_fields("tiny", features).get("y")
    assert (y and y.shape, y and y.dtype) == (shape, dtype)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"label": tfds.features.Text()}, r"tiny: expected 'label' as numbers of one shape, got object \[\]"),
        (
            {"label": tfds.features.Sequence(np.int64)},
            r"expected 'label' as .*, got int64 \[None\]",
        ),
        ({"label": {"a": np.int64}}, "expected 'label' as numbers of one shape, got FeaturesDict"),
        (
            {"label_a": tensor(np.int64), "label_b": tensor(np.int64, (2,))},
            "one number each .* more of label_b",
        ),
        ({"attributes": {"a": tfds.features.Text()}}, "expected 'a' as numbers of one shape, got object"),
        (
            {"image": tensor(np.float32, (2, 3, 1))},
            "expected an 'image' of uint8 .*, got float32",
        ),
        (
            {"image": {"left": tensor(np.uint8, (2, 2, 1))}},
            "expected an 'image' of uint8 .*, got FeaturesDict",
        ),
    ],
)
def test_labels_and_images_that_are_none_are_refused(features, message):
    features = tfds.features.FeaturesDict({"image": tensor(np.uint8, (2, 3, 1)), **features})
    with pytest.raises(ValueError, match=message):
        array_fields("tiny", features)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((1, 3)), r"here: expected shape \[2, 3\] of each example, got \[1, 3\], \[2, 3\]"),
        (np.full((2, 3), 2**40), r"here: expected values of int32, got 0..1099511627776"),
    ],
)
def test_examples_unlike_what_their_set_says_are_refused(value, message):
    field = Field((2, 3), np.int32, itemgetter("image"))
    with pytest.raises(ValueError, match=message):
        field.rows([{"image": np.zeros((2, 3), int)}, {"image": value}], "here")
