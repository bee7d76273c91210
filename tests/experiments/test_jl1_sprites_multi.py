"""Sprites-multi at a tiny size: what a run writes, and that the shares are those of the decoder's columns."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import jl1_sprites_multi as experiment
from vaejax import data, disentanglement, runs
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.types import VAE, Draw

FIGURES = {"scores", "training_curves", "traversals_JL1-VAE", "traversals_beta-VAE"}
TINY = dataclasses.replace(
    experiment.PRESETS["fast"],
    seeds=1, images=64, side=16, latents=3, width=0.05, steps=2, batch_size=8, microbatch=None, workers=1,
    clusters=2, samples=300,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sprites") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.jl1_report, "views", lambda vaes, x: {})  # the flagship's, and slow
        experiment.main(dataclasses.replace(TINY, folder=folder))
    return folder


def test_what_a_run_leaves(run):
    report = json.loads((run / "report.json").read_text())
    for name in experiment.SHOWN.values():
        means = {model: numbers[name]["mean"] for model, numbers in report["models"].items()}
        difference = report["difference"][name]["mean"]
        assert difference == pytest.approx(means["jl1_vae"] - means["beta_vae"])
    for numbers in report["models"].values():
        for name in ("main_share", "main_share_of_average"):
            assert 0.25 <= numbers[name]["mean"] <= 1
    assert {p.stem for p in (run / "figures").glob("*.png")} == FIGURES


def test_scores_are_those_of_the_loaded_encoder(run):
    sprites = data.sprites_multi(16, num_train=64)
    encode = jax.jit(runs.load_encoder(run / "beta_vae-seed0"))
    factors = disentanglement.local_clusters(
        jax.random.key(experiment.METRIC_KEY), sprites.num_values, locality=1.0, clusters=2, num_samples=300
    )
    codes = disentanglement.represent_factors(encode, sprites.sample_images, factors, batch_size=300)
    local = disentanglement.score_local(codes, factors)
    saved = runs.read_json(run / "beta_vae-seed0" / "report.json")
    assert local.mig == pytest.approx(saved["local_mig_locality_1"], abs=1e-4)
    assert local.modularity == pytest.approx(saved["local_modularity_locality_1"], abs=1e-4)


def test_shares_of_a_decoder_whose_columns_are_known():
    """Latent 0 moves tile 1; 1 moves tiles 0 and 3 as 3 to 1; 2 one tile, by the image; 3 is not in use."""
    sprites = data.sprites_multi(16, num_train=1)
    tiles = jnp.asarray(sprites.tiles)
    shown = jnp.stack(
        [tiles == 1, 3.0 * (tiles == 0) - (tiles == 3), jnp.zeros(tiles.shape), jnp.ones(tiles.shape)]
    )

    def encode(key, batch):
        first = (jnp.arange(len(batch["x"])) % 2)[:, None] * jnp.eye(4)[2]  # z_2 is 0 or 1
        q = diagonal_gaussian(first, jnp.ones_like(first))
        return Draw(z=first, log_q=None, log_p=None, q=q, p=q, batch=batch)

    def decode(z, c=None):
        here = jnp.where(z[2] > 0.5, z[2] * (tiles == 0), -2 * z[2] * (tiles == 2))
        return Gaussian(jnp.tensordot(z, shown, 1) + here, 1.0, 3)

    vae = VAE(jax.tree_util.Partial(encode), jax.tree_util.Partial(decode), None, {})
    shares = experiment.shares(vae, sprites, np.array([True, True, True, False]))
    assert shares["main_share"] == pytest.approx((1 + 0.75 + 1) / 3)
    assert shares["main_share_of_average"] == pytest.approx((1 + 0.75 + 2 / 3) / 3)


def test_the_paper_preset_is_the_papers():
    paper = experiment.PRESETS["paper"]
    assert (paper.beta, paper.gamma, paper.learning_rate, paper.batch_size) == (0.01, 0.01, 1e-4, 64)
    assert (paper.steps, paper.ramp, paper.side, paper.latents, paper.width) == (
        300_000,
        100_000,
        64,
        10,
        1.0,
    )
    assert all(preset.preset == name for name, preset in experiment.PRESETS.items())
    options = experiment.build(paper).spec["decoder"]["options"]
    assert (options["side"], options["channels"]) == (64, 3)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="clusters: expected at least 1, got 0"):
        experiment.Config(clusters=0)
    with pytest.raises(ValueError, match="seeds: expected at least 1, got 0"):
        experiment.Config(seeds=0)
