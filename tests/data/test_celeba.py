"""CelebA from a few small files: which face is in which split, its attributes, its crop; other files."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from vaejax.data import celeba
from vaejax.data.celeba import CELEBA_ATTRIBUTES
from vaejax.data.pictures import Frame

PARTS = {"000001.jpg": 0, "000002.jpg": 2, "000003.jpg": 0, "000004.jpg": 1, "000005.jpg": 2}
SPLITS = {
    "train": ["000001.jpg", "000003.jpg"],
    "validation": ["000004.jpg"],
    "test": ["000002.jpg", "000005.jpg"],
}
ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(celeba, "_SIZE", len(PARTS))


@pytest.fixture(scope="module")
def faces():
    """{name: JPEG}, written by Pillow, and {name: attributes}."""
    rng, made = np.random.default_rng(0), {}
    for name in PARTS:
        file = io.BytesIO()
        small = rng.integers(0, 256, (14, 11, 3), np.uint8)
        Image.fromarray(small).resize((178, 218)).save(file, "JPEG")
        made[name] = file.getvalue()
    return made, {name: rng.integers(0, 2, 40, np.uint8) for name in PARTS}


def lists(signs):
    """The bytes of the two lists."""
    rows = [f"{name} {' '.join(f'{2 * int(v) - 1: d}' for v in row)}" for name, row in signs.items()]
    return {
        ATTRIBUTES: "\n".join([str(len(PARTS)), " ".join(CELEBA_ATTRIBUTES) + " ", *rows, ""]),
        PARTITION: "".join(f"{name} {part}\n" for name, part in PARTS.items()),
    }


def write(folder, made, texts, form="zip"):
    """{name: path} of the pictures, in an archive or a folder, and of the lists."""
    if form == "zip":
        paths = {"img_align_celeba.zip": folder / "img_align_celeba.zip"}
        with zipfile.ZipFile(paths["img_align_celeba.zip"], "w") as archive:
            for name, data in made.items():
                archive.writestr(f"img_align_celeba/{name}", data)
    else:
        paths = {"img_align_celeba/": folder / "img_align_celeba"}
        paths["img_align_celeba/"].mkdir()
        for name, data in made.items():
            (paths["img_align_celeba/"] / name).write_bytes(data)
    for name, text in texts.items():
        paths[name] = folder / name
        paths[name].write_text(text)
    return paths


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_faces_attributes_and_splits(faces, tmp_path, form):
    made, signs = faces
    recipe = celeba.celeba_recipe(write(tmp_path, made, lists(signs), form), crop=140, side=10)
    assert recipe.features == {"x": (10, 10, 3), "y": (40,)}
    for split, names in SPLITS.items():
        examples = list(recipe.splits[split]())
        np.testing.assert_array_equal([e["y"] for e in examples], [signs[name] for name in names])
        frame = Frame((10, 10), (140, 140))
        expected = [frame.read(io.BytesIO(made[name]), name) for name in names]
        np.testing.assert_array_equal([e["x"] for e in examples], expected)


def test_the_crop_is_in_the_middle(faces, tmp_path):
    made, signs = faces
    recipe = celeba.celeba_recipe(write(tmp_path, made, lists(signs)), crop=148, side=148)
    whole = np.asarray(Image.open(io.BytesIO(made["000001.jpg"])))
    np.testing.assert_array_equal(next(recipe.splits["train"]())["x"], whole[35:183, 15:163])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"crop": 179}, ValueError, "crop: expected at most 178, got 179"),
        ({"crop": 0}, ValueError, "crop: expected at least 1, got 0"),
        ({"side": 6.0}, TypeError, "side: expected an int, got float"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        celeba.celeba_recipe({}, **options)


def without_line(text, n):
    lines = text.split("\n")
    return "\n".join(lines[:n] + lines[n + 1 :])


BROKEN = {
    "a row of attributes too few": (ATTRIBUTES, lambda t: without_line(t, 3), "expected 5 pictures, got 4"),
    "another number": (
        ATTRIBUTES,
        lambda t: "6" + t[1:],
        "expected a line 5 and one of the 40 attributes, got '6'",
    ),
    "another name": (ATTRIBUTES, lambda t: t.replace("Bald", "Bold"), "expected a line 5 and one of the 40"),
    "no names": (ATTRIBUTES, lambda t: without_line(t, 1), "expected a line 5 and one of the 40 attributes"),
    "a value too few": (
        ATTRIBUTES,
        lambda t: t.rstrip()[:-2],
        "expected a picture and 40 values .* got 39 values",
    ),
    "0 for -1": (
        ATTRIBUTES,
        lambda t: t.replace("-1", "0", 1),
        "expected a picture and 40 values 1 or -1 a line",
    ),
    "a fourth split": (PARTITION, lambda t: t.replace(" 2", " 3", 1), "0, 1 or 2 a line, got '000002.jpg 3'"),
    "a row too few": (PARTITION, lambda t: without_line(t, 2), "expected 5 pictures, got 4"),
    "another picture": (
        PARTITION,
        lambda t: t.replace("5.jpg", "6.jpg"),
        "expected the pictures of list_attr",
    ),
    "a web page": (PARTITION, lambda t: "<html> <body>", "expected a picture and 0, 1 or 2 a line"),
    "no text": (PARTITION, lambda t: "\u1234", "expected a list in text, got"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_other_lists_are_named(faces, tmp_path, damage):
    made, signs = faces
    name, change, message = BROKEN[damage]
    texts = lists(signs)
    paths = write(tmp_path, made, texts | {name: change(texts[name])})
    with pytest.raises(ValueError, match=message) as caught:
        celeba.celeba_recipe(paths)
    assert str(caught.value).startswith(str(paths[name]))


def test_pictures_that_are_missing_or_others(faces, tmp_path):
    made, signs = faces
    texts = lists(signs)
    some = {name: data for name, data in made.items() if name != "000004.jpg"}
    with pytest.raises(FileNotFoundError, match="expected 5 pictures, 1 are not there, as 0"):
        celeba.celeba_recipe(write(tmp_path, some, texts))
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file, "JPEG")
    for data, message in (
        (file.getvalue(), r"000004.jpg: expected a picture of 218 x 178 \(H x W\), got 64 x 64"),
        (made["000004.jpg"][:-500], "000004.jpg: expected a whole PNG or JPEG picture"),
    ):
        recipe = celeba.celeba_recipe(write(tmp_path, made | {"000004.jpg": data}, texts))
        with pytest.raises(ValueError, match=message):
            list(recipe.splits["validation"]())
