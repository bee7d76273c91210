"""dSprites and MPI3D from small .npz files written by hand; each way to be broken has one error."""

import numpy as np
import pytest

from tests.data import published_files as files
from tests.data.published_files import check_splits, examples_of
from vaejax import data
from vaejax.data import factor_files
from vaejax.data.factor_files import DSPRITES, dsprites_recipe, mpi3d_recipe


def dsprites(tmp_path, arrays=None, *, packed=True, change=lambda data: data):
    data_of = files.dsprites_bytes(arrays, packed=packed)
    return {DSPRITES: files.write_dsprites(tmp_path, change(data_of))}


@pytest.mark.parametrize("packed", [True, False])
def test_dsprites(tmp_path, packed):
    arrays = files.dsprites_arrays()
    recipe = dsprites_recipe(dsprites(tmp_path, packed=packed))
    x, y, _ = examples_of(recipe)
    np.testing.assert_array_equal(x, arrays["imgs"][..., None])
    np.testing.assert_array_equal(y, arrays["latents_classes"][:, 1:])
    assert recipe.notes()["factors"] == [["shape", 3], ["scale", 2], ["orientation", 2], ["x", 2], ["y", 2]]
    check_splits(recipe)


def test_classes_in_the_other_byte_order_are_the_same_numbers(tmp_path):
    arrays = files.dsprites_arrays()
    turned = files.npy_bytes(arrays["latents_classes"].byteswap(), descr=">i8")
    members = {"imgs.npy": files.npy_bytes(arrays["imgs"]), "latents_classes.npy": turned}
    recipe = dsprites_recipe({DSPRITES: files.write_dsprites(tmp_path, files.zip_bytes(members))})
    np.testing.assert_array_equal(examples_of(recipe)[1], arrays["latents_classes"][:, 1:])


def test_dsprites_is_never_in_memory_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("vaejax.data.npz._BLOCK", 100)  # bytes: six images of 16
    x, _, _ = examples_of(dsprites_recipe(dsprites(tmp_path)))
    np.testing.assert_array_equal(x, files.dsprites_arrays()["imgs"][..., None])


def changed(**changes):
    return lambda: {**files.dsprites_arrays(), **{name: change() for name, change in changes.items()}}


def classes():
    return files.dsprites_arrays()["latents_classes"]


BAD_DSPRITES = {
    "another key": (
        lambda: {"images": files.dsprites_arrays()["imgs"]},
        "expected an array 'imgs' in it, got images, metadata",
    ),
    "other pixels": (changed(imgs=lambda: np.zeros((48, 4, 4))), "'imgs' as uint8 of 3 axes, got float64"),
    "colour": (
        changed(imgs=lambda: np.zeros((48, 4, 4, 3), np.uint8)),
        r"of 3 axes, got uint8 \[48, 4, 4, 3\]",
    ),
    "fewer images": (
        changed(imgs=lambda: np.zeros((47, 4, 4), np.uint8)),
        r"expected latents_classes \[47, 6\], got \[48, 6\]",
    ),
    "values for classes": (changed(latents_classes=lambda: classes() * 1.0), "'latents_classes' as int64"),
    "two colours": (
        changed(latents_classes=lambda: np.add(classes(), [1, 0, 0, 0, 0, 0])),
        "expected one colour, 0",
    ),
    "another order": (
        changed(latents_classes=lambda: classes()[::-1]),
        "expected the factors of every combination",
    ),
    "not whole": (
        lambda: {name: array[:-1] for name, array in files.dsprites_arrays().items()},
        "expected the factors of every combination of 3 x 2 x 2 x 2 x 2 values",
    ),
    "nothing": (lambda: {name: array[:0] for name, array in files.dsprites_arrays().items()}, "got 0 rows"),
}


@pytest.mark.parametrize(("make", "message"), BAD_DSPRITES.values(), ids=BAD_DSPRITES)
def test_another_file_named_dsprites(tmp_path, make, message):
    paths = dsprites(tmp_path, make())
    with pytest.raises(ValueError, match=message) as caught:
        dsprites_recipe(paths)
    assert str(caught.value).startswith(f"{paths[DSPRITES]}: expected ")


def test_what_only_pickle_reads_is_refused(tmp_path):
    pickled = files.npy_bytes(np.zeros(48, np.uint8), descr="|O")
    members = {"imgs.npy": pickled, "latents_classes.npy": files.npy_bytes(classes())}
    paths = {DSPRITES: files.write_dsprites(tmp_path, files.zip_bytes(members))}
    with pytest.raises(
        ValueError, match="expected numbers in 'imgs', got Python objects, which only pickle can read"
    ):
        dsprites_recipe(paths)


