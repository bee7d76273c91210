"""Quantisers at a tiny size: equal bits, what a prior's training leaves alone, what the scores are of."""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments import codes as experiment
from tests.experiments.tiny import TINY
from vaejax import data, evaluation, lab
from vaejax.ops.codes import perplexity
from vaejax.train import Checkpoints

CONFIG = replace(TINY[experiment], codes=16, stages=2, levels=(4, 2, 2), steps=4, prior_steps=4)
PLACES = 2 * 2  # of digits, 8 x 8


@pytest.mark.parametrize("name", experiment.ROWS)
def test_every_row_has_the_same_bits_for_an_image_and_a_prior_over_them(name):
    """-log p(z) of a uniform prior is P log V whatever the quantiser; what moves is the prior alone."""
    made = experiment.training(CONFIG, name)
    folder, first, groups = made.before
    batch = {"x": made.data.test.arrays["x"][:3].astype(np.float32)}

    def nats(key):
        params, variables = first.model.init(key, batch)
        draw = first.model.bind(params, variables).encode(key, batch)
        return draw.log_q - draw.log_p, draw.extra["indices"]

    cost, k = jax.jit(nats)(jax.random.key(0))
    np.testing.assert_allclose(cost, PLACES * math.log(16), rtol=1e-6)
    S, V = CONFIG.books(name)
    assert k.shape == ((3, 2, 2, S) if name == "residual" else (3, 2, 2))
    assert V**S == 16
    assert k.max() < V
    assert set(made.model.groups) - set(groups) == {"prior"}
    assert ("posterior" in groups) is (name == "gradient")
    assert folder == "autoencoder"


def test_a_prior_is_fitted_to_frozen_codes_and_scored_against_a_uniform_one(tmp_path):
    """With running means, which are state: it goes along, and no step of the prior moves it."""
    config = replace(CONFIG, folder=tmp_path / "run")
    run = lab.run(config, {"fast": CONFIG}, {"ema": "ema"}, experiment.training, experiment.score)
    saved = {}
    for name, folder in {"first": "ema-seed0/autoencoder", "last": "ema-seed0"}.items():
        kept = Checkpoints(tmp_path / "run" / folder / "checkpoints" / "latest")
        saved[name] = kept.restore_params()
        kept.close()
    (before, state), (after, state_after) = saved["first"], saved["last"]
    assert state["codebook"].any()
    moved = {**after, "variables": state_after}
    for group, tree in {**before, "variables": state}.items():
        jax.tree.map(np.testing.assert_array_equal, tree, moved[group])
    (scores,) = run.reports["ema"]
    images = data.digits(pixels="bytes")
    alike = experiment.model_of(config, "ema", (8, 8, 1), learned=False)
    vae = alike.bind(before, state)
    key = jax.random.key(5)
    uniform = evaluation.elbo_parts(key, vae, images.test, aggregate=False)
    assert scores["uniform_bits_per_dim"] == pytest.approx(uniform["neg_elbo"] / (64 * math.log(2)), rel=1e-5)
    gained = PLACES * math.log(16) - scores["kl"]
    assert scores["bits_per_dim"] == pytest.approx(
        scores["uniform_bits_per_dim"] - gained / (64 * math.log(2)), rel=1e-5
    )
    k = jax.jit(lambda vae, x: vae.encode(key, {"x": x}).extra["indices"])(
        vae, images.test.arrays["x"].astype(np.float32)
    )
    assert scores["perplexity"] == pytest.approx(float(perplexity(k, 16)), rel=1e-5)
    assert scores["used_share"] == pytest.approx(len(np.unique(k)) / 16)
    assert scores["mse"] > 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("residual", {"codes": 15, "levels": (5, 3)}, "codes: expected 15 .* of every row; residual has 16"),
        ("fsq", {"levels": (4, 5)}, "codes: expected 16 codes at a place of every row; fsq has 20"),
    ],
)
def test_rows_of_unequal_bits_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        experiment.training(replace(CONFIG, **change), name)
