"""What the experiments share: the objective, folders, resuming, means and differences."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import jobs, training
from experiments.cli import parse
from vaejax import data, distributions, models, nets, runs
from vaejax.types import TrainState

SETTINGS = training.Settings(
    seeds=2, first_seed=5, steps=4, batch_size=4, chunk=2, microbatch=None, latents=2, workers=1
)
MODEL = models.gaussian_vae(
    encoder=nets.MLPEncoder(latents=2, features=()), decoder=nets.MLP((), (3,)), latents=2,
    likelihood=distributions.bernoulli(cross_entropy=True),
)  # fmt: skip
X = np.random.default_rng(0).random((16, 3)).astype(np.float32)
DATA = data.from_arrays(X, X, support="unit_interval", validation=X)


def _metrics(config, name):
    """step -> loss and metrics of the objective, on fresh parameters."""
    params, _ = MODEL.init(jax.random.key(0), {"x": X})
    objective = training.objective(config, name)
    return jax.jit(lambda step: objective(jax.random.key(1), MODEL.bind(params), {"x": X}, step)[1][0])


def test_the_objective_is_its_formula_and_both_weights_rise():
    config = dataclasses.replace(SETTINGS, ramp=10, beta=2.0, gamma=0.3, method="exact")
    for name in training.MODELS:
        metrics = _metrics(config, name)
        for step, part in ((0, 0.0), (4, 0.4), (10, 1.0), (99, 1.0)):
            m = {key: float(value) for key, value in metrics(step).items()}
            expected = m["reconstruction"] + part * 2.0 * m["kl"]
            if name == "jl1_vae":
                assert m["jacobian_l1"] > 0
                expected += part * 0.3 * m["jacobian_l1"]
            assert m["loss"] == pytest.approx(expected, rel=1e-5)
        assert ("jacobian_l1" in m) == (name == "jl1_vae")
    m = _metrics(dataclasses.replace(config, ramp=0), "jl1_vae")(0)
    assert (float(m["weight/kl"]), float(m["weight/jacobian_l1"])) == pytest.approx((2.0, 0.3))


def _open(config, folder):
    return training.open_run("title", dataclasses.replace(config, folder=folder), {"fast": SETTINGS})


def _score(vae, loaded):
    assert loaded is DATA
    return {"norm": float(sum(np.square(a).sum() for a in jax.tree.leaves(jax.device_get(vae.decode.args))))}


def _train(job):
    training.train_job(job, MODEL, lambda: DATA, _score)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training") / "run"
    training.run(_train, *_open(SETTINGS, folder))
    return folder


def test_every_seed_of_both_models_is_trained_in_its_folder(finished):
    _, _, folders = _open(SETTINGS, finished)
    assert folders == {
        name: [finished / f"{name}-seed5", finished / f"{name}-seed6"] for name in ("beta_vae", "jl1_vae")
    }
    report = training.summarise(folders)
    norms = {
        name: [runs.read_json(f / "report.json")["norm"] for f in each] for name, each in folders.items()
    }
    assert len({round(n, 6) for each in norms.values() for n in each}) == 4
    assert report["models"]["jl1_vae"]["norm"] == runs.mean_ci95(norms["jl1_vae"])
    assert report["difference"]["norm"] == runs.welch_ci95(norms["jl1_vae"], norms["beta_vae"])
    assert runs.read_json(folders["jl1_vae"][1] / "config.json")["seed"] == 6
    shown = training.table(report, {"size": "norm"}, training.MODELS).splitlines()
    assert [cell.strip() for cell in shown[0].split("|")[1:-1]] == [
        "", "beta-VAE", "JL1-VAE", "JL1-VAE minus beta-VAE",
    ]  # fmt: skip
    assert [line.split("|")[1].strip() for line in shown[2:]] == ["size", "seconds of training"]
    entry = report["models"]["beta_vae"]["norm"]
    assert f"{entry['mean']:.4g} [{entry['ci95'][0]:.4g}, {entry['ci95'][1]:.4g}]" in shown[2]


def test_a_stopped_run_goes_on_to_the_same_end(finished, tmp_path, monkeypatch):
    fit, steps = training.train.fit, []

    def stopped(*args, progress, **kwargs):
        def interrupt(n, record):
            progress(n, record)
            steps.append(record["step"])
            if steps == [2, 4]:  # the second chunk is done, and not saved yet
                raise KeyboardInterrupt

        return fit(*args, progress=interrupt, save_every=1, **kwargs)

    monkeypatch.setattr(training.train, "fit", stopped)
    opened = _open(SETTINGS, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        training.run(_train, *opened)
    training.run(_train, *opened)
    assert steps == [2, 4] + [4] + 3 * [2, 4]
    for name in training.MODELS:
        a, b = (runs.read_json(f / f"{name}-seed5" / "report.json") for f in (finished, tmp_path / "run"))
        assert a["norm"] == b["norm"]


def test_a_finished_run_is_left_as_it_is(finished, monkeypatch):
    monkeypatch.setattr(training.train, "fit", lambda *a, **k: pytest.fail("trained again"))
    training.run(_train, *_open(SETTINGS, finished))
    for folder in finished.glob("*-seed5"):
        _train(training.Job(SETTINGS, folder, folder.name.partition("-")[0], 5))
    with pytest.raises(ValueError, match=r"holds a run of another config .*gamma: 0\.1 there, 0\.7 now"):
        training.run(_train, *_open(dataclasses.replace(SETTINGS, gamma=0.7), finished))
    changed, _, folders = _open(training.Settings(report_only=True, workers=3), finished)
    assert (changed.steps, changed.first_seed, changed.workers) == (4, 5, 3)
    assert len(folders["beta_vae"]) == 2


def _one(folder):
    _train(training.Job(SETTINGS, folder, "beta_vae", 5))
    return runs.read_json(folder / "report.json")["train_seconds"]


def test_seconds_of_training_are_those_of_all_steps_or_not_known(tmp_path):
    seconds = _one(tmp_path)
    assert seconds > 0
    (tmp_path / "report.json").unlink()  # killed while scoring
    assert _one(tmp_path) == seconds
    (tmp_path / "report.json").unlink()
    (tmp_path / "seconds.jsonl").unlink()
    assert _one(tmp_path) is None


def test_a_resumed_training_adds_its_seconds_to_those_before(tmp_path, monkeypatch):
    path, now = tmp_path / "seconds.jsonl", iter(range(10, 1000, 10))
    monkeypatch.setattr(jobs.time, "perf_counter", lambda: next(now))
    clock = jobs.Clock(path, 0.0)
    clock.tick(2, 0)  # at 10
    clock.tick(4, 0)  # at 20, not saved
    resumed = jobs.Clock(path, 25.0)
    resumed.tick(4, 2)  # at 30
    assert resumed.seconds == {0: 0.0, 2: 10.0, 4: 15.0}
    path.write_text(path.read_text() + "[6, 1")  # cut by a kill
    assert jobs.Clock(path, 0.0).seconds == resumed.seconds
    unknown = jobs.Clock(path, 0.0)
    unknown.tick(4, 3)  # from a step whose seconds nobody kept
    assert 4 not in unknown.seconds


def test_reports_leave_out_seconds_that_are_not_known():
    reports = [{"kl": 1.0, "train_seconds": 3.0, "name": "a"}, {"kl": 2.0, "train_seconds": None}]
    assert jobs.means(reports, reports[0]) == {"kl": runs.mean_ci95([1.0, 2.0])}
    assert [jobs.shown_seconds(s) for s in (None, 12.3)] == ["-", "12"]


def test_a_table_has_no_row_of_seconds_that_are_not_known(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    folders = _open(SETTINGS, tmp_path / "run")[2]
    path = folders["jl1_vae"][1] / "report.json"
    runs.write_json(path, {**runs.read_json(path), "train_seconds": None})
    shown = training.table(training.summarise(folders), {"size": "norm"}, training.MODELS).splitlines()
    assert [line.split("|")[1].strip() for line in shown[2:]] == ["size"]


def _records(path, jacobian):
    path.mkdir(parents=True)
    rows = [
        {"step": 3 * (i + 1), "reconstruction": 5.0, "kl": 2.0 + i, "jacobian_l1": j}
        for i, j in enumerate(jacobian)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_curves_lie_at_the_steps_of_their_records(tmp_path):
    folders = {name: [tmp_path / f"{name}-{seed}" for seed in (0, 1)] for name in training.MODELS}
    for path in (p for paths in folders.values() for p in paths):
        _records(path, [1.0, 2.0, 3.0])
    figure = training.curves(folders)
    lines = [line for axes in figure.axes for line in axes.lines]
    assert len(lines) == 3 * 2 * 3  # terms, models, two seeds and their mean
    assert all(np.array_equal(line.get_xdata(), [3, 6, 9]) for line in lines)


@pytest.mark.parametrize("jacobian", [[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
def test_a_jacobian_of_zero_is_a_gap_on_a_log_scale(tmp_path, jacobian):
    folders = {name: [tmp_path / name] for name in training.MODELS}
    _records(folders["beta_vae"][0], [1.0, 2.0, 3.0])
    _records(folders["jl1_vae"][0], jacobian)
    figure = training.curves(folders, "log")
    figure.canvas.draw()
    (axes,) = (a for a in figure.axes if a.get_ylabel().startswith("jacobian_l1"))
    drawn = axes.lines[-1].get_ydata()
    np.testing.assert_array_equal(drawn, [j or np.nan for j in jacobian])


def test_the_default_folder_keeps_configs_apart():
    fast, slow = training.Settings(), training.Settings(preset="slow", steps=99)
    presets = {"fast": fast, "slow": slow}

    def folder(config):
        return training.open_run("title", config, presets)[1]

    assert folder(fast) == Path("runs/title-fast")
    assert folder(slow) == Path("runs/title-slow")
    assert folder(dataclasses.replace(fast, workers=1, tensorboard=True)) == Path("runs/title-fast")
    changed = {folder(dataclasses.replace(fast, gamma=g)).name for g in (0.2, 0.7)}
    assert len(changed) == 2
    assert all(name.startswith("title-fast-") for name in changed)


def test_an_unfinished_run_has_no_summary(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"beta_vae-seed5, .*jl1_vae-seed6 has no report.json"):
        training.summarise(_open(SETTINGS, tmp_path)[2])


def test_the_mean_of_what_is_defined():
    assert training.mean_defined(np.array([[1.0, np.nan], [4.0, np.nan]])) == 2.5
    assert training.mean_defined(np.full(3, np.nan)) == training.mean_defined(np.zeros((5, 0))) == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds: expected at least 1, got 0"),
        ({"method": "random"}, "method: expected one of 'exact', 'columns', 'finite_difference'"),
        ({"gamma": -1.0}, "gamma: expected a finite number of at least 0, got -1.0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a positive finite number, got 0.0"),
        ({"beta": float("nan")}, "beta: expected a finite number of at least 0, got nan"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        training.Settings(**change)


def test_a_run_refused_before_any_training_leaves_no_config(tmp_path):
    def prepare():
        raise ValueError("radius: expected less")

    config, folder, folders = _open(dataclasses.replace(SETTINGS, batch_size=99), tmp_path)
    each = [training.Job(config, folders["beta_vae"][0], "beta_vae", 5)]
    with pytest.raises(ValueError, match="radius"):
        jobs.run(_train, each, [1.0], config, folder, prepare=prepare)
    assert not (folder / "config.json").exists()
    with pytest.raises(ValueError, match="batch_size: expected at most the 16 examples"):
        training.run(_train, config, folder, folders)
    assert not list(folder.rglob("*.json"))
    runs.create(folder, SETTINGS)
    with pytest.raises(ValueError, match="radius"):
        jobs.run(_train, each, [1.0], SETTINGS, folder, prepare=prepare)
    assert (folder / "config.json").exists()  # it was there before


def test_the_help_says_what_takes_the_batch_at_once(capsys):
    presets = {"fast": training.Settings()}
    assert parse(presets, None, ["--microbatch", "None"]).microbatch is None
    with pytest.raises(SystemExit):
        parse(presets, None, ["--help"])
    assert "None the batch at once" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_microbatch_of_zero_is_chosen_from_loss_and_device(monkeypatch):
    asked = []
    monkeypatch.setattr(training, "automatic_chunk", lambda loss, batch: asked.append(len(batch["x"])) or 3)
    params, variables = MODEL.init(jax.random.key(0), {"x": X})

    def step(size):
        update = training.update(dataclasses.replace(SETTINGS, ramp=0, microbatch=size), MODEL, "beta_vae")
        state = TrainState(params, variables, update.init(params), jnp.zeros((), jnp.int32))
        lowered = jax.jit(lambda state: update.apply(state, jax.random.key(1), {"x": X}, None)).lower(state)
        return lowered.as_text(), lowered.compile()(state)[1]["loss"]

    (zero, loss), (two, _), (whole, expected) = (step(size) for size in (0, 2, None))
    assert asked == [16]
    assert zero == two  # 2 is the largest divisor of 16 up to 3
    assert zero != whole
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
