"""The categorical over bytes, and what all likelihoods of bytes refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tests.distributions.compiled import compiled
from vaejax import distributions

LOGITS = np.random.default_rng(0).normal(size=(2, 3 * 256)) * 3  # two pixels of three channels
BYTES = np.arange(256.0)


def test_it_is_a_softmax_over_the_bytes_of_every_channel(x64):
    x = np.concatenate([np.tile(BYTES[:, None, None], (1, 2, 3)), [[[0, 9, 255], [3, 128, 0]]]])
    log_p, mean = compiled(distributions.categorical(), LOGITS, x, 2)
    table = log_softmax(LOGITS.reshape(2, 3, 256), axis=-1)
    np.testing.assert_allclose(log_p[:256], table.sum((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(
        log_p[256], sum(table[i, c, int(x[256, i, c])] for i in (0, 1) for c in range(3))
    )
    np.testing.assert_allclose(mean, np.exp(table) @ BYTES, rtol=1e-12)
    one, _ = compiled(distributions.categorical(), LOGITS[0, :256], BYTES[:, None], 1)
    np.testing.assert_allclose(np.exp(one).sum(), 1, rtol=1e-12)


def test_its_gradient_is_the_residual(x64):
    logits = jnp.asarray(LOGITS[0, :256])
    gradient = jax.jit(jax.grad(lambda l: distributions.categorical().build(l, 1).log_prob(jnp.full(1, 7.0))))
    np.testing.assert_allclose(gradient(logits), np.eye(256)[7] - softmax(logits), atol=1e-12)


def test_with_the_masses_of_a_logistic_it_is_the_logistic(x64):
    parameters = np.array([0.2, -1.0])
    log_p, mean = compiled(distributions.discretised_logistic(), parameters, BYTES[:, None], 1)
    again, near = compiled(distributions.categorical(), log_p, BYTES[:, None], 1)
    np.testing.assert_allclose(again, log_p, rtol=1e-12)
    np.testing.assert_allclose(near, mean, atol=1e-3)


def test_the_inverse_cdf_has_no_mass_where_there_is_none(monkeypatch):
    """Only 3 and 9 are possible, 3 with chance 1/4; the smallest and largest uniforms go there too."""
    logits = np.full(256, -np.inf, np.float32)
    logits[[3, 9]] = np.log([0.25, 0.75])
    u = jnp.array([0.0, 1e-7, 0.2499, 0.2501, 1 - 2.0**-24])
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: u.reshape(shape))

    def sample(logits):
        return distributions.categorical().build(logits, 1).sample(seed=jax.random.key(0), sample_shape=5)

    np.testing.assert_array_equal(jax.jit(sample)(logits)[:, 0], [3, 3, 3, 9, 9])


LIKELIHOODS = {  # and the numbers it takes for one channel
    "categorical": (distributions.categorical(), 256),
    "discretised_logistic": (distributions.discretised_logistic(), 2),
    "discretised_logistic_mixture": (distributions.discretised_logistic_mixture(2), 6),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_what_is_no_byte_has_no_probability(name):
    likelihood, n = LIKELIHOODS[name]
    parameters = np.random.default_rng(0).normal(size=(8, 2, n)).astype(np.float32)
    x = np.full((8, 2, 1), 4.0, np.float32)
    x[:7, 1, 0] = [-1.0, 256.0, 3.5, 0.3, np.inf, -np.inf, np.nan]
    log_p, _ = compiled(likelihood, parameters, x, 2)
    np.testing.assert_array_equal(log_p[:7], -np.inf)
    assert np.isfinite(log_p[7])


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_bytes_of_every_type_are_the_same_bytes(name):
    likelihood, n = LIKELIHOODS[name]
    parameters = np.random.default_rng(0).normal(size=(1, 3, n)).astype(np.float32)
    x = np.array([[[0], [200], [255]]])
    px = jax.jit(lambda p: likelihood.build(p, 2))(parameters)  # through jit with its shapes
    assert (px.batch_shape, px.event_shape) == ((1,), (3, 1))
    log_prob = jax.jit(lambda px, x: px.log_prob(x))
    expected = log_prob(px, x.astype(np.float32))
    for dtype in (np.uint8, np.int32):
        np.testing.assert_array_equal(log_prob(px, x.astype(dtype)), expected)
    assert jax.eval_shape(lambda px: px.sample(seed=jax.random.key(0)), px).dtype == jnp.float32
