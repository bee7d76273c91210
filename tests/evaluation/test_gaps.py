"""The gaps of linear-Gaussian models, where the best posterior of every x is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from vaejax.distributions import FullGaussian, diagonal_gaussian
from vaejax.evaluation import annealed_log_likelihood, gaps, marginal_log_likelihood
from vaejax.keys import example_keys
from vaejax.types import Draw, Split

KEY = jax.random.key(0)
MODEL = oracle.linear_vae()
X = oracle.data(33).astype(np.float32)
SPLIT = Split({"x": X}, "real")
K = 1000
SLANTED = oracle.W + np.array([[0, 0.8], [0, 0.3], [0.5, 0], [0.2, 0]])  # its posterior is correlated
PRECISION = np.eye(2) + SLANTED.T @ SLANTED / oracle.SIGMA**2


def _gaps(params, **options):
    vae = MODEL.bind(params)._replace(sample_prior=None)  # one structure, and so one program, for all
    return gaps(KEY, vae, SPLIT, **{"num_samples": K, "batch_size": 20} | options)


def test_an_exact_encoder_has_no_gap():
    result = _gaps(oracle.exact_params())
    for name in ("inference", "approximation", "amortisation"):
        np.testing.assert_allclose(result["per_example"][f"{name}_gap"], 0, atol=5e-5)
    np.testing.assert_allclose(result["per_example"]["log_likelihood"], oracle.log_evidence(X), atol=5e-5)
    np.testing.assert_allclose(result["per_example"]["ess"], K, rtol=1e-4)
    assert (result["n"], result["num_samples"]) == (33, K)


def test_a_wrong_encoder_has_an_amortisation_gap_alone():
    params, exact = oracle.exact_params(), oracle.exact_params()
    params["encoder"]["A"] = params["encoder"]["A"].at[1, 2].set(0.0)  # one weight
    params["encoder"]["log_scale"] += 0.4
    result = _gaps(params)
    each = result["per_example"]
    scale = np.exp(np.asarray(exact["encoder"]["log_scale"]))
    shift = (X @ np.asarray(params["encoder"]["A"] - exact["encoder"]["A"]).T) / scale
    kl = 0.5 * np.sum(shift**2 + np.exp(0.8) - 1 - 0.8, axis=1)  # KL(q || p(z|x)), the whole inference gap
    # of log w under q, whose log p(z|x) is quadratic in the noise
    noise = np.sqrt(np.sum(np.exp(0.8) * shift**2 + 0.5 * (np.exp(0.8) - 1) ** 2, axis=1) / K)
    np.testing.assert_array_less(np.abs(each["amortisation_gap"] - kl) / noise, 4.5)
    np.testing.assert_allclose(each["approximation_gap"], 0, atol=2e-3)
    np.testing.assert_allclose(each["inference_gap"], each["approximation_gap"] + each["amortisation_gap"])
    np.testing.assert_allclose(each["scale"], np.tile(scale, (33, 1)), rtol=0.01)
    A, a = (np.asarray(exact["encoder"][name]) for name in ("A", "a"))
    np.testing.assert_allclose(each["loc"], X @ A.T + a, atol=0.01)


def test_a_correlated_posterior_has_the_approximation_gap_of_its_precision():
    w, precision = SLANTED, PRECISION
    params = oracle.exact_params()
    params["decoder"]["W"] = jnp.asarray(w, jnp.float32)
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    exact = oracle.log_evidence(X, w=w)
    result = _gaps(params, log_likelihood=exact)
    each = result["per_example"]
    assert gap > 0.2
    # log w under q* varies by the off-diagonal term alone: rho e1 e2, with rho^2 = 1 - exp(-2 gap)
    noise = np.sqrt((1 - np.exp(-2 * gap)) / (33 * K))
    assert result["approximation_gap"] == pytest.approx(gap, abs=4 * noise + 0.003)
    assert each["approximation_gap"].std() == pytest.approx(noise * np.sqrt(33), rel=0.5)
    assert result["amortisation_gap"] > 0.1
    np.testing.assert_allclose(each["scale"], np.tile(np.diag(precision) ** -0.5, (33, 1)), rtol=0.03)
    mean = np.linalg.solve(precision, w.T @ (X - oracle.B).T / oracle.SIGMA**2).T
    np.testing.assert_allclose(each["loc"], mean, atol=0.06)
    np.testing.assert_array_equal(each["log_likelihood"], exact)
    estimated = _gaps(params)["per_example"]["log_likelihood"]
    assert np.abs(estimated - exact).max() < 0.15
    for name in ("log_likelihood", "elbo", "elbo_optimal", "inference_gap", "amortisation_gap", "ess"):
        assert result[name] == pytest.approx(each[name].mean())
        assert result[f"{name}_se"] == pytest.approx(each[name].std(ddof=1) / np.sqrt(33))


def full_vae(diagonal):
    """A full covariance for a slanted model: the exact posterior, or one without entries off the diagonal.

    The encoder gives loc, log of the diagonal of L, and what is below it.
    """
    A = np.linalg.solve(PRECISION, SLANTED.T) / oracle.SIGMA**2
    L = np.linalg.cholesky(np.linalg.inv(PRECISION))
    params = jax.tree.map(
        lambda a: jnp.asarray(a, jnp.float32),
        {"A": A, "log_scale": np.log(np.diag(L)), "below": np.zeros(1) if diagonal else L[1, :1]},
    )

    def family(params, batch):
        loc = (batch["x"] - oracle.B) @ params["A"].T
        each = (
            jnp.broadcast_to(params[name], (len(loc), *params[name].shape)) for name in ("log_scale", "below")
        )
        return (loc, *each), Partial(build)

    def build(parameters):
        loc, log_scale, below = parameters
        zero = jnp.zeros_like(below)
        rows = [
            jnp.concatenate(pair, axis=-1)
            for pair in ((jnp.exp(log_scale[..., :1]), zero), (below, jnp.exp(log_scale[..., 1:])))
        ]
        return FullGaussian(loc, jnp.stack(rows, axis=-2))

    def encode(params, key, batch):
        parameters, _ = family(params, batch)
        z, log_q = jax.vmap(lambda k, p: build(p).sample_and_log_prob(seed=k))(
            example_keys(key, batch), parameters
        )
        p = diagonal_gaussian(jnp.zeros(2), jnp.ones(2))
        return Draw(z=z, log_q=log_q, log_p=p.log_prob(z), q=build(parameters), p=p, batch=batch)

    decoder = {"W": jnp.asarray(SLANTED, jnp.float32), "b": jnp.asarray(oracle.B, jnp.float32)}
    decode = MODEL.bind({"encoder": {}, "decoder": decoder})
    return decode._replace(encode=Partial(encode, params), family=Partial(family, params))


def test_an_exact_full_covariance_has_log_p_in_every_sample():
    vae, exact = full_vae(diagonal=False), oracle.log_evidence(X, w=SLANTED)
    found = marginal_log_likelihood(KEY, vae, SPLIT, num_samples=20, curve=(), batch_size=20)["per_example"]
    np.testing.assert_allclose(found["log_likelihood"], exact, atol=5e-5)
    np.testing.assert_allclose(found["ess"], 20, rtol=1e-4)
    annealed = annealed_log_likelihood(
        KEY, vae, SPLIT, num_temperatures=3, num_chains=2, leapfrog_steps=1, batch_size=20
    )["per_example"]
    np.testing.assert_allclose(annealed["log_likelihood"], exact, atol=5e-5)
    result = gaps(KEY, vae, SPLIT, num_samples=K, batch_size=20)
    for name in ("inference", "approximation", "amortisation"):
        np.testing.assert_allclose(result["per_example"][f"{name}_gap"], 0, atol=5e-5)


def test_of_a_full_covariance_the_diagonal_costs_amortisation_alone():
    """The gap that a diagonal family has to approximation: this family closes it."""
    result = gaps(KEY, full_vae(diagonal=True), SPLIT, num_samples=K, batch_size=20)
    each, exact = result["per_example"], oracle.log_evidence(X, w=SLANTED)
    np.testing.assert_allclose(each["log_likelihood"], exact, atol=2e-3)
    np.testing.assert_allclose(each["approximation_gap"], 0, atol=0.01)
    assert result["amortisation_gap"] > 0.2
    _, log_scale, below = each["parameters"]
    L = np.linalg.cholesky(np.linalg.inv(PRECISION))
    np.testing.assert_allclose(below, np.full((33, 1), L[1, 0]), atol=0.02)
    np.testing.assert_allclose(log_scale, np.tile(np.log(np.diag(L)), (33, 1)), atol=0.05)


def test_a_fit_that_goes_astray_is_not_kept():
    result = _gaps(oracle.exact_params(), steps=3, learning_rate=20.0)
    np.testing.assert_array_equal(result["per_example"]["amortisation_gap"], 0)
    np.testing.assert_allclose(result["per_example"]["approximation_gap"], 0, atol=5e-5)
    scale = np.exp(np.asarray(oracle.exact_params()["encoder"]["log_scale"]))
    np.testing.assert_allclose(result["per_example"]["scale"], np.tile(scale, (33, 1)), rtol=1e-5)


def test_what_has_no_gaps_is_refused():
    vae = MODEL.bind(oracle.exact_params())
    for value in (0.0, float("nan")):
        with pytest.raises(ValueError, match="learning_rate: expected a positive"):
            gaps(KEY, vae, SPLIT, learning_rate=value)
    with pytest.raises(ValueError, match="log_likelihood: expected one for each of 33 examples"):
        gaps(KEY, vae, SPLIT, log_likelihood=np.zeros(3))
    with pytest.raises(ValueError, match="steps: expected at least 1"):
        gaps(KEY, vae, SPLIT, steps=0)

    def levels(key, batch):
        draw = vae.encode(key, batch)
        return draw._replace(**{name: (getattr(draw, name),) * 2 for name in ("log_q", "log_p", "q", "p")})

    with pytest.raises(TypeError, match=r"q: expected one posterior, .* got 2 levels or parts"):
        gaps(KEY, vae._replace(encode=Partial(levels)), SPLIT)
