"""The importance-weighted bound against numbers worked by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import bounds

WEIGHTS = np.array([[1.0, 3.0], [2.0, 2.0], [4.0, 0.0]])  # [3, 2]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [(0, [7 / 3, 5 / 3]), (-2, [7 / 3, 5 / 3]), (1, [2.0, 2.0, 2.0]), (-1, [2.0, 2.0, 2.0])],
)
def test_the_bound_is_the_log_of_the_mean_weight_along_its_axis(axis, expected):
    bound = bounds.importance_bound(jnp.log(WEIGHTS), axis)
    np.testing.assert_allclose(bound, np.log(expected), rtol=1e-6)


def test_one_sample_is_its_own_bound():
    log_w = jnp.array([[-3.5, 2.25, 1e4]])
    np.testing.assert_array_equal(bounds.importance_bound(log_w), log_w[0])


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_value_and_gradient_survive_any_scale_of_the_weights(shift):
    log_w = jnp.log(jnp.array([1.0, 3.0])) + shift
    value, gradient = jax.value_and_grad(bounds.importance_bound)(log_w)
    np.testing.assert_allclose(value, np.log(2) + shift, rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(gradient, [0.25, 0.75], atol=5e-4)  # the weights, normalised


def test_the_bound_lies_between_the_mean_and_the_largest_log_weight():
    log_w = jnp.asarray(np.random.default_rng(0).normal(size=(7, 50)) * 5)
    bound = bounds.importance_bound(log_w)
    assert (bound > log_w.mean(0)).all()
    assert (bound < log_w.max(0)).all()
    assert (bound >= log_w.max(0) - np.log(7)).all()
