"""Remedies against collapse at a tiny size: each objective is what it says, what a run leaves and resumes."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import collapse as experiment
from experiments import collapse_report, jobs
from vaejax import evaluation, runs, sample, train
from vaejax.keys import named_key
from vaejax.train import Checkpoints
from vaejax.types import Split, TrainState

TINY = experiment.Config(
    dataset="digits", pool=4, latents=3, hidden=(5,), features=2, kernels=(5,), weak_kernels=(3,), steps=2,
    batch_size=6, ramp=10, chunk=1, window=1, most=3, validate_every=1, samples=4, at_once=2, test_images=5,
    judged=20, workers=1,
)  # fmt: skip
RUN = dataclasses.replace(TINY, remedies=("plain", "aggressive", "pretrained", "labels"))
KEY = jax.random.key(4)


def test_pooled_images_are_the_rounded_means_of_their_squares():
    x = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6, 1)
    split = Split({"x": x, "y": np.array([3, 1])}, "binary", lambda key, batch: batch)
    small = experiment.pooled(split, 2)
    first = [(0 + 1 + 6 + 7) / 4, (2 + 3 + 8 + 9) / 4, (4 + 5 + 10 + 11) / 4]  # 3.5, 5.5, 7.5
    np.testing.assert_array_equal(small.arrays["x"][0, 0, :, 0], np.rint(first))
    assert (small.arrays["x"].shape, small.arrays["x"].dtype) == ((2, 2, 3, 1), np.uint8)
    np.testing.assert_array_equal(small.arrays["y"], [3, 1])
    assert (small.support, small.transform) == (split.support, split.transform)
    with pytest.raises(ValueError, match="pool: expected a divisor of the images' sides, 4 and 6, got 4"):
        experiment.pooled(split, 4)


@pytest.fixture(scope="module")
def losses():
    """{name: [loss at step 0, 3, 20]} of one bound model, and what they are made of."""
    config = dataclasses.replace(TINY, steps=40, free_nats=0.2, target=0.7)
    split = experiment.load(config).train
    batch = split.transform(KEY, {name: a[:6] for name, a in split.arrays.items()})
    model = experiment.build(config, "labels", split.arrays["x"].shape[1:])
    params, _ = jax.jit(model.init)(KEY, batch)
    names = ("autoencoder", *experiment.REMEDIES)

    @jax.jit
    def values(params):
        vae, steps = model.bind(params), jnp.array([0, 3, 20])
        objectives = {name: experiment.objective(config, name) for name in names}
        each = {n: jax.vmap(lambda s, f=f: f(KEY, vae, batch, s)[:2])(steps) for n, f in objectives.items()}
        return {n: loss for n, (loss, _) in each.items()}, {n: m["kl"] for n, (_, (m, _)) in each.items()}

    draw = sample(named_key(KEY, "/draw"), model.bind(params), batch)
    logits = model.bind(params).heads["classifier"](draw.z)
    return config, *values(params), draw, logits


def test_every_objective_is_what_it_says(losses):
    config, loss, true_kl, draw, logits = losses
    loc, scale = np.asarray(draw.q.mean(), np.float64), np.asarray(draw.q.stddev(), np.float64)
    per_latent = (loc**2 + scale**2 - 1 - 2 * np.log(scale)) / 2
    nll, kl = -float(draw.log_px.mean()), per_latent.sum(axis=1).mean()
    clamped = np.maximum(config.free_nats, per_latent.mean(axis=0)).sum()
    assert per_latent.mean(axis=0).min() < config.free_nats < clamped - 2 * config.free_nats  # of both kinds
    log_r = np.asarray(jax.nn.log_softmax(logits))[np.arange(6), draw.batch["y"]].mean()
    z = np.asarray(draw.z, np.float64)[:, None]
    log_q = -(np.square((z - loc) / scale) / 2 + np.log(scale) + np.log(2 * np.pi) / 2).sum(-1)
    information = (np.diag(log_q) - np.log(np.exp(log_q).mean(axis=1))).mean()
    expected = {
        "autoencoder": [nll] * 3,
        **{name: [nll + kl] * 3 for name in ("plain", "weak", "aggressive")},
        "linear": [nll, nll + 0.3 * kl, nll + kl],
        "cyclical": [nll, nll + 3 / 5 * kl, nll],  # 4 cycles of 10 steps, 5 of them a ramp; 20 begins one
        "free_bits": [nll + clamped] * 3,
        "pretrained": [nll + w * max(config.target, kl) for w in (0, 0.3, 1)],
        "labels": [nll + kl - config.label_weight * log_r] * 3,
        "information": [nll + kl - config.information_weight * information] * 3,
    }
    assert set(expected) == set(loss)
    for name, value in expected.items():
        np.testing.assert_allclose(loss[name], value, rtol=2e-5, err_msg=name)
        np.testing.assert_allclose(true_kl[name], kl, rtol=1e-5)


def test_decoders_differ_in_their_reach_alone():
    plain, weak = (experiment.build(TINY, name, (2, 2, 1)).spec for name in ("plain", "weak"))
    a, b = plain["decoder"]["options"], weak["decoder"]["options"]
    assert {name: (a[name], b[name]) for name in a if a[name] != b[name]} == {"kernels": ((5,), (3,))}
    assert plain["encoder"] == weak["encoder"]


def test_every_training_can_take_a_step():
    """Traced, not compiled; those that need more than another objective are in the run below."""
    batch = experiment.load(TINY).train.transform(
        KEY, experiment.first(experiment.load(TINY).train, 6).arrays
    )
    for name in experiment.REMEDIES:
        model = experiment.build(TINY, name, (2, 2, 1))
        update = experiment.update(TINY, model, name)

        def step(model=model, update=update):
            params, variables = model.init(KEY, batch)
            state = TrainState(params, variables, update.init(params), jnp.zeros((), jnp.int32))
            return state, update.apply(state, KEY, batch, lambda key: batch)

        before, (after, metrics) = jax.eval_shape(step)
        assert jax.tree.map(lambda a: (a.shape, a.dtype), before) == jax.tree.map(
            lambda a: (a.shape, a.dtype), after
        )
        assert {"loss", "kl", "reconstruction"} <= set(metrics), name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the trainings that differ by more than an objective, and what each started with."""
    folder, started = tmp_path_factory.mktemp("collapse") / "run", {}
    original = jobs.train_job

    def recorded(job, model, *args, **kwargs):
        started[job.name] = (model, kwargs["steps"])
        return original(job, model, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "train_job", recorded)
        patch.setattr(jobs, "LOGGED", 1)  # as of long trainings, not every step is logged
        experiment.main(dataclasses.replace(RUN, folder=folder))
    return folder, started


