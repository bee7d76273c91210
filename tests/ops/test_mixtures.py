"""Mixtures of Gaussians: densities by scipy, derivatives of samples by quadrature."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.monte_carlo import assert_mean_is
from vaejax.ops import mixtures

RNG = np.random.default_rng(0)
LOGITS, LOC, SCALE = (
    np.array([0.4, -0.6]),
    np.array([[-1.0, 0.5], [1.0, -0.3]]),
    np.array([[0.5, 0.8], [0.9, 0.4]]),
)


@pytest.mark.parametrize("R", [3, mixtures.AT_ONCE + 1])
def test_log_components_are_scipy_s_for_any_leading_axes(R, x64):
    z, loc, scale = RNG.normal(size=(4, 2, 5)), RNG.normal(size=(2, R, 5)), np.exp(RNG.normal(size=(2, R, 5)))
    expected = stats.norm(loc, scale).logpdf(z[:, :, None]).sum(-1)
    found = jax.jit(mixtures.log_components)(z, loc, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    one = jax.jit(mixtures.log_components)(z[0, 0], loc, scale)  # a point against a batch of mixtures
    np.testing.assert_allclose(one, stats.norm(loc, scale).logpdf(z[0, 0]).sum(-1), rtol=1e-12)


def test_one_dimension_at_a_time_changes_no_value_and_no_gradient(x64, monkeypatch):
    arguments = RNG.normal(size=(6, 3)), RNG.normal(size=(5, 3)), np.exp(RNG.normal(size=(5, 3)))

    def run():
        total = lambda *a: jnp.sum(jnp.sin(mixtures.log_components(*a)))  # noqa: E731
        return jax.jit(jax.value_and_grad(total, (0, 1, 2)))(*arguments)

    at_once = run()
    monkeypatch.setattr(mixtures, "AT_ONCE", 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), at_once, run())


def test_small_scales_far_from_the_origin_keep_their_digits():
    loc = (5 + RNG.normal(size=(40, 20))).astype(np.float32)
    z = (loc[0] + 0.01 * RNG.normal(size=20)).astype(np.float32)
    expected = stats.norm(np.float64(loc[0]), 0.01).logpdf(z).sum()
    found = jax.jit(mixtures.log_components)(z, loc, jnp.full_like(loc, 0.01))[0]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_slope_of_the_conditional_cdf_is_triangular_and_its_determinant_the_density(x64):
    log_pi, loc, scale = (
        jax.nn.log_softmax(RNG.normal(size=3)),
        RNG.normal(size=(3, 4)),
        np.exp(RNG.normal(size=(3, 4))),
    )
    z = RNG.normal(size=4)
    J = jax.jit(jax.jacfwd(mixtures.conditional_cdf))(z, log_pi, loc, scale)
    assert (np.triu(J, 1) == 0).all()
    log_density = jax.nn.logsumexp(log_pi + stats.norm(loc, scale).logpdf(z).sum(-1))
    np.testing.assert_allclose(np.linalg.slogdet(J)[1], log_density, rtol=1e-10)
    ends = [mixtures.conditional_cdf(jnp.full(4, end), log_pi, loc, scale) for end in (-60.0, 60.0)]
    np.testing.assert_allclose(ends, [np.zeros(4), np.ones(4)], atol=1e-12)


def draws(n):
    """Samples of the mixture [n, 2]."""
    rng = np.random.default_rng(1)
    r = rng.choice(2, n, p=np.exp(LOGITS) / np.exp(LOGITS).sum())
    return LOC[r] + SCALE[r] * rng.normal(size=(n, 2))


def score(z):
    return jnp.sin(z[..., 0]) * z[..., 1] + z[..., 1] ** 2 + z[..., 0]


def exact(logits, loc, scale):
    """E score by quadrature, the density of the mixture written out."""
    axis = jnp.linspace(-8.0, 8.0, 401)
    z = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1)[..., None, :]
    log_each = jnp.sum(-0.5 * ((z - loc) / scale) ** 2 - jnp.log(scale * np.sqrt(2 * np.pi)), -1)
    density = jnp.sum(jax.nn.softmax(logits) * jnp.exp(log_each), -1)
    return jnp.sum(density * score(z[..., 0, :])) * (axis[1] - axis[0]) ** 2


def test_samples_carry_the_gradient_to_weights_means_and_scales(x64):
    """A component's own sample gives the weights none: 0, where it is -.3 by quadrature."""

    def of_one(z, logits, loc, scale):
        return score(mixtures.reparameterised(z, jax.nn.log_softmax(logits), loc, scale))

    parameters = tuple(map(jnp.asarray, (LOGITS, LOC, SCALE)))
    found = jax.jit(jax.vmap(jax.grad(of_one, (1, 2, 3)), (0, None, None, None)))(draws(40_000), *parameters)
    expected = jax.jit(jax.grad(exact, (0, 1, 2)))(*parameters)
    assert expected[0][0] < -0.25
    jax.tree.map(assert_mean_is, found, expected)


def test_second_derivatives_are_those_of_the_expectation(x64):
    def of_one(z, logits):
        return score(mixtures.reparameterised(z, jax.nn.log_softmax(logits), LOC, SCALE))

    found = jax.jit(jax.vmap(jax.hessian(of_one, 1), (0, None)))(draws(40_000), jnp.asarray(LOGITS))
    expected = jax.jit(jax.hessian(exact))(jnp.asarray(LOGITS), LOC, SCALE)
    assert_mean_is(found[:, 0, 0], expected[0, 0])


def test_one_component_has_the_path_of_the_gaussian_and_a_point_stays_as_it_is():
    loc, scale, eps = (a.astype(np.float32) for a in (LOC[:1], SCALE[:1], RNG.normal(size=2)))
    z = (loc + scale * eps)[0]
    run = jax.jit(
        lambda z, *phi: (
            mixtures.reparameterised(z, *phi),
            jax.jacrev(mixtures.reparameterised, (0, 1, 2, 3))(z, *phi),
        )
    )
    value, (own, weight, of_loc, of_scale) = run(z, np.zeros(1, np.float32), loc, scale)
    np.testing.assert_array_equal(value, z)
    assert (np.asarray(own) == 0).all()  # how it came about is ignored
    np.testing.assert_allclose(weight, np.zeros((2, 1)), atol=1e-6)
    np.testing.assert_allclose(of_loc[:, 0], np.eye(2), atol=1e-5)
    np.testing.assert_allclose(of_scale[:, 0], np.diag(eps), atol=1e-5)


def test_a_component_that_is_left_out_changes_nothing(x64):
    log_pi = jnp.log(jnp.asarray([0.3, 0.7, 0.0]))
    loc, scale = np.concatenate([LOC, [[9.0, 9.0]]]), np.concatenate([SCALE, [[1.0, 1.0]]])
    run = jax.jit(jax.grad(lambda *a: jnp.sum(jnp.sin(mixtures.reparameterised(*a))), (1, 2, 3)))
    with_it, without = run(draws(1)[0], log_pi, loc, scale), run(draws(1)[0], log_pi[:2], LOC, SCALE)
    for a, b in zip(with_it, without, strict=True):
        np.testing.assert_allclose(a[:2], b, rtol=1e-10)
        np.testing.assert_array_equal(a[2], np.zeros_like(a[2]))
