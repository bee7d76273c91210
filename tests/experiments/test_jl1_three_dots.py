"""The flagship at a tiny size: what it writes, that it goes on where it stopped, and its verdict."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import jl1_report, jobs, training
from experiments import jl1_three_dots as flagship
from vaejax import evaluation, runs

TINY = [
    "--steps",
    "2",
    "--seeds",
    "1",
    "--side",
    "16",
    "--clusters",
    "2",
    "--samples",
    "300",
    "--images",
    "128",
]
FIGURES = (
    "interpolations", "jacobian_columns", "reconstructions", "samples", "scores",
    "training_curves", "traversals_JL1-VAE", "traversals_beta-VAE",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run by the command line, two processes side by side."""
    folder = tmp_path_factory.mktemp("flagship")
    command = [sys.executable, "-m", "experiments.jl1_three_dots", *TINY, "--workers", "2"]
    done = subprocess.run(
        [*command, "--folder", str(folder / "run")],
        env={**__import__("os").environ, "VAEJAX_DATA": str(folder / "data")},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def _config(folder):
    config = flagship.parse(flagship.PRESETS, None, [*TINY, "--folder", str(folder / "run")])
    return dataclasses.replace(config, workers=1)


def test_what_a_run_leaves(run):
    folder, printed = run
    report = json.loads((folder / "run" / "report.json").read_text())
    for name in ("beta_vae", "jl1_vae"):
        for metric in ("local_mig", "local_modularity", "reconstruction", "kl", "train_seconds"):
            entry = report["models"][name][metric]
            assert set(entry) == {"mean", "ci95", "per_seed"}
            assert len(entry["per_seed"]) == 1
            assert entry["ci95"] == [None, None]  # one seed says nothing of the spread
    assert report["passed"] is None
    difference = report["difference"]["local_mig"]["mean"]
    means = [report["models"][name]["local_mig"]["mean"] for name in ("jl1_vae", "beta_vae")]
    assert difference == pytest.approx(means[0] - means[1])
    assert "local modularity" in printed
    assert {p.stem for p in (folder / "run" / "figures").glob("*.png")} == set(FIGURES)
    manifest = runs.read_json(folder / "run" / "manifest.json")
    assert manifest["wall_seconds"] > 0
    assert manifest["peak_memory_mib"] > 0
    cell = runs.read_json(folder / "run" / "jl1_vae-seed0" / "manifest.json")
    params = runs.load(folder / "run" / "jl1_vae-seed0").params
    assert cell["parameters"] == manifest["parameters"] == sum(a.size for a in jax.tree.leaves(params))


def test_scores_are_those_of_the_loaded_model(run, monkeypatch):
    folder, _ = run
    monkeypatch.setenv("VAEJAX_DATA", str(folder / "data"))
    config = _config(folder)
    dots = flagship.data.three_dots(config.side, config.radius, num_train=config.images)
    vae = runs.load(folder / "run" / "beta_vae-seed0").vae
    local = evaluation.local_scores(
        jax.random.key(flagship.METRIC_KEY), vae, dots, clusters=2, num_samples=300
    )
    saved = runs.read_json(folder / "run" / "beta_vae-seed0" / "report.json")
    assert local.mig == pytest.approx(saved["local_mig"], abs=1e-6)


def test_report_only_rebuilds_report_and_figures(run, monkeypatch):
    folder, _ = run
    monkeypatch.setenv("VAEJAX_DATA", str(folder / "data"))
    path = folder / "run" / "report.json"
    before = json.loads(path.read_text())
    path.unlink()
    (folder / "run" / "figures" / "scores.png").unlink()
    flagship.main(dataclasses.replace(_config(folder), report_only=True))
    after = json.loads(path.read_text())
    assert after["models"] == before["models"]
    assert (folder / "run" / "figures" / "scores.png").exists()


def test_a_finished_run_is_not_trained_again_and_another_config_is_refused(run, monkeypatch):
    folder, _ = run
    monkeypatch.setenv("VAEJAX_DATA", str(folder / "data"))
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained again"))
    result = flagship.main(_config(folder))
    assert result["passed"] is None
    with pytest.raises(ValueError, match=r"holds a run of another config .*gamma: 0.2 there, 0.7 now"):
        flagship.main(dataclasses.replace(_config(folder), gamma=0.7))


def _cells(tmp_path, name, migs, modularities):
    paths = []
    for i, (mig, modularity) in enumerate(zip(migs, modularities, strict=True)):
        path = tmp_path / f"{name}{i}"
        runs.write_json(path / "report.json", {"local_mig": mig, "local_modularity": modularity})
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("jl1_migs", "passed"),
    [((0.10, 0.11, 0.12), True), ((0.06, 0.07, 0.08), False), ((0.05, 0.10, 0.25), False)],
    ids=["passes", "below 1.5 times", "interval meets zero"],
)
def test_the_verdict(tmp_path, jl1_migs, passed):
    beta = _cells(tmp_path, "b", (0.050, 0.055, 0.060), (0.87, 0.88, 0.89))
    jl1 = _cells(tmp_path, "j", jl1_migs, (0.93, 0.94, 0.95))
    result = jl1_report.summarise({"beta_vae": beta, "jl1_vae": jl1})
    assert result["passed"] is passed
    assert result["local_mig_ratio"] == pytest.approx(np.mean(jl1_migs) / 0.055)


