"""The one way in which x is scored: shapes are checked, nothing broadcasts."""

from __future__ import annotations

import re

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vaejax import distributions

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
