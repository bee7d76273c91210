"""A base pushed through maps: the change of variables, where there is a density, what stop_gradient stops."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests.monte_carlo import assert_mean_is
from vaejax.distributions import Flow, diagonal_gaussian, has_closed_form
from vaejax.fixed import Fixed

KEY = jax.random.key(0)
LOC, SCALE = jnp.float32([[0.3, -0.2], [1.0, 0.5], [-1.0, 0.0]]), jnp.float32([[1.0, 0.5]] * 3)


def sinh(rate, z):
    return jnp.sinh(rate * z), jnp.sum(jnp.log(rate * jnp.cosh(rate * z)), -1)


def arcsinh(rate, y):
    z = jnp.arcsinh(y) / rate
    return z, -sinh(rate, z)[1]


def johnson(loc=LOC, scale=SCALE, rate=0.8, inverse=True):
    """sinh(rate z), z ~ N(loc, scale): Johnson's S_U, of known density and mean."""
    rate = jnp.float32(rate)
    maps = (Partial(Fixed(sinh), rate), Partial(Fixed(arcsinh), rate) if inverse else None)
    return Flow(diagonal_gaussian(loc, scale), *maps)


def test_the_density_is_the_known_one_at_samples_and_elsewhere_for_any_leading_axes():
    q = johnson()
    assert (q.batch_shape, q.event_shape, q.has_inverse) == ((3,), (2,), True)
    z, log_q = jax.jit(lambda q: q.sample_and_log_prob(seed=KEY, sample_shape=(40_000,)))(q)
    assert z.shape == (40_000, 3, 2)
    assert log_q.shape == (40_000, 3)
    same = jax.jit(lambda q: q.sample(seed=KEY, sample_shape=(40_000,)))(q)
    np.testing.assert_allclose(z, same, rtol=1e-5, atol=1e-5)
    log_prob = jax.jit(lambda q, z: q.log_prob(z))
    np.testing.assert_allclose(log_prob(q, z), log_q, rtol=1e-4, atol=1e-4)
    base = np.arcsinh(np.float64(z)) / 0.8
    normal = -0.5 * ((base - LOC) / SCALE) ** 2 - np.log(SCALE) - 0.5 * np.log(2 * np.pi)
    known = normal - np.log(0.8 * np.sqrt(1 + np.float64(z) ** 2))
    np.testing.assert_allclose(log_q, known.sum(-1), rtol=1e-4, atol=1e-4)
    assert_mean_is(z, np.exp(0.5 * (0.8 * SCALE) ** 2) * np.sinh(0.8 * np.float64(LOC)))
    np.testing.assert_allclose(q.centre(), np.sinh(0.8 * LOC), rtol=1e-5)
    one = log_prob(q, z[0, 0])  # one z for all of the batch
    each = [log_prob(johnson(LOC[b], SCALE[b]), z[0, 0]) for b in range(3)]
    np.testing.assert_allclose(one, each, rtol=1e-5)


def test_without_an_inverse_only_samples_have_a_density():
    q = johnson(inverse=False)
    z, log_q = jax.jit(lambda q: q.sample_and_log_prob(seed=KEY))(q)
    np.testing.assert_allclose(log_q, jax.jit(lambda q: johnson().log_prob(z))(q), rtol=1e-5, atol=1e-5)
    assert not q.has_inverse
    with pytest.raises(TypeError, match="log_prob: expected a flow with an inverse; this one has a density"):
        q.log_prob(z)


def test_stopping_the_distribution_stops_all_that_its_maps_depend_on():
    def log_prob(parameters, stop):
        q = johnson(*parameters)
        return jnp.sum((jax.lax.stop_gradient(q) if stop else q).log_prob(jnp.ones(2)))

    slopes = jax.jit(jax.grad(log_prob), static_argnums=1)
    parameters = (LOC, SCALE, 0.8)
    assert not any(np.any(a) for a in slopes(parameters, True))
    assert all(np.all(a) for a in slopes(parameters, False))


def test_flows_of_equal_maps_are_one_program():
    program = jax.jit(lambda q, z: q.log_prob(z))
    for rate in (0.8, 0.9):
        program(johnson(rate=rate), jnp.ones(2))
    assert program._cache_size() == 1


def test_it_says_what_it_lacks():
    q = johnson()
    assert not q.has_mean
    assert not has_closed_form(q, q)
    with pytest.raises(TypeError, match="q: expected one with a mean; a flow has samples"):
        q.mean()
    with pytest.raises(ValueError, match=r"z: expected \[..., 2\], got \[3\]"):
        q.log_prob(jnp.ones(3))
    with pytest.raises(ValueError, match=r"base: expected a distribution of vectors, got events \(3, 2\)"):
        Flow(diagonal_gaussian(LOC, SCALE, 2), Partial(Fixed(sinh), 1.0))
