"""Likelihoods against printed values, enumeration and quadrature."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import distributions
from vaejax.checks import check_support
from vaejax.distributions import likelihoods

NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(200)
X, DX = (NODES + 1) / 2, NODE_WEIGHTS / 2  # Gauss-Legendre on [0, 1]


def log_px(likelihood, l, x):
    """log p(x) of one dimension at logit l."""
    return likelihood.build(jnp.reshape(jnp.asarray(l), (1, 1)), 1).log_prob(
        jnp.reshape(jnp.asarray(x), (1, 1))
    )[0]


def continuous_mean(l):
    return distributions.ContinuousBernoulli(l, 0).mean()


@pytest.mark.parametrize(
    ("likelihood", "x", "nll"),
    [
        (distributions.bernoulli(), 1.0, 0.1269280),
        (distributions.bernoulli(), 0.0, 2.1269280),
        (distributions.continuous_bernoulli(), 0.3, 0.5614394),
        (distributions.continuous_bernoulli(), 0.9, -0.6385606),
    ],
    ids=lambda v: getattr(v, "name", v),
)
def test_printed_values_at_logit_two(likelihood, x, nll, x64):
    np.testing.assert_allclose(-log_px(likelihood, 2.0, x), nll, atol=5e-8)


@pytest.mark.parametrize("x", [0.0, 1.0, 0.3])
def test_the_bernoulli_is_minus_the_cross_entropy_at_any_logit(x):
    l = np.array([-120.0, -3.0, 0.0, 0.7, 120.0])
    likelihood = distributions.bernoulli(cross_entropy=True)
    run = jax.jit(jax.vmap(jax.value_and_grad(lambda l: -log_px(likelihood, l, x))))
    value, gradient = run(np.float32(l))
    np.testing.assert_allclose(value, np.logaddexp(0, l) - x * l, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-l)) - x, atol=1e-6)


@pytest.mark.parametrize("l", [-2.0, 0.5])
def test_the_bernoulli_sums_to_one_over_all_images(l):
    images = np.array(np.meshgrid(*[[0.0, 1.0]] * 4)).reshape(4, -1).T.reshape(-1, 2, 2)  # [16, 2, 2]
    px = distributions.bernoulli().build(jnp.full((16, 2, 2), l), 2)
    np.testing.assert_allclose(np.exp(px.log_prob(images)).sum(), 1, rtol=1e-6)


def test_the_continuous_bernoulli_is_a_density_with_the_stated_mean(x64):
    l = jnp.array([-30.0, -2.0, -0.29, -1e-3, 0.0, 0.1, 0.31, 5.0, 50.0])

    @jax.jit
    def run(l):
        px, of_l = distributions.ContinuousBernoulli(l, 0), jax.vmap(jax.grad(continuous_mean))
        slope = jax.grad(lambda l: distributions.ContinuousBernoulli(l, 1).log_prob(0.0))
        return px.log_prob(X[:, None]), px.mean(), of_l(l), slope(l)  # [nodes, logits], then [logits]

    log_p, stated, of_mean, slope = run(l)
    density = np.exp(log_p)
    mean = DX @ (X[:, None] * density)
    np.testing.assert_allclose(DX @ density, 1, atol=2e-9)
    np.testing.assert_allclose(stated, mean, atol=2e-9)
    # an exponential family: d/dl mean = var, and d/dl log p(0) = -mean
    variance = DX @ ((X[:, None] - mean) ** 2 * density)
    np.testing.assert_allclose(of_mean, variance, rtol=1e-6)
    np.testing.assert_allclose(slope, -mean, rtol=1e-6)


def test_the_log_normaliser_has_no_seam(x64):
    l, h = np.outer([-1, 1], [1e-3, 0.2999, 0.3, 0.3001, 2.0]).ravel(), 1e-5

    def truth(l):
        return np.log(l / np.tanh(l / 2))

    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(likelihoods._log_normaliser)))(l)
    np.testing.assert_allclose(value, truth(l), atol=1e-9)
    np.testing.assert_allclose(gradient, (truth(l + h) - truth(l - h)) / (2 * h), atol=1e-7)


def test_the_continuous_bernoulli_is_finite_in_float32():
    l = np.array([0.0, 0.3, -0.3, 60.0, 88.8, -89.0, 120.0, -120.0, -1e4, 1e12])
    near, safe = l == 0, np.where(l == 0, 1, l)
    at = jnp.asarray(l, jnp.float32)
    mean = np.where(near, 0.5, 0.5 + 0.5 / np.tanh(safe / 2) - 1 / safe)
    likelihood = distributions.continuous_bernoulli()
    run = jax.jit(jax.vmap(jax.value_and_grad(lambda l, x: log_px(likelihood, l, x)), (0, None)))
    for x in (0.0, 0.5, 1.0):
        value, gradient = run(at, x)
        log_c = np.where(near, np.log(2), np.log(np.abs(safe / np.tanh(safe / 2))))
        np.testing.assert_allclose(value, x * l - np.logaddexp(0, l) + log_c, rtol=1e-6, atol=2e-6)
        np.testing.assert_allclose(gradient, x - mean, atol=2e-6)
    # a Jacobian penalty differentiates the mean twice
    slope, bend = jax.jit(jax.vmap(jax.value_and_grad(jax.grad(continuous_mean))))(at)
    variance = np.where(near, 1 / 12, 1 / safe**2 - 0.25 / np.sinh(np.clip(safe, -600, 600) / 2) ** 2)
    np.testing.assert_allclose(slope, variance, atol=2e-6)
    assert np.isfinite(bend).all()


@pytest.mark.parametrize("l", [-400.0, -95.0, -30.0, 30.0, 95.0, 400.0])
def test_samples_of_the_continuous_bernoulli_stay_in_its_support(l, monkeypatch):
    extremes = jnp.array([0.0, 2.0**-23, 0.5, 1 - 2.0**-24])

    def uniform(key, shape, dtype, minval=0.0):
        return jnp.maximum(extremes.astype(dtype), minval).reshape(shape)

    monkeypatch.setattr(jax.random, "uniform", uniform)

    @jax.jit
    def sample(l):
        return distributions.continuous_bernoulli().build(l, 1).sample(seed=jax.random.key(0), sample_shape=4)

    x = sample(np.full(1, l))
    assert ((x >= 0) & (x <= 1)).all(), x


def test_only_likelihoods_on_logits_have_logits():
    l = jnp.array([[0.5, -1.0]])
    for make in (distributions.bernoulli(), distributions.continuous_bernoulli()):
        np.testing.assert_array_equal(distributions.logits(make.build(l, 1)), l)
    with pytest.raises(TypeError, match="of=logits: expected a likelihood on logits, got Gaussian"):
        distributions.logits(distributions.gaussian().build(l, 1))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (distributions.bernoulli, lambda l: 1 / (1 + np.exp(-l))),
        (distributions.continuous_bernoulli, lambda l: 1 / (1 - np.exp(-l)) - 1 / l),
        (distributions.gaussian, lambda l: l),
    ],
)
def test_means(make, expected):
    l = np.array([[0.5, -1.0, 4.0]])
    np.testing.assert_allclose(distributions.mean(make().build(jnp.asarray(l), 1)), expected(l), rtol=1e-6)


def test_a_cross_entropy_scores_binary_data_and_a_density_does_not():
    for data in ("binary", "unit_interval"):
        check_support(distributions.bernoulli(cross_entropy=True).support, data)
    with pytest.raises(ValueError, match="'unit_interval'; the data have support 'binary'"):
        check_support(distributions.continuous_bernoulli().support, "binary")
    with pytest.raises(ValueError, match="'binary'; the data have support 'unit_interval'"):
        check_support(distributions.bernoulli().support, "unit_interval")


def test_distributions_pass_through_jit_with_their_options():
    px = distributions.bernoulli(cross_entropy=True).build(jnp.ones((2, 3)), 1)
    out = jax.jit(lambda px: px)(px)
    assert out.support == "binary_or_unit_interval"
    np.testing.assert_array_equal(out.logits, px.logits)
