"""The spike-and-slab lasso against Bayes' rule, Fisher's identity and the modes of its posteriors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vaejax.ops import spike_and_slab as ops

RNG = np.random.default_rng(0)
W = np.float32(RNG.normal(size=(5, 3)))
ETA = np.float32([0.2, 0.5, 0.9])
LAM0, LAM1 = 10.0, 0.5


def test_the_slab_probability_is_bayes_rule():
    slab, spike = (
        ETA * stats.laplace(scale=1 / LAM1).pdf(W),
        (1 - ETA) * stats.laplace(scale=1 / LAM0).pdf(W),
    )
    p = ops.slab_probability(W, ETA, LAM0, LAM1)
    np.testing.assert_allclose(p, slab / (slab + spike), rtol=2e-5)
    # at w = 0 the densities are lam / 2: without their factors it would be eta
    at_0 = ops.slab_probability(np.zeros((1, 3)), ETA, LAM0, LAM1)[0]
    np.testing.assert_allclose(at_0, ETA * LAM1 / (ETA * LAM1 + (1 - ETA) * LAM0), rtol=1e-5)


def test_it_is_finite_where_both_densities_vanish_and_at_the_ends_of_eta():
    far = np.array([[1e3, 0.0, 1e3]], np.float32)
    p = ops.slab_probability(far, jnp.array([0.5, 0.0, 1.0]), LAM0, LAM1)
    np.testing.assert_array_equal(p, [[1, 0, 1]])
    slope = jax.grad(lambda w: ops.log_prob(w, jnp.array([0.5, 0.0, 1.0]), LAM0, LAM1))(far)
    np.testing.assert_allclose(slope, [[-LAM1, 0, -LAM1]])


def test_the_density_sums_to_one_and_its_slope_is_that_of_the_penalty_with_p_held():
    density = ETA * stats.laplace(scale=1 / LAM1).pdf(W) + (1 - ETA) * stats.laplace(scale=1 / LAM0).pdf(W)
    value, slope = jax.value_and_grad(ops.log_prob)(W, ETA, LAM0, LAM1)
    np.testing.assert_allclose(value, np.log(density).sum(), rtol=1e-5)
    p = np.asarray(ops.slab_probability(W, ETA, LAM0, LAM1))
    np.testing.assert_allclose(slope, -(p * LAM1 + (1 - p) * LAM0) * np.sign(W), rtol=1e-5)
    at_0 = jax.grad(ops.log_prob)(jnp.zeros((1, 3)), ETA, LAM0, LAM1)
    np.testing.assert_array_equal(at_0, 0)  # a weight that is 0 stays


def test_eta_is_the_mode_of_its_posterior():
    p, a, b = np.array([[0.9, 0.0], [0.8, 0.1], [1.0, 0.0]]), 1.5, 4.0
    eta = ops.eta_mode(p, a, b)
    grid = np.linspace(0, 1, 100_001)
    for k, s in enumerate(p.sum(axis=0)):
        assert eta[k] == pytest.approx(grid[stats.beta(a + s, b + 3 - s).logpdf(grid).argmax()], abs=1e-5)
    np.testing.assert_allclose(eta, [(0.5 + 2.7) / 6.5, (0.5 + 0.1) / 6.5], rtol=1e-6)
    assert ops.eta_mode(p, 0.5, b)[1] == 0  # .1 - .5 is below 0
    assert ops.eta_mode(np.ones((3, 1)), 1.0, 1.0)[0] == 1


def test_the_variance_is_the_mode_of_its_posterior():
    x, nu, xi = RNG.normal(size=20) * 2, 3.0, 0.7
    grid = np.linspace(0.5, 9, 100_001)
    log_p = stats.invgamma(nu / 2, scale=nu * xi / 2).logpdf(grid)
    log_p += -0.5 * len(x) * np.log(grid) - 0.5 * np.sum(x**2) / grid
    found = ops.variance_mode(np.mean(x**2), len(x), nu, xi)
    assert found == pytest.approx(grid[log_p.argmax()], abs=1e-4)
