"""Importance-weighted bounds on linear-Gaussian models."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import distributions, objectives
from vaejax.types import VAE

KEY = jax.random.key(0)
# z ~ N(0, 1), x|z ~ N(.8 z, .7^2), x = 1.3, q = N(.2, exp(-.3)^2)
TOY = {
    "encoder": {"A": jnp.zeros((1, 1)), "a": jnp.array([0.2]), "log_scale": jnp.array([-0.3])},
    "decoder": {"W": jnp.array([[0.8]]), "b": jnp.zeros(1)},
}
TOY_LOG_PX, TOY_ELBO = -1.7278350, -2.3411995


@cache
def toy_bounds(K, keys=40, copies=500):
    """L_K and its gradients in the encoder, one mean over copies of x per key: [keys]."""
    model, x = oracle.linear_vae(0.7), jnp.full((copies, 1), 1.3)
    objective = objectives.compose(bound=objectives.iwae(K))

    def bound(encoder, key):
        vae = model.bind({"encoder": encoder, "decoder": TOY["decoder"]})
        return -objective(key, vae, {"x": x}, 0)[0]

    run = jax.jit(jax.vmap(jax.value_and_grad(bound), (None, 0)))
    return run(TOY["encoder"], jax.random.split(jax.random.fold_in(KEY, K), keys))


def test_the_bound_rises_with_k_from_the_elbo_towards_the_evidence():
    bounds = {K: np.asarray(toy_bounds(K)[0]) for K in (1, 6, 30)}
    assert_mean_is(bounds[1], TOY_ELBO)
    error = {K: v.std(ddof=1) / np.sqrt(len(v)) for K, v in bounds.items()}
    for low, high in ((1, 6), (6, 30)):
        gap = bounds[high].mean() - bounds[low].mean()
        assert gap > 4 * np.hypot(error[low], error[high])
    assert bounds[30].mean() < TOY_LOG_PX - 4 * error[30]
    assert abs(bounds[30].mean() - TOY_LOG_PX) < 0.05


def test_value_and_gradient_of_six_samples_are_the_printed_ones():
    values, gradients = toy_bounds(6)
    assert_mean_is(values, -1.8323)
    assert_mean_is(gradients["a"], 0.37689)
    assert_mean_is(gradients["log_scale"], 0.27282)


def test_one_sample_is_the_sampled_elbo_at_its_own_draw(x64):
    model = oracle.linear_vae()
    vae, batch = model.bind(oracle.exact_params()), {"x": jnp.asarray(oracle.data(3))}

    @jax.jit
    def bound_and_own_weight():
        own = objectives.sample(jax.random.split(KEY, 1)[0], vae, batch)
        bound = objectives.iwae(1)(KEY, vae, objectives.sample(KEY, vae, batch))
        return bound, objectives.log_weight(own)

    bound, log_w = bound_and_own_weight()
    np.testing.assert_allclose(bound, -log_w, rtol=1e-12)


@pytest.mark.parametrize(
    ("K", "error", "message"),
    [
        (0, ValueError, "K: expected at least 1, got 0"),
        (-3, ValueError, "K: expected at least 1, got -3"),
        (True, TypeError, r"K: expected an int, got bool \(True\)"),
        (2.0, TypeError, r"K: expected an int, got float \(2.0\)"),
    ],
)
def test_a_bad_number_of_samples_is_refused(K, error, message):
    with pytest.raises(error, match=message):
        objectives.iwae(K)


class Bounded(distributions.Gaussian):
    is_bound = True

    def log_prob_bound(self, key, x):
        return self.log_prob(x)


def test_a_likelihood_that_is_a_bound_is_refused():
    vae = oracle.linear_vae().bind(oracle.exact_params())
    bounded = VAE(
        vae.encode, lambda z, c=None: Bounded(z @ jnp.asarray(oracle.W, z.dtype).T, 1.0, 1), None, {}
    )
    draw = objectives.sample(KEY, bounded, {"x": jnp.asarray(oracle.data(3), jnp.float32)})
    with pytest.raises(TypeError, match=r"iwae: expected an exact log p\(x\|z\), got a bound \(Bounded\)"):
        objectives.iwae(4)(KEY, bounded, draw)
