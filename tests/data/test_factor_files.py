"""Sets with known factors, from small files of each published format; each way to be broken has one error."""

import struct
import sys

import numpy as np
import pytest

from tests.data import published_files as files
from tests.data.published_files import check_splits, examples_of
from vaejax import data
from vaejax.data.factor_files import CARS3D, SHAPES3D, cars3d_recipe, shapes3d_recipe
from vaejax.data.published import PUBLISHED


def test_the_published_grids_have_the_sizes_that_are_known():
    sizes = {
        "mpi3d_toy": 1_036_800,
        "mpi3d_realistic": 1_036_800,
        "mpi3d_real": 1_036_800,
        "mpi3d_complex": 460_800,
    }
    for name, n in sizes.items():
        assert np.prod(PUBLISHED[name].recipe.args[1]) == n
        assert PUBLISHED[name].about.startswith(f"{n} colour 64x64")
    assert 3 * 6 * 40 * 32 * 32 == 737_280
    assert 5 * 10 * 9 * 18 * 6 * 2 == 97_200
    assert 10 * 10 * 10 * 8 * 4 * 15 == 480_000
    assert 183 * 24 * 4 == 17_568


# Cars3D


def test_cars3d(tmp_path):
    im = files.write_cars(tmp_path / "cars")
    recipe = cars3d_recipe({CARS3D: tmp_path / "cars"})
    x, y, _ = examples_of(recipe)
    for image, (car, azimuth, elevation) in zip(x, y, strict=True):
        np.testing.assert_array_equal(image, im[car, :, :, :, azimuth, elevation])
    assert recipe.notes()["factors"] == [["car", 2], ["azimuth", 3], ["elevation", 2]]
    check_splits(recipe)


def _car(folder, content, name="car_002_mesh.mat"):
    (folder / name).write_bytes(content)


def im(*shape):
    return {"im": files.images_of(shape[0], *shape[1:])}


BAD_CARS = {
    "no car": (
        lambda folder: [path.unlink() for path in folder.iterdir()],
        "expected car_001_mesh.mat, which is not there",
    ),
    "one that is listed": (
        lambda folder: (folder / "car_002_mesh.mat").unlink(),
        "expected car_002_mesh.mat, which is not",
    ),
    "another array": (
        lambda folder: _car(folder, files.mat_bytes({"mask": im(4, 4)["im"]})),
        "an array 'im' of uint8, got none",
    ),
    "other views": (
        lambda folder: _car(folder, files.mat_bytes(im(4, 4, 3, 3, 1))),
        r"expected 'im' \[4, 4, 3, 3, 2\]",
    ),
    "grey": (
        lambda folder: _car(folder, files.mat_bytes(im(4, 4, 1, 3, 2)), "car_001_mesh.mat"),
        r"\[H, W, 3, azimuths, elevations\], got \[4, 4, 1, 3, 2\]",
    ),
    "cut": (lambda folder: _car(folder, files.mat_bytes(im(4, 4, 3, 3, 2))[:-40]), "expected a MATLAB file"),
    "no MATLAB": (lambda folder: _car(folder, b"nothing of the kind" * 20), "expected a MATLAB file"),
    "of HDF5": (
        lambda folder: _car(folder, b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H2s", 0x0200, b"IM")),
        "expected a MATLAB file",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BAD_CARS.values(), ids=BAD_CARS)
def test_a_damaged_folder_of_cars(tmp_path, damage, message):
    files.write_cars(tmp_path / "cars")
    damage(tmp_path / "cars")
    with pytest.raises(ValueError, match=message) as caught:
        examples_of(cars3d_recipe({CARS3D: tmp_path / "cars"}))
    assert str(caught.value).startswith(f"{tmp_path}/cars")


# 3D Shapes


def test_shapes3d(tmp_path):
    arrays = files.shapes3d_arrays()
    recipe = shapes3d_recipe({SHAPES3D: files.write_shapes3d(tmp_path / SHAPES3D, arrays)})
    x, y, _ = examples_of(recipe)
    np.testing.assert_array_equal(x, arrays["images"])
    np.testing.assert_array_equal(y, files.grid(*files.SHAPES3D_VALUES))
    assert dict(recipe.notes()["factors"])["orientation"] == 3
    check_splits(recipe)


def shapes3d_with(**changes):
    return {**files.shapes3d_arrays(), **changes}


BAD_SHAPES3D = {
    "another key": (
        {"imgs": files.images_of(96, 4, 4, 3)},
        "expected 'images', uint8 of 4 axes; got only imgs",
    ),
    "real images": (shapes3d_with(images=np.zeros((96, 4, 4, 3))), "'images', uint8 of 4 axes; got float64"),
    "fewer labels": (
        shapes3d_with(labels=files.shapes3d_arrays()["labels"][:-1]),
        r"expected 'labels' \[96, 6\], got \[95, 6\]",
    ),
    "another order": (
        shapes3d_with(labels=files.shapes3d_arrays()["labels"][::-1]),
        "expected the factors of every combination",
    ),
    "nan": (shapes3d_with(labels=np.full((96, 6), np.nan)), "expected the factors of every combination"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_SHAPES3D.values(), ids=BAD_SHAPES3D)
def test_another_file_named_shapes3d(tmp_path, arrays, message):
    path = files.write_shapes3d(tmp_path / SHAPES3D, arrays)
    with pytest.raises(ValueError, match=rf"3dshapes.h5: .*{message}"):
        shapes3d_recipe({SHAPES3D: path})


@pytest.mark.parametrize("size", [0, 400, 6000], ids=str)
def test_a_cut_hdf5_file(tmp_path, size):
    path = files.write_shapes3d(tmp_path / SHAPES3D, files.shapes3d_arrays())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="expected a whole HDF5 file"):
        shapes3d_recipe({SHAPES3D: path})


def test_without_h5py_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install -c constraints.txt -e '\.\[data\]'"):
        shapes3d_recipe({SHAPES3D: tmp_path / SHAPES3D})


def test_every_grid_can_be_prepared_and_sampled(tmp_path):
    files.write_cars(tmp_path / "cars")
    files.write_shapes3d(tmp_path / "3dshapes.h5", files.shapes3d_arrays())
    for name, n in (("cars3d", 12), ("shapes3d", 96)):
        made = data.published(name, file=tmp_path, checksum=False, folder=tmp_path / "sets")
        assert made.num_images == n
        y = files.grid(*made.num_values)
        assert len(np.unique(made.sample_images(y).reshape(n, -1), axis=0)) == n
