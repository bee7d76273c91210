"""Diffusion against Ho et al.'s formulas, Gaussians in closed form, and how times spread."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import diffusion

T = 50
G = np.linspace(-6, 5, T + 1)  # g_0 .. g_T
ABAR = 1 / (1 + np.exp(G))  # a_t^2


def test_the_scales_of_both_schedules():
    t = np.linspace(0, 1, 11)
    np.testing.assert_allclose(diffusion.linear(t, -4.0, 6.0), -4 + 10 * t, rtol=1e-6)
    g = np.asarray(diffusion.cosine(t, -9.0, 7.0))
    np.testing.assert_allclose(g[[0, -1]], [-9, 7], rtol=1e-5)
    angle = np.arccos(np.sqrt(1 / (1 + np.exp(g))))
    np.testing.assert_allclose(np.diff(angle), np.diff(angle)[0], rtol=1e-3)  # cos of evenly spaced angles


def test_the_weights_are_those_of_ho_et_al(x64):
    alpha = ABAR[1:] / ABAR[:-1]
    beta = 1 - alpha
    posterior = beta * (1 - ABAR[:-1]) / (1 - ABAR[1:])
    expected = beta**2 / (2 * posterior * alpha * (1 - ABAR[1:]))
    np.testing.assert_allclose(diffusion.discrete_weight(G[:-1], G[1:]), expected, rtol=1e-8)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_a_step_back_keeps_the_marginals_and_at_one_is_the_posterior(eta, x64):
    """With the exact noise q(u_s|x) comes of q(u_t|x); eta = 1 is Ho et al.'s posterior mean and variance."""
    t, s, x = 30, 29, 0.7
    keys = jax.random.split(jax.random.key(0))
    eps, noise = (jax.random.normal(k, (200_000,)) for k in keys)
    u = diffusion.noised(jnp.full(eps.shape, x), eps, G[t])
    step = lambda noise: diffusion.step_back(u, eps, G[t], G[s], eta, noise)  # noqa: E731
    after = step(noise)
    np.testing.assert_allclose(after.mean(), np.sqrt(ABAR[s]) * x, atol=0.01)
    np.testing.assert_allclose(after.var(), 1 - ABAR[s], rtol=0.01)
    if eta == 1:
        alpha = ABAR[t] / ABAR[s]
        mean = np.sqrt(ABAR[s]) * (1 - alpha) * x + np.sqrt(alpha) * (1 - ABAR[s]) * u
        np.testing.assert_allclose(step(0.0), mean / (1 - ABAR[t]), rtol=1e-8)
        sd = np.sqrt((1 - alpha) * (1 - ABAR[s]) / (1 - ABAR[t]))
        np.testing.assert_allclose(step(1.0) - step(0.0), sd, rtol=1e-8)
    assert (eta == 0) == np.array_equal(step(1.0), step(0.0))


def test_samples_of_exact_steps_have_the_mean_and_covariance_of_the_data(x64):
    """x ~ N(m, C) in two dimensions, whose exact noise prediction is linear."""
    m, root = np.array([1.0, -2.0]), np.array([[1.0, 0.0], [0.8, 0.5]])
    C = root @ root.T
    g = jnp.linspace(-9, 7, 401)

    def predicted(u, g):
        a, s2 = jnp.sqrt(jax.nn.sigmoid(-g)), jax.nn.sigmoid(g)
        return jnp.sqrt(s2) * (u - a * m) @ jnp.linalg.inv(a**2 * C + s2 * jnp.eye(2))

    def step(u, i):
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(1), i), u.shape)
        return diffusion.step_back(u, predicted(u, g[i]), g[i], g[i - 1], 1.0, noise), None

    start = jax.random.normal(jax.random.key(0), (40_000, 2))
    u, _ = jax.jit(lambda u: jax.lax.scan(step, u, jnp.arange(400, 0, -1)))(start)
    np.testing.assert_allclose(u.mean(0), m, atol=0.03)
    np.testing.assert_allclose(np.cov(np.asarray(u).T), C, atol=0.04)


def test_the_prior_term_is_a_kl_of_gaussians(x64):
    x, g = np.array([[0.3, -2.0], [1.0, 0.0]]), 4.0
    a2, s2 = 1 / (1 + np.exp(g)), 1 / (1 + np.exp(-g))
    expected = 0.5 * np.sum(a2 * x**2 + s2 - 1 - np.log(s2), -1)
    np.testing.assert_allclose(diffusion.prior_kl(x, jnp.asarray(g), 1), expected, rtol=1e-8)


def test_times_are_uniform_each_and_spread_together():
    """A slice of a batch has the times of the whole; a mean over a batch varies less than otherwise."""
    index = jnp.arange(64)
    starts = jax.random.uniform(jax.random.key(0), (4000,))
    times = np.asarray(jax.vmap(lambda s: diffusion.strata(s, index))(starts))
    assert ((times >= 0) & (times < 1)).all()
    np.testing.assert_allclose(times.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(times.var(0), 1 / 12, atol=0.004)
    np.testing.assert_array_equal(diffusion.strata(starts[0], index[10:20]), times[0, 10:20])
    independent = np.random.default_rng(0).random(times.shape)
    f = lambda t: np.exp(2 * t)  # noqa: E731
    assert f(times).mean(1).var() < f(independent).mean(1).var() / 15
    np.testing.assert_allclose(f(times).mean(), (np.exp(2) - 1) / 2, rtol=1e-3)
    assert np.diff(np.sort(times[0])).max() < 1.8 / 64  # no gap of an independent draw