HEADERS = {
    "no .npy": (b"PK nothing of the kind", "as numpy writes arrays"),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(200), "as numpy writes arrays"),
    "a header that is none": (
        b"\x93NUMPY\x01\x00\x10\x00" + b"import os".ljust(16),
        "as numpy writes arrays",
    ),
    "a short header": (b"\x93NUMPY\x01\x00\xff\x00{", "as numpy writes arrays"),
    "columns first": (
        files.npy_bytes(np.zeros((48, 4, 4), np.uint8), fortran=True),
        "in C order; got .*the first axis changing fastest",
    ),
    "a number": (files.npy_bytes(np.zeros((), np.uint8)), r"as rows, \[N, ...\]"),
    "rows less": (
        files.npy_bytes(np.zeros((48, 4, 4), np.uint8))[:-20],
        "expected 48 rows of 'imgs', got the bytes of 46",
    ),
    "rows more": (
        files.npy_bytes(np.zeros((48, 4, 4), np.uint8)) + b"1",
        "expected 48 rows of 'imgs', got more",
    ),
}


@pytest.mark.parametrize(("member", "message"), HEADERS.values(), ids=HEADERS)
def test_a_damaged_array_in_an_npz_file(tmp_path, member, message):
    members = {"imgs.npy": member, "latents_classes.npy": files.npy_bytes(classes())}
    paths = {DSPRITES: files.write_dsprites(tmp_path, files.zip_bytes(members))}
    with pytest.raises(ValueError, match=message) as caught:
        examples_of(dsprites_recipe(paths))
    assert str(caught.value).startswith(f"{paths[DSPRITES]}: expected ")


def flipped(data):
    """The same with one bit changed in the last bytes of the images."""
    place = data.index(b"latents_classes.npy") - 42
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


DAMAGES = {
    "cut at the end": lambda data: data[:-30],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a page of a server": lambda data: b"<!DOCTYPE html><html>not found</html>",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_npz_file(tmp_path, damage):
    with pytest.raises(
        ValueError, match=r"npz: expected a whole .npz file, got another one .*fetch the file again"
    ):
        dsprites_recipe(dsprites(tmp_path, change=damage))


@pytest.mark.parametrize("packed", [True, False])
def test_a_bit_that_changed_is_found_and_nothing_half_made_is_left(tmp_path, packed):
    paths = dsprites(tmp_path, packed=packed, change=flipped)
    with pytest.raises(ValueError, match="expected a whole array 'imgs', got a damaged one"):
        data.published("dsprites", file=paths[DSPRITES], folder=tmp_path / "sets")
    assert [path for path in (tmp_path / "sets").rglob("*") if path.is_file()] == []


# MPI3D

MPI3D_VALUES = (2, 1, 2, 1, 1, 3, 2)


def mpi3d(tmp_path, array, key="images", num_values=MPI3D_VALUES):
    path = tmp_path / "mpi3d_toy.npz"
    path.write_bytes(files.zip_bytes({f"{key}.npy": files.npy_bytes(array)}, packed=False))
    return mpi3d_recipe("mpi3d_toy", num_values, {path.name: path})


def test_mpi3d(tmp_path):
    images = files.images_of(24, 4, 4, 3)
    recipe = mpi3d(tmp_path, images)
    x, y, _ = examples_of(recipe)
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(y, files.grid(*MPI3D_VALUES))
    assert [name for name, _ in recipe.notes()["factors"]] == list(factor_files.MPI3D_FACTORS)
    check_splits(recipe)


@pytest.mark.parametrize(
    ("array", "key", "message"),
    [
        (
            files.images_of(23, 4, 4, 3),
            "images",
            "expected 24 images, of 2 x 1 x 2 x 1 x 1 x 3 x 2 values; got 23",
        ),
        (
            files.images_of(24, 4, 4),
            "images",
            r"expected 'images' as uint8 of 4 axes, got uint8 \[24, 4, 4\]",
        ),
        (files.images_of(24, 4, 4, 3), "imgs", "expected an array 'images' in it, got imgs"),
    ],
)
def test_another_file_named_mpi3d(tmp_path, array, key, message):
    with pytest.raises(ValueError, match=rf"mpi3d_toy.npz: {message}"):
        mpi3d(tmp_path, array, key)
