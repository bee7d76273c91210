"""The table of closed forms, and what stays out of it."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_mean_is
from vaejax import distributions
from vaejax.ops import kl as ops_kl

RNG = np.random.default_rng(0)
LOC, OTHER_LOC = RNG.normal(size=(2, 3, 2)).astype(np.float32)
SCALE, OTHER_SCALE = np.exp(RNG.normal(size=(2, 3, 2))).astype(np.float32)
LOGITS, OTHER_LOGITS = RNG.normal(size=(2, 3, 2, 4)).astype(np.float32)
GAUSSIANS = {
    "independent": distributions.diagonal_gaussian,
    "multivariate": distrax.MultivariateNormalDiag,
}
CATEGORICALS = {
    "codes": distrax.Categorical,
    "one hot": distrax.OneHotCategorical,
}


@pytest.mark.parametrize("of_q", GAUSSIANS)
@pytest.mark.parametrize("of_p", GAUSSIANS)
def test_diagonal_gaussians_of_either_kind(of_q, of_p):
    q, p = GAUSSIANS[of_q](LOC, SCALE), GAUSSIANS[of_p](OTHER_LOC, OTHER_SCALE)
    expected = ops_kl.diagonal_gaussian(LOC, SCALE, OTHER_LOC, OTHER_SCALE)
    assert distributions.has_closed_form(q, p)
    np.testing.assert_allclose(distributions.kl_per_dimension(q, p), expected, rtol=1e-6)
    np.testing.assert_allclose(distributions.kl_divergence(q, p), expected.sum(-1), rtol=1e-6)
    one_prior = GAUSSIANS[of_p](OTHER_LOC[0], OTHER_SCALE[0])
    rows = [
        distributions.kl_divergence(GAUSSIANS[of_q](*row), one_prior) for row in zip(LOC, SCALE, strict=True)
    ]
    np.testing.assert_allclose(distributions.kl_divergence(q, one_prior), rows, rtol=1e-6)
    one_posterior = GAUSSIANS[of_q](LOC[0], SCALE[0])
    assert distributions.kl_divergence(one_posterior, p).shape == (3,)  # the batch of p is not summed
    np.testing.assert_allclose(distributions.kl_divergence(one_posterior, p)[0], expected[0].sum(), rtol=1e-6)


@pytest.mark.parametrize("name", CATEGORICALS)
def test_categoricals_and_products_of_them(name):
    q, p = CATEGORICALS[name](LOGITS), CATEGORICALS[name](OTHER_LOGITS)
    expected = ops_kl.categorical(LOGITS, OTHER_LOGITS)  # [3, 2]
    np.testing.assert_allclose(distributions.kl_divergence(q, p), expected, rtol=1e-6)
    product_q, product_p = distrax.Independent(q, 1), distrax.Independent(p, 1)
    np.testing.assert_allclose(distributions.kl_per_dimension(product_q, product_p), expected, rtol=1e-6)
    np.testing.assert_allclose(distributions.kl_divergence(product_q, product_p), expected.sum(-1), rtol=1e-6)


def _flow(shift, scale):
    """N(shift, scale^2) in one dimension, as a flow."""
    base = distributions.diagonal_gaussian(jnp.zeros(1), jnp.ones(1))
    bijector = distrax.ScalarAffine(jnp.array([shift]), jnp.array([scale]))
    return distrax.Transformed(base, distrax.Block(bijector, 1))


UNLISTED = {
    "flow": lambda: (distributions.diagonal_gaussian(LOC[:, :1], SCALE[:, :1]), _flow(5.0, 2.0)),
    "other coding": lambda: (distrax.Categorical(LOGITS), distrax.OneHotCategorical(LOGITS)),
    "categorical and Gaussian": lambda: (
        distrax.Categorical(LOGITS[:, 0]),
        distributions.diagonal_gaussian(LOC, SCALE),
    ),
}


@pytest.mark.parametrize("name", UNLISTED)
def test_pairs_outside_the_table_are_refused_by_name(name):
    q, p = UNLISTED[name]()
    assert not distributions.has_closed_form(q, p)
    assert not distributions.has_closed_form(p, q)
    with pytest.raises(TypeError, match=rf"KL\({q.name} \|\| {p.name}\): no closed form.*kl_sampled"):
        distributions.kl_divergence(q, p)
    log_q, log_p = jnp.array([1.0, 2.0]), jnp.array([0.5, 3.0])
    np.testing.assert_array_equal(distributions.kl_or_sampled(q, p, log_q, log_p), [0.5, -1.0])


def test_the_closed_form_comes_first():
    q, p = (distributions.diagonal_gaussian(*args) for args in ((LOC, SCALE), (OTHER_LOC, OTHER_SCALE)))
    expected = distributions.kl_divergence(q, p)
    unused = jnp.full(3, jnp.nan)
    np.testing.assert_array_equal(distributions.kl_or_sampled(q, p, unused, unused), expected)


def test_levels_of_any_kinds_have_the_kl_that_each_has_alone():
    """Neighbours that are Gaussians of one shape are stacked, not those of another event, or on a path."""
    a, b = (distributions.diagonal_gaussian(*args) for args in ((LOC, SCALE), (OTHER_LOC, OTHER_SCALE)))
    one = distributions.diagonal_gaussian(np.zeros(2), np.ones(2))
    small = [distributions.diagonal_gaussian(loc[:, :1], SCALE[:, :1]) for loc in (LOC, OTHER_LOC)]
    categorical = [distrax.Independent(distrax.Categorical(logits), 1) for logits in (LOGITS, OTHER_LOGITS)]
    path = distributions.GaussianOnPath.of(b)
    pairs = [(a, b), (b, a), (a, one), (a, b), (b, b), small, small[::-1], categorical, (a, path), (b, a)]
    levels = [(q, p, jnp.arange(3.0), jnp.full(3, i / 2)) for i, (q, p) in enumerate(pairs)]
    expected = [distributions.kl_or_sampled(*level) for level in levels]
    np.testing.assert_allclose(distributions.kl_of_levels(levels), expected, rtol=1e-6)
    np.testing.assert_array_equal(distributions.kl_of_levels(levels[-2:-1]), [jnp.arange(3.0) - 4])


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (distrax.Normal(np.zeros((2, 8)), 1.0), distrax.Normal(np.zeros((2, 1)), 1.0)),
        (distrax.Normal(np.zeros((2, 8)), 1.0), distrax.Normal(np.zeros(4), 1.0)),
        (distrax.Categorical(np.zeros((2, 3, 4))), distrax.Categorical(np.zeros((2, 3, 1)))),
        (distrax.Categorical(np.zeros((2, 3, 4))), distrax.Categorical(np.zeros((2, 1, 4)))),
    ],
)
def test_events_are_not_broadcast(q, p):
    q, p = distrax.Independent(q, 1), distrax.Independent(p, 1)
    with pytest.raises(ValueError, match=r"KL\(.*\): expected equal"):
        distributions.kl_divergence(q, p)


def test_only_one_distribution_of_vectors_is_a_diagonal_gaussian():
    for make in GAUSSIANS.values():
        assert distributions.is_diagonal_gaussian(make(LOC, SCALE))
    one = distributions.diagonal_gaussian(LOC, SCALE)
    normal = distrax.Normal(LOC, SCALE)
    categorical = distrax.Independent(distrax.Categorical(LOGITS), 1)
    for other in (normal, distrax.Independent(normal, 2), categorical, _flow(0.0, 1.0), (one, one), None):
        assert not distributions.is_diagonal_gaussian(other)


def test_flows_are_not_left_to_distrax():
    q, p = _flow(0.0, 1.0), _flow(5.0, 2.0)
    # distrax 0.1.9 takes the two bijectors for equal. When this fails it has been mended, and what the
    # docstring of distributions/kl.py says of it is out of date.
    assert q.kl_divergence(p) == 0.0
    z, log_q = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=40_000)
    estimate = distributions.kl_or_sampled(q, p, log_q, p.log_prob(z))
    assert_mean_is(estimate, np.log(2) + (1 + 25) / 8 - 0.5)


def test_a_scale_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"scale: expected the shape of loc, \(3, 2\); got \(2,\)"):
        distributions.diagonal_gaussian(jnp.zeros((3, 2)), jnp.ones(2))
