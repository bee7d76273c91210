"""A folder of one's own pictures: found in all folders, cropped, resized, labelled and shared out."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
from PIL import Image

from vaejax.data import from_images, own_images


def picture(path, value, shape=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*shape, 3), value, np.uint8)).save(path)  # by Pillow


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve pictures of one grey each, 0, 20, ..., in three folders; and another file."""
    folder = tmp_path_factory.mktemp("mine")
    for n in range(12):
        name = ("b/deep/er", "a", "c.d")[n % 3]
        picture(folder / name / f"{n}.{('png', 'PNG')[n % 2]}", 20 * n, (6, 8 + n))
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("sets")


def greys(split):
    x = split.arrays["x"]
    assert (x == x[:, :1, :1, :1]).all()
    return x[:, 0, 0, 0].tolist()


def test_every_picture_is_in_one_split_with_the_label_of_its_folder(source, place):
    data = from_images(source, size=(4, 5), labels=True, held_out=0.25, folder=place)
    splits = (data.train, data.validation, data.test)
    assert [split.size for split in splits] == [6, 3, 3]
    assert sorted(grey for split in splits for grey in greys(split)) == [20 * n for n in range(12)]
    for split in splits:
        assert split.arrays["x"].shape[1:] == (4, 5, 3)
        assert split.arrays["y"].dtype == np.int32
        # folders in alphabetical order: a, b, c.d
        assert [(1, 0, 2)[grey // 20 % 3] for grey in greys(split)] == split.arrays["y"].tolist()
    other = from_images(source, size=(4, 5), labels=True, held_out=0.25, seed=1, folder=place)
    assert greys(other.test) != greys(data.test)


def test_a_prepared_set_is_loaded_until_a_picture_changes(source, place, tmp_path, caplog, monkeypatch):
    mine = tmp_path / "mine"
    for n in range(5):
        picture(mine / f"{n}.png", 10 * n)
    options = {"size": 4, "channels": 1, "pixels": "bytes", "folder": place}
    data = from_images(mine, **options)
    assert (data.train.support, data.train.arrays["x"].shape) == ("bytes", (3, 4, 4, 1))
    assert set(data.train.arrays) == {"x"}
    with monkeypatch.context() as patch:
        patch.setattr(own_images.Frame, "read", None)
        again = from_images(mine, **options)
    assert greys(again.train) == greys(data.train)
    picture(mine / "3.png", 200)
    os.utime(mine / "3.png", ns=(1, 1))
    changed = from_images(mine, **options)
    assert 200 in [grey for s in (changed.train, changed.validation, changed.test) for grey in greys(s)]
    caplog.set_level(logging.INFO)
    for more in ({"crop": 4}, {"size": 5}, {"held_out": 0.3}):
        caplog.clear()
        from_images(mine, **options | more)
        assert "preparing images" in caplog.text


def test_folders_that_are_splits(tmp_path, place):
    for n, path in enumerate(("train/x/0", "train/y/1", "train/y/2", "train/x/3", "val/y/4", "test/x/5")):
        picture(tmp_path / "mine" / f"{path}.png", 10 * n)
    data = from_images(tmp_path / "mine", size=4, labels=True, folder=place)
    assert [greys(s) for s in (data.train, data.validation, data.test)] == [[0, 30, 10, 20], [40], [50]]
    assert data.train.arrays["y"].tolist() == [0, 0, 1, 1]
    assert (data.validation.arrays["y"].tolist(), data.test.arrays["y"].tolist()) == ([1], [0])

    os.rename(tmp_path / "mine" / "val", tmp_path / "other")
    drawn = from_images(tmp_path / "mine", size=4, folder=place)  # the validation is drawn from "train"
    assert greys(drawn.test) == [50]
    assert sorted(greys(drawn.train) + greys(drawn.validation)) == [0, 10, 20, 30]
    assert drawn.validation.size == 1

    picture(tmp_path / "mine" / "bus" / "6.png", 60)  # no splits but kinds of vehicle
    kinds = from_images(tmp_path / "mine", size=4, labels=True, folder=place)
    assert sorted(np.concatenate([s.arrays["y"] for s in (kinds.train, kinds.validation, kinds.test)])) == [
        0, 1, 2, 2, 2, 2,
    ]  # fmt: skip


def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_left(tmp_path, place):
    for n in range(5):
        picture(tmp_path / f"{n}.png", 50 * n)
    os.truncate(tmp_path / "3.png", 60)
    with pytest.raises(ValueError, match=r"3.png: expected a whole PNG or JPEG picture"):
        from_images(tmp_path, size=4, folder=place / "new")
    assert [path for path in (place / "new").rglob("*") if path.is_file()] == []
    os.remove(tmp_path / "3.png")
    assert from_images(tmp_path, size=4, folder=place / "new").train.size == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 0}, ValueError, "size: expected at least 1, got 0"),
        ({"size": 4.0}, TypeError, r"size: expected a number of pixels or \(H, W\), got 4.0"),
        ({"crop": (1, 2, 3)}, TypeError, r"crop: expected a number of pixels or \(H, W\), got \(1, 2, 3\)"),
        ({"crop": 7}, ValueError, r"expected a picture of at least 7 x 7 \(H x W\), the crop; got 6 x "),
        ({"channels": 2}, ValueError, "channels: expected 1 or 3, got 2"),
        ({"labels": 1}, TypeError, "labels: expected a bool, got int"),
        ({"held_out": 0.5}, ValueError, r"held_out: expected a share in \(0, 1/2\), got 0.5"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"pixels": "grey"}, ValueError, "pixels: expected one of"),
        ({"source": "/nowhere"}, FileNotFoundError, "source: expected a folder of pictures, got /nowhere"),
    ],
)
def test_bad_arguments(source, place, options, error, message):
    with pytest.raises(error, match=message):
        from_images(**{"source": source, "size": 4, "folder": place, **options})


def test_folders_without_pictures_or_with_too_few(tmp_path, place):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.webp").touch()
    with pytest.raises(FileNotFoundError, match=r"expected pictures, .png, .jpg, .jpeg; got .webp"):
        from_images(tmp_path, folder=place)
    picture(tmp_path / "0.png", 0)
    with pytest.raises(ValueError, match="its pictures: expected enough for 2 splits beside training, got 1"):
        from_images(tmp_path, folder=place)
    with pytest.raises(ValueError, match=r"0.png: expected it in a folder, whose name is its label"):
        from_images(tmp_path, labels=True, folder=place)
