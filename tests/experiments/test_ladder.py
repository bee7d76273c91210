"""Ladders of several depths: the model of each rule, what is minimised, what a report holds."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ladder as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import objectives
from vaejax.keys import named_key
from vaejax.types import TrainState

TINY = replace(CONFIGS[experiment], units=(4, 3, 2), hidden=(6, 5, 4), ramp=4, steps=8)
KEY = jax.random.key(2)


@pytest.fixture(scope="module")
def trained():
    """A ladder of two levels without a warm-up, its first parameters and six binary images."""
    made = experiment.training(TINY, "ladder-2-cold")
    split = made.data.train
    batch = split.transform(KEY, {"x": split.arrays["x"][:6]})
    return made, jax.jit(made.model.init)(jax.random.key(0), batch)[0], batch


@pytest.mark.parametrize("rule", experiment.RULES)
def test_a_hierarchy_has_the_smallest_level_at_the_top_and_sees_the_one_above_alone(rule):
    model = experiment.model_of(TINY, rule, 3, (8, 8, 1))

    def codes():
        batch = {"x": jnp.zeros((2, 8, 8, 1))}
        vae = model.bind(model.init(KEY, batch)[0])
        return vae.encode(KEY, batch).z, vae.sample_prior(KEY, 2)

    for z in jax.eval_shape(codes):
        assert [a.shape for a in z] == [(2, 2), (2, 3), (2, 4)]
    with pytest.raises(ValueError, match=r"levels: expected at most as many as units and widths, .* got 4"):
        experiment.model_of(TINY, rule, 4, (8, 8, 1))


def test_every_rule_has_a_row_of_each_depth_and_the_papers_are_also_trained_cold():
    rows = experiment.rows(experiment.Config(levels=(2, 5)))
    assert len(rows) == 2 * (3 + 2)
    assert rows["residual-5"] == "residual, 5 levels"
    assert rows["bottom_up-2-cold"] == "bottom-up, 2 levels, no warm-up"
    assert not any("residual" in name and "cold" in name for name in rows)


def test_the_loss_is_the_negative_elbo_with_the_weight_of_its_ramp_and_leaves_the_average(trained):
    (cold, params, batch), warm = trained, experiment.training(TINY, "ladder-2")
    shared = jax.eval_shape(warm.model.init, KEY, batch)[0]
    assert jax.tree.map(jnp.shape, shared) == jax.tree.map(jnp.shape, params)

    @jax.jit
    def run(params):
        draw = objectives.sample(named_key(KEY, "/draw"), warm.model.bind(params), batch)
        each = []
        for made in (cold, warm):
            state = TrainState(params, None, made.update.init(params), jnp.int32(0))
            step = lambda n: made.update.apply(state._replace(step=n), KEY, batch, None)  # noqa: B023, E731
            moved, metrics = jax.vmap(step)(jnp.array([0, 7]))
            each.append((metrics["loss"], moved.params, moved.opt_state["trained"]))
        return draw.log_px.mean(), objectives.kl(KEY, None, draw).mean(), each

    log_px, kl, each = run(params)
    losses = [loss for loss, *_ in each]
    np.testing.assert_allclose(losses, [[kl - log_px] * 2, [-log_px, kl - log_px]], rtol=1e-5)
    close = lambda first, average, now: np.testing.assert_allclose(  # noqa: E731
        average[1], first + (1 - TINY.decay) * (now[1] - first), rtol=1e-5, atol=1e-7
    )
    for _, average, now in each:
        jax.tree.map(close, params, average, now)


def test_scores_are_of_every_level(trained):
    made, params, _ = trained
    scores = experiment.score(TINY, "ladder-2-cold", made.model.bind(params), made.data)
    assert scores["kl_per_level"].sum() == pytest.approx(scores["kl"], rel=1e-5)
    assert len(scores["active_per_level"]) == 2
    assert all(n <= d for n, d in zip(scores["active_per_level"], (3, 4), strict=True))
    assert scores["active_levels"] == sum(n > 0 for n in scores["active_per_level"])
    assert scores["num_samples"] == TINY.samples
    assert "per_example" not in scores
