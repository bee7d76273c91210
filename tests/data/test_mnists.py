"""MNIST and Fashion-MNIST from small IDX files: where they are looked for, what becomes of them."""

from __future__ import annotations

import gzip
import re
import sys
import urllib.error

import jax
import numpy as np
import pytest

from tests.data.idx_files import NAMES, idx_bytes, write_set
from vaejax.data import fashion_mnist, idx_sets, mnist, mnists, records
from vaejax.data.__main__ import main

SIZES = {"train": 30, "test": 12}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Small sets, none installed, no network."""

    def unreachable(url, **options):
        raise urllib.error.URLError(f"no way to {url}")

    monkeypatch.setattr(mnists, "_SIZES", SIZES)
    monkeypatch.setattr(mnists, "_DEBIAN", {"fashion_mnist": tmp_path / "debian"})
    monkeypatch.setattr(records.urllib.request, "urlopen", unreachable)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def written(folder):
    return write_set(folder / "downloads" / "manual" / "mnist", SIZES, zipped=False)


def test_splits_are_the_files_in_their_order(folder, written):
    data = mnist(num_validation=4, folder=folder)
    (train, train_labels), (test, test_labels) = written["train"], written["test"]
    for split, x, y in (
        (data.train, train[:-4], train_labels[:-4]),
        (data.validation, train[-4:], train_labels[-4:]),
        (data.test, test, test_labels),
    ):
        assert split.support == "unit_interval"
        np.testing.assert_array_equal(split.arrays["x"], x[..., None], strict=True)
        np.testing.assert_array_equal(split.arrays["y"], y, strict=True)
        seen = split.transform(jax.random.key(0), dict(split.arrays))["x"]
        np.testing.assert_array_equal(np.asarray(seen), x[..., None] * np.float32(1 / 255))
        with pytest.raises(ValueError, match="read-only"):
            split.arrays["x"][0] = 0


def test_a_static_draw_does_not_depend_on_what_is_held_out(folder, written):
    few, many = (mnist(pixels="static", num_validation=n, folder=folder) for n in (1, 20))
    for one in (few, many):
        x = np.concatenate([one.train.arrays["x"], one.validation.arrays["x"]])
        assert (x.shape, one.validation.support) == ((30, 28, 28, 1), "binary")
        np.testing.assert_array_equal(x[:10], few.train.arrays["x"][:10])
        np.testing.assert_array_equal(x[10:29], few.train.arrays["x"][10:])
    assert (few.train.arrays["x"][:12] != few.test.arrays["x"]).any()
    assert abs(few.train.arrays["x"].mean() - written["train"][0][:-1].mean() / 255) < 0.02


def test_a_prepared_set_is_read_without_files_or_tfds(folder, written, tmp_path, monkeypatch):
    expected = mnist(folder=folder, num_validation=1).train.arrays["x"]
    (tmp_path / "mnist").symlink_to(folder / "mnist")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # importing it fails
    np.testing.assert_array_equal(mnist(folder=tmp_path, num_validation=1).train.arrays["x"], expected)


def test_an_interrupted_cache_leaves_nothing_and_starts_clean(folder, written, tmp_path, monkeypatch):
    (tmp_path / "downloads").symlink_to(folder / "downloads")
    write = records.write

    def interrupted(*given):
        yield from write(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mnist(folder=tmp_path, num_validation=1)
    assert list(tmp_path.rglob("*.npy")) == list(tmp_path.rglob(".preparing-*")) == []
    data = mnist(folder=tmp_path, num_validation=1)
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], written["test"][0])


def test_files_are_found_where_debian_puts_them(tmp_path):
    debian = write_set(tmp_path / "debian", SIZES, zipped=True)
    data = fashion_mnist(folder=tmp_path, num_validation=1)
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], debian["test"][0])
    with pytest.raises(FileNotFoundError, match="mnist: expected"):
        mnist(folder=tmp_path)


def test_files_in_the_manual_folder_come_first_but_only_all_four(tmp_path):
    manual = tmp_path / "downloads" / "manual" / "fashion_mnist"
    mine = write_set(manual, SIZES, zipped=False)
    for images, _ in mine.values():
        images[:] = 7
    for split, names in NAMES.items():
        (manual / names[0]).write_bytes(idx_bytes(mine[split][0]))
    debian = write_set(tmp_path / "debian", SIZES, zipped=True)
    data = fashion_mnist(folder=tmp_path, num_validation=1)
    assert (data.test.arrays["x"] == 7).all()

    (manual / NAMES["test"][1]).unlink()
    (tmp_path / "fashion_mnist").rename(tmp_path / "elsewhere")
    data = fashion_mnist(folder=tmp_path, num_validation=1)
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], debian["test"][0])


def test_missing_files_say_what_to_do_and_leave_nothing(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        fashion_mnist(folder=tmp_path)
    message = str(caught.value)
    for part in (
        "fashion_mnist: expected train-images-idx3-ubyte, ",
        "or a way to http://fashion-mnist.",
        "no way to http://fashion-mnist.",
        f"{tmp_path / 'downloads/manual/fashion_mnist'}: no such folder. {tmp_path / 'debian'}: no such",
        "install Debian's dataset-fashion-mnist, or put the files into",
    ):
        assert part in message
    assert [p for p in tmp_path.rglob("*") if p.is_file() or p.name.startswith(".")] == []


def test_the_names_of_unpacked_files_are_known_too(tmp_path):
    manual = tmp_path / "downloads" / "manual" / "mnist"
    made = write_set(manual, SIZES, zipped=False)
    images, labels = NAMES["train"]
    (manual / images).rename(manual / "train-images.idx3-ubyte")  # as 7-zip names what it unpacks
    test_images = NAMES["test"][0]
    for name, renamed in ((labels, "train-labels.idx1-ubyte.gz"), (test_images, f"{test_images}.gz")):
        (manual / renamed).write_bytes(gzip.compress((manual / name).read_bytes()))
        (manual / name).unlink()
    data = mnist(folder=tmp_path, num_validation=1)
    np.testing.assert_array_equal(data.train.arrays["x"][..., 0], made["train"][0][:-1])
    np.testing.assert_array_equal(data.train.arrays["y"], made["train"][1][:-1])
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], made["test"][0])


def test_some_files_of_four_are_told_from_those_that_are_missing(tmp_path):
    manual = tmp_path / "downloads" / "manual" / "mnist"
    write_set(manual, SIZES, zipped=False)
    (images, labels), (test_images, test_labels) = NAMES["train"], NAMES["test"]
    (manual / images).rename(manual / "train-images.idx3-ubyte")
    (manual / labels).rename(manual / "train-labels")
    (manual / test_labels).unlink()
    has = f"has train-images.idx3-ubyte, {test_images}, lacks {labels}, {test_labels}, also train-labels."
    with pytest.raises(FileNotFoundError, match=re.escape(f"{manual}: {has}")):
        mnist(folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            NAMES["train"][0],
            np.zeros((30, 28, 27), np.uint8),
            r"expected shape \[30, 28, 28\], got \[30, 28, 27\]",
        ),
        (
            NAMES["test"][1],
            np.zeros(11, np.uint8),
            r"t10k-labels-idx1-ubyte: expected shape \[12\], got \[11\]",
        ),
        (
            NAMES["train"][1],
            np.full(30, 10, np.uint8),
            "train-labels-idx1-ubyte: expected classes 0..9, got 10",
        ),
    ],
)
def test_files_of_another_set_are_refused(tmp_path, name, array, message):
    manual = tmp_path / "downloads" / "manual" / "mnist"
    write_set(manual, SIZES, zipped=False)
    (manual / name).write_bytes(idx_bytes(array))
    with pytest.raises(ValueError, match=message):
        mnist(folder=tmp_path)
    assert list((tmp_path / "mnist" / "idx").iterdir()) == []


def test_the_command_prepares_with_a_bar_and_says_where(folder, written, tmp_path, capfd):
    (tmp_path / "downloads").symlink_to(folder / "downloads")
    assert main(["mnist", "--folder", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "train: x uint8 [30, 28, 28, 1], y uint8 [30]",
        "test: x uint8 [12, 28, 28, 1], y uint8 [12]",
        f"mnist lies in {tmp_path / 'mnist' / 'idx' / '1.0.0'}",
    ]
    assert "mnist: 100%" in err
    assert mnist(folder=tmp_path, num_validation=1).test.size == 12
    assert capfd.readouterr() == ("", "")


def test_the_command_says_what_went_wrong(tmp_path, capsys, monkeypatch):
    assert main(["fashion_mnist", "--folder", str(tmp_path)]) == 1
    assert "fashion_mnist: expected train-images-idx3-ubyte" in capsys.readouterr().err

    write_set(tmp_path / "debian", SIZES, zipped=True)

    def interrupted(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(idx_sets, "idx_rows", interrupted)
        assert main(["fashion_mnist", "--folder", str(tmp_path)]) == 130
    assert "the same command starts again" in capsys.readouterr().err
    assert list((tmp_path / "fashion_mnist" / "idx").iterdir()) == []
    assert main(["fashion_mnist", "--folder", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pixels": "gray"}, ValueError, "pixels: expected one of .* got 'gray'"),
        ({"num_validation": 0}, ValueError, "num_validation: expected at least 1, got 0"),
        ({"num_validation": 0.1}, TypeError, "num_validation: expected an int, got float"),
        ({"num_validation": 30}, ValueError, "num_validation: expected less than 30 examples, got 30"),
        ({"pixels": "binary"}, ValueError, "pixels: expected 'dynamic', 'static' or 'threshold'"),
        ({"folder": 3}, TypeError, r"folder: expected a path or None, got int \(3\)"),
    ],
)
def test_bad_arguments(folder, written, arguments, error, message):
    with pytest.raises(error, match=message):
        mnist(**{"folder": folder, **arguments})
