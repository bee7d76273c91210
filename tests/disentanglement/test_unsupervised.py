"""MIG under the posterior and dependence of codes without factors, against closed forms and quadrature."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vaejax.disentanglement import (
    gaussian_total_correlation,
    mig_chen,
    pairwise_information,
    wasserstein_correlation,
)

KEY = jax.random.key(0)


def _with_covariance(S: np.ndarray, n: int = 50) -> np.ndarray:
    """Codes whose sample covariance is S."""
    z = np.random.default_rng(0).normal(size=(n, len(S)))
    z -= z.mean(axis=0)
    white = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T))).T
    return white @ np.linalg.cholesky(S).T


def test_gaussian_total_correlation_and_wasserstein_in_closed_form():
    z = _with_covariance(np.array([[1.0, 0.5], [0.5, 1.0]]))
    assert gaussian_total_correlation(z) == pytest.approx(0.1438410, abs=1e-7)
    assert wasserstein_correlation(z) == pytest.approx(4 - 2 * (np.sqrt(1.5) + np.sqrt(0.5)), rel=1e-9)
    # a scale and a constant code do not change the total correlation
    more = np.column_stack([z * [7.0, 0.01], np.full(50, 2.0)])
    assert gaussian_total_correlation(more) == pytest.approx(0.1438410, abs=1e-7)
    a, b, c = (
        4.0,
        1.0,
        0.6,
    )  # 2 tr S - 2 tr (D^1/2 S D^1/2)^1/2 of two dims: tr M^1/2 = sqrt(tr M + 2 sqrt det M)
    S = np.array([[a, c], [c, b]])
    root = np.sqrt(a * a + b * b + 2 * np.sqrt(a * a * b * b - a * b * c * c))
    assert wasserstein_correlation(_with_covariance(S)) == pytest.approx(2 * (a + b) - 2 * root, rel=1e-9)


def test_dependence_of_degenerate_codes_is_never_nan():
    z = np.random.default_rng(0).normal(size=(200, 2))
    assert gaussian_total_correlation(np.hstack([z, z])) == np.inf
    assert wasserstein_correlation(np.hstack([z, z])) > 1
    for function in (gaussian_total_correlation, wasserstein_correlation, pairwise_information):
        assert function(np.full((20, 3), 0.1)) == 0.0
        assert function(z[:, :1]) == pytest.approx(0.0, abs=1e-12)
        with pytest.raises(ValueError, match="codes: expected finite numbers"):
            function(np.full((3, 2), np.nan))


def test_pairwise_information_is_a_mean_over_pairs():
    a, b = (m.ravel() for m in np.meshgrid(np.arange(4.0), np.arange(4.0)))
    assert pairwise_information(np.column_stack([a, b]), bins=4) == pytest.approx(0.0, abs=1e-12)
    assert pairwise_information(np.column_stack([a, b, -a]), bins=4) == pytest.approx(np.log(4) / 3)


def test_mig_under_the_posterior_against_quadrature():
    # two clusters of 3 and 1 rows in 4, N(-1, .5^2) and N(1.5, .8^2)
    v = np.repeat([0, 1], [60, 20])
    loc, scale = np.array([-1.0, 1.5])[v], np.array([0.5, 0.8])[v]
    x = np.linspace(-12, 12, 200_001)
    density = [np.exp(-0.5 * ((x - m) / s) ** 2) / s / np.sqrt(2 * np.pi) for m, s in ((-1, 0.5), (1.5, 0.8))]

    def entropy(p):
        return np.trapezoid(np.where(p > 0, -p * np.log(np.maximum(p, 1e-300)), 0.0), x)

    information = (
        entropy(0.75 * density[0] + 0.25 * density[1])
        - 0.75 * entropy(density[0])
        - 0.25 * entropy(density[1])
    )
    expected = information / -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    score = mig_chen(KEY, loc[:, None], scale[:, None], v[:, None], num_samples=20_000)
    assert 0.6 < expected < 0.99
    assert score.value == pytest.approx(expected, abs=0.02)  # 20 000 samples: 4 standard errors


def test_mig_under_the_posterior_of_separate_posteriors():
    factors = np.stack(np.unravel_index(np.arange(36), (4, 9)), axis=1)
    loc, scale = 20.0 * factors, np.full((36, 2), 0.5)
    assert mig_chen(KEY, loc, scale, factors, num_samples=2000).value == pytest.approx(1.0, abs=0.03)
    twice = mig_chen(KEY, np.hstack([loc, loc]), np.hstack([scale, scale]), factors, num_samples=2000)
    assert twice.value == pytest.approx(0.0, abs=0.03)
    frozen = mig_chen(KEY, loc, scale, np.insert(factors, 0, 3, axis=1), num_samples=2000)
    assert np.isnan(frozen.parts).tolist() == [True, False, False]
    flat = mig_chen(KEY, 0 * loc + 0.3, scale, factors, num_samples=50)
    assert (flat.value, flat.degenerate, flat.parts.tolist()) == (0.0, True, [0.0, 0.0])
    half = mig_chen(KEY, loc * [1, 0], scale, factors, num_samples=2000)
    assert (half.parts[1], half.degenerate) == (pytest.approx(0.0, abs=0.03), False)
    by_scale = mig_chen(KEY, 0 * loc, np.exp(factors), factors, num_samples=500)  # constant means can tell
    assert by_scale.value > 0.2
    with pytest.raises(ValueError, match="scale: expected positive"):
        mig_chen(KEY, loc, 0 * scale, factors)


def test_the_total_correlation_has_no_scale():
    z = np.random.default_rng(0).normal(size=(50, 3))
    expected = gaussian_total_correlation(z)
    for scale in (1e-200, 1e30):
        assert gaussian_total_correlation(z * scale) == pytest.approx(expected, rel=1e-9)
