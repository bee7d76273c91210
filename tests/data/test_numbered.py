"""Falcor3D and Isaac3D from folders of small PNG files written by hand; an error for each damage."""

import math

import numpy as np
import pytest

from tests.data import published_files as files
from tests.data.published_files import check_splits, examples_of
from vaejax.data.numbered import FALCOR3D, ISAAC3D, numbered_recipe

FACTORS = {"a": 2, "b": 3, "c": 2}
IMAGES = files.images_of(12, 4, 4, 3)


def write(folder, images=IMAGES):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        (folder / f"{i:06}.png").write_bytes(files.png_bytes(image))
    return {"set/": folder}


@pytest.mark.parametrize("inside", ["", "images"])
@pytest.mark.parametrize("alpha", [False, True])
def test_numbered_pictures(tmp_path, inside, alpha):
    opaque = np.full((12, 4, 4, 1), 255, np.uint8)
    write(tmp_path / "set" / inside, np.concatenate([IMAGES, opaque], axis=3) if alpha else IMAGES)
    recipe = numbered_recipe("mine", FACTORS, {"set/": tmp_path / "set"})
    x, y, _ = examples_of(recipe)
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(y, files.grid(2, 3, 2))
    check_splits(recipe)


@pytest.mark.parametrize(
    ("factors", "steps"),
    [
        (FALCOR3D, [46_656, 7776, 1296, 216, 36, 6, 1]),
        (ISAAC3D, [245_760, 30_720, 6144, 1536, 384, 96, 16, 4, 1]),
    ],
)
def test_the_index_is_the_published_one(factors, steps):
    sizes = tuple(factors.values())
    assert [math.prod(sizes[k + 1 :]) for k in range(len(sizes))] == steps


def picture(i, image):
    return lambda folder: (folder / f"{i:06}.png").write_bytes(files.png_bytes(image))


def cut(folder):
    path = folder / "000005.png"
    path.write_bytes(path.read_bytes()[:-30])


BAD = {
    "one less": (lambda folder: (folder / "000003.png").unlink(), "expected 12 pictures, .*; got 11"),
    "another name": (
        lambda folder: (folder / "000003.png").rename(folder / "3.png"),
        "000003.png: expected a whole",
    ),
    "another size": (
        picture(4, IMAGES[0, :3]),
        r"000004.png: expected a picture of \[4, 4, 3\].*got \[3, 4, 3\]",
    ),
    "grey": (picture(4, IMAGES[0, ..., :1]), "000004.png: expected a picture of three colours, got .*'L'"),
    "seen through": (picture(0, np.zeros((4, 4, 4), np.uint8)), "000000.png: .*three colours, got .*'RGBA'"),
    "cut": (cut, "000005.png: expected a whole PNG picture"),
    "no picture": (
        lambda folder: (folder / "000000.png").write_bytes(b"none"),
        "expected a whole PNG picture",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BAD.values(), ids=BAD)
def test_a_damaged_folder_of_pictures(tmp_path, damage, message):
    paths = write(tmp_path / "set")
    damage(tmp_path / "set")
    with pytest.raises(ValueError, match=message):
        examples_of(numbered_recipe("mine", FACTORS, paths))
