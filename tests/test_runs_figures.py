"""Pictures of models, by models that are known; a folder in which nothing was trained keeps no config."""

from __future__ import annotations

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
    for name in ("reconstructions", "jacobian_columns", "samples", "interpolations"):
        monkeypatch.setattr(plots, name, lambda *a, name=name, **k: given.update({name: (a, k)}))
    monkeypatch.setattr(evaluation, "reconstruct", lambda vae, x, key=None: vae * x)
    monkeypatch.setattr(evaluation, "prior_samples", lambda key, vae, n: np.full((n, 2, 2, 1), vae))
    monkeypatch.setattr(evaluation, "jacobian_images", lambda vae, x: vae * x[:, None])
    monkeypatch.setattr(evaluation, "interpolate", lambda vae, a, b, n, kind: (vae, n, kind))
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
    ((seen,), _), ((paths,), _) = drawn["samples"], drawn["interpolations"]
    assert [(len(images), images.max()) for images in seen.values()] == [(3, 1.0), (3, 2.0)]
    assert paths == {"a, lerp": (1.0, 5, "lerp"), "a, slerp": (1.0, 5, "slerp")}


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
