"""MMD and sliced Wasserstein: enumeration of all samples, closed forms of Gaussians, brute force."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.monte_carlo import assert_mean_is
from vaejax.ops import mmd, sliced

KEY = jax.random.key(0)


def expected_rbf(dm, s1, s2, l2):
    """E exp(-|a - b|^2 / (2 l^2)), a ~ N(m, diag s1^2), b ~ N(m + dm, diag s2^2)."""
    total = np.asarray(s1) ** 2 + np.asarray(s2) ** 2
    return np.prod((1 + total / l2) ** -0.5 * np.exp(-0.5 * np.asarray(dm) ** 2 / (l2 + total)))


def test_the_printed_expectation_of_the_rbf(x64):
    np.testing.assert_allclose(expected_rbf([0, 0], [1, 1], [1, 1], 1.5), 0.4285714, atol=5e-8)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    a = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    w = np.outer(weights, weights).ravel() / weights.sum() ** 2
    k = jax.jit(mmd.rbf(1.5**0.5))(a, a)
    np.testing.assert_allclose(w @ k @ w, 3 / 7, rtol=1e-9)


def test_the_statistic_is_unbiased_over_all_samples(x64):
    points = np.array([[0.0, 1.0], [1.5, -0.5], [-1.0, 0.3]])
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    for kernel in (mmd.rbf(0.8), mmd.imq(0.7, (0.5, 2.0))):
        k = np.asarray(jax.jit(kernel)(points, points))
        n, m = 2, 3
        samples = np.array(list(itertools.product(range(3), repeat=n + m)))
        weights = p[samples[:, :n]].prod(1) * q[samples[:, n:]].prod(1)
        statistic = jax.jit(jax.vmap(partial(mmd.mmd, kernel=kernel)))
        values = statistic(points[samples[:, :n]], points[samples[:, n:]])
        np.testing.assert_allclose(weights @ values, p @ k @ p + q @ k @ q - 2 * p @ k @ q, rtol=1e-10)
        assert values.min() < 0  # a V-statistic never is


def test_the_mean_for_gaussians_is_the_closed_form_and_zero_under_equality():
    kernel, l2 = mmd.rbf(1.5**0.5), 1.5
    dm, s = np.array([0.6, -0.3]), np.array([0.5, 1.4])

    @jax.jit
    @jax.vmap
    def both(key):
        x, y, other = jax.random.normal(key, (3, 20, 2))
        return mmd.mmd(x, dm + s * y, kernel), mmd.mmd(x, other[:15], kernel)

    different, equal = both(jax.random.split(KEY, 2000))
    one = np.ones(2)
    expected = (
        expected_rbf(0 * dm, one, one, l2) + expected_rbf(0 * dm, s, s, l2) - 2 * expected_rbf(dm, one, s, l2)
    )
    assert_mean_is(different, expected)
    assert_mean_is(equal, 0.0)
    assert expected > 50 * np.std(equal) / np.sqrt(2000)  # the two would not be confused


def test_kernels_by_hand(x64):
    x, y = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]])

    @jax.jit
    def run(x, y, a):
        length = mmd.median_length(a, x)
        of_median = jax.grad(lambda a: mmd.mmd(a, x, mmd.rbf(mmd.median_length(a, x))))(a)
        of_length = jax.grad(lambda a: mmd.mmd(a, x, mmd.rbf(length)))(a)
        return mmd.rbf(2.0)(x, y), mmd.imq(1.5)(x, y), length, of_median, of_length

    a = np.random.default_rng(0).normal(size=(7, 2))
    rbf, imq, length, of_median, of_length = run(x, y, a)
    np.testing.assert_allclose(rbf[:, 0], [1, np.exp(-25 / 8)], rtol=1e-12)
    scales = 2 * 2 * 1.5**2 * np.array([0.1, 0.2, 0.5, 1, 2, 5, 10])
    np.testing.assert_allclose(imq[:, 0], [7, (scales / (scales + 25)).sum()], rtol=1e-12)
    distances = [np.linalg.norm(u - v) for u, v in itertools.combinations(np.concatenate([a, x]), 2)]
    np.testing.assert_allclose(length, np.median(distances), rtol=1e-12)
    np.testing.assert_allclose(of_median, of_length, rtol=1e-12)


def test_far_from_the_origin_nothing_cancels():
    x, y = np.round(np.random.default_rng(0).normal(size=(2, 6, 3)), 2).astype(np.float32)
    statistic = jax.jit(lambda x, y: mmd.mmd(x, y, mmd.rbf(1.0)))
    near, far = statistic(x, y), statistic(x + np.float32(1024), y + np.float32(1024))
    np.testing.assert_allclose(far, near, atol=1e-3)  # float32 holds x + 1024 to 1e-4


def test_gradients_are_finite_where_points_coincide():
    def slope(kernel):
        return jax.grad(lambda x: mmd.mmd(x, jnp.ones((3, 2)), kernel))

    for gradient in jax.jit(lambda x: [slope(kernel)(x) for kernel in (mmd.rbf(1.0), mmd.imq())])(
        np.ones((3, 2))
    ):
        assert (gradient == 0).all()


def test_the_median_length_is_one_where_points_coincide():
    """Traced as in training, where no check of a number sees it."""

    @jax.jit
    def measure(x, y):
        length = mmd.median_length(x, y)
        return length, jax.value_and_grad(lambda x: mmd.mmd(x, y, mmd.rbf(length)))(x)

    same = jnp.ones((3, 2))
    length, (value, gradient) = measure(same, same)
    assert length == 1
    np.testing.assert_allclose(value, 0, atol=1e-7)
    np.testing.assert_array_equal(gradient, jnp.zeros((3, 2)))
    # of 15 pairs 10 coincide and 5 are 5 apart, whatever the unit
    apart = same.at[0].add(jnp.array([3.0, 4.0]))
    for unit in (1.0, 1e-3):
        length, (value, gradient) = measure(unit * apart, unit * same)
        np.testing.assert_allclose(length, 5 * unit, rtol=1e-5)
        assert np.isfinite(gradient).all()
        far = np.exp(-0.5)
        np.testing.assert_allclose(value, (2 * far + 1) / 3 + 1 - 2 * (far + 2) / 3, atol=1e-6)
    with pytest.raises(ValueError, match="x, y: expected at least 2 points in all, got 1"):
        mmd.median_length(jnp.ones((1, 2)), jnp.ones((0, 2)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: mmd.rbf(0.0), ValueError, "length: expected a positive finite number, got 0.0"),
        (lambda: mmd.rbf(jnp.asarray(0.0)), ValueError, "length: expected a positive finite number, got 0.0"),
        (lambda: mmd.rbf(jnp.asarray(jnp.nan)), ValueError, "length: expected a positive finite number"),
        (lambda: mmd.rbf(jnp.asarray(True)), TypeError, "length: expected a number, got bool"),
        (lambda: mmd.rbf("median"), TypeError, "length: expected a number, got str"),
        (lambda: mmd.imq(-1.0), ValueError, "scale: expected a positive finite number, got -1.0"),
        (lambda: mmd.imq(1.0, ()), ValueError, "multiples: expected at least one, got none"),
        (lambda: mmd.imq(1.0, (1.0, 0.0)), ValueError, r"multiples\[1\]: expected a positive finite number"),
        (
            lambda: mmd.mmd(np.ones((1, 2)), np.ones((2, 2)), mmd.rbf(1.0)),
            ValueError,
            "x: expected at least 2 examples, got 1",
        ),
    ],
)
def test_mmd_refuses(make, error, message):
    with pytest.raises(error, match=message):
        make()


# sliced Wasserstein


def test_on_a_line_it_is_the_best_assignment(x64):
    x, y = np.random.default_rng(0).normal(size=(2, 5, 1))
    best = min(np.mean((x[list(order), 0] - y[:, 0]) ** 2) for order in itertools.permutations(range(5)))
    distance = jax.jit(sliced.sliced_wasserstein)
    for u in (np.ones((1, 1)), -np.ones((1, 1))):
        np.testing.assert_allclose(distance(x, y, u), best, rtol=1e-12)


def test_a_shift_counts_a_dth_of_its_square_and_order_counts_nothing(x64):
    x = np.random.default_rng(0).normal(size=(6, 2))
    t = np.array([0.7, -1.1])
    angles = np.pi * np.arange(8) / 8  # evenly spread directions: mean u u^T = I / 2
    u = np.stack([np.cos(angles), np.sin(angles)], -1)
    value, slope = jax.jit(jax.value_and_grad(sliced.sliced_wasserstein))(x + t, x[::-1], u)
    np.testing.assert_allclose(value, t @ t / 2, rtol=1e-12)
    np.testing.assert_allclose(slope, np.tile(2 * t / 2 / 6, (6, 1)), rtol=1e-9)


def test_one_point_on_a_side_and_points_that_coincide(x64):
    x, y, same = np.array([[1.0, 2.0]]), np.array([[1.5, 1.0]]), np.ones((4, 2))

    @jax.jit
    def run(x, y, same):
        u, distance = sliced.random_directions(KEY, 3, 2), jax.value_and_grad(sliced.sliced_wasserstein)
        return u, distance(x, y, u), distance(same, same, u)

    u, (value, slope), (none, still) = jax.tree.map(np.asarray, run(x, y, same))
    gaps = u @ (x - y)[0]
    np.testing.assert_allclose(value, np.mean(gaps**2), rtol=1e-12)
    np.testing.assert_allclose(slope[0], 2 * np.mean(gaps[:, None] * u, axis=0), rtol=1e-12)
    assert none == 0
    np.testing.assert_array_equal(still, np.zeros((4, 2)))
    np.testing.assert_array_equal(np.abs(sliced.random_directions(KEY, 50, 1)), np.ones((50, 1)))


def test_directions_are_uniform_unit_vectors():
    u = jax.jit(sliced.random_directions, static_argnums=(1, 2))(KEY, 4000, 3)
    np.testing.assert_allclose(jnp.linalg.norm(u, axis=-1), 1, rtol=1e-6)
    assert_mean_is(u[:, :, None] * u[:, None, :], np.eye(3) / 3)
    assert_mean_is(u, 0.0)


def test_blocks_are_unbiased_estimates_of_their_own_points():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 2005, 2))
    length = 1.3

    def closed_form(dm):  # N(0, I) against N(dm, I)
        return 2 / (1 + 2 / length**2) * (1 - np.exp(-(dm**2) / 2 / (length**2 + 2)))

    def k(s, t):
        return np.exp(-np.square(s[:, None] - t[None]).sum(-1) / (2 * length**2))

    for dm in (0.0, 1.0):
        shifted = b + np.array([dm, 0])
        each = np.asarray(
            mmd.in_blocks(*(jnp.asarray(v, jnp.float32) for v in (a, shifted)), mmd.rbf(length), 10)
        )
        assert each.shape == (10,)
        half = stats.t.ppf(0.975, 9) * each.std(ddof=1) / np.sqrt(10)
        assert abs(each.mean() - closed_form(dm)) < half < 0.025
        assert (each.min() < 0) == (dm == 0)
        x, y = a[200:400], shifted[200:400]  # the second block by hand; five points fill no block
        same = sum((k(v, v).sum() - 200) / (200 * 199) for v in (x, y))
        assert each[1] == pytest.approx(same - 2 * k(x, y).mean(), abs=1e-5)
    images = jnp.asarray(a[:8].reshape(4, 2, 2, 1), jnp.float32)
    flat = mmd.in_blocks(images.reshape(4, 4), images[::-1].reshape(4, 4), mmd.rbf(length), 2)
    np.testing.assert_array_equal(mmd.in_blocks(images, images[::-1], mmd.rbf(length), 2), flat)
    with pytest.raises(ValueError, match="blocks: expected at most 2 of 4 examples, got 3"):
        mmd.in_blocks(images, images, mmd.rbf(length), 3)
    with pytest.raises(ValueError, match="x, y: expected one shape"):
        mmd.in_blocks(images, images[:2], mmd.rbf(length), 1)
