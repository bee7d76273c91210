"""Two modalities: the model and the loss of each row, the classifiers, what a report holds."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import modalities as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import data, objectives
from vaejax.keys import named_key
from vaejax.types import TrainState

TINY = replace(CONFIGS[experiment], missing=0.0)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def halves():
    return experiment.load(TINY, "digits")


def test_rows_are_every_method_on_every_set():
    rows = experiment.rows(TINY)
    assert len(rows) == 8
    assert rows["sprites-poe"] == "sprites: PoE, all modalities"


def test_each_row_minimises_its_bound(halves, monkeypatch):
    """The product's of all and of each half; the mixtures' by a sample of each component."""
    monkeypatch.setattr(experiment, "load", lambda config, name: halves)
    split = data.first(halves.train, 6)
    batch = split.transform(KEY, jax.tree.map(jnp.asarray, dict(split.arrays)))
    made = {method: experiment.training(TINY, f"digits-{method}") for method in experiment.METHODS}
    assert [m.model.spec["posterior"]["name"].split(".")[1] for m in made.values()] == [
        "poe",
        "poe",
        "moe",
        "mopoe",
    ]
    terms = {"mvae": ("subsets", objectives.sub_sampled()), "moe": ("bound", objectives.stratified())}
    terms["mopoe"] = terms["moe"]

    @jax.jit
    def run(params):
        losses, expected = [], []
        for method, each in made.items():
            state = TrainState(params, None, each.update.init(params), jnp.int32(0))
            losses.append(each.update.apply(state, KEY, batch, None)[1]["loss"])
            vae = each.model.bind(params)
            draw = objectives.sample(named_key(KEY, "/draw"), vae, batch)
            if method == "poe":
                expected.append((objectives.kl(KEY, vae, draw) - draw.log_px).mean())
            else:
                name, term = terms[method]
                expected.append(term(named_key(KEY, name), vae, draw).mean())
        return losses, expected

    losses, expected = run(
        jax.jit(made["poe"].model.init)(jax.random.key(0), batch)[0]
    )  # all have these parameters
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_a_share_of_modalities_is_hidden_in_training_alone(halves, monkeypatch):
    monkeypatch.setattr(experiment, "load", lambda config, name: halves)
    made = experiment.training(replace(TINY, missing=0.5), "digits-moe")
    observed = made.data.train.arrays["observed"]
    assert 0.5 < np.mean(observed["top"]) < 0.75
    assert "observed" not in made.data.test.arrays


def test_scores_are_of_both_directions(halves):
    model = experiment.training(TINY, "digits-moe").model
    first = jax.tree.map(lambda a: jnp.asarray(a[:1]), dict(halves.train.arrays))
    params = jax.jit(model.init)(jax.random.key(0), halves.train.transform(KEY, first))[0]
    scores = experiment.score(TINY, "digits-moe", model.bind(params), halves)
    assert set(experiment.COLUMNS.values()) <= set(scores)
    assert all(0 <= scores[name] <= 1 for name in ("made_a", "made_b", "agreement"))
    assert scores["joint"] > max(scores["a"], scores["b"])


def test_classifiers_read_the_data_they_are_for(halves):
    known = experiment.classifiers(TINY, halves)
    y = halves.train.arrays["y"][:300]
    for name, of in known.items():
        assert np.mean(of(halves.train.arrays["x"][name][:300] / 255) == y) > 0.8
    words = np.eye(43, dtype=np.float32)[[[2, 5, 7 + 3, 19 + 11, 31]]]
    sprites = experiment.classifiers(
        replace(TINY, side=32), experiment.load(replace(TINY, side=32), "sprites")
    )
    factors = sprites["text"](words)
    np.testing.assert_array_equal(factors, [[2, 2, 3, 11, 0]])
    image = data.mini_sprites(32).sample_images(factors)
    np.testing.assert_array_equal(sprites["image"](0.7 * image + 0.1), factors)  # paler, and the same
