"""Published sets without factors from end to end: archives and folders, options, checksums, damage."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tests.data.cifar_files import made, shrink, write
from tests.data.idx_files import write_qmnist
from vaejax import data
from vaejax.data import from_files, idx_sets
from vaejax.data.__main__ import main
from vaejax.data.published import PUBLISHED

NAME = "cifar-10-binary.tar.gz"
SIZES = {"train": 20, "test": 12}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setattr(idx_sets, "_QMNIST_SIZES", SIZES)


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def with_checksum(monkeypatch, path):
    """The registry knows the checksum of this file."""
    entry = PUBLISHED["cifar10"]
    known = type(entry)(**{**vars(entry), "sha256": {NAME: hashlib.sha256(path.read_bytes()).hexdigest()}})
    monkeypatch.setattr(from_files, "PUBLISHED", {**PUBLISHED, "cifar10": known})


def test_an_archive_in_the_manual_folder_and_the_folder_that_it_unpacks_to(tmp_path, monkeypatch):
    stored, arrays = made("cifar10")
    (x, y), (x_test, y_test) = arrays["train"], arrays["test"]
    manual = tmp_path / "downloads" / "manual" / "cifar10"
    manual.mkdir(parents=True)
    (path,) = write(manual, stored, "archive", "cifar-10-batches-bin").values()
    path = path.rename(manual / NAME)
    with_checksum(monkeypatch, path)
    (batches,) = write(tmp_path, stored, "folder", "cifar-10-batches-bin").values()
    for options in ({"folder": tmp_path}, {"file": batches, "folder": tmp_path / "a"}, {"file": tmp_path}):
        sets = data.published("cifar10", **{"folder": tmp_path / "b", **options})
        assert [s.size for s in (sets.train, sets.validation, sets.test)] == [18, 2, 4]
        np.testing.assert_array_equal(sets.train.arrays["x"], x[:18], strict=True)
        np.testing.assert_array_equal(sets.validation.arrays["y"], y[18:], strict=True)
        np.testing.assert_array_equal(sets.test.arrays["x"], x_test, strict=True)
        np.testing.assert_array_equal(sets.test.arrays["y"], y_test, strict=True)


def test_damage_inside_an_archive_leaves_nothing(tmp_path, monkeypatch):
    stored, _ = made("cifar10")
    last = bytearray(stored["test_batch.bin"])
    last[-3073] = 10  # the class of the last picture of all
    (path,) = write(tmp_path, stored | {"test_batch.bin": bytes(last)}, "archive", "b").values()
    message = r"test_batch.bin: expected classes below 10, got \[10\] in record 3"
    with pytest.raises(ValueError, match=message):
        data.published("cifar10", file=path, checksum=False, folder=tmp_path / "sets")
    assert files_of(tmp_path / "sets") == []
    (whole,) = write(tmp_path, stored, "archive", "b").values()
    with_checksum(monkeypatch, whole)
    assert data.published("cifar10", file=whole, folder=tmp_path / "sets").test.size == 4


def test_another_archive_than_the_published_one_and_none(tmp_path, monkeypatch):
    (path,) = write(tmp_path, made("cifar10")[0], "archive", "b").values()
    with pytest.raises(ValueError, match=f"expected the published {NAME}, of SHA-256 c4a38c50"):
        data.published("cifar10", file=path, folder=tmp_path / "sets")
    with pytest.raises(FileNotFoundError, match=f"expected {NAME}, or cifar-10-batches-bin/, in one folder"):
        data.published("cifar10", folder=tmp_path / "sets")


def test_the_python_version_is_refused_with_the_reason_before_its_checksum(tmp_path):
    python = {file.removesuffix(".bin"): b"\x80\x02}." for file in made("cifar10")[0]}
    (path,) = write(tmp_path, python, "archive", "cifar-10-batches-py").values()
    (folder,) = write(tmp_path, python, "folder", "cifar-10-batches-py").values()
    for file in (path, folder):
        with pytest.raises(ValueError, match="got the Python one, pickles"):
            data.published("cifar10", file=file, folder=tmp_path / "sets")


def test_factors_and_attributes_name_the_columns_of_labels(tmp_path):
    (path,) = write(tmp_path, made("cifar100")[0], "archive", "b").values()
    sets = data.published("cifar100", file=path, checksum=False, folder=tmp_path)
    assert sets.factor_names == ("coarse", "fine")
    assert sets.train.arrays["y"].shape == (3, 2)


def test_options_on_the_command_line(tmp_path, capsys):
    (tmp_path / "files").mkdir()
    _, arrays = write_qmnist(tmp_path / "files", SIZES)
    command = ["qmnist", "--file", str(tmp_path / "files"), "--folder", str(tmp_path / "sets")]
    assert main([*command, "--option", "columns=class,writer"]) == 0
    out = capsys.readouterr().out
    assert "test: x uint8 [12, 28, 28, 1], y int32 [12, 2]" in out
    assert f"qmnist lies in {tmp_path}/sets/qmnist/published-columns_class_writer/1.0.0" in out
    sets = data.published("qmnist", options={"columns": ["class", "writer"]}, folder=tmp_path / "sets")
    np.testing.assert_array_equal(sets.test.arrays["y"], arrays["test"][1][:, [0, 2]])
    for name, option, message in (
        ("qmnist", "columns", "--option: expected KEY=VALUE, got 'columns'"),
        ("celeba", "crop=big", "--option: expected crop=NUMBER, got 'crop=big'"),
        ("celeba", "size=3", "options: expected those of celeba, crop, side; got 'size'"),
        ("kmnist", "size=3", "options: expected those of kmnist, none; got 'size'"),
        ("mnist", "size=3", "--option: expected one of binarized_mnist, "),
    ):
        assert main([name, "--option", option, "--folder", str(tmp_path)]) == 1
        assert message in capsys.readouterr().err


def test_the_list_says_options_and_finds_either_form(tmp_path, capsys):
    (tmp_path / "downloads" / "manual" / "cifar-100-binary").mkdir(parents=True)
    assert main(["--folder", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "options: crop=148, side=64 needs img_align_celeba.zip, list_attr" in said
    assert f"its files are in {tmp_path}/downloads/manual; python -m vaejax.data cifar100" in said


def test_every_entry_names_its_forms_and_checksums_of_its_own_files():
    for name, entry in PUBLISHED.items():
        assert entry.files, name
        assert set(entry.sha256) <= set(entry.files), name
        assert all(len(value) == 64 and int(value, 16) for value in entry.sha256.values()), name


@pytest.mark.parametrize(
    "name", ["binarized_mnist", "celeba", "cifar10", "cifar100", "emnist", "kmnist", "svhn"]
)
def test_checksums_are_those_that_tensorflow_datasets_has(name):
    import tensorflow_datasets as tfds

    known = {"celeba": "celeb_a", "svhn": "svhn_cropped"}.get(name, name)
    builder = tfds.builder_cls(known)
    sums = {info.filename: info.checksum for info in builder.url_infos.values()}
    for file, value in PUBLISHED[name].sha256.items():
        assert sums[file] == value
