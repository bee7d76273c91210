"""Penalties by what they cost, at a tiny size: the curves and what is read off them, and resuming."""

from __future__ import annotations

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from experiments import jl1_config, jl1_cost, jl1_cost_report, jl1_three_dots, jobs
from vaejax import distributions, evaluation, models, nets, runs, train

TINY = jl1_cost.Config(
    seeds=1, first_seed=4, side=16, width=0.1, images=32, latents=3, steps=6, chunk=1, every=3,
    batch_size=4, microbatch=None, ramp=2, clusters=2, samples=50, workers=1,
)  # fmt: skip
LABELS = {name: method.label for name, method in jl1_cost.METHODS.items()}
BUILD = jl1_cost.build


def small(config):
    """A model that compiles fast."""
    return models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=config.latents, features=(), event_ndims=3),
        decoder=nets.MLP((4,), (config.side, config.side, 1)), latents=config.latents,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory):
    """Data and a model of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEJAX_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setattr(jl1_cost, "build", small)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost") / "run"
    return folder, jl1_cost.main(dataclasses.replace(TINY, folder=folder))


def test_the_curves_are_those_of_the_trainings(finished):
    folder, report = finished
    assert list(report["methods"]) == list(jl1_cost.METHODS)
    for name, m in report["methods"].items():
        _, records = train.read_metrics(folder / f"{name}-seed4")
        assert m["curves"]["steps"] == [[3, 6]]
        for k in ("local_mig", "local_modularity"):
            assert m["curves"][k] == [[r["validation"][k] for r in records]]
            assert m[k]["per_seed"] == [m["curves"][k][0][-1]]
        rates = np.array([r["validation"]["ms_a_step"] for r in records])
        assert (rates > 0).all()
        assert m["curves"]["seconds"][0] == pytest.approx(np.cumsum(3 * rates) / 1000)
        assert m["seconds"]["mean"] == pytest.approx(3 * rates.sum() / 1000)
    assert json.loads((folder / "report.json").read_text())["goal"] == report["goal"]
    assert {p.stem for p in (folder / "figures").glob("*.png")} == {"against_steps", "against_seconds"}


def test_the_scores_are_the_flagships(finished):
    folder, report = finished
    dots = jl1_cost.load(TINY)
    vae = runs.load(folder / "jl1_1-seed4").vae
    key = jax.random.key(jl1_three_dots.METRIC_KEY)
    local = evaluation.local_scores(key, vae, dots, clusters=2, num_samples=50)
    assert report["methods"]["jl1_1"]["local_mig"]["mean"] == pytest.approx(local.mig, abs=1e-6)


def test_a_killed_training_goes_on_to_the_same_end(finished, tmp_path, monkeypatch):
    fit, cut = train.fit, []

    def killed(*args, progress, **kwargs):
        def interrupt(n, record):
            progress(n, record)
            if record["step"] == 5 and not cut:
                cut.append(record)
                raise KeyboardInterrupt

        return fit(*args, progress=interrupt, **kwargs)

    monkeypatch.setattr(jl1_cost.train, "fit", killed)
    job = jl1_cost.Job(TINY, tmp_path / "beta", "beta_vae", 4)
    with pytest.raises(KeyboardInterrupt):
        jl1_cost.train_one(job)
    jl1_cost.train_one(job)
    told = runs.read_json(tmp_path / "beta" / "report.json")
    _, report = finished
    assert told["curves"]["local_mig"] == report["methods"]["beta_vae"]["curves"]["local_mig"][0]


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    folder, report = finished
    monkeypatch.setattr(jl1_cost.train, "fit", lambda *a, **k: pytest.fail("trained again"))
    again = jl1_cost.main(dataclasses.replace(TINY, folder=folder))
    read = jl1_cost.main(jl1_cost.Config(folder=folder, report_only=True))
    assert again["methods"] == read["methods"] == report["methods"]
    assert read["config"].steps == 6
    path = folder / "jl2-seed4" / "report.json"
    before = path.read_text()
    jl1_cost.train_one(jl1_cost.Job(TINY, path.parent, "jl2", 4))
    assert path.read_text() == before
    with pytest.raises(ValueError, match=r"another config .*gamma_jl2: .* there, 7\.0 now"):
        jl1_cost.main(dataclasses.replace(TINY, folder=folder, gamma_jl2=7.0))


def test_the_model_is_the_flagships():
    flagship = jl1_config.PRESETS["fast"]
    fast = jl1_cost.PRESETS["fast"]
    assert BUILD(fast).spec == jl1_three_dots.build(flagship).spec
    for name in ("side", "radius", "images", "batch_size", "learning_rate", "beta", "gamma", "microbatch"):
        assert getattr(fast, name) == getattr(flagship, name)


def test_the_objectives_differ_in_their_penalty_alone():
    config = dataclasses.replace(TINY, ramp=0, gamma=2.0, gamma_jl2=3.0, gamma_orojar=5.0)
    seen = {}

    def record(objective, *args, **kwargs):
        seen["objective"] = objective
        return train.updates.gradient_update(objective, *args, **kwargs)

    model = jl1_cost.build(config)
    x = np.random.default_rng(0).random((3, 16, 16, 1)).astype(np.float32)
    params, _ = model.init(jax.random.key(0), {"x": x})
    metrics = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "gradient_update", record)
        for name in jl1_cost.METHODS:
            jl1_cost.update(config, model, name)
            _, (m, _) = seen["objective"](jax.random.key(1), model.bind(params), {"x": x}, 0)
            metrics[name] = {k: float(v) for k, v in m.items()}
    plain = metrics.pop("beta_vae")
    weights = {"jl1_exact": 2.0, "jl1_1": 2.0, "jl1_2": 2.0, "jl2": 3.0, "orojar": 5.0}
    for name, m in metrics.items():
        assert m["weight/penalty"] == weights[name]
        assert m["loss"] == pytest.approx(plain["loss"] + weights[name] * m["penalty"], rel=1e-5)
    assert len({round(m["penalty"], 7) for m in metrics.values()}) == 5


def test_seconds_are_the_medians_of_chunks_between_scores(monkeypatch):
    clock = iter([0.0, 10.0, 10.0, 10.2, 10.2, 10.6, 10.6, 90.0, 90.3, 90.3, 90.4, 90.4, 95.4, 95.4])
    monkeypatch.setattr(jl1_cost.time, "perf_counter", lambda: next(clock))
    watch = jl1_cost.Watch()
    for _ in range(3):  # 10 s with compilation, .2 s, .4 s
        watch.chunk(100)
    assert watch.read() == pytest.approx(4.0)
    watch.go_on()  # the scores took until 90 s
    for _ in range(3):  # .3 s, .1 s, 5 s with something else in between
        watch.chunk(100)
    assert watch.read() == pytest.approx(3.0)
    assert math.isnan(watch.read())


def test_an_interval_that_a_kill_left_unmeasured_counts_as_the_others():
    records = [
        {"step": 10 * (i + 1), "validation": {"ms_a_step": r, "local_mig": i / 10, "local_modularity": 0.5}}
        for i, r in enumerate((2.0, math.nan, 6.0, 4.0))
    ]
    metrics = {"step": np.arange(1, 41), "reconstruction": np.arange(40.0), "kl": np.ones(40)}
    told = jl1_cost_report.along(metrics, records, every=10)
    assert told["curves"]["seconds"] == pytest.approx([0.02, 0.06, 0.12, 0.16])
    assert (told["seconds"], told["ms_a_step"]) == pytest.approx((0.16, 4.0))
    assert (told["local_mig"], told["reconstruction"], told["kl"]) == (0.3, 34.5, 1.0)


def _training(folder, migs, seconds):
    curves = {"steps": [10, 20, 30], "seconds": seconds, "local_mig": migs, "local_modularity": [0.5] * 3}
    ends = {"seconds": seconds[-1], "ms_a_step": 1.0, "reconstruction": 9.0, "kl": 4.0}
    report = {"curves": curves, "local_mig": migs[-1], "local_modularity": 0.5, **ends}
    runs.write_json(folder / "report.json", report)
    return folder


def test_what_is_read_off_the_curves(tmp_path, monkeypatch):
    trainings = {
        "beta_vae": [([0.0, 0.1, 0.2], [1, 2, 3]), ([0.0, 0.1, 0.4], [1, 2, 3])],
        "jl1_exact": [([0.2, 0.8, 1.0], [10, 20, 30]), ([0.4, 1.2, 1.0], [10, 20, 30])],
        "jl1_1": [([0.0, 0.5, 0.9], [2, 4, 6]), ([0.0, 0.7, 1.1], [2, 4, 10])],
    }
    folders = {
        name: [_training(tmp_path / f"{name}{i}", *each) for i, each in enumerate(pairs)]
        for name, pairs in trainings.items()
    }
    report = jl1_cost_report.summarise(folders)
    assert report["equal_seconds"] == 8.0  # of one column: the beta-VAE has no penalty
    assert report["goal"] == pytest.approx(0.9)
    at = {name: m["local_mig_at_equal_seconds"]["per_seed"] for name, m in report["methods"].items()}
    # the beta-VAE stays at its end, the exact one has not had its first score
    expected = {"beta_vae": [0.2, 0.4], "jl1_exact": [0.2, 0.4], "jl1_1": [0.9, 0.7 + 0.4 * 4 / 6]}
    assert at == {name: pytest.approx(values) for name, values in expected.items()}
    to_goal = {name: m["to_goal"] for name, m in report["methods"].items()}
    assert to_goal == {
        "beta_vae": None,
        "jl1_exact": {"steps": 20.0, "seconds": 20.0},
        "jl1_1": {"steps": 30.0, "seconds": 8.0},
    }
    assert set(report["minus_exact"]) == {"beta_vae", "jl1_1"}
    assert report["minus_exact"]["beta_vae"]["local_mig"] == runs.welch_ci95([0.2, 0.4], [1.0, 1.0])
    shown = jl1_cost_report.table(report, LABELS).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (shown[0], *shown[2:])]
    assert rows[0][5:7] == ["local MIG after 8 s", "to local MIG 0.900"]
    assert [row[0] for row in rows[1:]] == ["beta-VAE", "JL1, exact", "JL1, 1 column"]
    assert [row[6] for row in rows[1:]] == ["not reached", "20 steps, 20 s", "30 steps, 8 s"]
    drawn = {}
    monkeypatch.setattr(
        jl1_cost_report.plots,
        "band_curves",
        lambda scores, at, title, **k: drawn.update({title: (scores, at)}),
    )
    monkeypatch.setattr(jl1_cost_report.plots, "save", lambda figure, path: None)
    jl1_cost_report.draw(tmp_path, report, LABELS)
    (scores, steps), (_, seconds) = drawn.values()
    assert list(scores) == ["local MIG", "local modularity"]
    assert scores["local MIG"]["JL1, 1 column"] == [[0.0, 0.5, 0.9], [0.0, 0.7, 1.1]]
    assert list(steps) == list(scores["local MIG"])
    assert all(list(places) == [10, 20, 30] for places in steps.values())
    assert list(seconds["JL1, 1 column"]) == [2, 4, 8]  # means over seeds
    with pytest.raises(FileNotFoundError, match=r"nowhere has no report\.json"):
        jl1_cost_report.summarise({**folders, "jl2": [tmp_path / "nowhere"]})


def test_a_dry_run_measures_every_method_and_trains_nothing(monkeypatch, capsys):
    monkeypatch.setattr(jl1_cost.train, "fit", lambda *a, **k: pytest.fail("trained"))
    shown = {name: jl1_cost.METHODS[name] for name in ("beta_vae", "orojar")}  # two compile faster than six
    monkeypatch.setattr(jl1_cost, "METHODS", shown)
    costs = jl1_cost.main(dataclasses.replace(TINY, dry_run=True, seeds=3, workers=2))
    seconds = sum(costs[label].seconds for label in ("beta-VAE", "OroJaR, 2 probes"))
    assert costs["hours"] == pytest.approx(seconds * 6 * 3 / 2 / 3600)
    assert "OroJaR" in capsys.readouterr().out


def _default(config):
    return jobs.open_folder("jl1_cost", config, jl1_cost.PRESETS)[1]


def test_the_default_folder_keeps_configs_apart():
    fast = jl1_cost.PRESETS["fast"]
    assert _default(dataclasses.replace(fast, workers=1)).name == "jl1_cost-fast"
    names = {_default(dataclasses.replace(fast, gamma=g)).name for g in (0.3, 0.4)}
    assert len(names) == 2
    assert all(name.startswith("jl1_cost-fast-") for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds: expected at least 1, got 0"),
        ({"gamma_jl2": -1.0}, "gamma_jl2: expected a finite number of at least 0, got -1.0"),
        ({"gamma_orojar": math.nan}, "gamma_orojar: expected a finite number of at least 0, got nan"),
        ({"every": 250}, "every: expected a multiple of chunk=100, three chunks or more; got 250"),
        ({"every": 200}, "three chunks or more; got 200"),
        ({"steps": 1200}, "steps: expected a multiple of every=500, got 1200"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        jl1_cost.Config(**change)