def test_the_pre_trained_encoder_meets_a_fresh_decoder(run):
    folder, started = run
    model, steps = started["pretrained"]
    assert steps == 1 == len(train.read_metrics(folder / "pretrained" / "autoencoder")[0]["step"])
    saved = Checkpoints(folder / "pretrained" / "autoencoder" / "checkpoints" / "latest")
    trained, _ = saved.restore_params()
    saved.close()
    batch = {"x": jnp.zeros((1, 2, 2, 1))}
    start, _ = jax.jit(model.init)(KEY, batch)
    fresh, _ = jax.jit(experiment.build(TINY, "pretrained", (2, 2, 1)).init)(KEY, batch)
    for group, other, same in (
        ("encoder", trained, True), ("encoder", fresh, False),
        ("decoder", fresh, True), ("decoder", trained, False),
    ):  # fmt: skip
        a, b = (np.concatenate([np.ravel(v) for v in jax.tree.leaves(p[group])]) for p in (start, other))
        assert np.array_equal(a, b) is same, (group, same)
    assert {n for name, (_, n) in started.items() if name != "pretrained"} == {2}


def test_aggressive_training_catches_up_and_looks_at_the_information(run):
    folder, _ = run
    metrics, validation = train.read_metrics(folder / "aggressive")
    assert ((metrics["inner_steps"] >= 2) & (metrics["inner_steps"] <= TINY.most))[
        metrics["aggressive"] == 1
    ].all()
    assert [record["step"] for record in validation] == [1, 2]
    assert all("mutual_information" in record["validation"] for record in validation)
    report = runs.read_json(folder / "report.json")["models"]
    assert report["aggressive"]["inner_steps"] == metrics["inner_steps"].sum()
    assert metrics["step"].tolist() == [1, 2]  # all of them, or the sum would be of some
    assert train.read_metrics(folder / "plain")[0]["step"].tolist() == [2]
    assert "inner_steps" not in report["plain"]


