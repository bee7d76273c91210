"""Imputation on the exact linear-Gaussian model, whose conditionals are known in closed form."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy import stats

from tests import oracle
from tests.oracle import SIGMA
from tests.oracle import data as draws_of
from vaejax import data, evaluation, objectives, sample
from vaejax.data.transforms import cast
from vaejax.distributions import Autoregressive, Gaussian, bernoulli, diagonal_gaussian
from vaejax.keys import example_keys
from vaejax.types import VAE, Draw, Split

# copies: jax knows a constant of NumPy by its identity, and float64 programs of other tests have the same
W, B = oracle.W.copy(), oracle.B.copy()
KEY = jax.random.key(0)
X = draws_of(4, seed=3).astype(np.float32)
SEEN = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
SPLIT = data.with_holes(Split({"x": X}, "real", cast), ~SEEN)
K, M = 4000, 4000


def encode(params, key, batch):
    """The exact posterior under any mask, since the columns of W share no row; wider by a factor."""
    w, wider = params
    seen = batch["observed"].astype(w.dtype)
    precision = 1 + seen @ w**2 / SIGMA**2
    loc = (jnp.where(batch["observed"], batch["x"] - B, 0) @ w) / SIGMA**2 / precision
    scale = wider / jnp.sqrt(precision)
    q, p = diagonal_gaussian(loc, scale), diagonal_gaussian(jnp.zeros_like(loc), jnp.ones_like(loc))
    eps = jax.vmap(lambda k: jax.random.normal(k, (2,), loc.dtype))(example_keys(key, batch))
    z = loc + scale * eps
    return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)


def decode(w, z, c=None):
    assert c is None
    return Gaussian(z @ w.T + jnp.float32(B), SIGMA, 1)


def vae(wider=1.0):
    w = jnp.asarray(W, jnp.float32)
    return VAE(Partial(encode, (w, jnp.float32(wider))), Partial(decode, w), None, {})


def conditional(i):
    """Mean and covariance of x_mis given x_obs of example i, and log p(x_obs): REFERENCE's closed forms."""
    o, m = SEEN[i], ~SEEN[i]
    inverse = np.linalg.inv(W[o].T @ W[o] + SIGMA**2 * np.eye(2))
    mean = W[m] @ inverse @ W[o].T @ (X[i, o] - B[o]) + B[m]
    covariance = SIGMA**2 * (np.eye(m.sum()) + W[m] @ inverse @ W[m].T)
    evidence = 0.0
    if o.any():
        evidence = stats.multivariate_normal(B[o], W[o] @ W[o].T + SIGMA**2 * np.eye(o.sum())).logpdf(X[i, o])
    return mean, covariance, evidence


@pytest.fixture(scope="module")
def exact():
    return evaluation.impute(KEY, vae(), SPLIT, num_samples=K, num_draws=M, batch_size=4, chunk=1000)


@pytest.fixture(scope="module")
def weighted():
    return evaluation.impute(KEY, vae(1.5), SPLIT, num_samples=K, num_draws=M, batch_size=4, chunk=1000)


