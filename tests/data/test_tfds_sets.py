"""Sets of tensorflow-datasets: a small one written and read through it, and what it says of those we name."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import tensorflow_datasets as tfds

from vaejax.data import from_tfds, prepare
from vaejax.data.__main__ import main
from vaejax.data.tfds_sets import array_fields, column_names

N = 60


class VaejaxTiny(tfds.core.GeneratorBasedBuilder):
    """Images whose pixels tell their factors; three splits of which we use two."""

    VERSION = tfds.core.Version("1.2.3")
    TOP = 255

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(2, 3, 1), dtype=np.uint8),
                    "label_size": np.int64,
                    "label_angle": np.int64,
                    "value_size": np.float32,
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(0, N),
            "test": self._generate_examples(N, N + 10),
            "more": self._generate_examples(90, 92),
        }

    def _generate_examples(self, first, last):
        for i in range(first, last):
            image = np.full((2, 3, 1), i % (self.TOP + 1), np.uint8)
            yield i, {"image": image, "label_size": i, "label_angle": 1000 + i, "value_size": 0.5}


class VaejaxTinyBinary(VaejaxTiny):
    """The same in 0 and 1, without a test split."""

    TOP = 1

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, N), "validation": self._generate_examples(N, N + 4)}


@pytest.fixture
def tensorflow(monkeypatch):
    """Pretend that it is installed: these builders write without it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorflow" or find(name))


def test_x_y_and_the_splits_that_it_lacks(tensorflow, tmp_path, monkeypatch):
    data = from_tfds("vaejax_tiny", held_out=0.16, folder=tmp_path)
    assert [s.size for s in (data.train, data.validation, data.test)] == [50, 10, 10]
    seen = []
    for split in (data.train, data.validation, data.test):
        x, y = split.arrays["x"], split.arrays["y"]
        assert (split.support, x.shape[1:], x.dtype, y.dtype) == (
            "unit_interval",
            (2, 3, 1),
            np.uint8,
            np.int32,
        )
        np.testing.assert_array_equal(y[:, 0], 1000 + y[:, 1])  # label_angle, label_size
        np.testing.assert_array_equal(x, np.broadcast_to(y[:, 1, None, None, None], x.shape))
        seen.extend(y[:, 1])
    assert sorted(seen) == list(range(70))
    assert min(data.test.arrays["y"][:, 1]) == N
    assert list(data.train.arrays["y"][:, 1]) != sorted(data.train.arrays["y"][:, 1])  # shuffled by TFDS

    monkeypatch.undo()  # without TensorFlow what is prepared is still read, and from the cache
    monkeypatch.setattr(prepare, "_read", None)
    again = from_tfds("vaejax_tiny", held_out=0.16, folder=tmp_path)
    np.testing.assert_array_equal(again.validation.arrays["y"], data.validation.arrays["y"])
    assert len(list(tmp_path.glob("vaejax_tiny/1.2.3/*.npy"))) == 4
    assert again.factor_names == ("angle", "size")


def test_stored_binary_pixels_and_both_splits_from_train(tensorflow, tmp_path):
    data = from_tfds("vaejax_tiny_binary", pixels="binary", held_out=0.17, folder=tmp_path)
    assert [s.size for s in (data.train, data.validation, data.test)] == [50, 4, 10]
    assert data.test.support == "binary"
    np.testing.assert_array_equal(np.unique(data.train.arrays["x"]), [0, 1])
    with pytest.raises(
        ValueError, match="pixels: expected 'binary' for stored values of 0 and 1, got 'dynamic'"
    ):
        from_tfds("vaejax_tiny_binary", pixels="dynamic", folder=tmp_path)


def test_the_command_prepares_it(tensorflow, tmp_path, capfd):
    assert main(["vaejax_tiny", "--folder", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "train: x uint8 [60, 2, 3, 1], y int32 [60, 2]",
        "test: x uint8 [10, 2, 3, 1], y int32 [10, 2]",
        f"vaejax_tiny lies in {tmp_path / 'vaejax_tiny' / '1.2.3'}",
    ]
    assert "Generating train examples" in err


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


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_it_says_what_to_install_or_run(tmp_path, capsys):
    with pytest.raises(ImportError) as caught:
        from_tfds("cifar10", folder=tmp_path)
    message = str(caught.value)
    assert "cifar10: expected TensorFlow, " in message
    assert "pip install tensorflow\n" in message
    assert "tfds build cifar10 --file_format=array_record --data_dir=DIR; then copy DIR/cifar10 to" in message
    assert str(tmp_path) in message
    assert main(["cifar10", "--folder", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_what_stops_the_preparation_is_told(tensorflow, tmp_path, monkeypatch):
    def broken(self, first, last):
        raise OSError("the host does not answer")
        yield

    monkeypatch.setattr(VaejaxTiny, "_generate_examples", broken)
    with pytest.raises(RuntimeError) as caught:
        from_tfds("vaejax_tiny", folder=tmp_path)
    assert "vaejax_tiny: could not be prepared or read in" in str(caught.value)
    assert "the host does not answer" in str(caught.value)
    assert "tfds build vaejax_tiny" in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "cifar_10"}, ValueError, "name: expected a set of .*, got 'cifar_10'; perhaps 'cifar10'"),
        ({"name": "fashion-mnist"}, ValueError, "got 'fashion-mnist'; perhaps 'fashion_mnist'"),
        ({"name": "qqqqqq"}, ValueError, "got 'qqqqqq'$"),
        ({"name": 3}, TypeError, r"name: expected a str, got int \(3\)"),
        ({"held_out": 0.5}, ValueError, r"held_out: expected a share in \(0, 1/2\), got 0.5"),
        ({"held_out": 1}, TypeError, "held_out: expected a float, got int"),
        ({"pixels": "x"}, ValueError, "pixels: expected one of"),
    ],
)
def test_bad_arguments(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        from_tfds(**{"name": "cifar10", "folder": tmp_path, **arguments})
