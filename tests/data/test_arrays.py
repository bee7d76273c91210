"""A user's own arrays: what becomes of them, and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import rows
from vaejax.data import from_arrays

KEY = jax.random.key(0)
BYTES = np.arange(20 * 6, dtype=np.uint8).reshape(20, 2, 3) * 2
UNIT = np.linspace(0, 1, 60, dtype=np.float32).reshape(20, 3)
BINARY = (np.arange(60).reshape(20, 3) % 3 == 0).astype(np.uint8)
LABELS = np.arange(20)


def transformed(split):
    return np.asarray(jax.jit(split.transform)(KEY, dict(split.arrays))["x"])


def altered(x, value):
    x = x.copy()
    x[-1, -1] = value
    return x


def test_the_last_tenth_of_train_is_held_out_with_its_labels():
    data = from_arrays(UNIT, UNIT[:4], (LABELS, LABELS[:4]), support="unit_interval")
    np.testing.assert_array_equal(data.train.arrays["x"], UNIT[:18])
    np.testing.assert_array_equal(data.validation.arrays["x"], UNIT[18:])
    np.testing.assert_array_equal(data.test.arrays["x"], UNIT[:4])
    np.testing.assert_array_equal(data.train.arrays["y"], LABELS[:18])
    np.testing.assert_array_equal(data.validation.arrays["y"], LABELS[18:])
    np.testing.assert_array_equal(data.test.arrays["y"], LABELS[:4])
    assert data.train.support == data.validation.support == data.test.support == "unit_interval"
    assert np.shares_memory(data.train.arrays["x"], UNIT)


@pytest.mark.parametrize(("fraction", "held_out"), [(0.5, 10), (0.13, 3), (0.95, 19), (0.026, 1)])
def test_the_fraction_is_rounded(fraction, held_out):
    data = from_arrays(UNIT, UNIT, support="unit_interval", validation=fraction)
    assert (data.train.size, data.validation.size) == (20 - held_out, held_out)
    assert set(data.train.arrays) == {"x"}


def test_a_validation_array_leaves_train_whole():
    labels = (LABELS, LABELS[:5], LABELS[:7])
    data = from_arrays(UNIT, UNIT[:5], labels, support="unit_interval", validation=UNIT[:7])
    assert (data.train.size, data.test.size, data.validation.size) == (20, 5, 7)
    np.testing.assert_array_equal(data.validation.arrays["x"], UNIT[:7])
    np.testing.assert_array_equal(data.validation.arrays["y"], LABELS[:7])


@pytest.mark.parametrize(
    ("x", "support", "expected"),
    [
        (BYTES, "unit_interval", BYTES.astype(np.float32) * np.float32(1 / 255)),
        (BYTES, "bytes", BYTES.astype(np.float32)),
        (BYTES, "real", BYTES.astype(np.float32)),
        (BINARY, "binary", BINARY.astype(np.float32)),
        (BINARY.astype(np.float64), "binary", BINARY.astype(np.float32)),
        (UNIT, "unit_interval", UNIT),
        (UNIT.astype(np.float16), "unit_interval", UNIT.astype(np.float16).astype(np.float32)),
        (10 * UNIT - 5, "real", 10 * UNIT - 5),
    ],
)
def test_the_default_transform(x, support, expected):
    data = from_arrays(x, x, support=support)
    assert data.test.arrays["x"] is x
    made = transformed(data.test)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, expected)


def test_all_bytes_scale_into_the_unit_interval():
    x = np.arange(256, dtype=np.uint8)[:, None]
    made = transformed(from_arrays(x, x, support="unit_interval").test)
    np.testing.assert_allclose(made, x / 255.0, rtol=1e-7)
    assert (made.min(), made.max()) == (0, 1)


def test_a_transform_of_your_own_decides_the_support():
    def binarise(key, batch):
        x = jnp.asarray(batch["x"], jnp.float32) / 255
        return {**batch, "x": jnp.float32(jax.random.uniform(key, x.shape) < x)}

    data = from_arrays(BYTES, BYTES, (LABELS, LABELS), support="binary", transform=binarise)
    assert data.train.transform is binarise
    assert set(np.unique(transformed(data.train))) == {0, 1}


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (UNIT.astype(">f4"), UNIT),
        (UNIT.astype(">f8"), UNIT.astype(np.float64)),
        (UNIT.astype(">f2"), UNIT.astype(np.float16)),
        (np.asfortranarray(UNIT), UNIT),
        (UNIT[::-1, ::2], UNIT[::-1, ::2]),
        (np.broadcast_to(UNIT[:1], (20, 3)), np.repeat(UNIT[:1], 20, 0)),
        (BINARY.astype(bool), BINARY),
        (UNIT.astype(jnp.bfloat16), UNIT.astype(jnp.bfloat16)),
        (UNIT.view(np.matrix), UNIT),
    ],
    ids=[
        "big f4",
        "big f8",
        "big f2",
        "by columns",
        "strides",
        "read-only",
        "booleans",
        "bfloat16",
        "matrix",
    ],
)
def test_what_holds_the_same_numbers_is_taken_and_jax_takes_it(x, expected):
    data = from_arrays(x, x, (LABELS.astype(">i8"), LABELS.astype(">i8")), support="unit_interval")
    stored = data.test.arrays["x"]
    np.testing.assert_array_equal(stored, expected, strict=True)
    assert type(stored) is np.ndarray
    assert stored.dtype.isnative
    np.testing.assert_array_equal(data.test.arrays["y"], LABELS, strict=True)
    scale = 255 if stored.dtype == np.uint8 else 1
    np.testing.assert_array_equal(transformed(data.test), expected.astype(np.float32) / scale)


def test_a_mapped_file_is_shared(tmp_path):
    np.save(tmp_path / "x.npy", UNIT)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = from_arrays(x, x, support="unit_interval", validation=np.float32(0.1))
    assert np.shares_memory(data.train.arrays["x"], x)
    assert data.validation.size == 2


def test_boolean_images_are_binary_and_boolean_labels_0_and_1():
    data = from_arrays(BINARY > 0, BINARY > 0, (LABELS > 9, LABELS > 9), support="binary")
    np.testing.assert_array_equal(transformed(data.test), BINARY)
    np.testing.assert_array_equal(data.test.arrays["y"], LABELS > 9)


MASKED = np.ma.masked_invalid(np.where(UNIT[3, 1] == UNIT, np.nan, UNIT))
RECORDS = np.zeros((20, 3), [("a", "f4")])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"train": MASKED},
            TypeError,
            r"train: expected an array without a mask, .*\.filled\(",
        ),
        ({"validation": MASKED}, TypeError, "validation: expected an array without a mask"),
        ({"train": UNIT.astype(object)}, TypeError, "train: expected uint8 or float, got object"),
        ({"test": UNIT + 0j}, TypeError, "test: expected uint8 or float, got complex64"),
        ({"train": RECORDS}, TypeError, "train: expected uint8 or float, got .*'a'"),
        ({"train": UNIT.astype("M8[s]")}, TypeError, "train: expected uint8 or float, got datetime64"),
        (
            {"train": UNIT.astype(np.longdouble)},
            TypeError,
            "train: expected .* at most 64 bits, got",
        ),
        (
            {"validation": [0.1]},
            ValueError,
            r"validation: expected \[N, ...\] of at least 2 dims .*got \[1\]",
        ),
        ({"validation": "0.1"}, TypeError, "validation: expected a numpy array or a fraction, .*got str"),
        ({"validation": 0.1j}, TypeError, "validation: expected a numpy array or a fraction, got complex"),
        ({"labels": (MASKED, MASKED)}, TypeError, "labels of train: expected an array without a mask"),
        ({"labels": (LABELS * 2**40,) * 2}, ValueError, "labels of train: expected integers of int32"),
        (
            {"labels": (UNIT, altered(UNIT, np.nan))},
            ValueError,
            "labels of test: expected finite .* nan",
        ),
        ({"labels": (LABELS.astype(object),) * 2}, TypeError, "labels of train: .*, got object; np.unique"),
        ({"labels": (UNIT[:, :0],) * 2}, ValueError, r"labels of train: .* got \[20, 0\]"),
    ],
)
def test_what_would_change_the_numbers_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        from_arrays(**{"train": UNIT, "test": UNIT, "support": "unit_interval"} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"support": "grey"}, ValueError, "support: expected one of 'binary', .*; got 'grey'"),
        (
            {"support": "binary_or_unit_interval"},
            ValueError,
            "support: expected one of 'binary', .*'mixed'; got",
        ),
        ({"train": {"a": UNIT}}, TypeError, "train: expected a numpy array, as np.asarray makes .* got dict"),
        ({"train": [[0.1], [0.2, 0.3]]}, ValueError, "train: expected lists of one length; got others"),
        ({"train": [["a"], ["b"]]}, TypeError, "train: expected uint8 or float, got <U1"),
        ({"test": jax.random.split(KEY, 20)}, TypeError, "test: expected a numpy array, .* got PRNGKeyArray"),
        (
            {"train": LABELS[:, None]},
            TypeError,
            "train: expected uint8, which are scaled by 1/255, or floats in .* 'unit_interval'; got int64",
        ),
        ({"test": UNIT > 0}, TypeError, "test: expected the dtype of train, float32; got uint8"),
        ({"train": UNIT[0]}, ValueError, r"train: expected \[N, ...\] of at least 2 dims .* got \[3\]"),
        ({"test": UNIT[:0]}, ValueError, r"test: expected .* at least 2 dims and 1 value, got \[0, 3\]"),
        ({"test": UNIT[:, :2]}, ValueError, r"test: expected the event shape of train, \[3\]; got \[2\]"),
        ({"test": UNIT.astype(float)}, TypeError, "test: expected the dtype of train, float32; got float64"),
        ({"validation": BINARY}, TypeError, "validation: expected the dtype of train, float32; got uint8"),
        ({"validation": 5}, TypeError, r"validation: expected a numpy array or a fraction, got int \(5\)"),
        ({"validation": 1.0}, ValueError, r"validation: expected a fraction in \(0, 1\), got 1.0"),
        ({"validation": 0.02}, ValueError, "validation: .* got 0.02 of 20: 0 held out"),
        ({"validation": 0.98}, ValueError, "validation: .* got 0.98 of 20: 20 held out"),
        (
            {"train": altered(UNIT, np.nan)},
            ValueError,
            r"validation: expected finite float32 values, got nan",
        ),
        ({"test": altered(UNIT, np.inf)}, ValueError, "test: expected finite float32 values, got 0.0..inf"),
        ({"test": altered(UNIT, 1.5)}, ValueError, r"test: expected values in \[0, 1\] .*, got 0.0..1.5"),
        ({"test": altered(UNIT, -1)}, ValueError, r"test: expected values in \[0, 1\] .* got -1.0..0.98"),
        (
            {"support": "binary"},
            ValueError,
            "train: expected the values 0 and 1 for support 'binary', got oth",
        ),
        ({"support": "bytes"}, TypeError, "train: expected uint8 for support 'bytes', got float32"),
        ({"transform": 3}, TypeError, "transform: expected a function or None, got int"),
        ({"labels": LABELS}, TypeError, r"labels: expected a tuple of arrays \(train, test\), got ndarray"),
        (
            {"labels": (LABELS,)},
            ValueError,
            r"labels: expected a tuple of arrays \(train, test\), got 1 of them",
        ),
        ({"labels": (LABELS, [1])}, ValueError, r"labels of test: expected 20 of them, got shape \[1\]"),
        ({"labels": (LABELS, "ab")}, TypeError, "labels of test: expected a numpy array, .* got str"),
        (
            {"labels": (LABELS, LABELS[1:])},
            ValueError,
            r"labels of test: expected 20 of them, got shape \[19\]",
        ),
        (
            {"labels": (LABELS, LABELS * 1.0)},
            TypeError,
            "labels of test: expected the dtype of train's, int64;",
        ),
        (
            {"labels": (LABELS, LABELS[:, None])},
            ValueError,
            r"labels of test: .* train's \[20\], got \[20, 1\]",
        ),
        (
            {"labels": (LABELS.astype(str),) * 2},
            TypeError,
            r"labels of train: expected integers or floats, got <U.*; np.unique\(labels, return",
        ),
        (
            {"labels": (LABELS, LABELS), "validation": UNIT},
            ValueError,
            r"labels: expected a tuple of arrays \(train, test, validation\), got 2 of them",
        ),
    ],
)
def test_bad_arguments(arguments, error, message):
    good = {"train": UNIT, "test": UNIT, "support": "unit_interval"}
    with pytest.raises(error, match=message):
        from_arrays(**good | arguments)


def test_uint8_that_is_not_binary():
    with pytest.raises(
        ValueError, match=r"train: expected values in \[0, 1\] for support 'binary', got 0..214"
    ):
        from_arrays(BYTES, BYTES, support="binary")


def test_float64_beyond_float32():
    x = altered(UNIT.astype(np.float64), 1e39)
    with pytest.raises(ValueError, match=r"test: expected finite float32 values, got 0.0..1e\+39"):
        from_arrays(UNIT.astype(np.float64), x, support="real")


@pytest.mark.parametrize(
    ("transform", "error", "message"),
    [
        (
            lambda key, batch: batch["x"],
            TypeError,
            "transform: expected it to return a mapping with 'x', got nd",
        ),
        (
            lambda key, batch: {"x": batch["x"][:3]},
            ValueError,
            r"transform: expected an x for each of 16 .*\[3, 3\]",
        ),
        (
            lambda key, batch: {"x": batch["x"] + 1},
            ValueError,
            r"transform of train: expected values in \[0, 1\]",
        ),
        (
            lambda key, batch: {"x": batch["x"] / 0},
            ValueError,
            "transform of train: expected finite float32 values",
        ),
    ],
)
def test_bad_transforms(transform, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        from_arrays(UNIT, UNIT, support="unit_interval", transform=transform)


# what holds numbers and is no array of numpy, and integers


@pytest.mark.parametrize("given", [np.ndarray.tolist, jnp.asarray, lambda x: tuple(map(tuple, x))])
def test_lists_and_arrays_of_jax_are_taken(given):
    labels = given(np.stack([LABELS, LABELS], axis=1))
    data = from_arrays(given(UNIT), given(UNIT[:4]), (labels, labels[:4]), support="unit_interval")
    for split, part in (
        (data.train, slice(0, 18)),
        (data.validation, slice(18, 20)),
        (data.test, slice(0, 4)),
    ):
        assert isinstance(split.arrays["x"], np.ndarray)
        np.testing.assert_array_equal(np.float32(split.arrays["x"]), UNIT[part])
        np.testing.assert_array_equal(split.arrays["y"][:, 0], LABELS[part])


@pytest.mark.parametrize(
    ("x", "support", "stored"),
    [
        (BINARY.astype(np.int64), "binary", np.uint8),
        ((BINARY > 0).tolist(), "binary", np.uint8),
        (jnp.asarray(BINARY, jnp.int32), "binary", np.uint8),
        (np.eye(3, dtype=int)[np.arange(20) % 3], "one_hot", np.uint8),
        (BYTES.astype(np.int16), "bytes", np.uint8),
        (BYTES.astype(np.uint16) * 100, "counts", np.float32),
        (BYTES.astype(np.int32) - 100, "real", np.float32),
        (BYTES.astype(np.int32) - 100, "mixed", np.float32),
        (BYTES, "real", np.uint8),
    ],
)
def test_integers_are_what_their_support_means_by_them(x, support, stored):
    data = from_arrays(x, x, support=support)
    assert data.test.arrays["x"].dtype == stored
    np.testing.assert_array_equal(transformed(data.test), np.asarray(x, np.float32))


@pytest.mark.parametrize(
    ("x", "support", "message"),
    [
        (BYTES.astype(int), "binary", r"train: expected .* in \[0, 1\] for support 'binary', got 0..238"),
        (BYTES.astype(int) + 100, "bytes", r"in \[0, 255\] for support 'bytes', got 100..338"),
        (BYTES.astype(int) - 1, "bytes", r"in \[0, 255\] for support 'bytes', got -1..237"),
        (BYTES.astype(int) + 2**24, "real", r"in \[-16777216, 16777216\] for support 'real', got 167"),
        (BYTES.astype(int) - 1, "counts", r"of at least 0 for support 'counts'"),
    ],
)  # fmt: skip
def test_integers_that_are_none_of_their_support_are_refused(x, support, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(x, x, support=support)


def test_a_transform_of_ones_own_sees_the_integers_as_they_are():
    def halved(key, batch):
        assert batch["x"].dtype == np.int16
        return {**batch, "x": jnp.asarray(batch["x"], jnp.float32) / 510}

    x = BYTES.astype(np.int16)
    data = from_arrays(x, x, support="unit_interval", transform=halved)
    np.testing.assert_allclose(transformed(data.test), BYTES / 510, rtol=1e-6)


def test_of_a_large_array_values_at_some_places_are_checked(monkeypatch):
    monkeypatch.setattr(rows, "WHOLE", 100)
    monkeypatch.setattr(rows, "_PLACES", 2)
    monkeypatch.setattr(rows, "_AT_EACH", 16)  # one row
    x, labels = np.zeros((20, 4), np.float32), np.zeros(20, np.int64)
    x[5] = 7.0  # between the first and the last of ten
    made = from_arrays(x, x[:2], (labels, labels[:2]), support="binary", validation=0.5)
    assert np.shares_memory(made.train.arrays["x"], x)
    x[19] = np.nan  # the last of the validation
    with pytest.raises(ValueError, match="validation: expected finite float32 values"):
        from_arrays(x, x[:2], (labels, labels[:2]), support="binary", validation=0.5)
