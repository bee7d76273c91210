"""A model that starts from given parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.catalogue import small_vae
from vaejax import compose, models, objectives, scaled
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY = jax.random.key(0)
MODEL, X = small_vae()
BATCH = {"x": jnp.asarray(X)}


@pytest.fixture(scope="module")
def given():
    params, _ = jax.jit(MODEL.init)(jax.random.key(5), BATCH)
    return params


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def test_the_given_groups_start_as_they_are_and_the_others_afresh(given):
    init = jax.jit(models.starting_from(MODEL, {"encoder": given["encoder"]}).init)
    params, variables = init(KEY, BATCH)
    fresh, _ = jax.jit(MODEL.init)(KEY, BATCH)
    assert variables is None
    assert same(params["encoder"], given["encoder"])
    assert same(params["decoder"], fresh["decoder"])
    assert not same(params["decoder"], given["decoder"])
    assert models.starting_from(MODEL, given).spec == MODEL.spec


def test_a_pre_trained_encoder_goes_on_under_a_decoder_that_is_reset():
    data = Split({"x": X}, "binary")
    autoencoder = compose(reconstruction=objectives.reconstruction, kl=scaled(0.0, objectives.kl))
    options = {"batch_size": 3, "chunk": 1, "progress": False}
    first = fit(KEY, MODEL, gradient_update(autoencoder, MODEL, optax.sgd(0.1)), data, 2, **options)
    model = models.starting_from(MODEL, {"encoder": first.state.params["encoder"]})
    vae = compose(reconstruction=objectives.reconstruction, rate=objectives.target_rate(8.0))
    frozen = gradient_update(vae, model, optax.sgd(0.0))
    second = fit(jax.random.key(1), model, frozen, data, 1, **options)
    assert same(second.state.params["encoder"], first.state.params["encoder"])
    assert not same(second.state.params["decoder"], first.state.params["decoder"])
    assert second.metrics["rate"] == 8 > second.metrics["kl"]


def test_what_is_refused(given):
    with pytest.raises(TypeError, match=r"model: expected a vaejax\.Model, got dict"):
        models.starting_from(given, {})
    with pytest.raises(
        ValueError, match=r"params: expected groups among \['decoder', 'encoder'\], got 'critic'"
    ):
        jax.eval_shape(models.starting_from(MODEL, {"critic": 1.0}).init, KEY, BATCH)
    double = {"encoder": jax.tree.map(lambda a: np.concatenate([a, a]), given["encoder"])}
    with pytest.raises(ValueError, match=r"params\['encoder'\]: expected shapes .*\(8,\).*, got .*\(16,\)"):
        jax.eval_shape(models.starting_from(MODEL, double).init, KEY, BATCH)
