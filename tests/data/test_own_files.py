"""One's own arrays in .npy and .npz files: mapped, named, never unpickled."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest

from vaejax.data import from_file

X = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 1), np.uint8)
Y = np.arange(40)


def npy_bytes(array):
    """A .npy file of version 1.0, by hand."""
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + array.tobytes()


def test_a_npy_file_is_mapped_and_its_last_rows_are_held_out(tmp_path):
    (tmp_path / "x.npy").write_bytes(npy_bytes(X))
    (tmp_path / "y.npy").write_bytes(npy_bytes(Y))
    data = from_file(
        tmp_path / "x.npy", support="bytes", y=str(tmp_path / "y.npy"), test=0.25, validation=0.2
    )
    for split, rows in ((data.train, np.s_[:24]), (data.validation, np.s_[24:30]), (data.test, np.s_[30:])):
        np.testing.assert_array_equal(split.arrays["x"], X[rows], strict=True)
        np.testing.assert_array_equal(split.arrays["y"], Y[rows])
        assert split.support == "bytes"
    base = data.train.arrays["x"]
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_other_byte_orders_and_the_order_of_fortran(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3, 2))
    (tmp_path / "x.npy").write_bytes(npy_bytes(x.astype(">f8")))
    np.save(tmp_path / "turned.npy", np.asfortranarray(x))
    for name in ("x.npy", "turned.npy"):
        data = from_file(tmp_path / name, support="real")
        np.testing.assert_array_equal(data.train.arrays["x"], x[:32])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_a_npz_file_by_their_names(tmp_path, save):
    path = tmp_path / "mine.npz"
    save(path, x_train=X[:30], x_test=X[30:35], x_val=X[35:], y_train=Y[:30], y_test=Y[30:35], y_val=Y[35:])
    names = ("train", "test", "val")
    data = from_file(path, support="bytes", x=[f"x_{n}" for n in names], y=[f"y_{n}" for n in names])
    np.testing.assert_array_equal(data.validation.arrays["x"], X[35:], strict=True)
    np.testing.assert_array_equal(data.test.arrays["y"], Y[30:35])
    two = from_file(path, support="bytes", x=("x_train", "x_test"), y=("y_train", "y_test"), validation=0.5)
    np.testing.assert_array_equal(two.validation.arrays["x"], X[15:30])
    one = from_file(path, support="bytes", x="x_train")
    assert [one.train.size, one.validation.size, one.test.size] == [24, 3, 3]
    save(path, only=X)
    assert from_file(path, support="bytes").test.size == 4


def test_nan_is_a_hole_where_it_is_said(tmp_path):
    x = np.ones((40, 2), np.float32)
    x[:, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    data = from_file(tmp_path / "x.npy", support="real", holes=True)
    np.testing.assert_array_equal(data.test.arrays["observed"], [[True, False]] * 4)
    with pytest.raises(ValueError, match="with holes=True nan is a value that is missing"):
        from_file(tmp_path / "x.npy", support="real")


class Trap:
    """Unpickling it would end the test."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickles_are_refused_by_name_and_never_loaded(tmp_path):
    with open(tmp_path / "whole.npy", "wb") as file:
        pickle.dump(Trap(), file)
    objects = np.empty(40, object)
    objects[:] = [Trap() for _ in range(40)]
    np.save(tmp_path / "objects.npy", objects)
    np.savez(tmp_path / "objects.npz", x=objects)
    for name in ("whole.npy", "objects.npy", "objects.npz"):
        with pytest.raises(
            ValueError, match=f"{name}: expected arrays of numbers.*which only pickle would read"
        ):
            from_file(tmp_path / name, support="real")


def npz(**arrays):
    def write(path):
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    return write


def raw(data):
    return lambda path: path.write_bytes(data)


def cut_npz(path):
    npz(x=X)(path)
    path.write_bytes(path.read_bytes()[:-40])


def flipped_npz(path):
    npz(x=X)(path)
    data = bytearray(path.read_bytes())
    data[400] ^= 255
    path.write_bytes(data)


WHOLE = npy_bytes(X)
BROKEN = {
    "cut": (raw(WHOLE[:-1]), {}, "expected a whole .npy or .npz file, got a damaged one"),
    "in the header": (raw(WHOLE[:40]), {}, "expected a whole .npy or .npz file, got a damaged one"),
    "empty": (raw(b""), {}, "expected a whole .npy or .npz file, got a damaged one"),
    "a cut archive": (cut_npz, {}, "expected a whole .npy or .npz file, got a damaged one"),
    "a wrong byte": (flipped_npz, {}, "expected a whole .npy or .npz file, got a damaged one"),
    "text": (
        raw(b"a,b\n1,2\n"),
        {},
        "expected arrays of numbers, as numpy.save writes them; got another file",
    ),
    "a number": (raw(npy_bytes(np.array(3.0))), {}, r"expected x as an array \[N, ...\], got a number"),
    "which": (npz(a=X, b=X), {}, "x: expected the name of an array of .*, a, b; got None"),
    "another name": (npz(a=X, b=X), {"x": "c"}, "expected an array 'c', got a, b"),
    "too many names": (
        npz(a=X),
        {"x": ["abcd"] * 4},
        "expected a name, or those of .*train, test, v",
    ),
    "a name for one array": (raw(WHOLE), {"x": "a"}, "x: expected None for one array, that of .*; got 'a'"),
    "labels that are no file": (raw(WHOLE), {"y": ("a",)}, r"y: expected the path of a .npy file"),
    "other labels": (npz(a=X, b=Y[1:]), {"x": "a", "y": "b"}, "expected 40 rows of y, as of x; got 39"),
    "labels of one": (
        npz(a=X, b=X, c=Y),
        {"x": ("a", "b"), "y": "c"},
        "y: expected as many arrays as x has, 2",
    ),
    "no rows for the test": (raw(WHOLE), {"test": 0.001}, "test: expected a share that leaves rows for both"),
    "a share of 1": (raw(WHOLE), {"test": 1.0}, "test: expected a share that leaves rows for both"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_other_files_and_arguments_are_named(tmp_path, damage):
    write, options, message = BROKEN[damage]
    write(tmp_path / "mine")
    with pytest.raises(ValueError, match=message):
        from_file(tmp_path / "mine", support="bytes", **options)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source: expected a .npy or .npz file, got .*/none.npy"):
        from_file(tmp_path / "none.npy", support="real")
