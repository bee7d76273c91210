"""The one way in which x is scored: shapes are checked, nothing broadcasts."""

from __future__ import annotations

import re

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.catalogue import EVENTS, LIKELIHOODS, D
from vaejax import distributions
from vaejax.distributions.location_scale import root_mean_square

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("parameters", "event_ndims", "x"),
    [
        ((8, 1), 1, (8,)),
        ((8, 1), 1, (8, 8)),
        ((8,), 0, (8, 1)),
        ((3, 4, 4, 1), 3, (3, 4, 4)),
        ((3, 4), 1, (4,)),
    ],
)
def test_another_shape_is_refused(parameters, event_ndims, x):
    px = distributions.gaussian().build(jnp.zeros(parameters), event_ndims)
    message = re.escape(f"x: expected the shape of p(x|z), {parameters}; got {x}")
    with pytest.raises(ValueError, match=message):
        distributions.score(KEY, px, jnp.zeros(x))


def test_what_distrax_would_broadcast_in_silence():
    px = distrax.Normal(jnp.zeros(8), 1.0)
    assert px.log_prob(jnp.zeros((8, 1))).shape == (8, 8)
    with pytest.raises(ValueError, match=r"\(8,\); got \(8, 1\)"):
        distributions.score(KEY, px, jnp.zeros((8, 1)))


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 1)])
def test_densities_are_summed_over_the_event_and_keep_their_constant(shape):
    x, loc = np.random.default_rng(0).normal(size=(2, 4, *shape))
    px = distributions.gaussian(0.3).build(jnp.asarray(loc, jnp.float32), len(shape))
    expected = stats.norm(loc, 0.3).logpdf(x).reshape(4, -1).sum(1)
    np.testing.assert_allclose(distributions.score(KEY, px, jnp.asarray(x, jnp.float32)), expected, rtol=1e-5)


def test_a_bound_is_scored_with_a_key_for_each_example():
    class Bounded(distributions.Gaussian):
        is_bound = True

        def log_prob_bound(self, keys, x):
            return self.log_prob(x) - jax.vmap(jax.random.uniform)(keys)

    px, x = Bounded(jnp.zeros((3, 2)), 1.0, 1), jnp.ones((3, 2))
    keys = jax.random.split(KEY, 3)
    expected = px.log_prob(x) - jax.vmap(jax.random.uniform)(keys)
    np.testing.assert_array_equal(distributions.score(keys, px, x), expected)
    np.testing.assert_array_equal(distributions.score(KEY, px, x), expected)  # one is split into as many
    part = Bounded(jnp.zeros((2, 2)), 1.0, 1)
    np.testing.assert_array_equal(distributions.score(keys[1:], part, x[1:]), expected[1:])
    with pytest.raises(ValueError, match=r"key: expected one, or one for each example, \(3,\); got \(2,\)"):
        distributions.score(keys[1:], px, x)


OWN = ("gaussian", "gaussian_learned_scale", "laplace")  # as distrax has them: log p of each is the base's


def _case(name):
    """A likelihood of the catalogue, parameters, and values in its support: [3, *event]."""
    likelihood, rng = LIKELIHOODS[name](), np.random.default_rng(1)
    event = EVENTS.get(name, (D,))
    parameters = rng.normal(size=(3, *likelihood.parameter_shape(event))).astype(np.float32)
    x = {"real": rng.normal(size=(3, *event)), "unit_interval": rng.random((3, *event))}.get(
        likelihood.support, rng.integers(0, 2, (3, *event))
    )
    return likelihood, parameters, x.astype(np.float32), rng.random(x.shape) < 0.6


