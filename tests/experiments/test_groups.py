"""GroupVAE and ML-VAE on pairs: what each row minimises, and what a report holds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import groups as experiment
from tests.experiments.tiny import CONFIGS, dense
from vaejax import data, evaluation, objectives, train
from vaejax.keys import named_key
from vaejax.types import Split

TINY = replace(
    CONFIGS[experiment], methods=tuple(experiment.METHODS), k=1, ramp=4, beta=2.0, learning_rate=0.1
)
KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
Y = np.stack(np.unravel_index(np.arange(24), (2, 3, 4)), axis=1)
X = RNG.integers(0, 2, (24, 16, 16, 1)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def small():
    """Dense nets, 24 images of three factors without a file."""
    split = Split({"x": X, "y": Y}, "binary")
    images = SimpleNamespace(train=data.pairs(split, 1), test=split, known=split)
    with pytest.MonkeyPatch.context() as patch:
        dense(patch)
        patch.setattr(experiment, "load", lambda config: images)
        yield images


def test_the_known_number_of_shared_latents_wants_a_known_k():
    assert list(experiment.rows(TINY)) == list(experiment.METHODS)
    assert list(experiment.rows(replace(TINY, k=None))) == ["beta_vae", "group", "ml"]


def test_rows_differ_in_what_posteriors_share_alone(small):
    """Each loss is that of its term, with the ramp's weight of the KL, on the same pairs."""
    batch = {name: jnp.asarray(a[:8]) for name, a in small.train.arrays.items()}
    rules = {
        "beta_vae": ("mean", 0),
        "group": ("mean", None),
        "ml": ("precision", None),
        "group_k": ("mean", 2),
    }
    made = {name: experiment.training(TINY, name) for name in rules}
    assert len({str(each.model.spec) for each in made.values()}) == 1
    model = made["group"].model

    @jax.jit
    def run(params):
        losses, expected = {}, {}
        vae = model.bind(params)
        draw = objectives.sample(named_key(KEY, "/draw"), vae, batch)
        for name, (average, shared) in rules.items():
            state = train.loop.TrainState(params, None, made[name].update.init(params), jnp.int32(2))
            losses[name] = made[name].update.apply(state, KEY, batch, None)[1]["loss"]
            term = objectives.group(
                average, shared=shared, beta=1.0
            )  # half of 2.0, in the middle of the ramp
            expected[name] = term(named_key(KEY, "group"), vae, draw).mean()
        return losses, expected

    losses, expected = run(jax.jit(model.init)(jax.random.key(0), batch)[0])
    for name, loss in losses.items():
        np.testing.assert_allclose(loss, expected[name], rtol=1e-5, err_msg=name)
    assert len({float(loss) for loss in losses.values()}) == 4


def test_scores_are_of_single_images(small, monkeypatch):
    monkeypatch.setattr(evaluation.scores, "dci", partial(evaluation.scores.dci, trees=2))  # a moment
    made = experiment.training(TINY, "group")
    params = jax.jit(made.model.init)(jax.random.key(0), {"x": X[:1]})[0]
    scores = experiment.score(replace(TINY, fitted=20), "group", made.model.bind(params), small)
    assert {"mig", "sap", "reconstruction", "kl"} <= set(scores)  # of 20 codes DCI and the votes are none
    assert scores["neg_elbo"] == pytest.approx(scores["reconstruction"] + scores["kl"])
    assert scores["kl_per_dimension"].shape == (TINY.latents,)
