"""The importance-weighted bound against numbers worked by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import bounds

renyi_bound = jax.jit(bounds.renyi_bound, static_argnums=(1, 2))
WEIGHTS = np.array([[1.0, 3.0], [2.0, 2.0], [4.0, 0.0]])  # [3, 2]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [(0, [7 / 3, 5 / 3]), (-2, [7 / 3, 5 / 3]), (1, [2.0, 2.0, 2.0]), (-1, [2.0, 2.0, 2.0])],
)
def test_the_bound_is_the_log_of_the_mean_weight_along_its_axis(axis, expected):
    bound = jax.jit(lambda w: bounds.importance_bound(jnp.log(w), axis))(WEIGHTS)
    np.testing.assert_allclose(bound, np.log(expected), rtol=1e-6)


@pytest.mark.parametrize("axis", [1, -1])
def test_no_sample_has_no_bound(axis):
    none = jnp.zeros((3, 0))
    for bound in (bounds.importance_bound, lambda a, axis: bounds.renyi_bound(a, 1.0, axis)):
        assert bound(none, 0).shape == (0,)  # no example has, and that is no fault
        with pytest.raises(AssertionError, match="greater than '0'"):
            bound(none, axis)


def test_one_sample_is_its_own_bound():
    log_w = np.float32([[-3.5, 2.25, 1e4]])
    np.testing.assert_array_equal(jax.jit(bounds.importance_bound)(log_w), log_w[0])


value_and_weights = jax.jit(jax.value_and_grad(bounds.importance_bound))


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_value_and_gradient_survive_any_scale_of_the_weights(shift):
    log_w = np.float32(np.log([1.0, 3.0])) + np.float32(shift)
    value, gradient = value_and_weights(log_w)
    np.testing.assert_allclose(value, np.log(2) + shift, rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(gradient, [0.25, 0.75], atol=5e-4)  # the weights, normalised


def test_the_bound_lies_between_the_mean_and_the_largest_log_weight():
    log_w = np.float32(np.random.default_rng(0).normal(size=(7, 50)) * 5)
    bound = np.asarray(jax.jit(bounds.importance_bound)(log_w))  # along the first axis
    assert (bound > log_w.mean(0)).all()
    assert (bound < log_w.max(0)).all()
    assert (bound >= log_w.max(0) - np.log(7)).all()


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0, np.log(2)),
        (0.5, 2 * np.log((1 + np.sqrt(3)) / 2)),
        (1, np.log(3) / 2),
        (2, -np.log((1 + 1 / 3) / 2)),
        (-1, np.log((1 + 9) / 2) / 2),
        (-np.inf, np.log(3)),
    ],
)
@pytest.mark.parametrize("axis", [0, -1])
def test_the_renyi_bound_by_hand(alpha, expected, axis):
    log_w = np.log([[1.0, 2.0], [3.0, 2.0]])
    log_w = log_w if axis == 0 else log_w.T
    bound = renyi_bound(log_w, alpha, axis)
    np.testing.assert_allclose(bound, [expected, np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("alpha", [-2.0, 0.5, 0.995, 1.0, 1.005, 2.0])
def test_the_renyi_bound_of_impossible_samples(alpha):
    """Weights of 0 count below alpha = 1 as the others do, and from there on leave nothing."""
    log_w = np.array([0.3, -np.inf, 1.0])
    powers = np.exp((1 - alpha) * log_w[[0, 2]]).sum() / 3
    expected = np.log(powers) / (1 - alpha) if alpha < 1 else -np.inf
    bound = jax.jit(lambda log_w: bounds.renyi_bound(log_w, alpha))
    assert bound(log_w) == pytest.approx(expected, rel=2e-3)
    assert bound(np.full(3, -np.inf)) == -np.inf


def test_the_renyi_bound_falls_with_alpha_and_is_smooth_across_its_limit():
    log_w = np.random.default_rng(0).normal(size=(50, 4)) * 3 - 100
    alphas = [-np.inf, -30.0, -1.0, 0.0, 0.5, 0.98, 0.995, 1 - 1e-6, 1.0, 1 + 1e-6, 1.005, 1.02, 2.0, 30.0]
    every = jax.jit(lambda log_w: [bounds.renyi_bound(log_w, alpha) for alpha in alphas])
    got = np.stack(every(np.float32(log_w)))
    r = [1 - alpha for alpha in alphas[1:] if alpha != 1]
    expected = [np.log(np.mean(np.exp(v * (log_w + 100)), 0)) / v - 100 for v in r]
    expected.insert(alphas.index(1.0) - 1, log_w.mean(0))
    np.testing.assert_allclose(got[1:], expected, rtol=5e-7)  # float32 holds -100 to 4e-6
    assert (np.diff(got, axis=0) < 3e-5).all()
    assert (got[0] == np.float32(log_w.max(0))).all()


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.997, 1.0, 1.5])
def test_the_gradient_of_the_renyi_bound_is_the_weights_to_the_power_normalised(alpha):
    gradient = jax.jit(jax.grad(lambda log_w: bounds.renyi_bound(log_w, alpha)))(np.log([1.0, 3.0, 0.5]))
    powers = np.array([1.0, 3.0, 0.5]) ** (1 - alpha)
    np.testing.assert_allclose(gradient, powers / powers.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("alpha", "error", "message"),
    [
        (True, TypeError, r"alpha: expected a number, got bool \(True\)"),
        ("0", TypeError, r"alpha: expected a number, got str \('0'\)"),
        (np.inf, ValueError, "alpha: expected a finite number, or -inf for the largest weight; got inf"),
        (np.nan, ValueError, "alpha: .* got nan"),
    ],
)
def test_a_bad_order_is_refused(alpha, error, message):
    with pytest.raises(error, match=message):
        bounds.renyi_bound(jnp.zeros(3), alpha)


def test_strata_are_summed_by_their_weights_and_averaged_over_samples():
    log_w = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 2)))  # T, R, B
    log_pi = jnp.log(jnp.asarray([[0.2, 0.5], [0.8, 0.1], [0.0, 0.4]]))  # a component without weight
    pi = np.exp(log_pi)
    np.testing.assert_allclose(
        bounds.stratified_elbo(log_w, log_pi), np.einsum("rb,trb->b", pi, log_w) / 4, rtol=1e-6
    )
    np.testing.assert_allclose(
        bounds.siwae(log_w, log_pi), np.log(np.einsum("rb,trb->b", pi, np.exp(log_w)) / 4), rtol=1e-5
    )
    one = jnp.zeros((1, 2))
    np.testing.assert_allclose(
        bounds.siwae(log_w[:, :1], one), bounds.importance_bound(log_w[:, 0]), rtol=1e-6
    )
    slopes = jax.jit(jax.grad(lambda a: jnp.sum(bounds.siwae(log_w, a) + bounds.stratified_elbo(log_w, a))))
    assert np.isfinite(slopes(log_pi)).all()
    with pytest.raises(AssertionError):
        bounds.siwae(log_w, log_pi.T)
