"""The parts of the ELBO against an exact linear-Gaussian VAE."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.special import logsumexp

from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.evaluation import elbo_parts
from vaejax.keys import example_keys
from vaejax.types import VAE, Draw, Split

KEY = jax.random.key(0)
SIGMA = 0.5
W = np.array([[1.0, 0.2], [0.4, -0.5], [0.0, 0.0]])  # orthogonal columns: the posterior is diagonal
COV = W @ W.T + SIGMA**2 * np.eye(3)  # of x
S2 = SIGMA**2 / (np.sum(W**2, axis=0) + SIGMA**2)  # posterior variances
S = np.sqrt(S2)
A = S2 / SIGMA**2 * W  # x @ A is the posterior mean
LAMBDA = np.sum(W**2, axis=0) + SIGMA**2  # the eigenvalues of COV that latents explain
N = 4000


def _encode(params, key, batch, prior=diagonal_gaussian):
    loc = batch["x"] @ params["A"]
    scale = jnp.broadcast_to(params["scale"], loc.shape)
    q = diagonal_gaussian(loc, scale)
    p = prior(jnp.zeros_like(loc), jnp.ones_like(loc))
    eps = jax.vmap(lambda k: jax.random.normal(k, loc.shape[1:]))(example_keys(key, batch))
    z = loc + scale * eps
    return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)


def _decode(params, z, c=None):
    del c
    return Gaussian(z @ params["W"].T, SIGMA, 1)


def _sample_prior(key, n, c=None):
    del c
    return jax.random.normal(key, (n, 2))


def _vae(A=A, scale=S, encode=_encode, decode=_decode) -> VAE:
    params = {"A": jnp.asarray(A, jnp.float32), "scale": jnp.asarray(scale, jnp.float32)}
    return VAE(
        Partial(encode, params),
        Partial(decode, {"W": jnp.asarray(W, jnp.float32)}),
        Partial(_sample_prior),
        {},
    )


def _split(n=N, seed=0, **kwargs) -> Split:
    x = np.random.default_rng(seed).multivariate_normal(np.zeros(3), COV, size=n).astype(np.float32)
    return Split({"x": x}, "real", **kwargs)


@pytest.fixture(scope="module")
def parts():
    return elbo_parts(KEY, _vae(), _split(), batch_size=500)


def test_kl_is_the_closed_form(parts):
    mu = _split().arrays["x"].astype(np.float64) @ A
    per_dimension = 0.5 * (mu**2 + S2 - 1 - np.log(S2))
    kl = per_dimension.sum(axis=1)
    np.testing.assert_allclose(parts["kl_per_dimension"], per_dimension.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(parts["kl"], kl.mean(), rtol=1e-5)
    np.testing.assert_allclose(parts["kl_se"], kl.std(ddof=1) / np.sqrt(N), rtol=1e-5)
    assert parts["kl_is_analytic"] is True
    assert parts["n"] == N
    # the population value, sum of log(lambda / sigma^2) / 2
    assert parts["kl"] == pytest.approx(0.5 * np.log(LAMBDA / SIGMA**2).sum(), abs=4 * parts["kl_se"])


def test_reconstruction_and_neg_elbo_are_the_exact_ones(parts):
    x = _split().arrays["x"].astype(np.float64)
    residual = x - x @ A @ W.T
    spread = (W * S2) @ W.T  # covariance of W z given x
    mean = 1.5 * np.log(2 * np.pi * SIGMA**2) + (np.sum(residual**2, axis=1) + np.trace(spread)) / (
        2 * SIGMA**2
    )
    quadratic = 4 * np.einsum("ni,ij,nj->n", residual, spread, residual)
    noise = (quadratic + 2 * np.trace(spread @ spread)) / (4 * SIGMA**4)  # its variance over z, given x
    tolerance = 4 * np.sqrt(noise.mean() / N)
    assert tolerance < 0.06
    assert parts["reconstruction"] == pytest.approx(mean.mean(), abs=tolerance)
    nll = 0.5 * (np.einsum("ni,ij,nj->n", x, np.linalg.inv(COV), x) + np.log(np.linalg.det(2 * np.pi * COV)))
    assert parts["neg_elbo"] == pytest.approx(nll.mean(), abs=tolerance)  # the posterior is exact
    assert parts["neg_elbo"] == pytest.approx(parts["reconstruction"] + parts["kl"], rel=1e-12)
    expected_se = np.sqrt((mean.var() + noise.mean()) / N)
    assert parts["reconstruction_se"] == pytest.approx(expected_se, rel=0.05)


def test_the_aggregate_posterior_of_an_exact_model_is_the_prior(parts):
    tolerance = 4 * np.sqrt(np.sum(1 - S2) / N)  # Var[log q(z|x) - log q(z)] = sum of 1 - S2
    assert parts["mutual_information"] == pytest.approx(-0.5 * np.log(S2).sum(), abs=tolerance)
    assert parts["marginal_kl"] == pytest.approx(0, abs=tolerance)
    assert parts["mutual_information"] + parts["marginal_kl"] == pytest.approx(parts["kl"], rel=1e-12)
    assert parts["mutual_information"] < np.log(N)


def test_information_of_a_small_split_by_quadrature():
    # one informative latent, eight examples: I = mean_n int q_n log(q_n / q)
    loc, s, copies = np.linspace(-2, 2, 8), 0.6, 500
    x = np.zeros((8 * copies, 3), np.float32)
    x[:, 0] = np.tile(loc, copies)  # copies of every example average the draws; q(z) is the same
    first = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    result = elbo_parts(KEY, _vae(A=first, scale=[s, 1.0]), Split({"x": x}, "real"), batch_size=500)
    z = np.linspace(-8, 8, 20_001)
    log_q = -0.5 * ((z - loc[:, None]) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)
    gain = log_q - logsumexp(log_q, axis=0) + np.log(8)
    exact = np.trapezoid(np.exp(log_q) * gain, z).mean()
    spread = np.trapezoid(np.exp(log_q) * gain**2, z).mean() - exact**2
    assert result["mutual_information"] == pytest.approx(exact, abs=4 * np.sqrt(spread / len(x)))
    kl = 0.5 * np.mean(loc**2 + s**2 - 1 - 2 * np.log(s))
    assert result["marginal_kl"] == pytest.approx(kl - exact, abs=4 * np.sqrt(spread / len(x)))


def test_information_is_exact_at_both_ends():
    split = _split(n=200)
    collapsed = elbo_parts(KEY, _vae(A=0 * A, scale=[1.0, 1.0]), split)
    assert collapsed["active_units"] == 0
    assert collapsed["kl"] == 0
    assert collapsed["mutual_information"] == pytest.approx(0, abs=1e-5)
    assert collapsed["marginal_kl"] == pytest.approx(0, abs=1e-5)
    apart = elbo_parts(KEY, _vae(scale=[1e-5, 1e-5]), split)
    assert apart["mutual_information"] == pytest.approx(np.log(200), rel=1e-5)


@pytest.mark.parametrize(("scale", "units"), [([1.0, 1.0], 2), ([1.0, 0.1], 1), ([0.05, 0.05], 0)])
def test_active_units(scale, units):
    # posterior means of population variance (.82, .54) times the squares of the scales
    result = elbo_parts(KEY, _vae(A=A * np.array(scale)), _split(n=2000), batch_size=500, aggregate=False)
    assert result["active_units"] == units
    assert "mutual_information" not in result


def test_a_prior_outside_the_table_is_sampled():
    def encode(params, key, batch):
        return _encode(
            params, key, batch, lambda loc, one: distrax.MultivariateNormalTri(loc, jax.vmap(jnp.diag)(one))
        )

    split = _split(n=2000)
    result = elbo_parts(KEY, _vae(encode=encode), split, batch_size=500)
    exact = elbo_parts(KEY, _vae(), split, batch_size=500)
    assert result["kl_is_analytic"] is False
    assert "kl_per_dimension" not in result
    assert result["kl"] != exact["kl"]
    assert result["kl"] == pytest.approx(exact["kl"], abs=4 * np.sqrt(np.sum(1 - S2) / 2000))
    assert result["reconstruction"] == pytest.approx(exact["reconstruction"], rel=1e-6)  # the same z
    assert result["mutual_information"] == pytest.approx(exact["mutual_information"], rel=1e-6)
    assert result["active_units"] == 2


def _two_levels(params, key, batch):
    draw = _encode(params, key, batch)
    return draw._replace(**{name: (getattr(draw, name),) * 2 for name in ("log_q", "log_p", "q", "p")})


def test_levels_are_summed():
    split = _split(n=50)
    result = elbo_parts(KEY, _vae(encode=_two_levels), split)
    assert result["kl"] == pytest.approx(2 * elbo_parts(KEY, _vae(), split)["kl"], rel=1e-6)
    assert result["kl_is_analytic"] is True
    assert "active_units" not in result


def _noisy(key, batch):
    noise = jax.vmap(lambda k: jax.random.normal(k, (3,)))(example_keys(key, batch))
    return {"x": batch["x"] + 0.1 * noise}


def test_the_batch_size_does_not_change_the_numbers():
    split = _split(n=130, transform=_noisy)
    a, b, c = (elbo_parts(KEY, _vae(), split, batch_size=size) for size in (7, 64, 130))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=2e-6, atol=2e-6, err_msg=name)
        np.testing.assert_allclose(a[name], c[name], rtol=2e-6, atol=2e-6, err_msg=name)
    other = elbo_parts(jax.random.key(1), _vae(), split, batch_size=64)
    assert abs(other["reconstruction"] - b["reconstruction"]) > 1e-4
    plain = elbo_parts(KEY, _vae(), _split(n=130), batch_size=64)
    assert abs(plain["kl"] - b["kl"]) > 1e-4  # the transform did run


def test_one_program_for_all_batches_and_all_parameters():
    traces = []

    def transform(key, batch):
        del key
        traces.append(batch["x"].shape)
        return batch

    steps = []

    def progress(batches):
        steps.append(len(batches))
        return batches

    split = _split(n=50, transform=transform)
    elbo_parts(KEY, _vae(), split, batch_size=8, progress=progress)
    assert steps == [7]
    assert traces == [(8, 3)] * 2  # the shapes, then the program
    elbo_parts(jax.random.key(1), _vae(scale=[0.1, 0.1]), split, batch_size=8)
    assert traces == [(8, 3)] * 3  # the shapes only


def test_supports_are_compared_before_anything_compiles():
    ran = []

    def progress(batches):
        ran.append(batches)
        return batches

    split = Split({"x": np.zeros((4, 3), np.float32)}, "bytes")
    with pytest.raises(ValueError, match="the data have support 'bytes'"):
        elbo_parts(KEY, _vae(), split, progress=progress)

    def bare(params, z, c=None):
        del c
        return diagonal_gaussian(z @ params["W"].T, jnp.ones((len(z), 3)))

    with pytest.raises(TypeError, match=r"likelihood: expected p.x.z. with a `support`"):
        elbo_parts(KEY, _vae(decode=bare), _split(n=4), progress=progress)
    with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
        elbo_parts(jax.random.PRNGKey(0), _vae(), _split(n=4))
    with pytest.raises(ValueError, match="split: expected at least two examples, got 1"):
        elbo_parts(KEY, _vae(), _split(n=1))
    assert ran == []
