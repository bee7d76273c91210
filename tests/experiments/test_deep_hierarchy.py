"""The deep hierarchy at a tiny size: the authors' habits, the KL of resolutions, the presets' layers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import deep_hierarchy as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import data, evaluation
from vaejax.types import TrainState

TINY = replace(CONFIGS[experiment], average=0.75)
KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def steps():
    """(first state, {what the norm is beside the limit: state after a step and metrics}, model, data)."""
    made = {
        name: experiment.training(replace(TINY, skip=skip), "vdvae")
        for name, skip in (("below", 400.0), ("above", 1e-3))
    }
    split = made["below"].data.train
    batch = split.transform(KEY, {"x": split.arrays["x"][:6]})
    model = made["below"].model
    shapes, rng = jax.eval_shape(model.init, KEY, batch)[0], np.random.default_rng(1)
    params = jax.tree.map(lambda a: jnp.asarray(0.2 * rng.normal(size=a.shape), a.dtype), shapes)

    def two(training):
        state = TrainState(params, None, training.update.init(params), jnp.int32(0))
        step = lambda state, _: training.update.apply(state, KEY, batch, None)  # noqa: E731
        return jax.lax.scan(step, state, None, length=2)  # the rate is 0 in the first

    after = jax.jit(lambda: {name: two(training) for name, training in made.items()})()
    return params, after, model, made["below"].data


def leaves(tree):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree)])


def test_an_update_whose_gradient_is_large_is_skipped_and_the_average_is_evaluated(steps):
    start, after, *_ = steps
    (below, metrics), (above, _) = after["below"], after["above"]
    assert (metrics["grad_norm"] > 64e-3).all()  # the limit is of nats a dimension
    assert (metrics["grad_norm"] < 64 * 400).all()
    np.testing.assert_array_equal(leaves(above.params), leaves(start))
    np.testing.assert_array_equal(leaves(above.opt_state["trained"]), leaves(start))
    trained = leaves(below.opt_state["trained"])
    assert np.abs(trained - leaves(start)).max() > 1e-4
    np.testing.assert_allclose(leaves(below.params), 0.75 * leaves(start) + 0.25 * trained, atol=1e-6)


def test_bits_are_of_the_bound_and_the_kl_of_resolutions_adds_up(steps):
    _, after, model, images = steps
    vae = model.bind(after["below"][0].params)
    scores = experiment.score(TINY, "vdvae", vae, images)
    assert scores["kl_1"] + scores["kl_8"] == pytest.approx(scores["kl"], rel=1e-5)
    key, some = jax.random.key(2011), data.first(images.test, TINY.judged)
    expected = evaluation.elbo_parts(key, vae, some, aggregate=False)["neg_elbo"] / 64 / np.log(2)
    assert scores["bits_per_dim"] == pytest.approx(expected, rel=1e-5)
    assert scores["n"] == TINY.judged


@pytest.mark.parametrize(("preset", "count"), [("fast", 12), ("paper", 43), ("paper_imagenet32", 78)])
def test_presets_have_the_authors_levels(preset, count, monkeypatch):
    config = experiment.PRESETS[preset]
    side, channels = (28, 1) if preset == "fast" else (32, 3)
    x = np.zeros((2, side, side, channels), np.uint8)
    monkeypatch.setattr(
        experiment, "images_of", lambda name: SimpleNamespace(train=SimpleNamespace(arrays={"x": x}))
    )
    assert len(experiment.training(config, "vdvae").model.spec["levels"]) == count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "cifar"}, "dataset: expected one of 'fashion_mnist'"),
        ({"skip": 0.0}, "skip: expected a positive finite number, got 0.0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)
