"""Rows of arrays in memory, mapped or read by a source: the same rows, and no more than they."""

import numpy as np
import pytest

from tests.sources import Read, mapped
from vaejax import rows
from vaejax.checks import check_array, check_split
from vaejax.rows import Chosen, RowSource, forget, gather, num_bytes, read_into, some_rows
from vaejax.types import Split

X = np.arange(60, dtype=np.float32).reshape(12, 5)
ROWS = np.array([7, 0, 11, 7])


@pytest.mark.parametrize("kind", ["array", "map", "view", "source", "chosen"])
def test_rows_are_those_of_the_array(kind, tmp_path):
    array = {
        "array": lambda: X,
        "map": lambda: mapped(X, tmp_path / "x.npy"),
        "view": lambda: np.repeat(X, 2, axis=1)[:, ::2],  # not contiguous
        "source": lambda: Read(X),
        "chosen": lambda: Chosen(Read(np.concatenate([X[::-1], X])), np.arange(12, 24)),
    }[kind]()
    out = np.empty((4, 5), np.float32)
    read_into([array], ROWS, [out])
    np.testing.assert_array_equal(out, X[ROWS])
    np.testing.assert_array_equal(gather({"x": {"a": array}}, ROWS)["x"]["a"], X[ROWS])
    for index in (ROWS, np.array([-1, 2]), slice(2, 9, 3), slice(None, 2), 3):
        np.testing.assert_array_equal(array[index], X[index])
    assert len(array) == 12
    assert (array.ndim, array.size, array.nbytes) == (2, 60, 240)
    np.testing.assert_array_equal(np.asarray(array), X)


def test_a_source_refuses_rows_that_it_has_not():
    with pytest.raises(IndexError, match="expected rows of 12"):
        Read(X)[np.array([12])]
    with pytest.raises(TypeError, match="expected a slice or integers"):
        Read(X)[X > 3]


def test_sources_of_one_origin_are_fetched_once():
    class Origin:
        fetched = 0

        def fetch(self, rows):
            self.fetched += 1
            return rows

    class Part(RowSource):
        def __init__(self, origin, factor):
            self.origin, self.factor, self.shape, self.dtype = origin, factor, (12,), np.dtype(np.int32)

        def pick(self, fetched):
            return self.factor * fetched

    origin = Origin()
    both = gather({"x": Part(origin, 2), "y": Part(origin, 3)}, ROWS)
    np.testing.assert_array_equal(both["x"], 2 * ROWS)
    np.testing.assert_array_equal(both["y"], 3 * ROWS)
    assert origin.fetched == 1


def test_bytes_are_those_on_a_device():
    arrays = {"x": {"a": X.astype(np.float64), "b": Read(X.astype(np.uint8))}, "y": np.arange(12)}
    assert num_bytes(arrays) == 12 * (5 * 4 + 5 + 4)  # without x64 numbers have four bytes


def test_of_a_large_array_some_rows_are_looked_at(monkeypatch):
    assert some_rows(X) is X
    monkeypatch.setattr(rows, "WHOLE", 100)
    monkeypatch.setattr(rows, "_PLACES", 3)
    monkeypatch.setattr(rows, "_AT_EACH", 40)  # two rows
    np.testing.assert_array_equal(some_rows(X), X[[0, 1, 5, 6, 10, 11]])
    source = Read(X[:3])  # a source of any size
    np.testing.assert_array_equal(some_rows(source), X[:3])
    assert len(some_rows(X.view(np.uint8).reshape(12, 20)[:5])) == 5  # of 100 bytes: all


def test_checks_read_no_whole_source(monkeypatch):
    monkeypatch.setattr(rows, "_AT_EACH", 8)  # one row
    y = Read(np.arange(1000))
    check_split(Split({"x": Read(np.zeros((1000, 2), np.uint8)), "y": y}, "bytes"))
    assert len(y.rows) == 64
    assert {0, 999} <= set(y.rows.tolist())
    y.array = np.full(1000, 2**40)
    with pytest.raises(ValueError, match="y: expected integers of int32, which jax has without x64"):
        check_array(y, "y")


def test_pages_that_are_forgotten_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_LARGE", 1)
    np.save(tmp_path / "x.npy", X)
    for mode in ("r", "r+", "c"):
        array = np.load(tmp_path / "x.npy", mmap_mode=mode)
        if mode != "r":
            array[0] = -1.0  # of a copy on write these are in memory alone
        forget({"x": {"a": np.asarray(array)[2:], "b": X}})
        forget(array)
        rows.read_at_random(array, True)
        rows.read_at_random(array, False)
        np.testing.assert_array_equal(array[1:], X[1:])
        if mode != "r":
            np.testing.assert_array_equal(array[0], -1.0)
    assert rows._mapping(np.load(tmp_path / "x.npy", mmap_mode="r")[3:].view()) is not None
    assert rows._mapping(np.load(tmp_path / "x.npy", mmap_mode="c")) is None
    assert rows._mapping(X) is None
