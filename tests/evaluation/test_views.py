"""Views of the linear model: every image is W z + b at a known z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import vaejax
from tests import oracle
from vaejax import evaluation
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.ops.interpolation import slerp
from vaejax.types import Draw

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


def identity_vae():
    """The code of an image of any size is the image, and the mean of p(x|z) is z."""

    def encode(key, batch):
        x = batch["x"]
        q, p = diagonal_gaussian(x, jnp.ones_like(x)), diagonal_gaussian(0 * x, jnp.ones_like(x))
        return Draw(x, q.log_prob(x), p.log_prob(x), q, p, batch)

    return vaejax.VAE(Partial(encode), Partial(lambda z, c=None: Gaussian(z, 1.0, 1)), None, {})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([-0.44], [0.64]),  # with one latent every two of unlike sign are opposite
        ([0.3], [0.9]),
        ([0.0], [0.5]),
        ([1.0, -2.0], [-1.0, 2.0]),
        ([1.0, -2.0], [-0.5, 1.0]),
        ([1.0, -2.0], [-0.5, 1.001]),
        ([0.0, 0.0], [1.0, -2.0]),
        ([1.0, -2.0], [0.0, 0.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([1.0, -2.0], [1.0, -2.0]),
    ],
)
def test_a_path_between_codes_without_an_arc_is_straight(a, b):
    a, b = np.float32(a), np.float32(b)
    close(evaluation.interpolate(identity_vae(), a, b, 5), np.linspace(a, b, 5))
    close(evaluation.interpolate(identity_vae(), a, b, 5, "lerp"), np.linspace(a, b, 5))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="kind: expected one of 'lerp', 'slerp'; got 'cubic'"):
        evaluation.interpolate(VAE, X[0], X[1], 5, "cubic")
    with pytest.raises(ValueError, match="steps: expected at least 2, got 1"):
        evaluation.interpolate(VAE, X[0], X[1], 1)
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):
        evaluation.prior_samples(jax.random.key(1), VAE, 0)
