"""Annealed importance sampling on linear-Gaussian models, whose log p(x) is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import distributions, models, nets
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.evaluation import annealed_log_likelihood, marginal_log_likelihood, sandwich
from vaejax.evaluation.annealing import Path, _transition, temperatures
from vaejax.types import Split

KEY = jax.random.key(0)
MODEL = oracle.linear_vae()
TEMPERATURES, CHAINS = 400, 32  # of one program
X = oracle.data(32).astype(np.float32)
PRIOR = Partial(lambda key, n, c=None: jax.random.normal(key, (n, 2)))
CORRELATED = oracle.W + np.array([[0, 0.8], [0, 0.3], [0.5, 0], [0.2, 0]])


def _vae(shift=0.0, widen=0.0, w=oracle.W):
    params = oracle.exact_params()
    params["encoder"]["a"] += shift
    params["encoder"]["log_scale"] += widen
    params["decoder"]["W"] = jnp.asarray(w, jnp.float32)
    return MODEL.bind(params)._replace(sample_prior=PRIOR)  # one structure, and so one program, for all


def test_an_exact_posterior_needs_no_path():
    split = Split({"x": X}, "real")
    result = annealed_log_likelihood(KEY, _vae(), split, num_temperatures=TEMPERATURES, num_chains=CHAINS)
    np.testing.assert_allclose(result["per_example"]["log_likelihood"], oracle.log_evidence(X), atol=1e-4)
    np.testing.assert_allclose(result["per_example"]["ess"], CHAINS, rtol=1e-4)


def test_it_finds_log_p_where_importance_sampling_does_not():
    vae, split = _vae(1.5, 0.3, CORRELATED), Split({"x": X}, "real")
    exact = oracle.log_evidence(X, w=CORRELATED)
    result = annealed_log_likelihood(KEY, vae, split, num_temperatures=TEMPERATURES, num_chains=CHAINS)
    each = result["per_example"]
    error = each["log_likelihood"] - exact
    assert np.abs(error).max() < 0.5  # of 32 chains; a chain's rounding, and so its path, is the machine's
    assert error.mean() == pytest.approx(0, abs=4 * error.std() / np.sqrt(32) + 0.01)
    plain = marginal_log_likelihood(KEY, vae, split, num_samples=16_000, curve=())  # as many passes
    assert np.abs(plain["per_example"]["log_likelihood"] - exact).max() > 10 * np.abs(error).max()
    assert result["nll"] == pytest.approx(-each["log_likelihood"].mean(dtype=np.float64))
    assert result["nll_se"] == pytest.approx(each["log_likelihood"].std(ddof=1) / np.sqrt(32), rel=1e-4)
    assert each["acceptance"].mean() == pytest.approx(0.65, abs=0.05)  # what the burn-in aims at
    assert 16 < result["ess"] <= 32
    assert (result["n"], result["num_temperatures"], result["num_chains"]) == (32, TEMPERATURES, 32)


def test_few_temperatures_are_unbiased_between_two_bounds():
    # at a few temperatures the bounds are loose, and E[w] = p(x), E[1/w] = 1/p(x) all the same
    result = sandwich(KEY, _vae(0.3, 0.2), 400, num_temperatures=5, num_chains=8)
    each = result["per_example"]
    exact = oracle.log_evidence(each["x"])
    assert_mean_is(np.exp(each["lower"] - exact), 1.0)
    assert_mean_is(np.exp(exact - each["upper"]), 1.0)
    assert (each["lower"] - exact).std() > 0.05
    for name in ("lower", "upper"):
        assert result[name] == pytest.approx(each[name].mean(dtype=np.float64), rel=1e-6)
    gap = each["upper"] - each["lower"]
    assert result["gap"] == pytest.approx(gap.mean(), rel=1e-4)
    assert result["gap_se"] == pytest.approx(gap.std(ddof=1) / 20, rel=1e-4)
    assert result["lower"] < exact.mean() < result["upper"]
    assert exact.mean() == pytest.approx(
        -2 * np.log(2 * np.pi * np.e)
        - 0.5 * np.linalg.slogdet(oracle.W @ oracle.W.T + oracle.SIGMA**2 * np.eye(4))[1],
        abs=4 * result["lower_se"],
    )  # its own entropy
    residual = each["x"] - each["z"] @ oracle.W.T - oracle.B  # z is the one that made x
    assert residual.std() == pytest.approx(oracle.SIGMA, rel=0.1)


def test_a_transition_leaves_its_density_as_it_is():
    # halfway between q = N(0, 1) and p(x, z) = N(z; 2, .5^2): precision (1 + 4) / 2, mean 1.6
    def log_joint(z):
        return diagonal_gaussian(jnp.full((1, 1), 2.0), jnp.full((1, 1), 0.5)).log_prob(z)

    q = diagonal_gaussian(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    path = Path(q.log_prob, log_joint, jax.random.split(KEY, 1), 3)
    start = 1.6 + np.sqrt(0.4) * jax.random.normal(KEY, (40_000, 1, 1))
    move = jax.jit(lambda z: _transition(path, "test", jnp.int32(0), jnp.float32(0.5), jnp.array([0.9]), z))
    z, accepted = move(start)
    assert 0.5 < accepted[0] < 0.95  # a long step: without the correction the variance would be off
    assert_mean_is(z[:, 0], 1.6)
    assert_mean_is((z[:, 0] - 1.6) ** 2, 0.4)
    assert np.corrcoef(z[:, 0, 0], start[:, 0, 0])[0, 1] < 0.9  # it moves


def test_temperatures_run_from_0_to_1_in_a_sigmoid():
    b = np.asarray(temperatures(4), np.float64)
    s = 1 / (1 + np.exp(-np.array([-4, -2, 0, 2, 4])))
    np.testing.assert_allclose(b, (s - s[0]) / (s[-1] - s[0]), atol=1e-7)
    np.testing.assert_array_equal(b[[0, -1]], [0, 1])


def test_the_noise_of_an_example_is_that_of_its_place():
    def estimate(x):
        result = annealed_log_likelihood(
            KEY,
            _vae(0.3),
            Split({"x": x}, "real"),
            num_temperatures=TEMPERATURES,
            num_chains=CHAINS,
            batch_size=32,
        )
        return result["per_example"]["log_likelihood"]

    once, twice = estimate(X), estimate(np.concatenate([X, X]))  # the second in two batches
    np.testing.assert_array_equal(twice[:32], once)
    assert (np.abs(twice[32:] - once) > 1e-5).all()


def test_binary_data_are_bounded_from_both_sides():
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(1, (8,), "tanh"),
        decoder=nets.MLP((8,), (4,), "tanh"),
        latents=1,
        likelihood=distributions.bernoulli(),
    )
    vae = model.bind(*jax.jit(model.init)(KEY, {"x": jnp.zeros((1, 4))}))
    each = sandwich(KEY, vae, 200, num_temperatures=5, num_chains=8)["per_example"]
    x = np.asarray(each["x"])
    assert set(np.unique(x)) == {0.0, 1.0}
    z = np.linspace(-8, 8, 2001)
    prior = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    on = np.asarray(vae.decode(jnp.asarray(z[:, None], jnp.float32)).mean(), np.float64)  # [2001, 4]
    log_px = x @ np.log(on).T + (1 - x) @ np.log1p(-on).T  # [200, 2001]
    exact = np.log(np.trapezoid(prior * np.exp(log_px), z))
    assert_mean_is(np.exp(each["lower"] - exact), 1.0)
    assert_mean_is(np.exp(exact - each["upper"]), 1.0)


def test_what_cannot_be_annealed_is_refused():
    split = Split({"x": X}, "real")
    vae = _vae()
    with pytest.raises(ValueError, match="num_chains: expected at least 2"):
        annealed_log_likelihood(KEY, vae, split, num_chains=1)
    with pytest.raises(ValueError, match="num_temperatures: expected at least 1"):
        sandwich(KEY, vae, 3, num_temperatures=0)
    with pytest.raises(ValueError, match="n: expected at least 1"):
        sandwich(KEY, vae, 0)

    def levels(key, batch):
        draw = vae.encode(key, batch)
        return draw._replace(**{name: (getattr(draw, name),) * 2 for name in ("log_q", "log_p", "q", "p")})

    with pytest.raises(TypeError, match="z: expected one array of real numbers"):
        annealed_log_likelihood(KEY, vae._replace(encode=Partial(levels)), split)

    class Bound(Gaussian):
        is_bound = True

        def log_prob_bound(self, key, value):
            del key
            return self.log_prob(value)

    bound = vae._replace(decode=Partial(lambda z, c=None: Bound(vae.decode(z, c).mean(), 0.5, 1)))
    with pytest.raises(TypeError, match="expected an exact log p"):
        annealed_log_likelihood(KEY, bound, split)
