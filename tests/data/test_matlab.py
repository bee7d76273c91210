"""MATLAB files: what a test writes byte by byte is read, scipy agrees, and every damage is named."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from tests.data.mat_files import element, mat_bytes, matrix
from vaejax.data.matlab import check_mat, mat_columns, mat_variables

ARRAYS = {
    "X": np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5),
    "y": np.array([[3], [1], [2]], np.float64),
    "n": np.array([[7]], np.uint8),
    "long_name": np.array([[-1.5, 2.5]], np.float32),
}


def written(tmp_path, data):
    path = tmp_path / "file.mat"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_was_written_is_read_in_any_byte_order_packed_or_not(tmp_path, order, packed):
    data = mat_bytes(ARRAYS, order, packed)
    path = written(tmp_path, data)
    found, others = mat_variables(path), scipy.io.loadmat(io.BytesIO(data))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        read = np.stack(list(mat_columns(path, name)), axis=-1)
        np.testing.assert_array_equal(read, array, strict=True)
        np.testing.assert_array_equal(read, others[name])


def test_what_scipy_writes_is_read(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (28, 20, 50), np.uint8)
    for packed in (True, False):
        scipy.io.savemat(tmp_path / "file.mat", {"ff": x, "text": "other"}, do_compression=packed)
        check_mat(tmp_path / "file.mat", {"ff": x.shape}, np.uint8)
        read = np.stack(list(mat_columns(tmp_path / "file.mat", "ff")), axis=-1)
        np.testing.assert_array_equal(read, x, strict=True)


def test_doubles_that_are_stored_as_bytes(tmp_path):
    y = np.array([[1.0, 10.0, 255.0]])
    data = mat_bytes({}) + matrix("y", y, stored="u1")
    read = np.stack(list(mat_columns(written(tmp_path, data), "y")), axis=-1)
    np.testing.assert_array_equal(read, y, strict=True)


def test_a_file_by_hand(tmp_path):
    body = struct.pack("<II II", 6, 8, 9, 0)  # flags: class 9, uint8
    body += struct.pack("<II ii", 5, 8, 1, 2)  # dimensions 1 x 2
    body += struct.pack("<I", 1 << 16 | 1) + b"a\0\0\0"  # its name, in the tag
    body += struct.pack("<I", 2 << 16 | 2) + bytes([9, 250, 0, 0])  # values, in the tag
    data = b"M" * 124 + b"\0\1IM" + struct.pack("<II", 14, len(body)) + body
    np.testing.assert_array_equal(list(mat_columns(written(tmp_path, data), "a")), [[9], [250]])


@pytest.mark.parametrize("order", ["<", ">"])
def test_level_4(tmp_path, order):
    code = {"<": 0, ">": 1000}[order]
    arrays = {"ff": ARRAYS["X"].reshape(6, 20), "y": ARRAYS["y"], "s": np.array([[-3, 7]], np.int16)}
    types = {"ff": 50, "y": 0, "s": 30}
    data = b"".join(
        struct.pack(order + "5i", code + types[name], *array.shape, 0, len(name) + 1)
        + name.encode() + b"\0"
        + array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
        for name, array in arrays.items()
    )  # fmt: skip
    path = written(tmp_path, data + struct.pack(order + "5i", code + 1, 1, 1, 0, 2) + b"t\0" + bytes(8))
    found = mat_variables(path)
    assert found["t"].kind == "text"
    for name, array in arrays.items():
        read = np.stack(list(mat_columns(path, name)), axis=-1)
        np.testing.assert_array_equal(read, array, strict=True)
        np.testing.assert_array_equal(read, scipy.io.loadmat(path)[name])
    scipy.io.savemat(tmp_path / "its.mat", arrays, format="4")
    check_mat(tmp_path / "its.mat", {"ff": (6, 20)}, np.uint8)
    np.testing.assert_array_equal(np.stack(list(mat_columns(tmp_path / "its.mat", "y")), -1), arrays["y"])


def test_columns_come_without_reading_the_rest(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (1000, 500), np.uint8)
    data = mat_bytes({"x": x})
    path = written(tmp_path, data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    columns = mat_columns(path, "x")
    for j in range(150):
        np.testing.assert_array_equal(next(columns), x[:, j])
    with pytest.raises(ValueError, match=r"file.mat: expected a whole .mat file, got a damaged one \(Error"):
        list(columns)


def test_names_shapes_and_types_are_compared(tmp_path):
    path = written(tmp_path, mat_bytes(ARRAYS))
    check_mat(path, {"X": (2, 3, 4, 5)}, np.uint8)
    check_mat(path, {"y": (3, 1), "n": (1, 1)})
    for expected, dtype, message in (
        ({"Z": (1, 1)}, None, "expected an array 'Z', got X, long_name, n, y"),
        ({"X": (2, 3, 4, 6)}, np.uint8, r"expected 'X' as uint8 \[2, 3, 4, 6\], got uint8 \[2, 3, 4, 5\]"),
        ({"y": (3, 1)}, np.uint8, r"expected 'y' as uint8 \[3, 1\], got float64 \[3, 1\]"),
    ):
        with pytest.raises(ValueError, match=f"file.mat: {message}"):
            check_mat(path, expected, dtype)
    with pytest.raises(ValueError, match="expected an array 'Z' of real numbers, got none"):
        list(mat_columns(path, "Z"))


@pytest.mark.parametrize(
    ("value", "kind"), [({"a": 1.0}, "structure"), ("text", "text"), (np.array([[1j]]), "complex")]
)
def test_what_is_no_array_of_real_numbers_is_told(tmp_path, value, kind):
    scipy.io.savemat(tmp_path / "file.mat", {"x": value})
    with pytest.raises(ValueError, match=f"expected 'x' as real numbers .*, got {kind}"):
        check_mat(tmp_path / "file.mat", {"x": (1, 1)})


GOOD = mat_bytes({"x": np.arange(64.0).reshape(8, 8)})
PLAIN = mat_bytes({"x": np.arange(64.0).reshape(8, 8)}, packed=False)
OLD = struct.pack("<5i", 50, 2, 1, 0, 2) + b"a\0\x09\xfa"
OTHER = zlib.compress(element(2, bytes(8), "<"))
BROKEN = {
    "empty": (b"", "expected a .mat file of level 4 or 5, got one that starts with b''"),
    "a web page": (b"<html>".ljust(200), "got one that starts with b'<html>"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(200), r"got one of HDF5 \(-v7.3\); save it again with -v7"),
    "HDF5 behind MATLAB's text": (
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(400),
        "got one of HDF5",
    ),
    "zeros": (bytes(200), r"got a damaged one \(0, 0, 0, 0 stand where an array begins\)"),
    "level 4, cut": (OLD[:-1], f"{len(OLD) - 1} bytes in place of at least {len(OLD)}"),
    "level 4, in a header": (OLD + OLD[:9], r"got a damaged one \(it ends too early\)"),
    "level 4, no more": (OLD + bytes([60, 0, 0, 0]) + bytes(16), "60, 0, 0, 0 stand where an array begins"),
    "in the header": (GOOD[:100], "expected a .mat file of level 4 or 5, got one"),
    "in a tag": (GOOD[:132], r"expected a whole .mat file, got a damaged one \(it ends too early\)"),
    "in what is packed": (GOOD[:-9], f"{len(GOOD) - 9} bytes in place of at least {len(GOOD)}"),
    "in what is not packed": (PLAIN[:-9], f"{len(PLAIN) - 9} bytes in place of at least {len(PLAIN)}"),
    "a wrong byte": (GOOD[:200] + bytes([GOOD[200] ^ 255]) + GOOD[201:], "got a damaged one"),
    "a wrong checksum": (GOOD[:-1] + bytes([GOOD[-1] ^ 255]), r"got a damaged one \(Error -3"),
    "another element": (mat_bytes({}) + element(2, bytes(100), "<"), "an element of type 2 stands where"),
    "packed, but no array": (
        mat_bytes({}) + struct.pack("<II", 15, len(OTHER)) + OTHER,
        "what is packed is no array",
    ),
    "packed without its end": (
        mat_bytes({}) + struct.pack("<II", 15, len(GOOD) - 140) + GOOD[136:-4],
        r"got a damaged one \(it ends too early\)",
    ),
    "a name of a gigabyte": (
        PLAIN[:144] + PLAIN[144:].replace(struct.pack("<I", 1 << 16 | 1), struct.pack("<II", 1, 2**30), 1),
        "an element of 1073741824 bytes stands where a name or a shape is",
    ),
    "too few values": (
        mat_bytes({}) + PLAIN[128:].replace(struct.pack("<II", 9, 512), struct.pack("<II", 9, 504)),
        r"expected values of 'x', \[8, 8\], got 504 bytes of type 9",
    ),
    "the byte order of the header only": (GOOD[:124] + b"\1\0MI" + GOOD[128:], "got a damaged one"),
}


def read_all(path):
    check_mat(path, {"x": (8, 8)})
    return list(mat_columns(path, "x"))


@pytest.mark.parametrize("damage", BROKEN)
def test_damage_is_named(tmp_path, damage):
    data, message = BROKEN[damage]
    path = written(tmp_path, data)
    with pytest.raises(ValueError, match=message) as caught:
        read_all(path)
    assert str(caught.value).startswith(f"{path}: expected")
