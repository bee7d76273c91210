"""The Gaussian with a full covariance, against scipy and the textbook's divergence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.monte_carlo import assert_mean_is
from vaejax import distributions
from vaejax.distributions import FullGaussian, diagonal_gaussian

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
B, D = 2, 3
LOC, OTHER_LOC = RNG.normal(size=(2, B, D))
TRIL, OTHER_TRIL = np.tril(RNG.normal(size=(2, B, D, D)), -1) + np.exp(
    RNG.normal(size=(2, B, 1, D))
) * np.eye(D)
SCALE = np.exp(RNG.normal(size=(B, D)))


def test_its_density_and_its_samples_are_those_of_scipy(x64):
    q, z = FullGaussian(jnp.asarray(LOC), jnp.asarray(TRIL)), RNG.normal(size=(5, B, D))
    several, one = jax.jit(lambda z: (q.log_prob(z), q.log_prob(z[0, 0])))(z)  # one z against all
    exact = [stats.multivariate_normal(m, t @ t.T) for m, t in zip(LOC, TRIL, strict=True)]
    for b in range(B):
        np.testing.assert_allclose(several[:, b], exact[b].logpdf(z[:, b]), rtol=1e-12)
        np.testing.assert_allclose(one[b], exact[b].logpdf(z[0, 0]), rtol=1e-12)
        np.testing.assert_allclose(q.stddev()[b], np.sqrt(np.diag(TRIL[b] @ TRIL[b].T)), rtol=1e-12)
    z, log_q = jax.jit(lambda: q.sample_and_log_prob(seed=KEY, sample_shape=(20_000,)))()
    np.testing.assert_allclose(log_q[:9], q.log_prob(z[:9]), rtol=1e-10)
    eps = np.asarray(z) - LOC
    for b in range(B):
        for i in range(D):
            assert_mean_is(eps[:, b, i], 0.0)
            for j in range(D):
                assert_mean_is(eps[:, b, i] * eps[:, b, j], (TRIL[b] @ TRIL[b].T)[i, j])


def textbook(m1, c1, m2, c2):
    inverse = np.linalg.inv(c2)
    log_det = np.linalg.slogdet(c2)[1] - np.linalg.slogdet(c1)[1]
    return 0.5 * (np.trace(inverse @ c1) + (m2 - m1) @ inverse @ (m2 - m1) - D + log_det)


def test_the_divergences_are_those_of_the_textbook_and_no_sums_over_latents(x64):
    full, other = FullGaussian(jnp.asarray(LOC), jnp.asarray(TRIL)), FullGaussian(OTHER_LOC, OTHER_TRIL)
    diagonal = diagonal_gaussian(jnp.asarray(OTHER_LOC), jnp.asarray(SCALE))
    one = diagonal_gaussian(jnp.zeros(D), jnp.ones(D))  # a prior for all
    of = {
        "full": (full, LOC, TRIL @ TRIL.swapaxes(-1, -2)),
        "other": (other, OTHER_LOC, OTHER_TRIL @ OTHER_TRIL.swapaxes(-1, -2)),
        "diagonal": (diagonal, OTHER_LOC, SCALE[..., None] ** 2 * np.eye(D)),
        "one": (one, np.zeros((B, D)), np.broadcast_to(np.eye(D), (B, D, D))),
    }
    for pair in (("full", "other"), ("full", "diagonal"), ("diagonal", "full"), ("full", "one")):
        (q, m1, c1), (p, m2, c2) = (of[name] for name in pair)
        expected = [textbook(m1[b], c1[b], m2[b], c2[b]) for b in range(B)]
        np.testing.assert_allclose(distributions.kl_divergence(q, p), expected, rtol=1e-11)
        assert distributions.has_closed_form(q, p)
        assert not distributions.has_kl_per_dimension(q, p)
        with pytest.raises(TypeError, match="no closed form that is a sum over latents"):
            distributions.kl_per_dimension(q, p)


def test_the_divergence_of_what_is_diagonal_keeps_its_digits():
    """Near equality, in float32: the closed form of diagonal Gaussians says so much."""
    scale = jnp.asarray(1 + 1e-3 * RNG.normal(size=(B, D)), jnp.float32)
    q = FullGaussian(jnp.full((B, D), 1e-3), scale[..., None] * jnp.eye(D))
    like, p = diagonal_gaussian(jnp.full((B, D), 1e-3), scale), diagonal_gaussian(jnp.zeros(D), jnp.ones(D))
    np.testing.assert_allclose(
        distributions.kl_divergence(q, p), distributions.kl_divergence(like, p), rtol=1e-4
    )


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"tril: expected \(2, 3, 3\), got \(3, 3\)"):
        FullGaussian(jnp.zeros((2, 3)), jnp.eye(3))
    short = FullGaussian(jnp.zeros((2, 2)), jnp.stack([jnp.eye(2)] * 2))
    with pytest.raises(ValueError, match="expected equal events"):
        distributions.kl_divergence(short, diagonal_gaussian(jnp.zeros(3), jnp.ones(3)))


def test_maps_of_latents_have_the_divergence_of_their_numbers():
    loc, scale = jnp.asarray(LOC), jnp.asarray(SCALE)
    q, p = (diagonal_gaussian(a, scale, 2) for a in (loc, 0 * loc))
    flat = (diagonal_gaussian(a.ravel(), scale.ravel()) for a in (loc, 0 * loc))
    assert distributions.kl_per_dimension(q, p).shape == (B, D)
    np.testing.assert_allclose(
        distributions.kl_divergence(q, p), distributions.kl_divergence(*flat), rtol=1e-6
    )
    assert not distributions.is_diagonal_gaussian(q)  # not of vectors
