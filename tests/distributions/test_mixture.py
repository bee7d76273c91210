"""Mixtures: their density integrates to 1, and their samples have it."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy import stats

from tests.monte_carlo import assert_mean_is
from vaejax import distributions
from vaejax.distributions import GaussianMixture, Mixture

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LOGITS = np.array([[0.5, -0.5, 0.0], [-1.0, 1.0, 0.3]], np.float32)  # a batch of 2, of 3 components
LOC = RNG.normal(size=(2, 3, 2)).astype(np.float32)
SCALE = np.exp(0.5 * RNG.normal(size=(2, 3, 2)) - 0.5).astype(np.float32)
TRIL = (np.eye(2) * 0.6 + np.tril(np.full((2, 2), 0.4), -1)).astype(np.float32)


def of_full_gaussians(parameters):
    loc, tril = parameters
    return distrax.MultivariateNormalTri(loc, tril)


def mixtures():
    return {
        "gaussians": GaussianMixture(LOGITS, LOC, SCALE),
        "generic": Mixture(LOGITS, (LOC, np.broadcast_to(TRIL, (2, 3, 2, 2))), of_full_gaussians),
    }


@pytest.mark.parametrize("name", mixtures())
def test_the_density_integrates_to_one_and_samples_have_it(name):
    """Of the cells of a grid: the probability by the density, the frequency among samples; and the mean."""
    q, side, per_cell = mixtures()[name], 16, 12
    edges = np.linspace(-5.0, 5.0, side + 1)
    fine = np.linspace(-5.0, 5.0, side * per_cell, endpoint=False) + 5.0 / (side * per_cell)
    points = np.stack(np.meshgrid(fine, fine, indexing="ij"), -1).astype(np.float32)
    log_p, z = jax.jit(lambda q: (q.log_prob(points[:, :, None]), q.sample(seed=KEY, sample_shape=20_000)))(q)
    cells = np.exp(log_p) * (fine[1] - fine[0]) ** 2
    cells = cells.reshape(side, per_cell, side, per_cell, 2).sum((1, 3))
    np.testing.assert_allclose(cells.sum((0, 1)), 1, atol=2e-3)
    for b in range(2):
        counts = np.histogram2d(*np.asarray(z[:, b]).T, bins=(edges, edges))[0]
        expected = 20_000 * cells[..., b]
        often = expected > 20
        assert stats.chi2.sf(((counts - expected)[often] ** 2 / expected[often]).sum(), often.sum()) > 1e-4
    assert_mean_is(z, q.mean())
    assert z.shape == (20_000, 2, 2)
    assert (q.batch_shape, q.event_shape, z.dtype, log_p.dtype) == ((2,), (2,), jnp.float32, jnp.float32)


def test_log_prob_broadcasts_points_against_the_batch():
    z = RNG.normal(size=(4, 2, 2)).astype(np.float32)

    @jax.jit
    def run(q):
        drawn, log_q = q.sample_and_log_prob(seed=KEY)
        return q.log_prob(z), q.log_prob(z[1, 0]), (log_q, q.log_prob(drawn))

    for q in mixtures().values():
        whole, one, drawn = run(q)
        assert whole.shape == (4, 2)
        np.testing.assert_allclose(one[0], whole[1, 0], rtol=1e-5)
        np.testing.assert_allclose(*drawn, rtol=1e-5)


def test_events_of_any_shape():
    shape = (5, 2, 3, 1)  # R, then the event
    loc, scale = RNG.normal(size=shape).astype(np.float32), np.full(shape, 0.5, np.float32)
    q, flat = (
        GaussianMixture(np.zeros(5), loc, scale, 3),
        GaussianMixture(np.zeros(5), loc.reshape(5, 6), scale.reshape(5, 6)),
    )
    z = q.sample(seed=KEY, sample_shape=(7,))
    assert (z.shape, q.mean().shape, q.event_shape) == ((7, 2, 3, 1), (2, 3, 1), (2, 3, 1))
    np.testing.assert_allclose(q.log_prob(z), flat.log_prob(z.reshape(7, 6)), rtol=1e-6)
    np.testing.assert_allclose(q.mean(), loc.mean(0), rtol=1e-5, atol=1e-6)


def test_with_one_component_it_is_the_gaussian():
    gaussian = distributions.diagonal_gaussian(LOC[:, 0], SCALE[:, 0])
    z = RNG.normal(size=(4, 2, 2)).astype(np.float32)

    @jax.jit
    def both(loc, scale):
        q = GaussianMixture(jnp.zeros((2, 1)), loc[:, None], scale[:, None])
        total = lambda q: jnp.sum(jnp.sin(q.sample(seed=KEY)))  # noqa: E731
        return q.log_prob(z), jax.grad(total)(q)

    log_q, slope = both(LOC[:, 0], SCALE[:, 0])
    np.testing.assert_allclose(log_q, gaussian.log_prob(z), rtol=1e-5)
    z = GaussianMixture(jnp.zeros((2, 1)), LOC[:, :1], SCALE[:, :1]).sample(seed=KEY)
    of_loc, of_scale = slope._parameters
    np.testing.assert_allclose(of_loc[:, 0], np.cos(z), rtol=1e-4)
    np.testing.assert_allclose(
        of_scale[:, 0], np.cos(z) * (z - LOC[:, 0]) / SCALE[:, 0], rtol=1e-4, atol=1e-5
    )


def test_only_a_gaussian_mixture_says_that_its_samples_have_a_path():
    """And the generic one has none to its weights: a gradient of exactly 0."""

    def slope(logits, of):
        return jax.jit(jax.grad(lambda a: jnp.sum(of(a).sample(seed=KEY))))(logits)

    gaussians = lambda a: GaussianMixture(a, LOC, SCALE)  # noqa: E731
    generic = lambda a: Mixture(a, (LOC, jnp.broadcast_to(TRIL, (2, 3, 2, 2))), of_full_gaussians)  # noqa: E731
    assert gaussians(LOGITS).reparameterised
    assert not generic(LOGITS).reparameterised
    assert (np.asarray(slope(LOGITS, gaussians)) != 0).all()
    assert (np.asarray(slope(LOGITS, generic)) == 0).all()


def test_a_component_left_out_is_never_drawn_and_does_not_count():
    logits = LOGITS.copy()
    logits[:, 1] = -np.inf
    two = GaussianMixture(logits[:, ::2], LOC[:, ::2], SCALE[:, ::2])
    far = LOC.copy()
    far[:, 1] = 1e6
    run = jax.jit(lambda q, two: (z := q.sample(seed=KEY, sample_shape=50), q.log_prob(z), two.log_prob(z)))
    z, log_q, log_two = run(GaussianMixture(logits, far, SCALE), two)
    np.testing.assert_allclose(log_q, log_two, rtol=1e-5)
    assert (z < 1e5).all()


def shifted(shift, parameters):
    return distributions.diagonal_gaussian(parameters + shift, jnp.ones_like(parameters))


def test_it_is_a_pytree_whose_parameters_are_leaves():
    """stop_gradient reaches the components', also those that a family has of its own; jit passes it whole."""

    def cost(loc, shift, held):
        q = Mixture(jnp.zeros(3), loc, Partial(shifted, shift))
        return (jax.lax.stop_gradient(q) if held else q).log_prob(jnp.zeros(2))

    for held in (True, False):
        slopes = jax.jit(jax.grad(cost, (0, 1)), static_argnums=2)(jnp.asarray(LOC[0]), jnp.ones(2), held)
        assert all((np.asarray(s) == 0).all() == held for s in slopes)
    run = jax.jit(lambda q: q.log_prob(jnp.zeros(2)))
    run(GaussianMixture(LOGITS, LOC, SCALE)), run(GaussianMixture(LOGITS + 1, 2 * LOC, SCALE))
    assert run._cache_size() == 1


def test_half_precision_becomes_float32():
    q = GaussianMixture(*(jnp.asarray(a, jnp.bfloat16) for a in (LOGITS, LOC, SCALE)))
    z, log_q = q.sample_and_log_prob(seed=KEY)
    assert z.dtype == log_q.dtype == q.mean().dtype == jnp.float32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"logits: expected one for each component, \(2, 3\); got \(2, 2\)"):
        GaussianMixture(LOGITS[:, :2], LOC, SCALE)
    with pytest.raises(ValueError, match=r"scale: expected the shape of loc, \(2, 3, 2\); got \(3, 2\)"):
        GaussianMixture(LOGITS, LOC, SCALE[0])
    assert not distributions.has_closed_form(GaussianMixture(LOGITS, LOC, SCALE), mixtures()["gaussians"])
    assert not distributions.is_diagonal_gaussian(mixtures()["gaussians"])
