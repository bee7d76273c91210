"""One model under several likelihoods at a tiny size: what each sees, the measure of blur, the folder."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from experiments import jobs
from experiments import likelihoods as experiment
from vaejax import runs

TINY = experiment.Config(
    dataset="digits", steps=2, latents=2, hidden=(6, 5), components=2, samples=4, test_images=5, judged=20,
    batch_size=10, scale=0.5, workers=1,
)  # fmt: skip


def _means(folder, name, x):
    """What the decoder of a run makes of stored bytes x, as grey values in [0, 1], and p(x|z)."""
    vae = runs.load(folder / name).vae
    top = 1 if experiment.is_density(name) else 255
    seen = x.astype(np.float32) / (256 if top == 1 else 1)
    px = vae.decode(vae.encode(jax.random.key(0), {"x": seen + (0.5 / 256 if top == 1 else 0)}).q.mean())
    return np.asarray(px.mean()) / top, px


def test_the_gradient_by_hand():
    rows, columns = np.mgrid[:6, :5]
    plane = (0.3 * rows + 0.4 * columns)[None, ..., None]
    assert experiment.gradient(plane) == pytest.approx(0.5)
    assert experiment.gradient(np.concatenate([plane, 0 * plane])) == pytest.approx(0.25)
    edge = (columns >= 2).astype(float)[None, ..., None]  # one column of four has a step of 1
    assert experiment.gradient(edge) == pytest.approx(1 / 4)
    noise = np.random.default_rng(0).random((4, 12, 12, 1))
    blurred = (noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]) / 4
    assert experiment.gradient(blurred) < 0.7 * experiment.gradient(noise)


@pytest.mark.parametrize("name", experiment.CHOICES)
def test_every_likelihood_scores_what_it_sees_with_the_same_networks(name):
    split = experiment.load(TINY, name).train
    model = experiment.build(TINY, name, (8, 8, 1))
    assert model.support in {
        "dequantised": ("real", "unit_interval"), "bytes": ("bytes",)
    }[experiment.CHOICES[name].pixels]  # fmt: skip
    batch = split.transform(jax.random.key(0), {"x": split.arrays["x"][:3]})
    params, variables = jax.jit(model.init)(jax.random.key(1), batch)
    hidden = [a.shape for a in jax.tree.leaves(params["encoder"]) if a.ndim == 2]
    assert sorted(hidden) == sorted([(64, 6), (6, 5), (5, 2), (5, 2)])
    px = model.bind(params, variables).decode(np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32))
    assert px.mean().shape == (3, 8, 8, 1)
    if name == "gaussian":
        np.testing.assert_allclose(px.stddev(), 0.5)
    if name == "learned_scale":
        scale = np.asarray(px.stddev())
        assert scale == pytest.approx(
            np.full(scale.shape, np.exp(-6 + np.log1p(np.exp(4))))
        )  # softly above -6


def _report(**change):
    same = {
        "nll": 100.0, "nll_se": 1.0, "bits_per_dim": 7.5, "kl": 9.0, "active_units": 3, "scale": None,
        "mse": 0.04, "ssim": 0.5, "gradient_reconstructions": 0.6, "gradient_samples": 0.4,
    }  # fmt: skip
    return {name: {**same, **change} for name in experiment.CHOICES}


def test_densities_and_probabilities_share_no_column():
    header, _, *lines = experiment.table(_report()).splitlines()
    names = [cell.strip() for cell in header.split("|")[1:-1]]
    rows = [dict(zip(names, (c.strip() for c in line.split("|")[1:-1]), strict=True)) for line in lines]
    for row in rows:
        density = row[""] != "logistic mixture"
        assert (row["NLL, density (nats)"] != "") == (row["+ 8 bits/dim, a bound"] != "") == density
        assert (row["NLL, bytes (bits/dim)"] != "") == (not density)
        assert row["RMSE"] == "0.200"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The two that differ most: a scale among the variables, and bytes."""
    folder = tmp_path_factory.mktemp("likelihoods") / "run"
    chosen = {name: experiment.CHOICES[name] for name in ("optimal_scale", "logistic_mixture")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "CHOICES", chosen)
        experiment.main(dataclasses.replace(TINY, folder=folder))
    return folder, chosen


def test_what_a_run_leaves(run):
    folder, chosen = run
    report = runs.read_json(folder / "report.json")
    assert list(report["models"]) == list(chosen)
    x = experiment.load(TINY, "logistic_mixture").test.arrays["x"][:20]
    for name, scores in report["models"].items():
        added = 8 if name == "optimal_scale" else 0
        assert scores["bits_per_dim"] == pytest.approx(scores["nll"] / (64 * np.log(2)) + added)
        means, px = _means(folder, name, x)
        assert scores["mse"] == pytest.approx(
            np.square(x / 255 - means).mean(), rel=0.02
        )  # but for the noise
        # two steps leave nearly one image for all: its gradient is that of the data's mean, not of the data
        ratio = experiment.gradient(means) / experiment.gradient(x / 255)
        assert scores["gradient_reconstructions"] == pytest.approx(ratio, rel=0.02)
        vae = runs.load(folder / name).vae
        key = jax.random.key(experiment.EVALUATION_KEY)
        drawn = experiment.evaluation.prior_samples(key, vae, 20) / (1 if added else 255)
        ratio = experiment.gradient(np.asarray(drawn)) / experiment.gradient(x / 255)
        assert scores["gradient_samples"] == pytest.approx(ratio, rel=0.02)
    sigma = report["models"]["optimal_scale"]["scale"]
    _, px = _means(folder, "optimal_scale", x)
    assert sigma == pytest.approx(float(runs.load(folder / "optimal_scale").variables["scale"]))
    np.testing.assert_allclose(px.mean().shape, (20, 8, 8, 1))
    assert report["models"]["logistic_mixture"]["scale"] is None
    assert (folder / "figures" / "gallery.png").exists()


def test_a_finished_run_is_reported_again_and_another_config_refused(run, monkeypatch):
    folder, chosen = run
    monkeypatch.setattr(experiment, "CHOICES", chosen)
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained again"))
    before = runs.read_json(folder / "report.json")
    (folder / "report.json").unlink()
    experiment.main(experiment.Config(folder=folder, report_only=True))
    assert runs.read_json(folder / "report.json")["models"] == before["models"]
    with pytest.raises(ValueError, match=r"holds a run of another config .*components: 2 there, 3 now"):
        experiment.main(dataclasses.replace(TINY, folder=folder, components=3))


def test_a_dry_run_measures_and_trains_nothing(monkeypatch):
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained"))
    measured = []
    monkeypatch.setattr(experiment, "estimate", lambda kinds, workers: measured.append(kinds))
    experiment.main(dataclasses.replace(TINY, dry_run=True))
    assert {kind.split.arrays["x"].shape for kind in measured[0].values()} == {(10, 8, 8, 1)}
    assert [kind.steps for kind in measured[0].values()] == [2] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judged": 0}, "judged: expected at least 1, got 0"),
        ({"scale": 0.0}, "scale: expected a positive finite number, got 0.0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)
