"""Sets of tensorflow-datasets: a small one written and read through it, and what it says of those we name."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds

from vaejax.data import from_tfds, records
from vaejax.data.__main__ import main

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


class VaejaxTinyKinds(VaejaxTiny):
    """The same in two configs, one of which no model of images can take."""

    VERSION = tfds.core.Version("2.0.0")
    SUPPORTED_VERSIONS: ClassVar = [tfds.core.Version("1.0.0")]
    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=name) for name in ("plain", "other")]


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
    monkeypatch.setattr(records, "read", None)
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


def test_a_config_or_version_that_is_not_there_names_those_that_are(tensorflow, tmp_path):
    there = (
        "'vaejax_tiny_kinds/other:1.0.0', 'vaejax_tiny_kinds/other:2.0.0', 'vaejax_tiny_kinds/plain:1.0.0',"
    )
    for name in ("vaejax_tiny_kinds/none", "vaejax_tiny_kinds:3.0.0", "vaejax_tiny_kinds/plain:3.0.0"):
        with pytest.raises(ValueError, match=f"expected one of the sets of .*, {there} .*; got '{name}'"):
            from_tfds(name, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_is_only_on_disk_is_read_and_named(tensorflow, tmp_path):
    made = from_tfds("vaejax_tiny_kinds/plain", folder=tmp_path / "there")
    here = tmp_path / "here" / "cases_tiny" / "small" / "2.0.0"
    shutil.copytree(tmp_path / "there" / "vaejax_tiny_kinds" / "plain" / "2.0.0", here)
    for path in [*here.glob("vaejax_tiny_kinds*"), here / "dataset_info.json"]:
        path.write_bytes(path.read_bytes().replace(b"vaejax_tiny_kinds", b"cases_tiny"))
        path.rename(here / path.name.replace("vaejax_tiny_kinds", "cases_tiny"))
    read = from_tfds("cases_tiny/small", folder=tmp_path / "here")
    np.testing.assert_array_equal(read.train.arrays["x"], made.train.arrays["x"])
    for name in ("cases_tiny/none", "cases_tiny", "cases_tiny/small:1.0.0"):
        message = f"name: expected one of the sets of cases_tiny, 'cases_tiny/small:2.0.0'; got '{name}'"
        with pytest.raises(ValueError, match=message):
            from_tfds(name, folder=tmp_path / "here")
    os.truncate(here / "dataset_info.json", 0)
    with pytest.raises(ValueError, match=f"{here.parents[1]}.*: expected a whole set.*Delete this folder"):
        from_tfds("cases_tiny/small", folder=tmp_path / "here")


def test_nothing_is_prepared_of_a_set_without_images(tensorflow, tmp_path, monkeypatch):
    monkeypatch.setattr(VaejaxTiny, "_generate_examples", None)
    with pytest.raises(ValueError, match="ag_news_subset: expected a feature 'image'"):
        from_tfds("ag_news_subset", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_preparation_of_tfds_is_swept_too(tensorflow, tmp_path):
    (tmp_path / "vaejax_tiny_binary" / ".preparing-dead" / "vaejax_tiny_binary").mkdir(parents=True)
    assert from_tfds("vaejax_tiny_binary", pixels="binary", folder=tmp_path).validation.size == 4
    assert [path.name for path in (tmp_path / "vaejax_tiny_binary").iterdir()] == ["1.2.3"]


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_it_says_what_to_install_or_run(tmp_path, capsys):
    with pytest.raises(ImportError) as caught:
        from_tfds("stl10", folder=tmp_path)
    message = str(caught.value)
    assert "stl10: expected TensorFlow, " in message
    assert "pip install tensorflow\n" in message
    assert "tfds build stl10 --file_format=array_record --data_dir=DIR; then copy DIR/stl10 to" in message
    assert str(tmp_path) in message
    assert main(["stl10", "--folder", str(tmp_path)]) == 1
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
