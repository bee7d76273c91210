"""Splits of sources with random access: array_record files by grain, sets of tensorflow-datasets, lists."""

import numpy as np
import pytest

from tests.train.toy import assert_same_fit, toy_fit
from vaejax import data
from vaejax.data import from_source, records
from vaejax.data.prepare import prepare
from vaejax.data.recipes import Recipe
from vaejax.types import Split

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = np.arange(20, dtype=np.int32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two array_record files of 13 and 7 records: x and y as bytes."""
    from array_record.python.array_record_module import ArrayRecordWriter

    folder = tmp_path_factory.mktemp("records")
    paths = [str(folder / "a.array_record"), str(folder / "b.array_record")]
    for path, rows in zip(paths, (range(13), range(13, 20)), strict=True):
        writer = ArrayRecordWriter(path, "group_size:1")
        for i in rows:
            writer.write(X[i].tobytes() + Y[i].tobytes())
        writer.close()
    return paths


def parse(record):
    return {"x": np.frombuffer(record[:12], np.float32), "y": np.frombuffer(record[12:], np.int32)[0]}


def test_array_record_files_are_a_split_and_train_as_the_arrays_do(files):
    grain = pytest.importorskip("grain", reason="of the extra stream, which is not installed")
    split = from_source(grain.sources.ArrayRecordDataSource(files), "real", parse=parse)
    assert split.size == 20
    assert (split.arrays["x"].shape, split.arrays["x"].dtype) == ((20, 3), np.float32)
    assert split.arrays["y"].shape == (20,)
    one_by_one = from_source(
        grain.MapDataset.source(grain.sources.ArrayRecordDataSource(files)), "real", parse=parse
    )
    np.testing.assert_array_equal(np.asarray(one_by_one.arrays["x"]), X)
    rows = np.array([19, 0, 13, 13])
    np.testing.assert_array_equal(split.arrays["x"][rows], X[rows])
    np.testing.assert_array_equal(np.asarray(split.arrays["y"]), Y)
    arrays = toy_fit(9, data=Split({"x": X, "y": Y}, "real", split.transform), chunk=4, resident=True)
    for resident in (True, False):
        assert_same_fit(toy_fit(9, data=split, chunk=4, resident=resident), arrays)


def test_a_prepared_set_of_tensorflow_datasets_is_a_source(tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (30, 4, 4, 1), np.uint8)
    examples = {"train": lambda: ({"x": image} for image in x)}
    recipe = Recipe("noise", "all", "1.0.0", {"x": (4, 4, 1)}, examples)
    source = records.source_of(prepare(recipe, tmp_path), "train")
    split = from_source(source, "unit_interval")
    np.testing.assert_array_equal(np.asarray(split.arrays["x"]), x)


def test_the_default_transform_is_that_of_arrays():
    grey = [{"x": np.full((2, 2), i, np.uint8)} for i in range(3)]
    for support in ("unit_interval", "bytes"):
        split = from_source(grey, support)
        whole = data.from_arrays(
            np.stack([e["x"] for e in grey]), np.zeros((1, 2, 2), np.uint8), support=support, validation=0.4
        )
        assert split.transform is whole.train.transform


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": 3}, TypeError, r"source: expected a length and records by \[i\], got int"),
        ({"source": []}, ValueError, "source: expected at least one record, got none"),
        ({"source": [X[0]]}, TypeError, r'parse: expected examples as \{"x": array, .*got ndarray'),
        ({"source": [{"image": X[0]}]}, TypeError, r"parse: expected examples as .*got \['image'\]"),
        ({"source": [{"x": "a"}]}, TypeError, "source: x: expected integers or floats"),
        ({"source": [{"x": X[0]}], "support": "unit_interval"}, ValueError, "expected values in"),
        ({"support": "tokens"}, ValueError, "support: expected one of"),
        ({"parse": 3}, TypeError, "parse: expected a function or None, got int"),
        ({"transform": 3}, TypeError, "transform: expected a function or None, got int"),
        ({"source": [{"x": X[0]}, {"x": X[0, :2]}]}, ValueError, r"source: x: expected shape \[3\] of each"),
        (
            {"source": [{"x": np.int32(1)}, {"x": np.float32(1.5)}]},
            ValueError,
            "source: x: expected values of int32",
        ),
    ],
)
def test_what_is_no_source_of_examples_is_named(change, error, message):
    options = {"source": [{"x": X[0]}], "support": "real", **change}
    with pytest.raises(error, match=message):
        from_source(options.pop("source"), options.pop("support"), **options)
