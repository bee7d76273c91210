"""Few labels: what each classifier learns from, what is minimised, what a report holds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import labels as experiment
from tests.experiments.tiny import TINY as ALL
from vaejax import data, objectives
from vaejax.keys import named_key
from vaejax.types import TrainState

TINY = ALL[experiment]
KEY = jax.random.key(2)


def seen(method):
    """What a method is trained on, its model and update."""
    made = experiment.training(TINY, f"digits-{method}")
    return made, made.data.train


def test_every_classifier_has_one_size_and_sees_the_same_labels():
    images = data.digits().train
    shapes, rows = {}, {}
    for method in ("supervised", "all", "m2"):
        made, split = seen(method)
        batch = {name: array[:1] for name, array in split.arrays.items()}
        params = jax.eval_shape(made.model.init, KEY, split.transform(KEY, batch))[0]
        shapes[method] = jax.tree.map(jnp.shape, params)
        known = split.arrays["y"] != -1
        rows[method] = {x.tobytes() for x in split.arrays["x"][known]}
    assert shapes["supervised"] == shapes["all"] == shapes["m2"]
    assert rows["supervised"] == rows["m2"]
    assert len(rows["m2"]) == 20
    m2 = seen("m2")[1].arrays["y"]
    assert (m2 == -1).sum() == images.size - 20
    assert np.mean(m2 != -1) == pytest.approx(TINY.share, abs=1e-3)
    np.testing.assert_array_equal(seen("all")[1].arrays["y"], images.arrays["y"])


@pytest.fixture(scope="module")
def steps():
    """A step of both kinds of classifier from the same parameters: their losses and what moved."""
    found = {}
    for method in ("supervised", "m2"):
        made, split = seen(method)
        batch = split.transform(KEY, {name: jnp.asarray(array[-8:]) for name, array in split.arrays.items()})

        @jax.jit
        def step(key, made=made, batch=batch):
            params, _ = made.model.init(key, batch)
            state = TrainState(params, None, made.update.init(params), jnp.int32(0))
            moved, metrics = made.update.apply(state, KEY, batch, None)
            vae = made.model.bind(params)
            log_q = jax.nn.log_softmax(vae.heads["classifier"](batch["x"]))
            draw = objectives.sample(
                named_key(KEY, "m2"), vae, {**batch, "c": jax.nn.one_hot(batch["y"], 10)}
            )
            bound = objectives.kl(KEY, vae, draw) - draw.log_px + jnp.log(10.0)
            same = jax.tree.map(lambda a, b: jnp.all(a == b), params, moved.params)
            return (
                metrics["loss"],
                -jnp.take_along_axis(log_q, batch["y"][:, None], 1).mean(),
                bound.mean(),
                same,
            )

        found[method] = step(jax.random.key(0))
    return found


def test_a_supervised_net_minimises_its_cross_entropy_alone(steps):
    loss, nll, _, same = steps["supervised"]
    np.testing.assert_allclose(loss, nll, rtol=1e-5)
    assert all(jax.tree.leaves((same["encoder"], same["decoder"])))
    assert not all(jax.tree.leaves(same["classifier"]))


def test_a_labelled_row_of_m2_costs_its_bound_by_its_true_share_and_alpha_times_the_cross_entropy(steps):
    loss, nll, bound, same = steps["m2"]
    weight = 20 / (data.digits().train.size - 20)  # s = 1/2
    np.testing.assert_allclose(loss, weight * bound + 30 * nll, rtol=1e-4)
    for group in ("encoder", "decoder", "classifier"):
        assert not all(jax.tree.leaves(same[group])), group
