"""KMNIST, EMNIST and QMNIST from small IDX files: upright, with their classes; other files are refused."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

from tests.data.idx_files import idx_bytes, write_qmnist, write_set
from vaejax.data import from_files, idx_sets, published

SIZES = {"train": 30, "test": 12}
LETTERS = {"train": 40, "test": 20}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(idx_sets, "_KMNIST_SIZES", SIZES)
    monkeypatch.setattr(idx_sets, "_QMNIST_SIZES", SIZES)
    monkeypatch.setattr(idx_sets, "_EMNIST", {"letters": (40, 20, 1, 26), "balanced": (30, 12, 0, 46)})


def arrays(recipe, split):
    examples = list(recipe.splits[split]())
    return {name: np.stack([example[name] for example in examples]) for name in recipe.features}


def test_kmnist(tmp_path):
    made = write_set(tmp_path / "files", SIZES, zipped=True)
    names = [f"{name}.gz" for pair in (("train", "train"), ("t10k", "test")) for name in (
        f"{pair[0]}-images-idx3-ubyte", f"{pair[0]}-labels-idx1-ubyte")]  # fmt: skip
    recipe = idx_sets.kmnist_recipe({name: tmp_path / "files" / name for name in names})
    for split, (images, labels) in made.items():
        read = arrays(recipe, split)
        np.testing.assert_array_equal(read["x"], images[..., None], strict=True)
        np.testing.assert_array_equal(read["y"], labels, strict=True)


def emnist(part, sizes, first, last):
    """{name: bytes} of the files of a part, and {split: (images as they are seen, labels)}."""
    rng, data, made = np.random.default_rng(0), {}, {}
    for split, n in sizes.items():
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = np.resize(np.arange(first, last + 1, dtype=np.uint8), n)
        made[split] = (images, labels)
        stored = images.transpose(0, 2, 1)  # as the files have them
        for kind, array in (("images-idx3", stored), ("labels-idx1", labels)):
            data[f"emnist-{part}-{split}-{kind}-ubyte.gz"] = gzip.compress(idx_bytes(array))
    return data, made


@pytest.fixture
def archive(tmp_path):
    """The path of gzip.zip with two parts, and what they hold."""
    (letters, made), (balanced, others) = (
        emnist("letters", LETTERS, 1, 26),
        emnist("balanced", SIZES, 0, 46),
    )
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for name, value in (letters | balanced).items():
            archive.writestr(f"gzip/{name}", value)
    return tmp_path / "gzip.zip", {"letters": made, "balanced": others}


def test_emnist_stands_upright_in_every_part_from_the_archive_and_unpacked(archive, tmp_path):
    path, made = archive
    zipfile.ZipFile(path).extractall(tmp_path / "here")
    for part, expected in made.items():
        for paths in ({"gzip.zip": path}, {"gzip/": tmp_path / "here" / "gzip"}):
            recipe = idx_sets.emnist_recipe(paths, part=part)
            for split, (images, labels) in expected.items():
                read = arrays(recipe, split)
                np.testing.assert_array_equal(read["x"], images[..., None], strict=True)
                np.testing.assert_array_equal(read["y"], labels, strict=True)
    with pytest.raises(ValueError, match="part: expected one of 'letters', 'balanced'; got 'digit'"):
        idx_sets.emnist_recipe({"gzip.zip": path}, part="digit")


def test_parts_are_options_that_lie_beside_each_other(archive, tmp_path, monkeypatch):
    path, made = archive
    monkeypatch.setattr(from_files, "check_sums", lambda paths, sums: None)
    for options, part in (({}, "balanced"), ({"part": "letters"}, "letters")):
        data = published("emnist", file=path, options=options, folder=tmp_path)
        images, labels = made[part]["test"]
        np.testing.assert_array_equal(data.test.arrays["x"], images[..., None])
        np.testing.assert_array_equal(data.test.arrays["y"], labels)
    folders = {p.name for p in (tmp_path / "emnist").iterdir()}
    assert folders == {"published", "published-part_letters"}
    path.unlink()  # both are prepared: neither needs the file
    again = published("emnist", options={"part": "letters"}, folder=tmp_path)
    np.testing.assert_array_equal(again.test.arrays["x"], data.test.arrays["x"])
    for options, error, message in (
        ({"parts": "letters"}, ValueError, "options: expected those of emnist, part; got 'parts'"),
        (["part"], TypeError, "options: expected a mapping or None, got list"),
    ):
        with pytest.raises(error, match=message):
            published("emnist", options=options, folder=tmp_path)


def test_qmnist_and_its_eight_columns(tmp_path):
    paths, made = write_qmnist(tmp_path, SIZES)
    for columns, places in (
        (("class",), 0),
        (("class", "writer"), [0, 2]),
        (idx_sets.QMNIST_COLUMNS, range(8)),
    ):
        recipe = idx_sets.qmnist_recipe(paths, columns=columns)
        for split, (images, labels) in made.items():
            read = arrays(recipe, split)
            np.testing.assert_array_equal(read["x"], images[..., None], strict=True)
            np.testing.assert_array_equal(read["y"], labels[:, places], strict=True)
            assert read["y"].shape[1:] == recipe.features["y"]
    for columns, message in (
        (("size",), "columns: expected one of 'class', .* got 'size'"),
        ((), "got none"),
    ):
        with pytest.raises(ValueError, match=message):
            idx_sets.qmnist_recipe(paths, columns=columns)


def other_type(labels):
    return idx_bytes(labels.astype(np.uint8))


def little_endian(labels):
    data = idx_bytes(labels)
    return data[:12] + labels.astype("<i4").tobytes()


BROKEN = {
    "bytes for int32": (other_type, "expected IDX type 0x0c, int32; got 0x08"),
    "too few": (lambda y: idx_bytes(y[:-1]), r"expected shape \[12, 8\], got \[11, 8\]"),
    "another number of columns": (
        lambda y: idx_bytes(y[:, :7].copy()),
        r"expected shape \[12, 8\], got \[12, 7\]",
    ),
    "the least significant byte first": (little_endian, "expected classes 0..9, got 16777216"),
    "cut": (lambda y: idx_bytes(y)[:-3], r"expected 384 bytes after the header of shape \[12, 8\], got 381"),
    "a class that is none": (lambda y: idx_bytes(y + 7), "expected classes 0..9, got 10"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_other_labels_are_named(tmp_path, damage):
    paths, made = write_qmnist(tmp_path, SIZES)
    change, message = BROKEN[damage]
    name = "qmnist-test-labels-idx2-int.gz"
    paths[name].write_bytes(change(made["test"][1]))
    with pytest.raises(ValueError, match=message) as caught:
        arrays(idx_sets.qmnist_recipe(paths), "test")
    assert str(caught.value).startswith(str(paths[name]))


def test_a_header_is_looked_at_before_anything_is_read(tmp_path):
    paths, made = write_qmnist(tmp_path, SIZES)
    paths["qmnist-test-labels-idx2-int.gz"].write_bytes(gzip.compress(other_type(made["test"][1])))
    with pytest.raises(ValueError, match="expected IDX type 0x0c"):
        idx_sets.qmnist_recipe(paths)


def test_a_part_that_the_archive_has_not(tmp_path):
    data, _ = emnist("letters", LETTERS, 1, 26)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, value in data.items():
            archive.writestr(name, value)
    path = tmp_path / "gzip.zip"
    path.write_bytes(made.getvalue())
    with pytest.raises(
        FileNotFoundError, match="expected a file emnist-balanced-train-images-idx3-ubyte, got"
    ):
        idx_sets.emnist_recipe({"gzip.zip": path})