def test_the_report_is_of_the_files(run):
    folder, _ = run
    models = runs.read_json(folder / "report.json")["models"]
    assert tuple(models) == RUN.remedies
    log_p = {name: np.load(folder / name / "log_likelihood.npy").astype(float) for name in models}
    for name, m in models.items():
        assert m["nll"] == pytest.approx(-log_p[name].mean())
        assert m["minus_plain"]["mean"] == pytest.approx((log_p["plain"] - log_p[name]).mean(), abs=1e-6)
        assert (m["n"], m["num_samples"], m["judged"], m["latents"]) == (5, 4, 20, 3)
    vae, test = runs.load(folder / "labels").vae, experiment.load(TINY).test
    key = jax.random.key(experiment.EVALUATION_KEY)
    again = evaluation.collapse(key, vae, jobs.first(test, 20))
    for name in ("kl", "mutual_information", "active_units", "decoder_sensitivity"):
        assert models["labels"][name] == pytest.approx(again[name], rel=1e-5)
    lines = collapse_report.table({"models": models}).splitlines()[4:]
    for line, m in zip(lines, models.values(), strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert (cells[0], cells[1]) == (m["label"], f"{m['kl']:.2f}")
        assert m["summary"].startswith(f"{cells[-1]}:")
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert names == {"training_curves", "scores", "draws"}


def test_a_finished_run_is_reported_again_and_another_config_refused(run, monkeypatch):
    folder, _ = run
    monkeypatch.setattr(train, "fit", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr(collapse_report, "draw", lambda *a: None)
    before = runs.read_json(folder / "report.json")
    (folder / "report.json").unlink()
    experiment.main(dataclasses.replace(RUN, folder=folder))
    (folder / "report.json").unlink()
    experiment.main(experiment.Config(folder=folder, report_only=True))
    assert runs.read_json(folder / "report.json")["models"] == before["models"]
    with pytest.raises(ValueError, match=r"holds a run of another config .*most: 3 there, 4 now"):
        experiment.main(dataclasses.replace(RUN, folder=folder, most=4))


def test_a_dry_run_measures_and_trains_nothing(capsys, monkeypatch):
    monkeypatch.setattr(train, "fit", lambda *a, **k: pytest.fail("trained"))
    measured = []
    monkeypatch.setattr(experiment, "estimate", lambda kinds, workers: measured.append(kinds) or {"hours": 1})
    experiment.main(dataclasses.replace(TINY, dry_run=True))
    (kinds,) = measured
    assert list(kinds) == [remedy.label for remedy in experiment.REMEDIES.values()]
    assert {(kind.steps, kind.batch_size, kind.split.size) for kind in kinds.values()} == {(2, 6, 6)}
    assert "as if the encoder were aggressive to the end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remedies": ("plain", "prayer")}, "remedies: expected one of 'plain', 'weak'"),
        ({"remedies": ("weak",)}, "remedies: expected 'plain' among them"),
        ({"pixels": "bytes"}, "pixels: expected one of 'threshold', 'dynamic'"),
        ({"pretraining": 1.0}, "pretraining: expected a share that leaves either part at least one"),
        ({"validate_every": 150}, "validate_every: expected a multiple of the chunk of 100, got 150"),
        ({"free_nats": -1.0}, "free_nats: expected a finite number of at least 0, got -1.0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a positive finite number, got 0.0"),
        ({"pool": 0}, "pool: expected at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)


def test_presets_carry_their_names():
    assert all(preset.preset == name for name, preset in experiment.PRESETS.items())
