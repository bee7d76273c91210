"""Three dots: the renderer against a direct mask, and the preparation of the splits on disk."""

from __future__ import annotations

import hashlib
import logging
import math
import sys

import jax
import numpy as np
import pytest

from vaejax.data import mini_sprites, natural_patches, records, sprites_multi, three_dots

SMALL = {"num_train": 200, "num_validation": 30, "num_test": 20}
KEY = jax.random.key(0)


def mask_image(factors: np.ndarray, side: int, radius: float) -> np.ndarray:
    """The oracle: draw one image on its canvas and average the blocks; float64 [side, side]."""
    size = 10 * side
    reach = math.floor(radius * size * 1024) / 1024 + 0.5
    row, column = np.ogrid[:size, :size]
    canvas = np.ones((size, size))
    for x, y in factors.astype(int).reshape(3, 2):
        cx, cy = (math.floor(f / 63 * size * 1024) / 1024 for f in (x, y))
        canvas[(column - cx) ** 2 + (row - cy) ** 2 <= reach**2] = 0
    return canvas.reshape(side, 10, side, 10).mean((1, 3))


def hard_factors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random factors, extreme ones, and discs on top of each other."""
    anywhere = rng.integers(0, 64, (count, 6))
    corners = rng.choice([0, 1, 62, 63], (count, 6))
    overlapping = np.clip(
        np.tile(rng.integers(0, 64, (count, 2)), 3) + rng.integers(-2, 3, (count, 6)), 0, 63
    )
    return np.concatenate([anywhere, corners, overlapping, np.zeros((1, 6), int), np.full((1, 6), 63)])


@pytest.mark.parametrize(
    ("side", "radius"), [(16, 0.08), (32, 0.08), (64, 0.08), (128, 0.08), (64, 0.03), (16, 0.49), (32, 0.001)]
)
def test_images_equal_the_direct_mask(side, radius):
    factors = hard_factors(np.random.default_rng(side), 6 if side < 64 else 2)
    images = three_dots(side, radius).sample_images(factors)
    assert images.shape == (len(factors), side, side, 1)
    assert images.dtype == np.float32
    expected = np.stack([mask_image(f, side, radius) for f in factors])[..., None]
    np.testing.assert_array_equal(np.rint(100 * images), np.rint(100 * expected))
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-7)


def test_many_images_equal_one_at_a_time():
    dots = three_dots(32)
    factors = np.random.default_rng(0).integers(0, 64, (400, 6), dtype=np.uint8)
    one_by_one = np.concatenate([dots.sample_images(factors[i : i + 1]) for i in range(len(factors))])
    np.testing.assert_array_equal(dots.sample_images(factors), one_by_one)
    assert dots.sample_images(np.zeros((0, 6), int)).shape == (0, 32, 32, 1)


def test_removed_areas_are_those_of_the_reference():
    dots = three_dots()
    place = np.stack(np.meshgrid(np.arange(6, 58), np.arange(6, 58)), -1).reshape(-1, 2)
    area = (1 - dots.sample_images(np.tile(place, 3)).astype(np.float64)).sum((1, 2, 3))
    assert area.min() == pytest.approx(83.9, abs=0.05)
    assert area.max() == pytest.approx(84.1, abs=0.05)
    corners = 1 - dots.sample_images(np.array([[0] * 6, [63] * 6])).astype(np.float64)
    np.testing.assert_allclose(corners.sum((1, 2, 3)), [21.53, 20.50], atol=1e-5)


def test_x_runs_to_the_right_and_y_downwards():
    image = three_dots().sample_images(np.array([[50, 10] * 3]))[0, ..., 0]
    row, column = np.argwhere(image == 0).mean(0)
    assert (row, column) == pytest.approx((10 / 63 * 64 - 0.5, 50 / 63 * 64 - 0.5), abs=0.5)
    assert image[32, 10] == 1


def test_the_discs_are_exchangeable():
    dots = three_dots(32)
    factors = np.random.default_rng(1).integers(0, 64, (50, 3, 2))
    images = [dots.sample_images(factors[:, order].reshape(50, 6)) for order in ([0, 1, 2], [2, 0, 1])]
    np.testing.assert_array_equal(*images)


# A change of these digests is a change of the data: move `_VERSION` in three_dots.py with them.
@pytest.mark.parametrize(
    ("side", "digest"),
    [
        (32, "4176598ae15013d6c29105b3b2e59fca9e2d051d2974bd1fe716fd088e9daa8f"),
        (64, "51204cebf57638a00f5f7c3e0f198518d07113a5cc39cbdd36becddb2ae59eb0"),
    ],
)
def test_renders_never_change(side, digest):
    factors = (np.arange(3000) * 2654435761 % 2**32 // 2**26).reshape(500, 6)
    counts = np.rint(100 * three_dots(side).sample_images(factors)).astype(np.uint8)
    assert hashlib.sha256(counts.tobytes()).hexdigest() == digest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def dots(folder):
    return three_dots(16, folder=folder, **SMALL)


def test_splits_hold_the_images_of_their_factors(dots):
    assert (dots.num_values, dots.factor_names) == ((64,) * 6, ("x0", "y0", "x1", "y1", "x2", "y2"))
    for split, size in ((dots.train, 200), (dots.validation, 30), (dots.test, 20)):
        x, y = split.arrays["x"], split.arrays["y"]
        assert split.size == size
        assert (split.support, x.shape, x.dtype) == ("unit_interval", (size, 16, 16, 1), np.uint8)
        assert (y.shape, y.dtype) == ((size, 6), np.uint8)
        assert (y.max(), x.max()) <= (63, 100)
        images = dots.sample_images(y)
        for transform in (split.transform, jax.jit(split.transform)):  # to the bit, compiled or not
            batch = transform(KEY, dict(split.arrays))
            assert batch["x"].dtype == np.float32
            np.testing.assert_array_equal(np.asarray(batch["x"]), images)
            np.testing.assert_array_equal(np.asarray(batch["y"]), y)


def test_factors_never_change(dots):
    factors = b"".join(split.arrays["y"].tobytes() for split in (dots.train, dots.validation, dots.test))
    assert (
        hashlib.sha256(factors).hexdigest()
        == "b9fc81b082805174417bd340fda5ad2ef6ce1a9be9806614bb2b9fbd1f9f5bd9"
    )


def test_splits_and_seeds_are_different_streams(dots, tmp_path):
    first = [dots.train.arrays["y"][:20], dots.validation.arrays["y"][:20], dots.test.arrays["y"]]
    first.append(three_dots(16, folder=tmp_path, seed=1, **SMALL).train.arrays["y"][:20])
    for i, a in enumerate(first):
        for b in first[i + 1 :]:
            assert np.mean(a == b) < 0.1  # 1/64 where they are independent


def test_factors_are_uniform():
    examples = three_dots(16, num_train=6400).recipe.splits["train"]()  # what is written and read above
    y = np.stack([example["y"] for example in examples])
    counts = np.stack([np.bincount(column, minlength=64) for column in y.T])
    assert np.sum((counts - 100) ** 2 / 100) == pytest.approx(6 * 63, abs=5 * math.sqrt(2 * 6 * 63))  # chi^2


def test_arrays_are_read_only(dots):
    with pytest.raises(ValueError, match="read-only"):
        dots.train.arrays["x"][0] = 0


def test_a_second_touch_reads_the_cache_without_tfds(dots, folder, monkeypatch):
    expected = dots.train.arrays
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # importing it fails
    again = three_dots(16, folder=folder, **SMALL).train.arrays
    for name in ("x", "y"):
        np.testing.assert_array_equal(again[name], expected[name])


def test_a_lost_cache_is_read_again_from_the_records(dots, folder, monkeypatch):
    expected = dots.train.arrays["x"]
    (path,) = folder.glob("three_dots/*/*/train-x.npy")
    path.unlink()
    monkeypatch.setattr(records, "write", None)
    np.testing.assert_array_equal(three_dots(16, folder=folder, **SMALL).train.arrays["x"], expected)
    assert path.is_file()


def test_every_configuration_has_its_own_folder(tmp_path):
    base = {"side": 16, "radius": 0.08, "seed": 0, "num_train": 5, "num_validation": 4, "num_test": 3}
    changes = [{}, {"side": 32}, {"radius": 0.1}, {"seed": 2}, {"num_train": 6}]
    for change in changes:
        assert three_dots(folder=tmp_path, **base | change).test.size == 3
    assert len(list(tmp_path.glob("three_dots/*/1.0.0"))) == len(changes)


def test_numbers_of_numpy_are_numbers():
    side, large, sizes = np.uint8(16), np.uint8(200), ("num_train", "num_validation", "num_test")
    for make in (three_dots, sprites_multi, natural_patches):
        mine = make(side, seed=np.int64(3), **dict.fromkeys(sizes, large))
        assert mine == make(16, seed=3, **dict.fromkeys(sizes, 200))
        assert {type(getattr(mine, name)) for name in ("side", "seed", *sizes)} == {int}
    mine = mini_sprites(side, seed=np.int64(3), **dict.fromkeys(sizes[1:], large))
    assert mine == mini_sprites(16, seed=3, **dict.fromkeys(sizes[1:], 200))
    assert mine.recipe.config == "side16-validation200-test200-seed3"


def test_where_the_data_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path / "variable"))
    assert three_dots(folder=tmp_path).folder == tmp_path
    assert three_dots().folder == tmp_path / "variable"
    monkeypatch.delenv("VAEJAX_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert three_dots().folder == tmp_path / ".cache" / "vaejax"


def test_nothing_is_prepared_until_a_split_is_touched(tmp_path):
    dots = three_dots(16, folder=tmp_path / "data", **SMALL)
    dots.sample_images(np.zeros((1, 6), int))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_preparation_leaves_nothing_and_starts_clean(tmp_path, monkeypatch, dots):
    def interrupted(recipe, directory):
        directory.mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ = three_dots(16, folder=tmp_path, **SMALL).train
    assert [p for p in tmp_path.rglob("*") if p.is_file() or p.name.startswith(".")] == []
    again = three_dots(16, folder=tmp_path, **SMALL).train
    np.testing.assert_array_equal(again.arrays["x"], dots.train.arrays["x"])


def test_a_process_that_comes_second_uses_what_the_first_made(tmp_path, monkeypatch, dots):
    write = records.write

    def overtaken(recipe, directory):
        monkeypatch.setattr(records, "write", write)
        first.append(three_dots(16, folder=tmp_path, **SMALL).train)
        return write(recipe, directory)

    first = []
    monkeypatch.setattr(records, "write", overtaken)
    for split in (three_dots(16, folder=tmp_path, **SMALL).train, first[0]):
        np.testing.assert_array_equal(split.arrays["x"], dots.train.arrays["x"])
    assert list(tmp_path.rglob(".preparing-*")) == []


def test_one_line_says_what_is_prepared_and_nothing_is_printed(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO, logger="vaejax"):
        _ = three_dots(16, folder=tmp_path, **SMALL).train
    (record,) = [r for r in caplog.records if r.name.startswith("vaejax")]
    assert record.getMessage().startswith("preparing three_dots (side16-radius0.08-train200-")
    assert str(tmp_path) in record.getMessage()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"side": 16.0}, TypeError, r"side: expected an int, got float \(16.0\)"),
        ({"side": 48}, ValueError, "side: expected a power of two of at least 16, got 48"),
        ({"side": 8}, ValueError, "side: expected a power of two of at least 16, got 8"),
        ({"radius": "x"}, TypeError, r"radius: expected a float, got str \('x'\)"),
        ({"radius": 0.0}, ValueError, r"radius: expected a fraction of the side in \(0, 0.5\), got 0.0"),
        ({"radius": 0.5}, ValueError, r"radius: expected a fraction of the side in \(0, 0.5\), got 0.5"),
        ({"radius": math.nan}, ValueError, r"radius: expected a fraction of the side in \(0, 0.5\), got nan"),
        (
            {"side": 256, "radius": 0.4},
            ValueError,
            "radius: expected discs whose masks fit in 512 MiB; .* takes",
        ),
        ({"num_train": 0}, ValueError, "num_train: expected at least 1, got 0"),
        ({"num_test": 2.0}, TypeError, "num_test: expected an int, got float"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"seed": None}, TypeError, "seed: expected an int, got NoneType"),
        ({"folder": 3}, TypeError, r"folder: expected a path or None, got int \(3\)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        three_dots(**arguments)


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (np.zeros((2, 6)), TypeError, "factors: expected integers, got float64"),
        (np.zeros((2, 6), bool), TypeError, "factors: expected integers, got bool"),
        (np.zeros(6, int), ValueError, r"factors: expected shape \[n, 6\], got \[6\]"),
        (np.zeros((6, 2), int), ValueError, r"factors: expected shape \[n, 6\], got \[6, 2\]"),
        (np.full((1, 6), 64), ValueError, r"factors: expected values in 0..63, got 64..64"),
        (np.full((1, 6), -1), ValueError, r"factors: expected values in 0..63, got -1..-1"),
    ],
)
def test_bad_factors(factors, error, message):
    with pytest.raises(error, match=message):
        three_dots(16).sample_images(factors)


def test_dots_to_look_at_lie_inside_and_do_not_touch(dots):
    factors = dots.separate(72)
    assert factors.shape == (72, 6)
    assert len(np.unique(factors, axis=0)) == 72
    np.testing.assert_array_equal(dots.separate(8), factors[:8])
    dark = (1 - dots.sample_images(factors).astype(np.float64)).sum((1, 2, 3))
    alone = [  # three times the same dot is one: areas add up unless dots overlap
        (1 - dots.sample_images(np.tile(factors[:, 2 * i : 2 * i + 2], 3)).astype(np.float64)).sum((1, 2, 3))
        for i in range(3)
    ]
    np.testing.assert_allclose(dark, sum(alone), rtol=1e-5)
    full = [(1 - dots.sample_images(np.full((1, 6), 32)).astype(np.float64)).sum()]
    np.testing.assert_allclose(alone, np.broadcast_to(full, (3, 72)), rtol=0.05)  # cut by no border
    for n in (0, 73):
        with pytest.raises(ValueError, match=r"n: expected at (least 1|most 72), got"):
            dots.separate(n)
