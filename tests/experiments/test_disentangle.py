"""Seven methods at a tiny size: what each minimises, what a run writes, that the numbers are the files'."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import disentangle as experiment
from experiments import disentangle_report
from experiments.disentangle_config import METHODS, PRESETS, Config
from vaejax import data, evaluation, nets, runs, train
from vaejax.keys import named_key
from vaejax.ops import aggregate, jacobian

TINY = dataclasses.replace(
    PRESETS["fast"],
    seeds=2, first_seed=3, side=16, latents=3, steps=2, batch_size=8, chunk=1, workers=1, critic=(8,),
    scored=200, fitted=100, dci_fitted=60,
)  # fmt: skip
SIZE = 16_736  # training images of mini-sprites


@pytest.fixture(scope="module", autouse=True)
def dense():
    """Dense nets in the place of convolutions, which take long to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            nets, "ConvEncoder", lambda latents, width: nets.MLPEncoder(latents, (8,), event_ndims=3)
        )
        patch.setattr(
            nets, "ConvDecoder", lambda side, channels, width: nets.MLP((8,), (side, side, channels))
        )
        yield patch


@pytest.fixture(scope="module")
def run(tmp_path_factory, dense):
    folder = tmp_path_factory.mktemp("disentangle") / "run"
    dense.setattr(evaluation.scores, "CLUSTERS", 2)
    experiment.main(dataclasses.replace(TINY, folder=folder))
    return folder


def test_a_run_leaves_every_score_of_every_method(run):
    report = json.loads((run / "report.json").read_text())
    methods = report["datasets"]["mini_sprites"]
    assert list(methods) == list(METHODS)
    for method, scores in methods.items():
        seeds = [runs.read_json(run / f"mini_sprites-{method}-seed{s}" / "report.json") for s in (3, 4)]
        for key in disentangle_report.TABLED.values():
            assert scores[key] == runs.mean_ci95([seed[key] for seed in seeds]), key
    assert {p.stem for p in (run / "figures").glob("*.png")} == {
        "scores_mini_sprites",
        "traversals_mini_sprites",
    }


def test_methods_differ_by_their_term_alone(run):
    """The same images in the same order, and before anything rises the same loss from the same weights."""
    losses = {}
    for method in METHODS:
        folder = run / f"mini_sprites-{method}-seed3"
        metrics, _ = train.read_metrics(folder)
        name = "vae/reconstruction" if method == "factor_vae" else "reconstruction"
        losses[method] = float(metrics[name][0])
    print(losses)


def test_the_table_has_the_numbers_of_the_report(run):
    report = runs.read_json(run / "report.json")
    lines = disentangle_report.table(report, "mini_sprites").splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[2:-1]] == list(METHODS.values())
    titles = [line.split("|")[1].strip() for line in lines[2:]]
    assert titles == list(disentangle_report.TABLED)
    entry = report["datasets"]["mini_sprites"]["jl1_vae"]["kl"]
    shown = lines[2 + titles.index("KL")].split("|")[2 + list(METHODS).index("jl1_vae")].strip()
    assert shown == f"{entry['mean']:.4g} [{entry['ci95'][0]:.4g}, {entry['ci95'][1]:.4g}]"
