"""Natural patches at a tiny size: what a run writes, that it goes on where it stopped, the linear models."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import jl1_natural_patches as experiment
from experiments import training
from vaejax import data, disentanglement, evaluation, runs

FIGURES = {"columns", "jacobian_columns", "reconstructions", "scores", "training_curves"}
TINY = dataclasses.replace(
    experiment.PRESETS["fast"],
    seeds=1, images=1000, latents=4, width=0.05, steps=2, batch_size=8, microbatch=None, workers=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("natural") / "run"
    experiment.main(dataclasses.replace(TINY, folder=folder))
    return folder


def test_what_a_run_leaves(run):
    report = json.loads((run / "report.json").read_text())
    assert set(report["models"]) == {"pca", "ica", "beta_vae", "jl1_vae"}
    for name in ("kurtosis", "hoyer", "explained", "jacobian_l1", "used"):
        means = {model: numbers[name]["mean"] for model, numbers in report["models"].items()}
        assert np.isfinite(list(means.values())).all()
        difference = report["difference"][name]["mean"]
        assert difference == pytest.approx(means["jl1_vae"] - means["beta_vae"])
    assert {p.stem for p in (run / "figures").glob("*.png")} == FIGURES
    assert runs.read_json(run / "manifest.json")["wall_seconds"] > 0


def test_scores_are_those_of_the_loaded_model(run):
    saved = runs.read_json(run / "jl1_vae-seed0" / "report.json")
    vae = runs.load(run / "jl1_vae-seed0").vae
    patches = data.natural_patches(num_train=1000)
    x = patches.test.arrays["x"]
    columns = np.asarray(jax.jit(evaluation.jacobian_images)(vae, x[:500])).reshape(500, 4, 256)
    assert saved["jacobian_l1"] == pytest.approx(np.abs(columns).sum() / 500, rel=1e-4)
    used = np.array(saved["kl_per_dimension"]) > 0.1
    assert saved["used"] == used.sum() > 0
    assert saved["hoyer"] == pytest.approx(disentanglement.hoyer(columns[:, used]).mean(), rel=1e-4)
    assert saved["kurtosis"] == pytest.approx(disentanglement.kurtosis(columns[:, used]).mean(), rel=1e-4)
    error = np.square(x - np.asarray(evaluation.reconstruct(vae, x))).sum()
    p = np.stack([x, 1 - x]).astype(float)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1))) / len(x)
    assert saved["excess"] == pytest.approx(saved["reconstruction"] - entropy, abs=1e-6)
    assert saved["explained"] == pytest.approx(1 - error / (len(x) * x.var(0).sum()), abs=1e-4)


def test_a_finished_run_is_reported_again_and_another_config_refused(run, monkeypatch):
    monkeypatch.setattr(training.train, "fit", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr(experiment, "draw", lambda *a: None)
    before = runs.read_json(run / "report.json")
    (run / "report.json").unlink()
    experiment.main(experiment.Config(folder=run, report_only=True))
    after = runs.read_json(run / "report.json")
    assert after["models"] == before["models"]
    assert after["config"]["steps"] == 2
    experiment.main(dataclasses.replace(TINY, folder=run))
    with pytest.raises(ValueError, match=r"holds a run of another config .*beta: 0.01 there, 0.5 now"):
        experiment.main(dataclasses.replace(TINY, folder=run, beta=0.5))


def test_the_linear_models_find_the_components_of_the_patches():
    patches = data.natural_patches(num_train=1000)
    x = patches.train.arrays["x"].reshape(1000, 256).astype(float)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    fitted = experiment.linear(TINY, patches)
    (pca, columns), (_, mixing) = fitted["pca"], fitted["ica"]
    expected = vectors[:, :-5:-1].T * np.sqrt(values[:-5:-1, None])
    signs = np.sign((columns * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(signs * columns, expected, atol=1e-5)
    # unit sources: both are square roots of the same covariance, ICA's rotated
    np.testing.assert_allclose(mixing.T @ mixing, columns.T @ columns, rtol=2e-3, atol=2e-5)
    scores = experiment.score_linear(pca, columns, patches)
    test = patches.test.arrays["x"].reshape(-1, 256).astype(float)
    lost = test - x.mean(0) - (test - x.mean(0)) @ vectors[:, -4:] @ vectors[:, -4:].T
    assert scores["explained"] == pytest.approx(
        1 - np.square(lost).sum() / (len(test) * test.var(0).sum()), abs=1e-4
    )
    assert scores["jacobian_l1"] == pytest.approx(np.abs(expected).sum(), rel=1e-4)


def test_the_paper_preset_is_the_papers():
    paper = experiment.PRESETS["paper"]
    assert (paper.beta, paper.gamma, paper.learning_rate, paper.batch_size) == (0.01, 0.01, 1e-3, 128)
    assert (paper.steps, paper.ramp, paper.images, paper.latents) == (100_000, 50_000, 100_000, 10)
    assert (paper.width, paper.method, paper.standardise) == (1.0, "exact", False)
    encoder = experiment.build(paper).spec["encoder"]["options"]
    assert (encoder["offset"], encoder["scale"]) == (0.0, 1.0)
    fast = experiment.build(experiment.PRESETS["fast"]).spec["encoder"]["options"]
    assert (fast["offset"], fast["scale"]) == (0.455, 0.05)
    assert all(preset.preset == name for name, preset in experiment.PRESETS.items())


def test_a_dry_run_measures_and_trains_nothing(capsys, monkeypatch):
    monkeypatch.setattr(training.train, "fit", lambda *a, **k: pytest.fail("trained"))
    measured = []
    monkeypatch.setattr(training, "estimate", lambda kinds, workers: measured.append((kinds, workers)))
    experiment.main(dataclasses.replace(TINY, dry_run=True))
    ((kinds, workers),) = measured
    assert workers == 1
    for kind in kinds.values():
        assert (kind.batch_size, kind.steps, kind.trainings) == (8, 2, 1)
        assert kind.split.arrays["x"].shape == (8, 16, 16, 1)
