"""VAE and IWAE at a tiny size: the published recipe, paired differences, what a run leaves and resumes."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import iwae as experiment
from experiments import iwae_report, jobs
from vaejax import data, evaluation, runs
from vaejax.types import Split

TINY = experiment.Config(
    dataset="digits", k=(1, 2), epochs=2 / 69, latents=2, hidden=(8,), samples=6, test_images=5, workers=1
)
# of the authors' code, by stage: epochs before it, and the rate, rounded as there
STAGES = {0: 1e-3, 1: 7.2e-4, 4: 5.2e-4, 13: 3.7e-4, 40: 2.7e-4, 121: 1.9e-4, 364: 1.4e-4, 1093: 1e-4}


@pytest.mark.parametrize("per_epoch", [1, 2980])
def test_the_learning_rates_are_the_papers(per_epoch):
    rate = experiment.learning_rates(1e-3, 3280 * per_epoch)
    before = 1e-3
    for i, (epoch, published) in enumerate(STAGES.items()):
        at, last = float(rate(epoch * per_epoch)), float(rate(max(0, epoch * per_epoch - 1)))
        assert at == pytest.approx(1e-3 * 10 ** (-i / 7), rel=1e-6)
        assert round(at * 1e4, 1) * 1e-4 == pytest.approx(published)
        assert last == pytest.approx(before)  # the stage begins with this step
        before = at
    assert float(rate(3280 * per_epoch)) == pytest.approx(1e-4)


def test_a_short_training_squeezes_all_stages_in_proportion():
    rate = jax.vmap(experiment.learning_rates(2e-3, 32_800))(jnp.arange(32_800))
    values, counts = np.unique(np.asarray(rate), return_counts=True)
    np.testing.assert_allclose(values[::-1], [2e-3 * 10 ** (-i / 7) for i in range(8)], rtol=1e-6)
    np.testing.assert_array_equal(counts[::-1], [10 * 3**i for i in range(8)])


def test_adam_is_the_papers_on_gradients_summed_over_the_batch():
    config = dataclasses.replace(TINY, batch_size=20)
    optimizer = experiment.optimizer(config, 3280)
    params = {"w": jnp.zeros(2)}
    state, g = optimizer.init(params), np.array([1e-6, -3e-5])
    moment, square, step = np.zeros(2), np.zeros(2), None
    for t, mean_gradient in enumerate([g, 2 * g], start=1):
        step, state = optimizer.update({"w": jnp.asarray(mean_gradient, jnp.float32)}, state, params)
        total = 20 * mean_gradient
        moment, square = 0.9 * moment + 0.1 * total, 0.999 * square + 0.001 * total**2
        rate = 1e-3 if t == 1 else 1e-3 * 10 ** (-1 / 7)
        expected = -rate * (moment / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-4)
        np.testing.assert_allclose(step["w"], expected, rtol=1e-4)


def test_weights_are_glorots_and_the_output_starts_at_the_mean_image():
    x = np.zeros((5, 2, 2, 1), np.uint8)
    x[:, 0, 1], x[:, 1, 0], x[:2, 1, 1] = 255, 51, 255  # means 0, 1, .2, .4
    config = dataclasses.replace(TINY, hidden=(30, 40))
    for pixels, stored, third in (("dynamic", x, 0.2), ("binary", x // 255, 0.001)):
        split = Split({"x": stored}, "binary")
        model = experiment.build(dataclasses.replace(config, pixels=pixels), split)
        params, _ = jax.jit(model.init)(jax.random.key(0), {"x": np.zeros((1, 2, 2, 1), np.float32)})
        p = 1 / (1 + np.exp(-np.asarray(params["decoder"]["out"]["bias"], np.float64)))
        np.testing.assert_allclose(p, [0.001, 0.999, third, 0.4], rtol=1e-5)
    assert params["encoder"]["dense_0"]["kernel"].shape == (4, 30)
    assert params["decoder"]["dense_0"]["kernel"].shape == (2, 40)  # the encoder's widths in reverse
    kernels = [a for a in jax.tree.leaves(params) if a.ndim == 2]
    for kernel in kernels:  # uniform on +- sqrt(6 / (in + out)): the variance is a third of the square
        assert np.abs(kernel).max() <= np.sqrt(6 / sum(kernel.shape))
    square = np.concatenate([(np.square(k) * sum(k.shape) / 2).ravel() for k in kernels])
    assert square.mean() == pytest.approx(1, abs=0.06)  # 1500 numbers, each of variance 1 and error .9
    biases = [
        a for path, a in jax.tree_util.tree_leaves_with_path(params) if a.ndim == 1 and "out" not in str(path)
    ]
    assert len(biases) == 6
    assert not np.any(np.concatenate(biases))


def test_each_name_is_its_bound():
    images = data.digits(pixels="dynamic").train
    batch = {"x": (images.arrays["x"][:4] > 127).astype(np.float32)}
    model = experiment.build(TINY, images)
    params, _ = jax.jit(model.init)(jax.random.key(0), batch)
    asked = [
        ("vae", {}), ("iwae", {}), ("ciwae", {"beta": 0.25}), ("renyi", {"alpha": 0.0}),
        ("renyi", {"alpha": 1.0}), ("miwae", {"m": 1}), ("miwae", {"m": 8}),
        ("piwae", {"m": 1}), ("dreg", {}),
    ]  # fmt: skip

    @jax.jit
    def values():
        terms = [experiment.bound(dataclasses.replace(TINY, **change), name, 3) for name, change in asked]
        each = [experiment.objectives.compose(neg_bound=term) for term in terms]
        return [objective(jax.random.key(1), model.bind(params), batch, 0)[0] for objective in each]

    vae, iwae, ciwae, renyi_0, renyi_1, miwae_1, miwae_8, piwae, dreg = map(float, values())
    assert iwae < vae - 0.01  # Jensen, on the same three samples
    assert ciwae == pytest.approx(0.25 * vae + 0.75 * iwae, rel=1e-5)
    assert [renyi_0, miwae_1, piwae, dreg] == pytest.approx([iwae] * 4, rel=1e-5)
    assert renyi_1 == pytest.approx(vae, rel=1e-5)
    assert miwae_8 != pytest.approx(iwae, rel=1e-4)


def test_paired_differences_by_hand():
    a, b = np.array([-3.0, -5.0, -10.0], np.float32), np.array([-4.0, -7.0, -14.0], np.float32)
    difference = iwae_report.paired(a, b)  # 1, 2 and 4 nats better
    assert difference["mean"] == pytest.approx(-7 / 3)
    variance = ((1 - 7 / 3) ** 2 + (2 - 7 / 3) ** 2 + (4 - 7 / 3) ** 2) / 2
    assert difference["se"] == pytest.approx(np.sqrt(variance / 3))
    with pytest.raises(ValueError, match=r"log_a, log_b: expected the same images, got \(3,\) and \(2,\)"):
        iwae_report.paired(a, b[:2])


def test_which_models_are_trained_and_compared():
    config = experiment.Config(k=(1, 5), bound=("vae", "iwae", "dreg"))
    assert experiment.plan(config) == {
        "vae-1": ("vae", 1), "vae-5": ("vae", 5), "iwae-5": ("iwae", 5),
        "dreg-1": ("dreg", 1), "dreg-5": ("dreg", 5),
    }  # fmt: skip
    rows = [(name, K) for name in ("vae", "iwae") for K in (50, 1, 5)]
    assert iwae_report.pairs(rows) == [
        (("vae", 5), ("vae", 1)), (("vae", 50), ("vae", 5)), (("iwae", 5), ("iwae", 1)),
        (("iwae", 50), ("iwae", 5)), (("iwae", 1), ("vae", 1)), (("iwae", 5), ("vae", 5)),
        (("iwae", 50), ("vae", 50)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iwae") / "run"
    experiment.main(dataclasses.replace(TINY, folder=folder))
    return folder


def test_what_a_run_leaves(run):
    report = json.loads((run / "report.json").read_text())
    rows = {(m["bound"], m["K"]): m for m in report["models"]}
    assert list(rows) == [("vae", 1), ("vae", 2), ("iwae", 1), ("iwae", 2)]
    assert {p.name for p in run.iterdir() if p.is_dir()} == {"vae-1", "vae-2", "iwae-2", "figures"}
    assert {**rows["iwae", 1], "bound": "vae"} == rows["vae", 1]  # one training
    log_p = {name: np.load(run / name / "log_likelihood.npy") for name in ("vae-1", "vae-2", "iwae-2")}
    assert rows["vae", 2]["nll"] == pytest.approx(-log_p["vae-2"].mean())
    assert (rows["vae", 2]["n"], rows["vae", 2]["kl_images"]) == (5, 200)
    assert rows["vae", 1]["curve_samples"] == [1, 6]
    compared = {(*d["of"], *d["minus"]): (d["mean"], d["se"]) for d in report["differences"]}
    assert set(compared) == {("vae", 2, "vae", 1), ("iwae", 2, "iwae", 1), ("iwae", 2, "vae", 2)}
    d = log_p["vae-2"].astype(float) - log_p["iwae-2"]
    assert compared["iwae", 2, "vae", 2] == pytest.approx((d.mean(), d.std(ddof=1) / np.sqrt(5)))
    d = log_p["vae-1"].astype(float) - log_p["iwae-2"]
    assert rows["iwae", 2]["minus_first"]["mean"] == pytest.approx(d.mean())
    assert {p.stem for p in (run / "figures").glob("*.png")} == {"training_curves", "k_curve", "against_k"}
    assert len((run / "vae-1" / "metrics.jsonl").read_text().splitlines()) == 2


def test_scores_are_those_of_the_loaded_model(run):
    vae = runs.load(run / "iwae-2").vae
    test = data.digits(pixels="dynamic").test
    few = Split({"x": test.arrays["x"][:5]}, test.support, test.transform)
    again = evaluation.marginal_log_likelihood(
        jax.random.key(experiment.EVALUATION_KEY), vae, few, num_samples=6
    )
    kept = np.load(run / "iwae-2" / "log_likelihood.npy")
    np.testing.assert_allclose(again["per_example"]["log_likelihood"], kept, rtol=1e-5)


def test_a_run_goes_on_and_another_config_is_refused(run, monkeypatch):
    monkeypatch.setattr(iwae_report, "draw", lambda *a: None)
    before, lines = runs.read_json(run / "report.json"), (run / "iwae-2" / "metrics.jsonl").read_text()
    (run / "iwae-2" / "report.json").unlink()  # killed between training and scores
    experiment.main(dataclasses.replace(TINY, folder=run))
    after = runs.read_json(run / "report.json")
    assert after["differences"] == before["differences"]
    assert (run / "iwae-2" / "metrics.jsonl").read_text() == lines
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained again"))
    (run / "report.json").unlink()
    experiment.main(experiment.Config(folder=run, report_only=True))
    again = runs.read_json(run / "report.json")
    assert {k: again[k] for k in ("models", "differences")} == {
        k: after[k] for k in ("models", "differences")
    }
    assert (again["config"]["hidden"], again["config"]["k"]) == ([8], [1, 2])
    with pytest.raises(ValueError, match=r"holds a run of another config .*samples: 6 there, 7 now"):
        experiment.main(dataclasses.replace(TINY, folder=run, samples=7))


def test_the_table_shows_published_numbers_beside_their_data_only(run):
    report = runs.read_json(run / "report.json")
    for m, K in zip(report["models"], (1, 5, 1, 50), strict=True):
        m["K"] = K
    assert "published" not in iwae_report.table(report, "fashion_mnist")
    shown = [line.split("|")[-2].strip() for line in iwae_report.table(report, "mnist").splitlines()[2:8]]
    assert shown[0] == "NLL, published"
    assert shown[2:] == ["86.76", "86.47", "86.76", "84.78"]
    assert experiment.is_published(experiment.Config(dataset="mnist"))
    for change in ({"pixels": "static"}, {"latents": 40}, {"hidden": (200,)}):
        assert not experiment.is_published(experiment.Config(dataset="mnist", **change))


def test_a_dry_run_measures_and_trains_nothing(capsys, monkeypatch):
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained"))
    measured = []
    monkeypatch.setattr(
        experiment, "estimate", lambda kinds, workers: measured.append(kinds) or {"hours": 1.0}
    )
    costs = experiment.main(dataclasses.replace(TINY, epochs=3.0, dry_run=True))
    (kinds,) = measured
    assert {label: (kind.steps, kind.batch_size, kind.trainings) for label, kind in kinds.items()} == {
        "VAE, K = 1": (3 * 69, 20, 1), "VAE, K = 2": (3 * 69, 20, 1), "IWAE, K = 2": (3 * 69, 20, 1)
    }  # fmt: skip
    assert costs["scoring_hours"] > 0
    assert "log p(x) of 5 images, 6 samples each" in capsys.readouterr().out


def test_the_paper_preset_is_the_papers():
    paper = experiment.PRESETS["paper"]
    assert (paper.dataset, paper.pixels, paper.epochs, paper.batch_size) == ("mnist", "dynamic", 3280, 20)
    assert (paper.learning_rate, paper.latents, paper.hidden) == (1e-3, 50, (200, 200))
    assert (paper.k, paper.samples, paper.test_images) == ((1, 5, 50), 5000, 10_000)
    assert all(preset.preset == name for name, preset in experiment.PRESETS.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bound": ("elbo",)}, "bound: expected one of 'vae', 'iwae'"),
        ({"k": (1, 0)}, "k: expected at least 1, got 0"),
        ({"pixels": "unit_interval"}, "pixels: expected one of 'dynamic', 'static', 'binary'"),
        ({"epochs": 0.0}, "epochs: expected a positive finite number, got 0.0"),
        ({"bound": ()}, "bound: expected at least one, got none"),
        ({"k": ()}, "k: expected at least one, got none"),
        ({"bound": ("ciwae",), "beta": 2.0}, "beta: expected"),
        ({"bound": ("renyi",), "alpha": float("nan")}, "alpha: expected"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)