def _default(config):
    return jobs.open_folder("jl1_three_dots", config, flagship.PRESETS)[1]


def test_the_default_folder_keeps_configs_apart():
    fast = flagship.PRESETS["fast"]
    assert _default(fast) == Path("runs/jl1_three_dots-fast")
    changed = _default(dataclasses.replace(fast, gamma=0.7))
    assert changed.name.startswith("jl1_three_dots-fast-")
    assert _default(dataclasses.replace(fast, workers=1)) == _default(fast)


def test_a_dry_run_measures_and_trains_nothing(capsys, monkeypatch):
    monkeypatch.setattr(jobs.train, "fit", lambda *a, **k: pytest.fail("trained"))
    config = dataclasses.replace(flagship.PRESETS["small"], side=16, width=0.1, workers=2, dry_run=True)
    costs = flagship.main(config)
    seconds = sum(costs[label].seconds for label in ("beta-VAE", "JL1-VAE"))
    assert costs["hours"] == pytest.approx(seconds * 30_000 / 3600 / 2)
    assert "20000 images of 16 x 16: 5 MiB" in capsys.readouterr().out


def test_the_presets_are_the_papers():
    small, paper = flagship.PRESETS["small"], flagship.PRESETS["paper"]
    shared = {
        "side": 64,
        "radius": 0.08,
        "width": 1.0,
        "latents": 10,
        "batch_size": 64,
        "beta": 4.0,
        "gamma": 0.1,
    }
    for preset in (small, paper):
        assert {name: getattr(preset, name) for name in shared} == shared
    assert (small.images, small.steps, small.ramp, small.learning_rate) == (20_000, 30_000, 10_000, 1e-3)
    assert (paper.images, paper.steps, paper.ramp, paper.learning_rate) == (500_000, 300_000, 100_000, 1e-4)
    assert paper.seeds == 10
    assert all(preset.preset == name for name, preset in flagship.PRESETS.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds: expected at least 1, got 0"),
        ({"clusters": 0}, "clusters: expected at least 1, got 0"),
        (
            {"method": "random"},
            "method: expected one of 'exact', 'columns', 'finite_difference'; got 'random'",
        ),
        ({"gamma": -1.0}, "gamma: expected a finite number of at least 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        flagship.Config(**change)


def test_without_a_ramp_the_weights_are_whole_from_the_start():
    config = flagship.Config(ramp=0, gamma=0.3, beta=2.0, side=16, width=0.1)
    model = flagship.build(config)
    batch = {"x": np.full((2, 16, 16, 1), 0.5, np.float32)}
    params, _ = model.init(jax.random.key(0), batch)
    for ramp, weight in ((0, 1.0), (10, 0.0)):
        objective = training.objective(dataclasses.replace(config, ramp=ramp), "jl1_vae")
        _, (metrics, _) = objective(jax.random.key(1), model.bind(params), batch, 0)
        assert metrics["weight/kl"] == pytest.approx(2.0 * weight)
        assert metrics["weight/jacobian_l1"] == pytest.approx(0.3 * weight)


def test_an_unfinished_run_has_no_report(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        flagship.main(flagship.Config(folder=tmp_path, report_only=True))
    runs.write_json(tmp_path / "config.json", flagship.Config(seeds=1))
    with pytest.raises(FileNotFoundError, match=r"beta_vae-seed0, .*jl1_vae-seed0 has no report.json"):
        flagship.main(flagship.Config(folder=tmp_path, report_only=True))
