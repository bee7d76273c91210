"""How far the columns of a decoder's Jacobian are from orthogonal, whatever their lengths."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from vaejax import objectives

KEY = jax.random.key(0)
PARAMS = oracle.exact_params()
X = jnp.asarray(oracle.data(2))
OBLIQUE = np.random.default_rng(0).normal(size=(4, 2))


@partial(jax.jit, static_argnums=1)
def cost(W, ridge):
    """The term of a linear decoder, whose Jacobian is W, and its gradient in W."""

    def value(W):
        vae = oracle.linear_vae().bind({**PARAMS, "decoder": {**PARAMS["decoder"], "W": W}})
        each = objectives.ima(ridge=ridge)(KEY, vae, objectives.sample(KEY, vae, {"x": X}))
        return each[0], each

    (_, each), slope = jax.value_and_grad(value, has_aux=True)(jnp.asarray(W, jnp.float32))
    return each, slope


def by_hand(W, ridge):
    g = W.T @ W + ridge * np.eye(2)
    return 0.5 * (np.log(np.diag(g)).sum() - np.linalg.slogdet(g)[1])


@pytest.mark.parametrize("ridge", [1e-5, 0.5])
def test_it_is_its_formula_and_zero_where_columns_are_orthogonal(ridge):
    each, _ = cost(OBLIQUE, ridge)
    np.testing.assert_allclose(each, [by_hand(OBLIQUE, ridge)] * 2, rtol=1e-4)
    orthogonal, slope = cost(oracle.W, ridge)
    np.testing.assert_allclose(orthogonal, 0, atol=1e-6)
    np.testing.assert_allclose(slope, 0, atol=1e-5)  # the least there is


def test_lengths_do_not_count_but_near_the_ridge_and_an_idle_latent_is_no_matter():
    shrunk, _ = cost(OBLIQUE * [0.1, 3], 1e-5)
    np.testing.assert_allclose(shrunk, cost(OBLIQUE, 1e-5)[0], rtol=5e-3)
    assert (cost(OBLIQUE * [0.1, 3], 0.5)[0] < 0.2 * cost(OBLIQUE, 0.5)[0]).all()
    each, slope = cost(OBLIQUE * [0, 1], 0.5)
    np.testing.assert_allclose(each, 0, atol=1e-6)
    assert np.isfinite(slope).all()


def test_with_the_variance_as_the_ridge_it_is_the_gap_between_full_and_diagonal_kumar_poole():
    ridge = oracle.SIGMA**2
    g = OBLIQUE.T @ OBLIQUE / ridge
    gap = 0.5 * (np.log1p(np.diag(g)).sum() - np.linalg.slogdet(np.eye(2) + g)[1])
    np.testing.assert_allclose(cost(OBLIQUE, ridge)[0], gap, rtol=1e-4)


@pytest.mark.parametrize("ridge", [0.0, -1.0, np.nan])
def test_a_ridge_that_is_not_positive_is_refused(ridge):
    with pytest.raises(ValueError, match="ridge: expected a positive finite number"):
        objectives.ima(ridge=ridge)
