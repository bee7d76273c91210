"""Three autoencoders at a tiny size: what each minimises, the MMD in blocks, what a run leaves."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import jobs, wae_report
from experiments import wae as experiment
from vaejax import ops, runs
from vaejax.keys import named_key
from vaejax.objectives.transport import prior_codes
from vaejax.types import TrainState

TINY = experiment.Config(
    dataset="digits", steps=2, latents=2, hidden=(6, 5), critic=(4,), lam=3.0, scale=0.3, batch_size=10,
    judged=40, workers=1,
)  # fmt: skip
DIMS = 64


@pytest.fixture(scope="module")
def batch():
    split = experiment.load(TINY).train
    return split.transform(jax.random.key(0), {"x": split.arrays["x"][:10]})


def bound(name, batch):
    model = experiment.build(TINY, name, (8, 8, 1))
    params, _ = jax.jit(model.init)(jax.random.key(1), batch)
    return model, params


def squared_error(vae, z, x):
    return np.sum(np.square(np.asarray(vae.decode(z).mean()) - x), axis=(1, 2, 3))


def squared_mmd(a, b):
    """The U-statistic under the kernel of the paper, C / (C + |x - y|^2) with C = 2 d s of seven scales s."""

    def k(x, y):
        r2 = np.square(x[:, None] - y[None]).sum(-1)
        return sum(4 * s / (4 * s + r2) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))  # d = 2

    n = len(a)
    return sum((k(x, x).sum() - 7 * n) / (n * (n - 1)) for x in (a, b)) - 2 * k(a, b).mean()


@pytest.mark.parametrize("name", experiment.MODELS)
def test_each_loss_is_what_it_says(name, batch):
    model, params = bound(name, batch)
    key, x = jax.random.key(2), np.asarray(batch["x"])
    objective = experiment.objective(TINY, name)

    @jax.jit
    def evaluate(params):
        value = jax.value_and_grad(lambda p: objective(key, model.bind(p), batch, 0), has_aux=True)(params)
        return *value, model.bind(params).encode(jax.random.key(3), batch).q

    (loss, (metrics, _)), gradient, q = jax.device_get(evaluate(params))
    vae, m = model.bind(params), np.asarray(q.mean())
    of_logvar = np.concatenate([np.ravel(a) for a in jax.tree.leaves(gradient["encoder"]["head"]["logvar"])])
    if name == "vae":
        constant = 0.5 * DIMS * np.log(2 * np.pi * TINY.scale**2)
        s = np.asarray(q.stddev())
        kl = 0.5 * np.sum(m**2 + s**2 - 1 - 2 * np.log(s), axis=1).mean()
        error = (metrics["reconstruction"] - constant) * 2 * TINY.scale**2
        assert metrics["kl"] == pytest.approx(kl, rel=1e-4)
        # 2 scale^2 times the loss, as the flag says
        assert 2 * TINY.scale**2 * (loss - constant) == pytest.approx(
            error + 2 * TINY.scale**2 * kl, rel=1e-4
        )
        assert np.any(of_logvar)
        return
    error = squared_error(vae, m, x).mean()
    assert metrics["reconstruction"] == pytest.approx(error + 0.5 * DIMS * np.log(np.pi), rel=1e-5)
    assert loss == pytest.approx(metrics["reconstruction"] + 3 * metrics["divergence"], rel=1e-5)
    assert not np.any(of_logvar)  # no noise: the codes are the encoder's means
    if name == "wae_mmd":
        p = np.asarray(prior_codes(named_key(key, "divergence"), vae, batch))
        assert metrics["divergence"] == pytest.approx(squared_mmd(m, p), abs=1e-5)
    else:
        verdict = np.asarray(vae.heads["critic"](m))
        assert metrics["divergence"] == pytest.approx(np.log1p(np.exp(-verdict)).mean(), rel=1e-5)
        assert not np.any(np.concatenate([np.ravel(a) for a in jax.tree.leaves(gradient["critic"])]))


def test_critic_and_autoencoder_move_at_their_own_rates(batch):
    """Adam's first step is the rate in each coordinate, whatever the gradient, and 0 where there is none."""
    model, params = bound("wae_gan", batch)
    update = experiment.update(dataclasses.replace(TINY, critic_rate=2e-4), model, "wae_gan")
    state = TrainState(params, None, update.init(params), jnp.int32(0))
    after, _ = jax.jit(lambda s, k, b: update.apply(s, k, b, None))(state, jax.random.key(5), batch)
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)), after.params, params)
    for group, rate in {"encoder": 1e-3, "decoder": 1e-3, "critic": 2e-4}.items():
        assert max(a.max() for a in jax.tree.leaves(moved[group])) == pytest.approx(rate, rel=1e-2)
    assert not moved["encoder"]["head"]["logvar"]["kernel"].any()


