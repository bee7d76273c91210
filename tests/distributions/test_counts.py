"""Counts: the negative binomial against SciPy's, its sums, its limit, and more zeros than it has."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.distributions.compiled import compiled
from vaejax import distributions

X = np.arange(400.0)


def of(m, r, zero_logit=None):
    """One count: parameters [1, C] of a likelihood, and it."""
    parts = [np.log(m), np.log(r), *([] if zero_logit is None else [zero_logit])]
    return distributions.negative_binomial(zero_logit is not None, max_log_r=60.0), np.float32([parts])


def log_p(x, m, r, zero_logit=None):
    likelihood, parameters = of(m, r, zero_logit)
    return compiled(likelihood, np.repeat(parameters, len(x), 0), np.float32(x)[:, None], 1)


@pytest.mark.parametrize(("m", "r"), [(2.0, 3.0), (0.1, 0.05), (40.0, 7.9), (40.0, 8.1), (60.0, 1e3)])
def test_the_mass_is_scipys_and_sums_to_1(m, r):
    found, mean = log_p(X, m, r)
    np.testing.assert_allclose(found, stats.nbinom(r, r / (r + m)).logpmf(X), rtol=2e-5, atol=2e-5)
    assert np.exp(found.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mean, m, rtol=1e-6)


def test_printed_values_and_the_poisson_limit():
    np.testing.assert_allclose(np.exp(log_p([0, 1], 2.0, 3.0)[0]), [0.216, 0.2592], rtol=1e-6)
    near = X < 100  # at m = 50 and r = 1e6 the two differ by (x - m)^2 / 2 r
    np.testing.assert_allclose(log_p(X[near], 50.0, 1e6)[0], stats.poisson(50).logpmf(X[near]), atol=1.5e-3)


@pytest.mark.parametrize(("m", "r"), [(10.0, 2.0), (1e3, 2.0), (1e3, 100.0), (1e5, 2.0)])
def test_the_error_in_float32_grows_with_the_counts_as_is_said(m, r):
    x = np.round(m * np.array([0.5, 1.0, 2.0]))
    error = np.abs(log_p(x, m, r)[0] - stats.nbinom(r, r / (r + m)).logpmf(x)).max()
    assert error < {10.0: 1e-5, 1e3: 2e-3, 1e5: 0.1}[m]


def test_zero_inflation_moves_mass_to_0_alone():
    pi, plain = 1 / (1 + np.exp(-0.4)), stats.nbinom(3, 0.6)
    found, mean = log_p(X, 2.0, 3.0, 0.4)
    expected = np.log1p(-pi) + plain.logpmf(X)
    expected[0] = np.log(pi + (1 - pi) * plain.pmf(0))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    assert np.exp(found.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mean, (1 - pi) * 2, rtol=1e-6)


def test_extreme_parameters_have_finite_values_and_gradients():
    extremes = np.float32([-200.0, -30.0, 0.0, 30.0, 200.0])
    parameters = np.array(np.meshgrid(extremes, extremes, extremes)).reshape(3, -1).T
    likelihood = distributions.negative_binomial(zero_inflated=True)

    @jax.jit
    def value_and_gradient(parameters, x):
        of_one = lambda p: likelihood.build(p, 1).log_prob(x)  # noqa: E731
        return jax.vmap(jax.value_and_grad(of_one))(parameters)

    for x in (0.0, 1.0, 7.0):
        value, gradient = value_and_gradient(jnp.asarray(parameters), jnp.float32([x]))
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


def test_other_numbers_have_no_mass():
    assert (log_p([0.5, -1.0, np.nan], 2.0, 3.0)[0] == -np.inf).all()


def test_the_variance_is_that_of_the_mass():
    for zero_logit in (None, 0.4):
        likelihood, parameters = of(2.0, 3.0, zero_logit)
        mass = np.exp(log_p(X, 2.0, 3.0, zero_logit)[0].astype(np.float64))
        variance = np.sum(mass * X**2) - np.sum(mass * X) ** 2
        px = likelihood.build(jnp.asarray(parameters), 1)
        np.testing.assert_allclose(px.variance(), [[variance]], rtol=1e-5)


def test_bad_arguments_are_named():
    with pytest.raises(TypeError, match="zero_inflated: expected a bool, got 1"):
        distributions.negative_binomial(1)
    with pytest.raises(ValueError, match="max_log_r: expected a positive finite number, got 0"):
        distributions.negative_binomial(max_log_r=0)
    message = re.escape("parameters: expected [..., 2 C]")
    with pytest.raises(ValueError, match=message):
        distributions.negative_binomial().build(jnp.zeros((2, 3)), 1)
