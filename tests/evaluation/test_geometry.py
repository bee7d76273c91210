"""The decoder's geometry of models whose Jacobian is known."""

import jax
import jax.numpy as jnp
import numpy as np

from tests import oracle
from vaejax import distributions, evaluation
from vaejax.types import VAE

W = oracle.W @ np.array(
    [[0.6, -0.8], [0.8, 0.6]]
)  # a turned basis: the singular values are those of oracle.W
S = np.array([np.sqrt(4.25), np.sqrt(1.25)])


def test_a_linear_model_has_the_singular_values_of_its_weights():
    params = oracle.exact_params()
    params["decoder"]["W"] = jnp.asarray(W)
    vae, x = oracle.linear_vae().bind(params), oracle.data(5).astype(np.float32)
    for found in jax.jit(lambda: [evaluation.decoder_geometry(vae, x, chunk=chunk) for chunk in (None, 2)])():
        np.testing.assert_allclose(found.singular_values, np.tile(S, (5, 1)), rtol=1e-5)
        np.testing.assert_allclose(found.condition_number, np.full(5, 4.25 / 1.25), rtol=1e-5)
        np.testing.assert_allclose(found.log_volume, np.full(5, np.log(S).sum()), rtol=1e-5)


def test_it_is_taken_at_the_posterior_mean_of_each_example_and_of_the_statistic_asked_for(x64):
    linear = oracle.linear_vae().bind(oracle.exact_params())
    vae = VAE(linear.encode, lambda z, c=None: distributions.Bernoulli(z @ W.T, 1), None, {})
    x = oracle.data(3)
    statistics = distributions.mean, distributions.logits
    found, logits = jax.jit(lambda: [evaluation.decoder_geometry(vae, x, of=of) for of in statistics])()
    p = 1 / (1 + np.exp(-evaluation.posterior_mean(vae, {"x": x}) @ W.T))
    singular = np.linalg.svd((p * (1 - p))[:, :, None] * W)[1]
    np.testing.assert_allclose(found.singular_values, singular, rtol=1e-10)
    np.testing.assert_allclose(found.log_volume, np.log(singular).sum(1), rtol=1e-10)
    np.testing.assert_allclose(logits.singular_values, np.tile(S, (3, 1)), rtol=1e-10)
