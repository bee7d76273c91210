"""Gaussian and Laplace likelihoods: values, packing, the floor, and the gradient of a learned scale."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.distributions.compiled import compiled
from vaejax import distributions, nets

RNG = np.random.default_rng(0)


def softplus(r):
    return np.logaddexp(0, r)


def test_the_learned_scale_reads_means_then_raw_log_scales(x64):
    parameters, x = RNG.normal(size=(4, 2, 6)), RNG.normal(size=(4, 2, 3))
    log_p, mean = compiled(distributions.gaussian_learned_scale(-1.5), parameters, x, 2)
    sigma = np.exp(-1.5 + softplus(parameters[..., 3:] + 1.5))
    np.testing.assert_allclose(
        log_p, stats.norm(parameters[..., :3], sigma).logpdf(x).sum((1, 2)), rtol=1e-12
    )
    np.testing.assert_array_equal(mean, parameters[..., :3])


def test_the_floor_is_soft_and_named(x64):
    """At the mean -log p = log sigma + log(2 pi)/2: r itself far above the floor, the floor far below."""
    raw = np.array([-1e3, -6.0, -3.0, 2.0, 60.0])
    parameters = np.stack([np.zeros(5), raw], axis=-1)
    log_p, _ = compiled(distributions.gaussian_learned_scale(), parameters, np.zeros((5, 1)), 1)
    log_sigma = -log_p - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(
        log_sigma, [-6, -6 + np.log(2), -3 + np.log1p(np.exp(-3)), 2.0003354, 60], rtol=1e-6
    )
    lower, _ = compiled(distributions.gaussian_learned_scale(-9.0), parameters[:1], np.zeros((1, 1)), 1)
    np.testing.assert_allclose(lower - log_p[:1], 3, rtol=1e-12)


def test_a_scale_that_overflows_still_has_its_density_and_gradient():
    def log_p(raw):
        parameters = jnp.stack([jnp.zeros(()), raw])
        return distributions.gaussian_learned_scale().build(parameters, 1).log_prob(jnp.ones(1))

    raw = np.float32([60.0, 88.0, 89.0, 1e6])
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(log_p)))(raw)
    np.testing.assert_allclose(value, -raw - 0.5 * np.log(2 * np.pi), rtol=1e-6)
    np.testing.assert_array_equal(gradient, -1)


@pytest.mark.parametrize(
    ("likelihood", "parameters", "width"),
    [
        (distributions.gaussian(0.3), [0.7], 0.3),
        (distributions.gaussian_learned_scale(), [0.7, -2.0], np.exp(-2.0)),
        (distributions.gaussian_learned_scale(), [0.7, -50.0], np.exp(-6.0)),
        (distributions.laplace(0.5), [0.7], 0.5),
    ],
    ids=["gaussian", "learned", "floor", "laplace"],
)
def test_they_are_densities_with_their_mean(likelihood, parameters, width, x64):
    nodes, weights = np.polynomial.legendre.leggauss(400)
    halves = [
        0.7 + side * 15 * width * (nodes + 1) for side in (-1, 1)
    ]  # the Laplace has a corner at its mean
    x, dx = np.concatenate(halves), np.tile(15 * width * weights, 2)
    log_p, mean = compiled(likelihood, np.asarray(parameters), x[:, None], 1)
    np.testing.assert_allclose(dx @ np.exp(log_p), 1, atol=1e-9)
    np.testing.assert_allclose(mean, dx @ (x * np.exp(log_p)), atol=1e-9)


def test_the_printed_value_of_the_laplace_and_its_gradient(x64):
    log_p, _ = compiled(distributions.laplace(0.5), np.array([1.0]), np.array([1.2]), 1)
    np.testing.assert_allclose(-log_p, 0.4, rtol=1e-12)
    x, mu = RNG.normal(size=(2, 3, 4))
    log_p, _ = compiled(distributions.laplace(0.3), mu, x, 1)
    np.testing.assert_allclose(log_p, stats.laplace(mu, 0.3).logpdf(x).sum(1), rtol=1e-12)
    gradient = jax.jit(
        jax.grad(lambda mu: distributions.laplace(0.5).build(mu, 1).log_prob(jnp.array([0.0, 3.0])))
    )
    np.testing.assert_array_equal(gradient(jnp.array([1.0, 1.0])), [-2, 2])


@pytest.mark.parametrize("make", [distributions.gaussian, distributions.laplace])
def test_one_bad_scale_is_refused_before_anything_is_built(make):
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="scale: expected a positive finite number"):
            make(scale)
    for scale in ("a", True, jnp.ones(())):
        with pytest.raises(TypeError, match="scale: expected a float"):
            make(scale)


def test_a_shared_scale_is_learned_with_the_gradient_of_the_closed_form(x64):
    """d/d log sigma of the sum of -log p is n - SE / sigma^2: 0 where sigma^2 is the mean squared error."""
    decoder = nets.SharedScale(nets.MLP(features=(), output_shape=(2, 3)), start=-0.5)
    z, x = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 2, 3))
    params = jax.jit(decoder.init)(jax.random.key(0), z)["params"]
    np.testing.assert_allclose(params["log_scale"], -0.5)

    @jax.jit
    def both(params):
        def nll(params):
            px = distributions.gaussian_learned_scale().build(decoder.apply({"params": params}, z), 2)
            return -px.log_prob(x).sum(), px.mean()

        return jax.value_and_grad(nll, has_aux=True)(params)

    for raw in (-0.5, -5.0):
        (_, mu), gradient = both({**params, "log_scale": jnp.asarray(raw)})
        square = ((x - mu) ** 2).sum()
        log_sigma = -6 + softplus(raw + 6)
        slope = (x.size - square * np.exp(-2 * log_sigma)) / (1 + np.exp(-(raw + 6)))
        np.testing.assert_allclose(gradient["log_scale"], slope, rtol=1e-10)
    optimum = np.log(np.expm1(np.log(square / x.size) / 2 + 6)) - 6
    (value, _), gradient = both({**params, "log_scale": jnp.asarray(optimum)})
    np.testing.assert_allclose(gradient["log_scale"], 0, atol=1e-9)
    np.testing.assert_allclose(value, x.size / 2 * (np.log(2 * np.pi * square / x.size) + 1), rtol=1e-12)
