"""Published sets by one loader: files found, checked, prepared once, loaded without them; the list of all."""

import hashlib
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.data import published_files as files
from vaejax import data
from vaejax.data import from_files, records
from vaejax.data.grids import split_of

Y = files.grid(*files.DSPRITES_VALUES)
IMAGES = files.dsprites_arrays()["imgs"][..., None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in whose manual folder the file of a small dSprites lies, prepared from it."""
    return files.prepared_dsprites(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def sprites(folder):
    return data.published("dsprites", folder=folder)


def files_of(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_every_image_is_in_one_split_with_its_factors(sprites):
    assert sprites.factor_names == ("shape", "scale", "orientation", "x", "y")
    assert (sprites.num_values, sprites.num_images) == (files.DSPRITES_VALUES, len(Y))
    sizes = [split.size for split in (sprites.train, sprites.validation, sprites.test)]
    assert sizes == [len(Y) - 2 * (len(Y) // 20), len(Y) // 20, len(Y) // 20]
    seen = []
    for split in (sprites.train, sprites.validation, sprites.test):
        x, y = split.arrays["x"], split.arrays["y"]
        assert (x.dtype, y.dtype, split.support) == (np.uint8, np.uint8, "binary")
        places = np.ravel_multi_index(tuple(y.T), files.DSPRITES_VALUES)
        np.testing.assert_array_equal(x, IMAGES[places])
        seen.append(places)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(Y)))


def test_images_are_found_by_their_factors_whichever_split_has_them(sprites):
    mixed = np.random.default_rng(0).permutation(len(Y))
    images = sprites.sample_images(Y[mixed])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, IMAGES[mixed])
    assert sprites.sample_images(Y[:0]).shape == (0, 4, 4, 1)
    with pytest.raises(ValueError, match=r"factors: expected values in 0..2, got 3..3 in column 0"):
        sprites.sample_images([[3, 0, 0, 0, 0]])
    with pytest.raises(TypeError, match="factors: expected integers"):
        sprites.sample_images(np.zeros((1, 5)))


def test_examples_alike_have_its_support(sprites):
    some = data.sample(sprites, 3)
    assert (some.support, some.arrays["x"].shape) == (sprites.train.support, (3, 4, 4, 1))


def test_the_held_out_images_are_spread_over_the_grid():
    split = split_of(10_000)
    assert [int((split == k).sum()) for k in range(3)] == [9000, 500, 500]
    held = np.flatnonzero(split)
    assert abs(held.mean() - 5000) < 5 * 2887 / np.sqrt(1000)
    assert [int((split_of(3) == k).sum()) for k in range(3)] == [1, 1, 1]


def test_it_is_prepared_once_and_loaded_without_the_file_or_tfds(folder, sprites, tmp_path, monkeypatch):
    (tmp_path / "dsprites").symlink_to(folder / "dsprites")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # importing it fails
    again = data.published("dsprites", folder=tmp_path)
    np.testing.assert_array_equal(again.train.arrays["x"], sprites.train.arrays["x"])
    assert again.num_values == sprites.num_values


def test_lost_arrays_are_made_again_from_the_records(folder, sprites):
    (path,) = folder.glob("dsprites/published/*/test-x.npy")
    expected = np.array(sprites.test.arrays["x"])
    path.unlink()
    np.testing.assert_array_equal(data.published("dsprites", folder=folder).test.arrays["x"], expected)


def test_the_records_are_those_that_tensorflow_datasets_reads(folder, sprites):
    import tensorflow_datasets as tfds

    (directory,) = folder.glob("dsprites/published/*")
    builder = tfds.builder_from_directory(directory)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": sprites.train.size, "validation": sprites.validation.size, "test": sprites.test.size,
    }  # fmt: skip
    example = builder.as_data_source("train")[5]
    np.testing.assert_array_equal(example["x"], sprites.train.arrays["x"][5])
    np.testing.assert_array_equal(example["y"], sprites.train.arrays["y"][5])


@pytest.mark.parametrize("place", ["file", "folder", "manual"])
def test_where_a_file_is_looked_for(tmp_path, place):
    given = {
        "file": tmp_path / "mine",
        "folder": tmp_path / "mine",
        "manual": tmp_path / "downloads" / "manual",
    }
    path = files.write_dsprites(given[place])
    if place == "file":
        path = path.rename(path.with_name("other name.npz"))
    option = {"file": path, "folder": path.parent, "manual": None}[place]
    assert data.published("dsprites", file=option, folder=tmp_path).num_images == len(Y)


def test_a_file_that_is_not_there_says_where_it_was_looked_for_and_is_published(tmp_path):
    (tmp_path / "downloads" / "manual").mkdir(parents=True)
    (tmp_path / "downloads" / "manual" / "dsprites.npz").touch()
    with pytest.raises(FileNotFoundError) as caught:
        data.published("dsprites", folder=tmp_path)
    said = str(caught.value)
    for part in (
        "dsprites: expected dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        f"{tmp_path}/downloads/manual/dsprites: no such folder",
        f"{tmp_path}/downloads/manual: has none of them",
        "also dsprites.npz",
        "https://github.com/google-deepmind/dsprites-dataset",
        "python -m vaejax.data dsprites --file PATH",
    ):
        assert part in said
    with pytest.raises(FileNotFoundError, match=r"nothing.npz: no such folder"):
        data.published("dsprites", file=tmp_path / "nothing.npz", folder=tmp_path)


def test_another_file_than_it_was_prepared_from_is_not_silently_ignored(folder, sprites, tmp_path):
    (source,) = folder.glob("downloads/manual/dsprites/*")
    again = data.published("dsprites", file=source, folder=folder)
    np.testing.assert_array_equal(again.train.arrays["x"], sprites.train.arrays["x"])
    other = files.write_dsprites(tmp_path, files.dsprites_bytes(packed=False))
    with pytest.raises(ValueError, match=r"expected the files that it was prepared from.*delete .*published"):
        data.published("dsprites", file=other, folder=folder)


def test_a_known_checksum_is_compared_and_may_be_left_out(tmp_path, monkeypatch):
    path = files.write_dsprites(tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = from_files.PUBLISHED["dsprites"]

    def with_sum(sha256):
        entries = {"dsprites": replace(entry, sha256={path.name: sha256})}
        monkeypatch.setattr(from_files, "PUBLISHED", entries)

    with_sum("0" * 64)
    with pytest.raises(
        ValueError, match=rf"expected the published .*, of SHA-256 0000.*; got {right}.*checksum=False"
    ):
        data.published("dsprites", file=path, folder=tmp_path / "a")
    assert not (tmp_path / "a" / "dsprites").exists()
    assert data.published("dsprites", file=path, checksum=False, folder=tmp_path / "a").num_images == len(Y)
    with_sum(right)
    assert data.published("dsprites", file=path, folder=tmp_path / "b").num_images == len(Y)
    with_sum("0" * 64)  # a file that somebody packed has another name, and no published checksum
    packed = path.rename(path.with_name(path.name + ".gz"))
    from_files.check_sums({path.name: packed}, {path.name: "0" * 64})


@pytest.mark.parametrize("at", [0, 3, 30])
def test_an_interrupted_preparation_leaves_nothing_and_starts_clean(tmp_path, monkeypatch, at, sprites):
    path = files.write_dsprites(tmp_path / "file")
    rows = type(from_files.PUBLISHED["dsprites"].recipe({path.name: path})).blocks

    def interrupted(recipe):
        for i, (split, examples) in enumerate((s, [e]) for s, more in rows(recipe) for e in more):
            if i == at:
                raise KeyboardInterrupt
            yield split, examples

    with monkeypatch.context() as patch:
        patch.setattr(records.Recipe, "blocks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.published("dsprites", file=path, folder=tmp_path / "sets")
    assert files_of(tmp_path / "sets") == []
    again = data.published("dsprites", file=path, folder=tmp_path / "sets")
    np.testing.assert_array_equal(again.train.arrays["x"], sprites.train.arrays["x"])


@pytest.mark.parametrize("pixels", ["dynamic", "bytes", "unit_interval"])
def test_a_view_that_does_not_fit_is_refused(folder, pixels):
    with pytest.raises(ValueError, match="pixels: expected 'binary' for stored values of 0 and 1"):
        data.published("dsprites", pixels=pixels, folder=folder)


def test_a_view_that_draws_has_no_images_by_factors(tmp_path):
    files.write_cars(tmp_path / "downloads" / "manual" / "cars")
    drawn = data.published("cars3d", pixels="dequantised", folder=tmp_path)
    assert type(drawn) is data.Dataset
    assert drawn.factor_names == ("car", "azimuth", "elevation")
    seen = data.published("cars3d", folder=tmp_path)
    x = seen.train.transform(jax.random.key(1), dict(seen.train.arrays))["x"]
    np.testing.assert_array_equal(seen.sample_images(seen.train.arrays["y"]), x)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"name": "dsprite"},
            ValueError,
            "name: expected one of .*cars3d, .*; got 'dsprite'; perhaps 'dsprites'",
        ),
        ({"name": 3}, TypeError, r"name: expected a str, got int \(3\)"),
        ({"name": "dsprites", "pixels": "grey"}, ValueError, "pixels: expected one of"),
        ({"name": "dsprites", "folder": 3}, TypeError, "folder: expected a path or None"),
        ({"name": "dsprites", "file": 3}, TypeError, "file: expected a path"),
    ],
)
def test_bad_arguments(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        data.published(**{"folder": tmp_path, **arguments})


def test_scores_of_disentanglement_draw_their_images_from_it(sprites):
    from vaejax import distributions, evaluation, models, nets

    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=2, features=(4,), event_ndims=3),
        decoder=nets.MLP(features=(4,), output_shape=(4, 4, 1)),
        latents=2,
        likelihood=distributions.bernoulli(),
    )
    vae = model.bind(model.init(jax.random.key(0), {"x": sprites.sample_images(Y[:1])})[0])
    small = {"num_samples": 30, "train": 40, "test": 20, "num_samples_chen": 20}
    scores = evaluation.disentanglement_scores(
        jax.random.key(1),
        vae,
        sprites,
        **small,
        skip=("dci", "dci_linear", "sap_svm", "explicitness", "mcc_linear"),
    )
    assert scores.n == len(Y)
    assert {"local_mig", "factor_vae", "beta_vae", "mig"} <= set(scores.scores)
    assert all(not score.missing for score in scores.scores.values())
