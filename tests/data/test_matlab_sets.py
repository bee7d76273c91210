"""OMNIGLOT, Frey faces and SVHN from small .mat files: which way up they stand, their labels, other files."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.mat_files import mat_bytes
from vaejax.data import matlab_sets

SVHN = {"train": 7, "test": 4, "extra": 5}
OMNIGLOT = {"train": 6, "test": 3}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(matlab_sets, "_SVHN_SIZES", SVHN)
    monkeypatch.setattr(matlab_sets, "_OMNIGLOT_SIZES", OMNIGLOT)
    monkeypatch.setattr(matlab_sets, "_OMNIGLOT_HELD_OUT", 2)
    monkeypatch.setattr(matlab_sets, "_FREY_SIZE", 9)


def written(folder, name, arrays, **options):
    (folder / name).write_bytes(mat_bytes(arrays, **options))
    return {name: folder / name}


def read(recipe, split):
    examples = list(recipe.splits[split]())
    return {name: np.stack([example[name] for example in examples]) for name in recipe.features}


def svhn(folder, **changed):
    """{name: path} of the three files and {part: (x, digits)}."""
    rng, paths, made = np.random.default_rng(0), {}, {}
    for part, n in SVHN.items():
        x = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
        digits = rng.permutation(10)[:n].astype(np.uint8)
        digits[0] = 0
        made[part] = (x, digits)
        y = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]  # the files call a nought 10
        arrays = {"X": x.transpose(1, 2, 3, 0), "y": y} | changed.get(part, {})
        paths |= written(folder, f"{part}_32x32.mat", arrays)
    return paths, made


def test_svhn_and_its_extra_digits(tmp_path):
    paths, made = svhn(tmp_path)
    recipe = matlab_sets.svhn_recipe({name: paths[name] for name in ("train_32x32.mat", "test_32x32.mat")})
    for split in ("train", "test"):
        arrays = read(recipe, split)
        np.testing.assert_array_equal(arrays["x"], made[split][0], strict=True)
        np.testing.assert_array_equal(arrays["y"], made[split][1], strict=True)
    more = read(matlab_sets.svhn_extra_recipe(paths), "train")
    for k, name in enumerate(("x", "y")):
        both = np.concatenate([made["train"][k], made["extra"][k]])
        np.testing.assert_array_equal(more[name], both, strict=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 5), np.uint8)}, r"expected 'X' as uint8 \[32, 32, 3, 4\], got uint8"),
        ({"X": np.zeros((4, 32, 32, 3), np.uint8)}, r"got uint8 \[4, 32, 32, 3\]"),
        ({"X": np.zeros((32, 32, 3, 4))}, r"got float64 \[32, 32, 3, 4\]"),
        ({"y": np.ones((1, 4), np.uint8)}, r"expected 'y' as real numbers \[4, 1\], got uint8 \[1, 4\]"),
        ({"y": np.array([[1], [2], [0], [3]], np.uint8)}, r"expected labels 1..10, got 0..3"),
        ({"y": np.array([[1], [2], [11], [3]], np.uint8)}, r"expected labels 1..10, got 1..11"),
        ({"y": np.array([[1], [2.5], [1], [3]])}, r"expected labels 1..10, got 1.0..3.0"),
    ],
)
def test_other_arrays_under_the_name_of_svhn(tmp_path, changed, message):
    paths, _ = svhn(tmp_path, test=changed)
    with pytest.raises(ValueError, match=f"test_32x32.mat: .*{message}"):
        read(matlab_sets.svhn_recipe(paths), "test")


def test_a_file_of_svhn_that_is_not_there(tmp_path):
    paths, _ = svhn(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected the file extra_32x32.mat, got .*test_32x32.mat"):
        matlab_sets.svhn_extra_recipe({n: p for n, p in paths.items() if "extra" not in n})


def omniglot(**changed):
    """The arrays of chardata.mat, and {split: (x, y)}."""
    rng, arrays, made = np.random.default_rng(0), {}, {}
    for split, n in OMNIGLOT.items():
        x = rng.integers(0, 256, (n, 28, 28), np.uint8)
        alphabet, character = rng.integers(0, 50, n), rng.integers(1, 56, n)
        made[split] = (x[..., None], np.stack([alphabet, character - 1], axis=1).astype(np.uint8))
        before = "test" * (split == "test")
        columns = np.stack([image.T.ravel() for image in x], axis=1)  # column by column, as MATLAB does
        arrays |= {
            f"{before}data": columns / 255,
            f"{before}target": np.eye(50)[:, alphabet],
            f"{before}targetchar": character[None].astype(np.float64),
        }
    return arrays | changed, made


@pytest.mark.parametrize("order", ["<", ">"])
def test_omniglot_stands_upright(tmp_path, order):
    arrays, made = omniglot()
    recipe = matlab_sets.omniglot_recipe(written(tmp_path, "chardata.mat", arrays, order=order))
    train, held_out, test = (read(recipe, split) for split in ("train", "validation", "test"))
    assert [len(part["x"]) for part in (train, held_out, test)] == [4, 2, 3]
    of_file = {image.tobytes(): n for n, image in enumerate(made["train"][0])}
    places = [of_file[image.tobytes()] for part in (train, held_out) for image in part["x"]]
    assert sorted(places) == list(range(6))
    for part, at in ((train, places[:4]), (held_out, places[4:])):
        assert at == sorted(at)
        np.testing.assert_array_equal(part["x"], made["train"][0][at], strict=True)
        np.testing.assert_array_equal(part["y"], made["train"][1][at], strict=True)
    for k, name in enumerate(("x", "y")):
        np.testing.assert_array_equal(test[name], made["test"][k], strict=True)


def column(array, j, value):
    array = array.copy()
    array[:, j] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data", lambda a: a.T.copy(), r"expected 'data' as real numbers \[784, 6\], got float64 \[6, 784\]"),
        (
            "testdata",
            lambda a: a * 255,
            r"expected grey values in \[0, 1\], got .* in column 0 of 'testdata'",
        ),
        ("testdata", lambda a: column(a, 1, np.nan), r"got nan..nan in column 1 of 'testdata'"),
        ("testtarget", lambda a: column(a, 2, 0), r"expected one of 50 alphabets .* got \[\] .* column 2"),
        ("testtarget", lambda a: column(a, 2, 1), r"expected one of 50 alphabets .* column 2"),
        ("testtargetchar", lambda a: column(a, 0, 0), r"a character 1..55, got .* and 0.0 in column 0"),
        ("testtargetchar", lambda a: column(a, 1, 1.5), r"a character 1..55, got .* and 1.5 in column 1"),
    ],
)
def test_other_arrays_under_the_name_of_omniglot(tmp_path, name, change, message):
    arrays, _ = omniglot()
    paths = written(tmp_path, "chardata.mat", arrays | {name: change(arrays[name])})
    with pytest.raises(ValueError, match=message) as caught:
        read(matlab_sets.omniglot_recipe(paths), "test")
    assert str(caught.value).startswith(str(paths["chardata.mat"]))


def test_omniglot_without_one_of_its_arrays(tmp_path):
    arrays, _ = omniglot()
    del arrays["testtargetchar"]
    with pytest.raises(
        ValueError, match="expected an array 'testtargetchar', got data, target, targetchar, "
    ):
        matlab_sets.omniglot_recipe(written(tmp_path, "chardata.mat", arrays))


def test_frey_faces_are_frames_row_by_row(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (9, 28, 20, 1), np.uint8)
    frames = x.reshape(9, 560).T
    recipe = matlab_sets.frey_faces_recipe(written(tmp_path, "frey_rawface.mat", {"ff": frames}))
    np.testing.assert_array_equal(read(recipe, "train")["x"], x, strict=True)
    assert list(recipe.splits) == ["train"]
    for other, got in ((frames.T.copy(), r"uint8 \[9, 560\]"), (frames / 255, r"float64 \[560, 9\]")):
        paths = written(tmp_path, "frey_rawface.mat", {"ff": other})
        with pytest.raises(ValueError, match=rf"expected 'ff' as uint8 \[560, 9\], got {got}"):
            matlab_sets.frey_faces_recipe(paths)
