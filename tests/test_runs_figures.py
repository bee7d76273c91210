"""Pictures of models, by models that are known; a folder in which nothing was trained keeps no config."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vaejax import evaluation, plots, runs
from vaejax.disentanglement import LinearModel
from vaejax.runs import figures

X = np.linspace(0, 1, 4 * 2 * 2, dtype=np.float32).reshape(4, 2, 2, 1)


@pytest.fixture
def drawn(monkeypatch):
    """What plots are given, of models that are numbers: their images are that many times brighter."""
    given = {}
    for name in ("reconstructions", "jacobian_columns", "image_grid", "interpolations"):
        monkeypatch.setattr(plots, name, lambda *a, name=name, **k: given.update({name: (a, k)}))
    monkeypatch.setattr(evaluation, "reconstruct", lambda vae, x, c=None, key=None: vae * x)
    monkeypatch.setattr(evaluation, "prior_samples", lambda key, vae, n, c=None: np.full((n, 2, 2, 1), vae))
    monkeypatch.setattr(evaluation, "jacobian_images", lambda vae, x, c=None: vae * x[:, None])
    monkeypatch.setattr(evaluation, "interpolate", lambda vae, a, b, n, kind, c=None: (vae, n, kind))
    return given


def test_a_gallery_undoes_what_is_white_to_a_model(drawn):
    figures.gallery({"a": 1.0, "bytes": 1.0}, X, {"bytes": 255})
    (x, seen), options = drawn["reconstructions"]
    assert x is X
    for label, white in (("a", 1), ("bytes", 255)):
        np.testing.assert_allclose(seen[label][:2], X[:2], rtol=1e-6)
        np.testing.assert_allclose(seen[label][2:], 1 / white)
    assert [n for _, n in options["groups"]] == [2, 2]


def test_linear_models_come_first(drawn):
    pca = LinearModel(np.ones((3, 2, 2, 1)), lambda x: 0 * x)
    figures.reconstructions({"a": 2.0}, X, {"PCA": pca})
    (_, seen), _ = drawn["reconstructions"]
    assert list(seen) == ["PCA", "a"]
    np.testing.assert_array_equal(seen["a"], 2 * X)
    assert not seen["PCA"].any()
    figures.columns({"a": 2.0}, X, {"PCA": pca}, images=None)
    (shown,), options = drawn["jacobian_columns"]
    assert [each.shape for each in shown.values()] == [(4, 3, 2, 2, 1), (4, 1, 2, 2, 1)]
    assert options == {"images": None, "order_by_norm": True}


def test_every_model_has_samples_and_both_paths(drawn):
    figures.samples({"a": 1.0, "b": 2.0}, 3)
    figures.interpolations({"a": 1.0}, X[0], X[1], 5)
    ((seen,), _), ((paths,), _) = drawn["image_grid"], drawn["interpolations"]
    assert [(len(images), images.max()) for images in seen.values()] == [(3, 1.0), (3, 2.0)]
    assert paths == {"a, lerp": (1.0, 5, "lerp"), "a, slerp": (1.0, 5, "slerp")}


def test_scores_are_of_those_that_have_them(monkeypatch):
    monkeypatch.setattr(plots, "score_comparison", lambda values, **options: (values, options))
    reports = {"a": [{"kl": 1.0}, {"kl": 3.0}], "b": [{"kl": 2.0}], "c": [{}]}
    values, options = figures.scores(reports, {"KL": "kl", "none": "none"}, units="nats")
    assert {title: list(of) for title, of in values.items()} == {"KL": ["a", "b"]}
    assert values["KL"]["a"] == runs.mean_ci95([1.0, 3.0])
    assert options == {"units": "nats"}


def test_every_latent_is_traversed_in_the_order_of_its_kl(monkeypatch):
    monkeypatch.setattr(evaluation, "traverse", lambda vae, x, values: vae * np.asarray(values))
    monkeypatch.setattr(plots, "traversals", lambda images, **options: (images, options))
    kl = {"a": np.array([0.1, 2.0])}
    images, options = figures.traversals({"a": 10.0}, X[0], kl, 4.0, top=None)
    np.testing.assert_allclose(images["a"], 10 * np.arange(-4, 5))
    assert options["kl"] is kl
    assert options["base"] is not None
    assert (options["order_by_kl"], options["top"]) == (True, None)


def test_curves_are_of_the_folders_of_each_seed(tmp_path, monkeypatch):
    """Metrics of every step and validations at some, whose seconds are those of the steps."""
    monkeypatch.setattr(plots, "training_curves", lambda lines, **options: (lines, options))
    monkeypatch.setattr(plots, "band_curves", lambda lines, at, title, **options: (lines, at, title))
    folders = [tmp_path / str(seed) for seed in range(2)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        rows = [{"step": step, "kl": 10.0 * seed + step, "gap": 0.0} for step in (1, 2)]
        rows += [{"step": 2, "validation": {"mig": 0.5 + seed}}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "seconds.jsonl").write_text("[2, 4.0]\n")
    names = {"KL": "kl", "gap": "gap", "none": "none"}
    lines, options = figures.curves({"a": folders}, names, yscale="log", columns=1)
    np.testing.assert_array_equal(lines["a"]["KL"], [[1, 2], [11, 12]])
    assert np.isnan(lines["a"]["gap"]).all()
    assert options == {"metrics": ["KL", "gap"], "yscale": "log", "columns": 1}
    lines, at, title = figures.along({"a": folders}, {"mig": "MIG"}, "seconds")
    assert (lines, title) == ({"MIG": {"a": [[0.5], [1.5]]}}, "seconds of training")
    np.testing.assert_array_equal(at["a"], [4.0])


def test_models_with_a_condition_take_it_in_every_figure(monkeypatch):
    """By a model that adds its condition to what it is given."""
    seen = {}
    for name in ("reconstructions", "jacobian_columns", "image_grid", "interpolations", "image_rows"):
        monkeypatch.setattr(plots, name, lambda *a, name=name, **k: seen.update({name: a}))
    add = lambda x, c: x + np.reshape(c, (-1, 1, 1, 1))  # noqa: E731
    monkeypatch.setattr(evaluation, "reconstruct", lambda vae, x, c, key=None: add(x, c))
    monkeypatch.setattr(evaluation, "prior_samples", lambda key, vae, n, c: add(np.zeros((n, 2, 2, 1)), c))
    monkeypatch.setattr(evaluation, "jacobian_images", lambda vae, x, c: add(x, c)[:, None])
    monkeypatch.setattr(evaluation, "interpolate", lambda vae, a, b, n, kind, c: c)
    monkeypatch.setattr(evaluation, "level_reconstructions", lambda vae, x, c: np.stack([add(x, c)] * 2))
    monkeypatch.setattr(
        evaluation, "swap_condition", lambda vae, x, c, others: np.stack([add(x, c - b) for b in others])
    )
    c, models = np.arange(4.0)[:, None], {"a": None}
    figures.reconstructions(models, X, c=c)
    np.testing.assert_array_equal(seen["reconstructions"][1]["a"], add(X, c))
    figures.levels(None, X, c=c)
    np.testing.assert_array_equal(seen["reconstructions"][1]["all levels"], add(X, c))
    figures.gallery(models, X, c=c)
    np.testing.assert_allclose(seen["reconstructions"][1]["a"][:2], add(X, c)[:2])
    np.testing.assert_allclose(seen["reconstructions"][1]["a"][2:, 0, 0, 0], [2, 3])
    figures.columns(models, X, c=c)
    np.testing.assert_array_equal(seen["jacobian_columns"][0]["a"][:, 0], add(X, c))
    figures.samples(models, 4, c=c)
    np.testing.assert_array_equal(seen["image_grid"][0]["a"][:, 0, 0, 0], [0, 1, 2, 3])
    figures.interpolations(models, X[0], X[1], c=c[3])
    assert [one.tolist() for one in seen["interpolations"][0].values()] == [[3.0], [3.0]]
    figures.classes(None, {"one": [1.0], "two": [2.0]}, 3)
    rows = seen["image_rows"][0]
    assert {label: row[:, 0, 0, 0].tolist() for label, row in rows.items()} == {
        "one": [1] * 3,
        "two": [2] * 3,
    }
    figures.swaps(None, X, c, {"one": [1.0], "two": [2.0]})
    x, swapped = seen["reconstructions"]
    assert x is X
    np.testing.assert_array_equal(swapped["two"], add(X, c - 2))


@pytest.mark.parametrize(("before", "trained", "kept"), [(0, 0, False), (0, 1, True), (1, 0, True)])
def test_an_error_before_any_training_takes_a_new_config_out_again(tmp_path, before, trained, kept):
    if before:
        runs.create(tmp_path, {"steps": 3})

    def fail():
        with runs.created(tmp_path, {"steps": 3}) as folder:
            assert runs.read_json(folder / "config.json") == {"steps": 3}
            if trained:
                (folder / "metrics.jsonl").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "config.json").exists() is kept