def test_at_the_exact_posterior_every_weight_is_the_evidence_of_what_was_observed(exact):
    expected = [conditional(i)[2] for i in range(4)]
    np.testing.assert_allclose(exact.log_likelihood, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(exact.ess, K, rtol=1e-4)


def test_mean_and_draws_have_the_conditional_mean_and_covariance(exact, weighted):
    assert (weighted.ess < 0.9 * K).all()
    for found in (exact, weighted):
        for i in range(4):
            mean, covariance, evidence = conditional(i)
            of_draws = found.draws[:, i, ~SEEN[i]].astype(np.float64)
            spread = np.sqrt(np.diag(covariance))
            assert (np.abs(found.mean[i, ~SEEN[i]] - mean) < 4 * spread / np.sqrt(found.ess[i])).all()
            assert (np.abs(of_draws.mean(0) - mean) < 6 * spread / np.sqrt(M)).all()
            if len(mean):
                np.testing.assert_allclose(np.cov(of_draws.T), covariance, rtol=0.1, atol=0.1 * spread.max())
            assert found.log_likelihood[i] == pytest.approx(evidence, abs=0.1)


def test_the_surrogate_of_linear_models_is_the_evidence_of_what_was_observed():
    """At the posterior mean, with the curvature of the observed values alone; `iwae` at any K too."""
    batch = {"x": jnp.where(SEEN, X, jnp.nan), "observed": SEEN}

    @jax.jit
    def run(vae):
        draw = sample(KEY, vae, batch)
        terms = (objectives.reconstruction_at_mean, objectives.kumar_poole(beta=1.0))
        return sum(term(KEY, vae, draw) for term in terms), objectives.iwae(2)(KEY, vae, draw)

    expected = [-conditional(i)[2] for i in range(4)]
    for found in run(vae()):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_what_was_observed_stays_to_the_last_bit(weighted):
    for filled in (weighted.mean, *weighted.draws[:3]):
        np.testing.assert_array_equal(filled[SEEN], X[SEEN])
    np.testing.assert_array_equal(weighted.mean[2], X[2])


def test_the_samples_are_those_of_the_likelihood_estimate_and_batches_change_nothing(weighted):
    options = {"num_samples": K, "curve": (), "chunk": 1000}
    known = evaluation.marginal_log_likelihood(KEY, vae(1.5), SPLIT, **options, batch_size=4)
    of_each = known["per_example"]
    np.testing.assert_allclose(weighted.log_likelihood, of_each["log_likelihood"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weighted.ess, of_each["ess"], rtol=1e-4)
    again = evaluation.impute(KEY, vae(1.5), SPLIT, num_samples=K, num_draws=2, batch_size=3, chunk=700)
    np.testing.assert_allclose(again.mean, weighted.mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(again.ess, weighted.ess, rtol=1e-3)
    assert again.draws.shape == (2, *X.shape)


def test_imputations_come_in_the_units_of_the_data():
    """What a model says of z = (x - mean) / scale, undone; what was observed as the array has it."""
    record = data.Standardise((1.0, -2.0, 30.0, 0.0), (2.0, 0.1, 7.0, 1.0))
    units = Split({"x": record.undo(X)}, "real", record)
    found = evaluation.impute(KEY, vae(), data.with_holes(units, ~SEEN), num_samples=50, num_draws=1)
    plain = evaluation.impute(KEY, vae(), SPLIT, num_samples=50, num_draws=1)
    np.testing.assert_allclose(found.mean, record.undo(plain.mean), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.draws, record.undo(plain.draws), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.mean[SEEN], units.arrays["x"][SEEN])


def test_what_cannot_be_imputed_is_named():
    with pytest.raises(ValueError, match=r"split: expected holes, a mask"):
        evaluation.impute(KEY, whole(), Split({"x": X}, "real"))
    for name, value in (("num_samples", 0), ("num_draws", -1), ("chunk", 0), ("num_draws", True)):
        error, message = (TypeError, "an int") if value is True else (ValueError, "at least 1")
        with pytest.raises(error, match=f"{name}: expected {message}"):
            evaluation.impute(KEY, vae(), SPLIT, **{name: value})
    network = Partial(jnp.zeros_like)
    autoregressive = Partial(lambda z, c=None: Autoregressive(network, bernoulli(), (*z.shape[:-1], 4), 1))
    split = data.with_holes(Split({"x": SEEN.astype(np.float32)}, "binary", cast), 0.5)
    with pytest.raises(TypeError, match=re.escape("not independent given z (Autoregressive)")):
        evaluation.impute(KEY, vae()._replace(decode=autoregressive), split)
    with pytest.raises(ValueError, match="split: expected one without holes"):
        evaluation.reconstruction_quality(KEY, vae(), SPLIT, data_range=1.0)


def whole():
    """The same of data without a mask."""

    def encoded(encode, key, batch):
        drawn = encode(key, {**batch, "observed": jnp.ones(batch["x"].shape, bool)})
        return drawn._replace(batch=batch)

    return vae()._replace(encode=Partial(encoded, vae().encode))
