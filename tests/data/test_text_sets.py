"""Binarised MNIST from lines of 0 and 1."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from vaejax.data import amat

SIZES = {"train": 6, "validation": 3, "test": 2}
FILES = {
    split: f"binarized_mnist_{name}.amat"
    for split, name in zip(SIZES, ("train", "valid", "test"), strict=True)
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(amat, "_SIZES", SIZES)


def line(row):
    return " ".join("01"[value] for value in row) + "\n"


@pytest.fixture
def written(tmp_path):
    """{name: path} and {split: [N, 784]}."""
    rng = np.random.default_rng(0)
    made = {split: rng.integers(0, 2, (n, 784), np.uint8) for split, n in SIZES.items()}
    for split, rows in made.items():
        (tmp_path / FILES[split]).write_text("".join(map(line, rows)))
    return {name: tmp_path / name for name in FILES.values()}, made


def rows(paths, split):
    return [example["x"] for example in amat.binarized_mnist_recipe(paths).splits[split]()]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_line_is_a_picture_row_by_row(written, zipped):
    paths, made = written
    for path in paths.values() if zipped else ():
        path.write_bytes(gzip.compress(path.read_bytes()))
    for split, expected in made.items():
        read = np.stack(rows(paths, split))
        np.testing.assert_array_equal(read, expected.reshape(-1, 28, 28, 1), strict=True)


GOOD = line(np.ones(784, np.uint8))
BROKEN = {
    "a short line": (GOOD + GOOD[2:], r"expected 784 numbers 0 or 1 a line, got 783 values in line 2"),
    "a long line": (GOOD + "0 " + GOOD, "got 785 values in line 2"),
    "grey": (GOOD + GOOD.replace("1 1", "1 7", 1), "expected 784 numbers 0 or 1 a line, .* in line 2"),
    "with points": (GOOD + GOOD.replace("1", "1.0"), "expected 784 numbers 0 or 1 a line, .* in line 2"),
    "one line too few": (GOOD, "expected 2 lines, got 1"),
    "one line too many": (GOOD * 3, "expected 2 lines, got 3"),
    "a web page": ("<html>", "got 1 values in line 1, b'<html>'"),
    "empty": ("", "got 0 values in line 1, b''"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_damage_is_named(written, damage):
    text, message = BROKEN[damage]
    paths, _ = written
    paths[FILES["test"]].write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        rows(paths, "test")
    assert str(caught.value).startswith(str(paths[FILES["test"]]))