def test_the_discrepancy_is_the_mean_of_unbiased_estimates_in_blocks():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2005, 2)), rng.normal(size=(2005, 2))
    kernel = ops.mmd.rbf(1.3)

    def closed_form(dm):  # N(0, I) against N(dm, I)
        return 2 / (1 + 2 / 1.3**2) * (1 - np.exp(-(dm**2) / 2 / (1.3**2 + 2)))

    for dm in (0.0, 1.0):
        shifted = (b + np.array([dm, 0])).astype(np.float32)
        entry = experiment.discrepancy(a.astype(np.float32), shifted, kernel)
        low, high = entry["ci95"]
        assert low < closed_form(dm) < high
        assert high - low < 0.05
        assert len(entry["per_seed"]) == experiment.BLOCKS
        x, y = a[200:400], shifted[200:400]  # the second block by hand; five points fill no block

        def k(s, t):
            return np.exp(-np.square(s[:, None] - t[None]).sum(-1) / (2 * 1.3**2))

        same = sum((k(v, v).sum() - 200) / (200 * 199) for v in (x, y))
        assert entry["per_seed"][1] == pytest.approx(same - 2 * k(x, y).mean(), abs=1e-5)
        assert (min(entry["per_seed"]) < 0) == (dm == 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wae") / "run"
    experiment.main(dataclasses.replace(TINY, folder=folder))
    return folder


def test_what_a_run_leaves(run):
    report = runs.read_json(run / "report.json")
    assert list(report["models"]) == list(experiment.MODELS)
    stored = experiment.load(TINY).test.arrays["x"]
    x = stored / np.float32(255)
    references = set()
    for name, scores in report["models"].items():
        vae, codes = runs.load(run / name).vae, np.load(run / name / "codes.npy")
        q = vae.encode(jax.random.key(experiment.EVALUATION_KEY), {"x": x}).q
        m, s = np.asarray(q.mean()), np.asarray(q.stddev())
        noise = (codes - m) / s
        if name == "vae":  # draws
            assert noise.std() == pytest.approx(1, abs=0.15)
        else:
            np.testing.assert_allclose(codes, m, atol=1e-5)
        assert scores["mse"] == pytest.approx(squared_error(vae, m[:40], x[:40]).mean() / DIMS, rel=1e-4)
        key = jax.random.key(experiment.EVALUATION_KEY)
        prior = [vae.sample_prior(named_key(key, side), len(codes)) for side in ("here", "there")]
        for value, z in (("mmd_codes", codes), ("mmd_prior", np.asarray(prior[1]))):
            parts = zip(np.split(z, 10), np.split(np.asarray(prior[0]), 10), strict=True)
            again = [squared_mmd(a, b) for a, b in parts]
            assert scores[value]["per_seed"] == pytest.approx(again, abs=1e-4)
        assert (scores["n"], scores["judged"]) == (200, 40)
        drawn = np.asarray(experiment.evaluation.prior_samples(key, vae, 40))
        sharp = experiment.gradient(drawn) / experiment.gradient(x[:40])
        assert scores["gradient_samples"] == pytest.approx(sharp, rel=1e-3)
        references.add(json.dumps([scores["mmd_prior"], scores["mmd_images"]]))
    assert len(references) == 1  # all were compared with the same draws and images
    assert {p.name for p in (run / "figures").iterdir()} == {"gallery.png", "codes.png"}
    assert len((run / "wae_gan" / "metrics.jsonl").read_text().splitlines()) == 2


def test_the_table_ends_with_what_prior_and_data_score():
    entry = {"mean": 0.0123, "ci95": [0.01, 0.0146]}
    low = {"mean": -0.0004, "ci95": [-0.001, 0.0002]}
    scores = {
        "mse": 0.04, "ssim": 0.5, "ssim_se": 0.01, "gradient_reconstructions": 0.7, "gradient_samples": 0.9,
        "mmd_codes": entry, "mmd_samples": entry, "mmd_prior": low, "mmd_images": low,
    }  # fmt: skip
    lines = wae_report.table({name: scores for name in experiment.MODELS}).splitlines()
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    assert [row[0] for row in cells[2:]] == [*experiment.MODELS.values(), "prior samples, training images"]
    for row in cells[2:5]:
        assert row[1:] == [
            "0.200", "0.500 +- 0.010", "0.70", "0.90", "12.3 [10.0, 14.6]", "12.3 [10.0, 14.6]"
        ]  # fmt: skip
    assert cells[5][1:] == ["", "", "", "", "-0.4 [-1.0, 0.2]", "-0.4 [-1.0, 0.2]"]


def test_a_finished_run_is_reported_again_and_another_config_refused(run, monkeypatch):
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained again"))
    before = runs.read_json(run / "report.json")
    (run / "report.json").unlink()
    (run / "figures" / "codes.png").unlink()
    monkeypatch.setattr(wae_report, "gallery", lambda *a: wae_report.Figure())
    experiment.main(experiment.Config(folder=run, report_only=True))
    assert runs.read_json(run / "report.json")["models"] == before["models"]
    assert (run / "figures" / "codes.png").exists()
    with pytest.raises(ValueError, match=r"holds a run of another config .*lam: 3.0 there, 4.0 now"):
        experiment.main(dataclasses.replace(TINY, folder=run, lam=4.0))


def test_a_dry_run_measures_and_trains_nothing(monkeypatch):
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained"))
    measured = []
    monkeypatch.setattr(experiment, "estimate", lambda kinds, workers: measured.append(kinds))
    experiment.main(dataclasses.replace(TINY, dry_run=True))
    (kinds,) = measured
    assert list(kinds) == list(experiment.MODELS.values())
    assert {(kind.steps, kind.batch_size, kind.split.size) for kind in kinds.values()} == {(2, 10, 10)}
    assert [kind.update.groups for kind in kinds.values()] == [None, None, ("encoder", "decoder", "critic")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": 0}, "latents: expected at least 1, got 0"),
        ({"batch_size": 1}, "batch_size: expected at least 2, got 1"),
        ({"judged": 19}, "judged: expected at least 20, got 19"),
        ({"scale": 0.0}, "scale: expected a positive finite number, got 0.0"),
        ({"lam": -1.0}, "lam: expected a finite number of at least 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)


def test_presets_bear_their_names():
    assert all(preset.preset == name for name, preset in experiment.PRESETS.items())
