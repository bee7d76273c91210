"""The aggregate posterior through a minibatch: every batch of a small data set enumerated, and Gaussians."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from vaejax.ops import aggregate

KEY = jax.random.key(0)
N, B = 5, 3
log_density = jax.jit(aggregate.log_density, static_argnums=(3, 4))


def rows(d, seed=0):
    """(loc, scale) of N posteriors and a draw z of each, [N, d], far enough apart to differ."""
    rng = np.random.default_rng(seed)
    loc, scale = 1.5 * rng.normal(size=(N, d)), np.exp(0.5 * rng.normal(size=(N, d)))
    return loc, scale, loc + scale * rng.normal(size=(N, d))


def densities(z, loc, scale):
    """q(z_n) [N] and q(z_nj) [N, d] over all rows, with scipy."""
    each = stats.norm(loc, scale).pdf(z[:, None])  # [N, N, d]
    return each.prod(-1).mean(1), each.mean(1)


def over_all_batches(method, loc, scale, z):
    """Densities at the z of every place of every ordered batch, [batches, B] and [.., B, d]; its rows."""
    batches = np.array(list(itertools.permutations(range(N), B)))
    one = lambda i: aggregate.log_density(z[i], loc[i], scale[i], N, method)  # noqa: E731
    log_qz, marginals = jax.jit(jax.vmap(one))(batches)
    return np.exp(log_qz), np.exp(marginals), batches


def paper_density(batch, loc, scale, z):
    """Stratified sampling as printed: the next row is the one that stands for the rest of the data."""
    each = stats.norm(loc[batch], scale[batch]).pdf(z[batch][:, None])
    w = np.full((B, B), 1 / (B - 1))
    own = np.arange(B)
    w[own, own], w[own, (own + 1) % B] = 1 / N, (N - B + 1) / (N * (B - 1))
    return (w * each.prod(-1)).sum(1)


@pytest.mark.parametrize("d", [1, 2])
def test_stratified_densities_are_unbiased_over_all_ordered_batches(d, x64):
    loc, scale, z = map(jnp.asarray, rows(d))
    joint, marginals = densities(*map(np.asarray, (z, loc, scale)))
    got, got_marginals, batches = over_all_batches("mss", loc, scale, z)
    for place, n in itertools.product(range(B), range(N)):  # whatever the row and where it stands
        mine = batches[:, place] == n
        np.testing.assert_allclose(got[mine, place].mean(), joint[n], rtol=1e-12)
        np.testing.assert_allclose(got_marginals[mine, place].mean(0), marginals[n], rtol=1e-12)
    biased = over_all_batches("mws", loc, scale, z)[0]  # a control
    assert (abs(biased[batches == 0].mean() / joint[0] - 1) > 0.5).all()


def test_stratified_weights_are_the_mean_of_the_papers_and_vary_less(x64):
    loc, scale, z = rows(2)
    joint = densities(z, loc, scale)[0]
    got, _, batches = over_all_batches("mss", *map(jnp.asarray, (loc, scale, z)))
    paper = np.array([paper_density(b, loc, scale, z) for b in batches])
    for n in range(N):
        np.testing.assert_allclose(paper[batches == n].mean(), joint[n], rtol=1e-12)
        assert got[batches == n].var() < 0.9 * paper[batches == n].var()
    first = batches[:, 0] == 0  # the order of the others does not matter: 12 batches, 6 values
    assert len(np.unique(got[first, 0].round(12))) == 6


def test_weighted_densities_are_too_low_by_a_factor_between_b_and_n(x64):
    same = np.zeros((B, 2))
    log_qz, marginals = log_density(same, same, same + 1, N, "mws")  # all rows alike
    np.testing.assert_allclose(log_qz, stats.norm.logpdf(0) * 2 - np.log(N), rtol=1e-12)
    np.testing.assert_allclose(marginals, stats.norm.logpdf(0) - np.log(N), rtol=1e-12)
    apart = np.arange(3.0)[:, None] * np.full((B, 2), 100.0)  # own rows alone: q(z) is 1/N of them
    for method, factor in (("mws", B), ("mss", 1)):
        log_qz, marginals = log_density(apart, apart, same + 1, N, method)
        np.testing.assert_allclose(log_qz, stats.norm.logpdf(0) * 2 - np.log(N * factor), rtol=1e-12)
        np.testing.assert_allclose(marginals, stats.norm.logpdf(0) - np.log(N * factor), rtol=1e-12)
    # so that the total correlation is off by (d - 1) log of the factor times N
    log_qz, marginals = map(np.asarray, log_density(apart, apart, same + 1, N, "mws"))
    np.testing.assert_allclose(log_qz - marginals.sum(-1), np.log(N * B), rtol=1e-12)


def test_exact_is_the_mixture_and_that_of_a_batch_of_all(x64):
    loc, scale, z = rows(2)
    joint, marginals = densities(z, loc, scale)
    for method in ("exact", "mss"):
        log_qz, log_marginals = log_density(z, loc, scale, N, method)
        np.testing.assert_allclose(log_qz, np.log(joint), rtol=1e-12)
        np.testing.assert_allclose(log_marginals, np.log(marginals), rtol=1e-12)
    few = log_density(z[:2], loc, scale, N, "exact")  # at any points
    np.testing.assert_allclose(few[0], np.log(joint[:2]), rtol=1e-12)


@pytest.mark.parametrize("rho", [0.3, -0.8])
def test_the_exact_total_correlation_of_a_gaussian(rho, x64):
    u = stats.norm.ppf((np.arange(3000) + 0.5) / 3000)  # N(0, 1) as rows
    loc = np.sqrt(abs(rho)) * np.stack([u, np.sign(rho) * u], -1)
    scale = np.full_like(loc, np.sqrt(1 - abs(rho)))  # q(z) is N(0, 1) in each column, correlated by rho
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    z = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2) @ np.linalg.cholesky([[1, rho], [rho, 1]]).T
    w = np.outer(weights, weights).ravel() / weights.sum() ** 2
    log_qz, marginals = map(np.asarray, log_density(z, loc, scale, len(loc), "exact"))
    np.testing.assert_allclose(w @ (log_qz - marginals.sum(-1)), -0.5 * np.log(1 - rho**2), rtol=2e-3)


def test_log_densities_stay_finite_far_out_and_in_float32():
    loc = jnp.asarray(np.arange(3.0)[:, None] * np.full((3, 4), 1e3), jnp.float32)
    grads = jax.jit(
        jax.grad(lambda m: aggregate.log_density(m + 50, m, jnp.full((3, 4), 0.1), 9, "mss")[0].sum())
    )
    assert np.isfinite(grads(loc)).all()
    out = jax.eval_shape(lambda loc: aggregate.log_density(loc, loc, jnp.ones((3, 4)), 9), loc)
    assert out[0].dtype == jnp.float32


@pytest.mark.parametrize(
    ("n", "rows", "size", "method", "error", "message"),
    [
        (3, 3, 9, "sms", ValueError, "method: expected one of 'mws', 'mss', 'exact'; got 'sms'"),
        (3, 3, 9.0, "mws", TypeError, "dataset_size: expected an int, got float"),
        (3, 3, 2, "mws", ValueError, "dataset_size: expected at least the batch of 3 examples, got 2"),
        (2, 3, 9, "mws", ValueError, "z: expected one for each of the 3 posteriors of the batch, got 2"),
        (1, 1, 9, "mss", ValueError, "needs a batch of at least 2 examples, got 1"),
        (3, 3, 9, "exact", ValueError, 'method="exact" needs all 9 rows of the data, got 3'),
    ],
)
def test_log_density_refuses(n, rows, size, method, error, message):
    with pytest.raises(error, match=message):
        aggregate.log_density(np.zeros((n, 2)), np.zeros((rows, 2)), np.ones((rows, 2)), size, method)


def test_the_dip_penalty_by_hand(x64):
    loc, scale, _ = rows(3)
    S = np.cov(loc.T, bias=True)
    penalty = jax.jit(aggregate.dip_penalty, static_argnums=4)
    for form, cov in (("i", S), ("ii", S + np.diag((scale**2).mean(0)))):
        off = sum(cov[i, j] ** 2 for i in range(3) for j in range(3) if i != j)
        expected = 2.0 * off + 5.0 * sum((cov[i, i] - 1) ** 2 for i in range(3))
        np.testing.assert_allclose(penalty(loc, scale, 2.0, 5.0, form), expected, rtol=1e-12)
    white = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # covariance I: no penalty, also off centre
    plain = jax.jit(aggregate.dip_penalty)  # the default form
    np.testing.assert_allclose(plain(white + 7, white, 2.0, 5.0), 0, atol=1e-12)
    with pytest.raises(ValueError, match="form: expected one of 'i', 'ii'; got 'III'"):
        aggregate.dip_penalty(white, white, 1.0, 1.0, "III")


def test_permuted_columns_keep_their_values_and_lose_their_rows():
    z = jnp.arange(6.0)[:, None] + jnp.array([0.0, 10.0])
    many = jax.jit(jax.vmap(lambda k: aggregate.permute_columns(k, z)))(jax.random.split(KEY, 3000))
    np.testing.assert_array_equal(jnp.sort(many, axis=1), jnp.broadcast_to(z, many.shape))
    table = np.zeros((6, 6))  # which value of the second column stands beside each of the first
    np.add.at(table, (np.asarray(many[..., 0], int), np.asarray(many[..., 1], int) - 10), 1)
    assert table.sum() == 18000
    assert stats.chi2.sf(((table - 500) ** 2 / 500).sum(), 25) > 1e-3  # 36 cells, margins fixed


@pytest.mark.parametrize("d", [1, 3, aggregate.AT_ONCE + 3])
def test_the_streamed_density_against_float64(d):
    rng = np.random.default_rng(0)
    loc, scale, z = rng.normal(size=(150, d)), np.exp(rng.normal(size=(150, d)) - 1), rng.normal(size=(37, d))
    log_q = -0.5 * ((z[:, None] - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    exact = special.logsumexp(log_q.sum(-1), axis=1) - np.log(150)
    arrays = [jnp.asarray(a, jnp.float32) for a in (z, loc, scale)]
    for block in (64, 1000):
        np.testing.assert_allclose(
            aggregate.streamed_log_density(*arrays, block=block), exact, rtol=2e-5, atol=2e-5
        )
    with pytest.raises(ValueError, match="z, loc, scale: expected"):
        aggregate.streamed_log_density(arrays[0][:, :0], arrays[1], arrays[2])
