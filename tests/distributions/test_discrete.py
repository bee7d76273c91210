"""One-hot latents by enumeration."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_mean_is
from vaejax import distributions
from vaejax.distributions import OneHot

KEY = jax.random.key(0)
LOGITS, OTHER = np.random.default_rng(0).normal(size=(2, 4, 2, 3)).astype(np.float32)  # B = 4, M = 2, V = 3
ALL = np.stack(
    [np.eye(3, dtype=np.float32)[list(v)] for v in itertools.product(range(3), repeat=2)]
)  # [9, 2, 3]
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def test_probabilities_are_products_and_sum_to_one():
    q = OneHot(LOGITS)
    log_p = q.log_prob(ALL[:, None])
    expected = [P[:, 0, i] * P[:, 1, j] for i, j in itertools.product(range(3), repeat=2)]
    np.testing.assert_allclose(np.exp(log_p), expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_p).sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose(q.entropy(), -np.sum(np.exp(log_p) * log_p, 0), rtol=1e-5)
    assert (q.batch_shape, q.event_shape, log_p.dtype) == ((4,), (2, 3), jnp.float32)
    np.testing.assert_array_equal(q.mode(), np.eye(3)[LOGITS.argmax(-1)])


def test_samples_are_one_hots_of_those_probabilities():
    z = OneHot(LOGITS).sample(seed=KEY, sample_shape=20_000)
    assert (z.shape, z.dtype) == ((20_000, 4, 2, 3), jnp.float32)
    np.testing.assert_array_equal(np.sort(z, -1), np.broadcast_to([0.0, 0.0, 1.0], z.shape))
    assert_mean_is(z, P, errors=4.5)
    assert_mean_is(z[:, :, 0, 0] * z[:, :, 1, 1], P[:, 0, 0] * P[:, 1, 1])  # independent variables
    assert not OneHot.reparameterised


def test_the_kl_is_exact_and_0_from_the_uniform_to_itself():
    q, p = OneHot(LOGITS), OneHot(OTHER[0])  # one prior for a batch
    log_q, log_p = q.log_prob(ALL[:, None]), p.log_prob(ALL)[:, None]
    expected = np.sum(np.exp(log_q) * (log_q - log_p), 0)
    assert distributions.has_closed_form(q, p)
    np.testing.assert_allclose(distributions.kl_divergence(q, p), expected, rtol=1e-5)
    assert distributions.kl_per_dimension(q, p).shape == (4, 2)
    uniform = OneHot(np.zeros((2, 3), np.float32))
    np.testing.assert_allclose(distributions.kl_divergence(uniform, OneHot(np.ones((2, 3)))), 0, atol=1e-7)
    gaussian = distributions.diagonal_gaussian(jnp.zeros(3), jnp.ones(3))
    assert not distributions.has_closed_form(q, gaussian)


def gradients_of(f, temperature, hard, n=40_000):
    """Of f at relaxed samples of one variable, each with noise of its own: [n, 3]."""

    def of_one(key):
        return jax.grad(lambda a: f(OneHot(a[None]).relaxed(key, temperature, hard=hard)[0]))(LOGITS[0, 0])

    return jax.vmap(of_one)(jax.random.split(KEY, n))


def exact(f):
    return jax.grad(lambda a: jnp.sum(jax.nn.softmax(a) * jnp.stack([f(v) for v in jnp.eye(3)])))(
        LOGITS[0, 0]
    )


@pytest.mark.parametrize("hard", [True, False])
def test_the_bias_of_a_relaxed_gradient_falls_with_the_temperature(hard):
    """f is curved, so that the relaxation shows: of a linear one hard and soft samples see only its slope."""
    f = lambda v: jnp.square(jnp.dot(v, jnp.array([1.0, -0.5, 2.0])))  # noqa: E731
    run = jax.jit(lambda: (exact(f), *(gradients_of(f, t, hard) for t in (2.0, 0.5, 0.1))))
    expected, *found = run()
    distances = [np.linalg.norm(g.mean(0) - expected) for g in found]
    errors = [np.linalg.norm(g.std(0)) / np.sqrt(len(g)) for g in found]
    assert distances[0] > distances[1] + 4 * np.hypot(*errors[:2])
    assert distances[1] > distances[2] + 4 * np.hypot(*errors[1:])
    assert distances[2] < 0.15 * np.linalg.norm(expected)


def test_a_hard_sample_is_exactly_one_hot_and_of_the_distribution():
    keys = jax.random.split(KEY, 20_000)
    hard, soft = (
        jax.vmap(lambda k, h=h: OneHot(LOGITS[0]).relaxed(k, 0.7, hard=h))(keys) for h in (True, False)
    )
    np.testing.assert_array_equal(np.sort(hard, -1), np.broadcast_to([0.0, 0.0, 1.0], hard.shape))
    assert_mean_is(hard, P[0], errors=4.5)
    np.testing.assert_array_equal(hard.argmax(-1), soft.argmax(-1))  # one and the same noise
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-5)
    assert (soft.max(-1) < 1).mean() > 0.5


def test_logits_without_an_axis_of_variables_are_refused():
    with pytest.raises(ValueError, match=r"logits: expected \[..., variables, values\], got \(3,\)"):
        OneHot(jnp.zeros(3))
