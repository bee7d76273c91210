"""Recipes: examples in blocks, of several types, in one pass or split by split; written and read back."""

import numpy as np
import pytest

from vaejax.data import recipes
from vaejax.data.prepare import cached_arrays, prepare
from vaejax.data.recipes import Recipe
from vaejax.data.records import notes_of, source_of

X = np.arange(40, dtype=np.uint8).reshape(10, 4)
Y = np.arange(10, dtype=np.uint16) * 100


def rows(which):
    return lambda: ({"x": X[i], "y": Y[i]} for i in which)


def recipe(**changes):
    plain = {
        "name": "mine",
        "config": "only",
        "version": "1.0.0",
        "features": {"x": (4,), "y": ()},
        "splits": {"train": rows(range(0, 10, 2)), "test": rows(range(1, 10, 2))},
        "dtype": {"x": np.uint8, "y": np.uint16},
        "notes": lambda: {"of": [["a", 3]]},
    }
    return Recipe(**plain | changes)


def together():
    return (("train" if i % 2 == 0 else "test", {"x": X[i], "y": Y[i]}) for i in range(10))


@pytest.mark.parametrize("one_pass", [None, together])
def test_arrays_of_several_types_are_read_back_from_records_and_from_files(tmp_path, one_pass):
    mine = recipe(together=one_pass)
    directory = prepare(mine, tmp_path)
    assert notes_of(directory) == {"of": [["a", 3]]}
    for lost in (False, True):  # the second time they are made of the records
        for split, first in (("train", 0), ("test", 1)):
            arrays = cached_arrays(
                directory, split, mine.fields, lambda split=split: source_of(directory, split)
            )
            np.testing.assert_array_equal(arrays["x"], X[first::2], strict=True)
            np.testing.assert_array_equal(arrays["y"], Y[first::2], strict=True)
            if not lost:
                (directory / f"{split}-y.npy").unlink()


def test_blocks_are_of_one_split_and_end_with_what_is_left(monkeypatch):
    monkeypatch.setattr(recipes, "_BLOCK", 3)
    sizes = [(split, len(examples)) for split, examples in recipe().blocks()]
    assert sizes == [("train", 3), ("test", 3), ("train", 2), ("test", 2)]
    monkeypatch.setattr(recipes, "_BLOCK_BYTES", 13)  # 6 bytes an example
    assert [len(examples) for _, examples in recipe().blocks()] == [2, 2, 2, 2, 1, 1]


def test_what_waits_for_its_split_holds_nothing_else():
    for split, examples in recipe(together=together).blocks():
        assert split in ("train", "test")
        assert not any(np.shares_memory(example["x"], X) for example in examples)


def test_a_split_without_examples_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="mine: expected examples in every split, got none in test"):
        prepare(recipe(splits={"train": rows(range(10)), "test": rows(())}), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"x": X[0, :3], "y": Y[0]}, r"mine: x of 'train': expected shape \[4\] of each example, got \[3\]"),
        (
            {"x": X[0].astype(int) + 300, "y": Y[0]},
            "mine: x of 'train': expected values of uint8, got 300..303",
        ),
    ],
)
def test_an_example_of_another_kind_is_an_error_and_leaves_nothing(tmp_path, example, message):
    with pytest.raises(ValueError, match=message):
        prepare(recipe(splits={"train": lambda: iter([example])}), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
