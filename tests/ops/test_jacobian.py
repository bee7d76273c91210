"""The decoder's Jacobian and its norms against decoders whose Jacobian is known."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from vaejax.ops import jacobian

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 4))
Z = RNG.normal(size=(3, 4))


def decode(z):
    """tanh(W z) as an image [2, 3]: J = diag(1 - tanh^2) W."""
    return jnp.tanh(W @ z).reshape(2, 3)


def true_jacobian(z=Z, w=W):
    return (1 - np.tanh(z @ w.T) ** 2)[:, :, None] * w


def test_exact_forms_agree_with_the_formula(x64):
    columns = np.array([[0, 3], [2, 2], [1, 0]])
    whole, chosen = jax.jit(
        lambda z: (jacobian.decoder_jacobian(decode, z), jacobian.decoder_columns(decode, z, columns))
    )(Z)
    np.testing.assert_allclose(whole, true_jacobian(), rtol=1e-12)
    expected = np.take_along_axis(true_jacobian(), columns[:, None, :], axis=2)
    np.testing.assert_allclose(chosen, expected, rtol=1e-12)


def test_finite_differences_are_exact_for_a_linear_decoder(x64):
    jac = jax.jit(lambda z: jacobian.finite_difference_jacobian(lambda z: W @ z, z, 0.5))(Z)
    np.testing.assert_allclose(jac, np.broadcast_to(W, (3, 6, 4)), rtol=1e-12)


def test_finite_differences_close_in_at_the_rate_of_their_step(x64):
    steps = np.array([1e-2, 1e-3, 1e-4, 1e-5])
    quotients = jax.jit(jax.vmap(lambda eps: jacobian.finite_difference_jacobian(decode, Z, eps)))
    errors = np.asarray(quotients(steps)) - true_jacobian()
    largest = np.abs(errors).max((1, 2, 3))
    np.testing.assert_allclose(largest[:-1] / largest[1:], 10, rtol=0.05)
    # the leading term is (eps / 2) g''
    second = -2 * np.tanh(Z @ W.T)[:, :, None] * true_jacobian() * W
    np.testing.assert_allclose(errors[2], 0.5e-4 * second, atol=1e-7)


@pytest.mark.parametrize(
    ("jac", "l1", "l2"),
    [
        (np.array([[1.0, 1, 0, 0, 0]]).T, 2.0, 2.0),
        (np.full((5, 1), 0.4), 2.0, 0.8),
        (np.eye(2), 2.0, 2.0),
        (np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2), 2 * np.sqrt(2), 2.0),
    ],
    ids=["two entries", "five small ones", "identity", "turned by 45 degrees"],
)
def test_worked_examples(jac, l1, l2):
    both = jax.jit(lambda jac: (jacobian.jacobian_l1(jac), jacobian.jacobian_l2(jac)))
    np.testing.assert_allclose(both(jac[None]), [[l1], [l2]], rtol=1e-6)


def test_the_squared_norm_ignores_rotations_and_l1_is_least_along_the_axes():
    angles = np.linspace(0, np.pi / 2, 7)
    turns = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in angles])
    l1, l2 = jax.jit(lambda jac: (jacobian.jacobian_l1(jac), jacobian.jacobian_l2(jac)))(turns)
    np.testing.assert_allclose(l2, 2.0, rtol=1e-6)
    np.testing.assert_allclose(l1, 2 * (np.cos(angles) + np.sin(angles)), rtol=1e-6)
    np.testing.assert_allclose([l1[0], l1[-1]], 2.0, rtol=1e-6)
    assert (l1[1:-1] > 2.4).all()


@pytest.mark.parametrize(("d", "m"), [(4, 1), (4, 2), (4, 3), (5, 2), (5, 3), (5, 5)])
def test_columns_are_distinct_even_over_the_batch_and_uniform_over_the_offsets(d, m):
    index = np.array([0, 1, 2, 3, 4, 17, 1000], np.int32)  # the first d of them in a row
    chosen = np.asarray(jax.jit(jax.vmap(lambda o: jacobian.spread_columns(o, index, d, m)))(np.arange(d)))
    assert chosen.shape == (d, 7, m)
    assert all(len(set(row)) == m for row in chosen.reshape(-1, m))
    for example in range(7):
        np.testing.assert_array_equal(np.bincount(chosen[:, example].ravel(), minlength=d), m)
    for offset, n in itertools.product(range(d), range(1, d + 1)):  # n examples in a row share alike
        counts = np.bincount(chosen[offset, :n].ravel(), minlength=d)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("d", "m"), [(4, 1), (5, 2), (4, 3)])
def test_columns_over_all_offsets_have_the_exact_penalty_and_gradients_as_their_mean(d, m, x64):
    w, z, index = RNG.normal(size=(6, d)), RNG.normal(size=(3, d)), jnp.array([0, 1, 9])

    def exact(w, z):
        return jacobian.jacobian_l1(jacobian.decoder_jacobian(lambda z: jnp.tanh(w @ z), z))

    def estimate(w, z, offset):
        columns = jacobian.spread_columns(offset, index, d, m)
        chosen = jacobian.decoder_columns(lambda z: jnp.tanh(w @ z), z, columns)
        return d / m * jacobian.jacobian_l1(chosen)

    def value_and_gradients(penalty, *args):
        return penalty(w, z, *args), jax.jacrev(penalty, argnums=(0, 1))(w, z, *args)

    (value, gradients), each = jax.jit(
        lambda o: (value_and_gradients(exact), jax.vmap(lambda o: value_and_gradients(estimate, o))(o))
    )(np.arange(d))
    assert (each[0].std(0) > 1e-3).all()
    np.testing.assert_allclose(each[0].mean(0), value, rtol=1e-12)
    for estimates, expected in zip(each[1], gradients, strict=True):
        np.testing.assert_allclose(estimates.mean(0), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("op", "degree", "m"),
    [
        (jacobian.jacobian_l2, 1, 1),
        (jacobian.jacobian_l2, 1, 3),
        (jacobian.column_group_l1, 1, 2),
        (jacobian.orthogonality, 2, 2),
        (jacobian.orthogonality, 2, 3),
    ],
)
def test_all_subsets_of_columns_have_the_exact_penalty_and_gradients_as_their_mean(op, degree, m, x64):
    """Scaled by d/m for sums over columns, by d (d-1) / (m (m-1)) for sums over pairs."""
    d = 4
    every = np.array([*itertools.combinations(range(d), m)])
    scale = d / m if degree == 1 else d * (d - 1) / (m * (m - 1))

    def exact(w, z):
        return op(jacobian.decoder_jacobian(lambda z: jnp.tanh(w @ z), z))

    def estimate(w, z, columns):
        columns = jnp.broadcast_to(columns, (3, m))
        return scale * op(jacobian.decoder_columns(lambda z: jnp.tanh(w @ z), z, columns))

    def value_and_gradients(penalty, *args):
        return penalty(W, Z, *args), jax.jacrev(penalty, argnums=(0, 1))(W, Z, *args)

    truth, each = jax.jit(
        lambda every: (
            value_and_gradients(exact),
            jax.vmap(lambda c: value_and_gradients(estimate, c))(every),
        )
    )(every)
    assert (each[0].std(0) > 1e-3).all()
    jax.tree.map(lambda e, t: np.testing.assert_allclose(e.mean(0), t, atol=1e-12), each, truth)


def test_norms_by_hand():
    jac = np.asarray([[[3.0, 0], [4.0, 0], [0, 2.0]], [[1.0, 1], [1.0, -1], [0, 0]]], np.float32)

    @jax.jit
    def norms(jac):
        names = "column_group_l1", "row_group_l1", "spectral_norm", "orthogonality"
        return *(getattr(jacobian, name)(jac) for name in names), jacobian.orthogonality(jac + 1)

    columns, rows, largest, none, shifted = norms(jac)
    np.testing.assert_allclose(columns, [7, 2 * np.sqrt(2)], rtol=1e-6)
    np.testing.assert_allclose(rows, [9, 2 * np.sqrt(2)], rtol=1e-6)
    np.testing.assert_allclose(none, [0, 0], atol=1e-6)
    np.testing.assert_allclose(shifted, [2 * 12**2, 2 * 5**2], rtol=1e-6)
    np.testing.assert_allclose(largest, [5, np.sqrt(2)], rtol=1e-6)


def test_what_a_rotation_of_the_latents_changes(x64):
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))
    jac = true_jacobian()
    same = jacobian.jacobian_l2, jacobian.row_group_l1, jacobian.spectral_norm
    changed = jacobian.jacobian_l1, jacobian.column_group_l1, jacobian.orthogonality
    norms = jax.jit(lambda jac: [[op(jac) for op in ops] for ops in (same, changed)])
    left, _, _ = np.linalg.svd(jac)  # orthogonal columns
    after, before, apart = (np.asarray(norms(a)) for a in (jac @ turn, jac, left[:, :, :4]))
    np.testing.assert_allclose(after[0], before[0], rtol=1e-12)
    assert (np.abs(after[1] / before[1] - 1) > 1e-2).all()
    assert (apart[1][2] < 1e-25).all()


def test_every_norm_is_differentiable_also_at_zero(x64):
    ops = (jacobian.jacobian_l1, jacobian.jacobian_l2, jacobian.column_group_l1)
    ops += (jacobian.row_group_l1, jacobian.orthogonality, jacobian.spectral_norm)

    @jax.jit
    def norms(jac):
        return jnp.stack([op(jac) for op in ops])

    check_grads(norms, (true_jacobian(),), order=1, modes=["rev"])
    gradients = jax.jit(jax.jacrev(norms))(jnp.zeros((1, 3, 2)))
    assert np.isfinite(gradients).all()
    assert (gradients[1:-1] == 0).all()  # |.| and the spectral norm take another subgradient


def test_a_wrong_rank_is_refused(x64):
    for call in (
        lambda: jacobian.decoder_jacobian(decode, Z[None]),
        lambda: jacobian.decoder_columns(decode, Z, jnp.zeros(3, int)),
        lambda: jacobian.finite_difference_jacobian(decode, Z[None]),
        lambda: jacobian.jacobian_l1(W[None, None]),
        lambda: jacobian.jacobian_l2(W[None, None]),
        lambda: jacobian.column_group_l1(W[None, None]),
        lambda: jacobian.row_group_l1(W[None, None]),
        lambda: jacobian.orthogonality(W[None, None]),
        lambda: jacobian.spectral_norm(W[None, None]),
        lambda: jacobian.decoder_products(decode, Z, Z),
    ):
        with pytest.raises(AssertionError, match="rank"):
            call()


def test_one_example_is_a_row_of_the_batch(x64):
    columns, v = jnp.arange(2 * len(Z)).reshape(-1, 2) % Z.shape[1], jnp.stack([Z, -Z], axis=1)
    norms = (
        jacobian.jacobian_l1, jacobian.jacobian_l2, jacobian.column_group_l1, jacobian.row_group_l1,
        jacobian.orthogonality, jacobian.spectral_norm,
    )  # fmt: skip

    @jax.jit
    def of(z, columns, v, jac):
        return [
            jacobian.decoder_jacobian(decode, z),
            jacobian.decoder_columns(decode, z, columns),
            jacobian.decoder_columns(decode, z, columns[..., :1]),
            jacobian.decoder_products(decode, z, v),
            jacobian.finite_difference_jacobian(decode, z),
        ], [norm(jac) for norm in norms]

    arrays = Z, columns, v, true_jacobian()
    batch, of_batch = of(*arrays)
    for i in range(len(Z)):
        one, of_one = of(*(a[i] for a in arrays))
        for whole, row in zip(batch, one, strict=True):
            np.testing.assert_allclose(row, whole[i], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(of_one, np.asarray(of_batch)[:, i], rtol=1e-5)


def test_orthogonal_columns_of_any_length_couple_by_nothing():
    long = np.float32(5e9 * np.eye(3)[None])  # the squares of its squares overflow
    np.testing.assert_array_equal(jax.jit(jacobian.orthogonality)(long), [0.0])