@pytest.mark.parametrize("name", sorted(set(LIKELIHOODS) - {"discretised_logistic_mixture", "one_hot"}))
def test_of_data_with_holes_what_was_observed_is_scored(name):
    """Holes drop their terms, whatever stands there, from value and gradient; a full mask changes nothing."""
    likelihood, parameters, x, observed = _case(name)
    n = len(x.shape) - 1

    @jax.jit
    def run(parameters, x, holed, observed):
        def scored(parameters, x, observed):
            return distributions.score(KEY, likelihood.build(parameters, n), x, observed)

        def gradient(x, observed):
            return jax.grad(lambda p: scored(p, x, observed).sum())(parameters)

        px = likelihood.build(parameters, n)
        each = px.distribution.log_prob(x) if name in OWN else px.log_prob_each(x)
        full, none = jnp.ones_like(observed), jnp.zeros_like(observed)
        return (
            (scored(parameters, x, None), scored(parameters, x, full), each),
            (scored(parameters, holed, observed), scored(parameters, jnp.full_like(x, jnp.nan), none)),
            (gradient(x, None), gradient(holed, observed)),
        )

    holed = np.where(observed, x, np.nan).astype(np.float32)
    (complete, full, each), (log_p, none), (whole, part) = run(parameters, x, holed, observed)
    np.testing.assert_allclose(full, complete, rtol=2e-6)
    np.testing.assert_allclose(log_p, np.where(observed, each, 0).reshape(3, -1).sum(1), rtol=1e-5, atol=1e-6)
    assert np.isfinite(part).all()
    assert (none == 0).all()
    assert np.abs(whole - part).max() > 1e-3
    if name not in (
        "categorical",
        "discretised_logistic_mixture_grey",
        "by_columns",
    ):  # others share channels
        seen = np.concatenate([observed] * (parameters.shape[-1] // x.shape[-1]), axis=-1)
        np.testing.assert_allclose(part, np.where(seen, whole, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "discretised_logistic"])
def test_a_full_mask_changes_no_bit(name):
    """Operation by operation; in one program XLA may round the sums of the two otherwise."""
    likelihood, parameters, x, observed = _case(name)
    px = likelihood.build(jnp.asarray(parameters), len(x.shape) - 1)
    complete = distributions.score(KEY, px, jnp.asarray(x))
    for mask in (np.ones_like(observed), np.ones(x.shape, np.uint8)):
        np.testing.assert_array_equal(distributions.score(KEY, px, jnp.asarray(x), mask), complete)


def test_what_does_not_factorise_is_refused_by_name():
    likelihood, parameters, x, observed = _case("discretised_logistic_mixture")
    scored = lambda p, x: distributions.score(KEY, likelihood.build(p, 2), x, observed)  # noqa: E731
    with pytest.raises(TypeError, match=r"observed: expected None .*not independent.*DiscretisedLogisticMix"):
        jax.eval_shape(scored, parameters, x)
    tokens = distributions.one_hot().build(jnp.zeros((3, 5, 2)), 2)
    with pytest.raises(TypeError, match=r"not independent given z \("):
        distributions.score(KEY, tokens, jnp.zeros((3, 5, 2)), jnp.ones((3, 5, 2), bool))
    network = jax.tree_util.Partial(jnp.zeros_like)
    autoregressive = distributions.Autoregressive(network, distributions.bernoulli(), (3, 5, 1), 2)
    with pytest.raises(TypeError, match=r"not independent given z \(Autoregressive\)"):
        distributions.score(KEY, autoregressive, jnp.zeros((3, 5, 1)), jnp.ones((3, 5, 1), bool))


def test_the_best_scale_is_of_what_was_observed():
    rng = np.random.default_rng(0)
    (x, mu), seen = rng.normal(size=(2, 3, 4)), rng.random((3, 4)) < 0.5
    holed = jnp.asarray(np.where(seen, x, np.nan), jnp.float32)
    found, slope = jax.value_and_grad(lambda mu: root_mean_square(holed, mu, seen))(
        jnp.asarray(mu, jnp.float32)
    )
    assert found == pytest.approx(np.sqrt(np.square(x - mu)[seen].mean()), rel=1e-6)
    np.testing.assert_allclose(slope, np.where(seen, mu - x, 0) / found / seen.sum(), rtol=1e-4, atol=1e-6)


def test_a_mask_of_another_shape_or_kind_is_refused():
    px, x = distributions.gaussian().build(jnp.zeros((3, 2)), 1), jnp.zeros((3, 2))
    with pytest.raises(ValueError, match=r"observed: expected the shape of x, \(3, 2\); got \(3,\)"):
        distributions.score(KEY, px, x, jnp.ones(3, bool))
    with pytest.raises(
        TypeError, match="observed: expected booleans, or 0 and 1 as integers; got dtype float32"
    ):
        distributions.score(KEY, px, x, jnp.ones((3, 2)))
