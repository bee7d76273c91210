"""Small NORB from small files in its format; each way to be broken has one error."""

import gzip
import struct

import numpy as np
import pytest

from tests.data import published_files as files
from tests.data.published_files import check_splits, examples_of
from vaejax import data
from vaejax.data import norb
from vaejax.data.norb import smallnorb_recipe


@pytest.mark.parametrize("zipped", [True, False])
def test_smallnorb(tmp_path, zipped):
    arrays = files.norb_arrays()
    paths = files.write_norb(tmp_path, arrays)
    for path in paths.values() if zipped else ():
        path.write_bytes(gzip.compress(path.read_bytes()))
    recipe = smallnorb_recipe(paths)
    x, y, splits = examples_of(recipe)
    assert recipe.notes()["factors"] == [
        ["category", 2], ["instance", 4], ["elevation", 2], ["azimuth", 2], ["lighting", 1], ["camera", 2],
    ]  # fmt: skip
    seen = {}
    for image, factors, split in zip(x, y, splits, strict=True):
        assert (factors[1] < 2) == (split == "test")
        seen[tuple(factors.tolist())] = image
    for dat, cat, info in (norb.FILES[:3], norb.FILES[3:]):
        for pair, category, (instance, elevation, azimuth, lighting) in zip(
            arrays[dat], arrays[cat], arrays[info], strict=True
        ):
            for camera in (0, 1):
                of = (category, instance, elevation, azimuth // 2, lighting, camera)
                np.testing.assert_array_equal(seen.pop(of)[..., 0], pair[camera])
    assert not seen
    assert splits.count("validation") == 2  # a pair of the 16
    check_splits(recipe)


def test_smallnorb_has_images_of_all_factors(tmp_path):
    files.write_norb(tmp_path, files.norb_arrays())
    toys = data.published("smallnorb", file=tmp_path, folder=tmp_path / "sets")
    assert toys.num_values == (2, 4, 2, 2, 1, 2)
    for split in (toys.train, toys.validation, toys.test):
        x = split.transform(None, dict(split.arrays))["x"]
        np.testing.assert_array_equal(toys.sample_images(split.arrays["y"]), x)


def with_bytes(file, change):
    def damage(paths):
        paths[norb.FILES[file]].write_bytes(change(paths[norb.FILES[file]].read_bytes()))

    return damage


def with_array(file, change):
    return with_bytes(file, lambda _: files.matrix_bytes(change(files.norb_arrays()[norb.FILES[file]])))


BAD_NORB = {
    "bytes in the other order": (
        with_bytes(0, lambda _: files.matrix_bytes(files.norb_arrays()[norb.FILES[0]], order=">")),
        "expected a binary matrix of uint8, got bytes in the other order",
    ),
    "another file": (with_bytes(0, lambda _: b"nothing of the kind" * 9), "got the magic number 0x6874"),
    "another type": (
        with_bytes(0, lambda _: files.matrix_bytes(files.norb_arrays()[norb.FILES[1]])),
        "of uint8, got int32",
    ),
    "no dimensions": (
        with_bytes(1, lambda old: old[:4] + struct.pack("<i", 0) + old[8:]),
        "expected 1 to 8 dimensions, got 0",
    ),
    "a negative size": (
        with_bytes(1, lambda old: old[:8] + struct.pack("<i", -5) + old[12:]),
        "expected sizes of dimensions",
    ),
    "a cut header": (with_bytes(2, lambda old: old[:10]), "expected a whole file, got one of 10 bytes less"),
    "cut values": (with_bytes(2, lambda old: old[:-3]), "expected a whole file, got one of 3 bytes less"),
    "cut images": (with_bytes(0, lambda old: old[:-5]), "expected a whole file, got one of 5 bytes less"),
    "more": (
        with_bytes(3, lambda old: old + b"1"),
        "expected the end of the file after its values, got more",
    ),
    "cut gzip": (with_bytes(1, lambda old: gzip.compress(old)[:-6]), "expected a whole gzip file"),
    "no cameras": (
        with_array(0, lambda old: old[:, 0]),
        r"expected square images, \[16, 2, H, H\]; got \[16, 4, 4\]",
    ),
    "fewer images": (with_array(0, lambda old: old[1:]), r"\[16, 2, H, H\]; got \[15, 2, 4, 4\]"),
    "another size": (
        with_array(3, lambda old: old[:, :, :2, :2]),
        "expected images of 4 x 4, as for training",
    ),
    "fewer categories": (
        with_array(1, lambda old: old[1:]),
        r"expected a row of 4 for each category .*got \[16, 4\]",
    ),
    "an odd azimuth": (with_array(2, lambda old: np.add(old, [0, 0, 1, 0])), "even azimuths"),
    "a lack": (
        with_array(2, lambda old: np.multiply(old, [1, 0, 1, 1])),
        "expected every combination of 2 x 4 x 2 x 2 x 1 values",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BAD_NORB.values(), ids=BAD_NORB)
def test_damaged_files_of_smallnorb(tmp_path, damage, message):
    paths = files.write_norb(tmp_path / "files", files.norb_arrays())
    damage(paths)
    with pytest.raises(ValueError, match=message) as caught:
        data.published("smallnorb", file=tmp_path / "files", checksum=False, folder=tmp_path / "sets")
    assert str(caught.value).startswith(f"{tmp_path}/files/smallnorb-")
    assert [path for path in (tmp_path / "sets").rglob("*") if path.is_file()] == []


def test_five_of_the_six_files_are_named(tmp_path):
    paths = files.write_norb(tmp_path, files.norb_arrays())
    paths[norb.FILES[4]].unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks {norb.FILES[4]}"):
        data.published("smallnorb", file=tmp_path, folder=tmp_path / "sets")
