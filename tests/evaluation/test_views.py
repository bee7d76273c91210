"""Views of the linear model: every image is W z + b at a known z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from vaejax import evaluation
from vaejax.ops.interpolation import slerp

VAE = oracle.linear_vae().bind(oracle.exact_params())
X = oracle.data(3).astype(np.float32)
Z = np.asarray(evaluation.posterior_mean(VAE, {"x": X}))


def decoded(z):
    return z @ oracle.W.T + oracle.B


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_views_of_a_linear_model():
    close(evaluation.reconstruct(VAE, X), decoded(Z))
    samples = evaluation.prior_samples(jax.random.key(1), VAE, 4000)
    covariance = oracle.W @ oracle.W.T  # of W z, z ~ N(0, I)
    close(np.linalg.matrix_rank(np.asarray(samples) - oracle.B, tol=1e-3), 2)
    np.testing.assert_allclose(np.cov(np.asarray(samples).T), covariance, atol=0.35)
    path = evaluation.interpolate(VAE, X[0], X[1], 5, "lerp")
    close(path, decoded(np.linspace(Z[0], Z[1], 5)))
    curved = evaluation.interpolate(VAE, X[0], X[1], 5, "slerp")
    close(curved, decoded(np.asarray(slerp(jnp.asarray(Z[0]), jnp.asarray(Z[1]), jnp.linspace(0, 1, 5)))))
    moved = evaluation.traverse(VAE, X[0], np.array([-1.0, 0.0, 2.0]))
    assert moved.shape == (2, 3, 4)
    close(moved[0, 2], decoded(np.array([2.0, Z[0, 1]])))
    close(moved[1, 0], decoded(np.array([Z[0, 0], -1.0])))
    columns = evaluation.jacobian_images(VAE, X)
    for n in range(3):
        close(columns[n], oracle.W.T)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="kind: expected one of 'lerp', 'slerp'; got 'cubic'"):
        evaluation.interpolate(VAE, X[0], X[1], 5, "cubic")
    with pytest.raises(ValueError, match="steps: expected at least 2, got 1"):
        evaluation.interpolate(VAE, X[0], X[1], 1)
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):
        evaluation.prior_samples(jax.random.key(1), VAE, 0)
