"""CIFAR-10 and CIFAR-100 in their binary version, from small files; pickles and other files are refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.data.cifar_files import SETS, SIZE, made, shrink, write
from vaejax.data import cifar

RECIPES = {"cifar10": cifar.cifar10_recipe, "cifar100": cifar.cifar100_recipe}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


@pytest.mark.parametrize("form", ["archive", "folder", "loose"])
@pytest.mark.parametrize("name", SETS)
def test_pictures_and_labels_in_every_form(tmp_path, name, form):
    data, arrays = made(name)
    recipe = RECIPES[name](write(tmp_path, data, form, SETS[name][1]))
    for split, (x, y) in arrays.items():
        examples = list(recipe.splits[split]())
        np.testing.assert_array_equal(np.stack([e["x"] for e in examples]), x, strict=True)
        np.testing.assert_array_equal(np.stack([e["y"] for e in examples]), y, strict=True)


def test_a_record_by_hand(tmp_path):
    data, _ = made("cifar100")
    record = bytes([3, 77]) + bytes([1]) * 1024 + bytes([2]) * 1024 + bytes([250]) + bytes(1022) + bytes([9])
    data["test.bin"] = record * SIZE
    recipe = cifar.cifar100_recipe(write(tmp_path, data, "folder", "cifar-100-binary"))
    example = next(recipe.splits["test"]())
    assert example["y"].tolist() == [3, 77]
    assert example["x"][0, 0].tolist() == [1, 2, 250]
    assert example["x"][31, 31].tolist() == [1, 2, 9]


@pytest.mark.parametrize("form", ["archive", "folder"])
@pytest.mark.parametrize("name", SETS)
def test_pickles_are_refused_with_the_reason(tmp_path, name, form):
    data, _ = made(name)
    python = {file.removesuffix(".bin"): pickle.dumps({b"data": value}) for file, value in data.items()}
    with pytest.raises(
        ValueError, match="expected the binary version of the set, got the Python one"
    ) as caught:
        RECIPES[name](write(tmp_path, python, form, "cifar-py"))
    assert "run whatever code is in them" in str(caught.value)


def changed(data, file, value):
    return {**data, file: value}


BROKEN = {
    "cut": (
        lambda d: changed(d, "data_batch_3.bin", d["data_batch_3.bin"][:-1]),
        "expected 12292 bytes, got 12291",
    ),
    "a batch too long": (lambda d: changed(d, "test_batch.bin", d["test_batch.bin"] + b"0"), "got 12293"),
    "a class that is none": (
        lambda d: changed(d, "data_batch_2.bin", b"\x0a" + d["data_batch_2.bin"][1:]),
        r"data_batch_2.bin: expected classes below 10, got \[10\] in record 0",
    ),
    "records of the other set": (
        lambda d: changed(d, "test_batch.bin", bytes(3074 * SIZE)),
        "test_batch.bin: expected 12292 bytes, got 12296",
    ),
    "a missing batch": (
        lambda d: {k: v for k, v in d.items() if k != "data_batch_4.bin"},
        "expected a file data_batch_4.bin, got data_batch_1.bin",
    ),
}


@pytest.mark.parametrize("form", ["archive", "folder"])
@pytest.mark.parametrize("damage", BROKEN)
def test_other_files_are_named(tmp_path, damage, form):
    data, _ = made("cifar10")
    change, message = BROKEN[damage]
    paths = write(tmp_path, change(data), form, "cifar-10-batches-bin")
    with pytest.raises((FileNotFoundError, ValueError), match=message) as caught:
        read(paths)
    (path,) = paths.values()
    assert str(caught.value).startswith(str(path))


def read(paths):
    recipe = cifar.cifar10_recipe(paths)
    for split in recipe.splits.values():
        for _ in split():
            pass
