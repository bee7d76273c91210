"""Codes: the search against brute force, gradients against explicit matrices, FSQ by enumeration."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import codes
from vaejax.ops.codes import search

RNG = np.random.default_rng(0)
MIB = 2**20


def brute_force(z, e):
    return np.argmin(((z[..., None, :] - e) ** 2).sum(-1), axis=-1)


@pytest.mark.parametrize("scores", [2**20, 11 * 7, 11, 5])  # all at once, 7 at a time with a rest, 1, 1
def test_the_search_finds_what_brute_force_finds(scores, monkeypatch):
    monkeypatch.setattr(search, "_SCORES", scores)
    z, e = RNG.normal(size=(3, 6, 4)), RNG.normal(size=(11, 4))
    found = jax.jit(lambda z, e: codes.nearest(z, e))(z, e)
    assert (found.dtype, found.shape) == (jnp.int32, (3, 6))
    np.testing.assert_array_equal(found, brute_force(z, e))
    np.testing.assert_array_equal(jax.vmap(codes.nearest, (0, None))(z, e), found)
    np.testing.assert_array_equal(codes.nearest(e[3], e), 3)


def test_of_ties_the_first_is_taken_and_nan_is_the_least():
    e = jnp.array([[5.0, 5.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    z = jnp.array([[0.0, 3.0], [1.0, 0.0], [-0.1, 0.0], [jnp.nan, 0.0], [0.0, jnp.nan]])
    np.testing.assert_array_equal(codes.nearest(z, e), [1, 1, 2, 0, 0])
    broken = e.at[2, 1].set(jnp.nan)
    np.testing.assert_array_equal(codes.nearest(z, broken), [2, 2, 2, 0, 0])


@pytest.mark.parametrize(("N", "D", "V"), [(2**20, 64, 512), (2**17 + 1, 8, 2**16), (2**12, 256, 8192)])
def test_the_search_holds_little_at_any_number_of_vectors(N, D, V):
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((N, D), (V, D))]
    compiled = jax.jit(codes.nearest).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 16 * MIB


def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other():
    z, e = RNG.normal(size=(2, 5)).astype(np.float32)
    np.testing.assert_array_equal(codes.straight_through(z, e), e)
    of_z, of_e = jax.jacobian(codes.straight_through, (0, 1))(z, e)
    np.testing.assert_array_equal(of_z, np.eye(5))
    np.testing.assert_array_equal(of_e, 0)
    assert np.isnan(codes.straight_through(jnp.array([jnp.nan, 1.0]), jnp.ones(2))).tolist() == [True, False]


def in_the_plane(z, e):
    """|e| / |z| times the rotation by the angle between them, from the plane's own axes."""
    u = z / np.linalg.norm(z)
    across = e - (u @ e) * u
    w = across / np.linalg.norm(across)
    angle = np.arctan2(np.linalg.norm(across), u @ e)
    turn = np.sin(angle) * (np.outer(w, u) - np.outer(u, w))
    turn = np.eye(len(z)) + turn + (np.cos(angle) - 1) * (np.outer(u, u) + np.outer(w, w))
    return np.linalg.norm(e) / np.linalg.norm(z) * turn


def test_rotation_has_the_value_of_the_code_and_the_jacobian_of_the_rotation(x64):
    jacobian = jax.jit(jax.jacobian(codes.rotation, (0, 1)))
    for z, e in RNG.normal(size=(5, 2, 4)):
        np.testing.assert_array_equal(codes.rotation(z, e), e)
        of_z, of_e = jacobian(z, e)
        np.testing.assert_allclose(of_z, in_the_plane(z, e), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(of_z @ z, e, rtol=1e-12)
        np.testing.assert_array_equal(of_e, 0)
    several = jax.vmap(codes.rotation)(*RNG.normal(size=(2, 3, 4)))
    assert several.shape == (3, 4)


def test_where_there_is_no_rotation_the_gradient_is_straight_through():
    z, jacobian = jnp.array([0.6, -0.8]), jax.jacobian(codes.rotation)
    for a, b in ((0 * z, z), (z, 0 * z), (z, -2 * z), (0 * z, 0 * z)):
        np.testing.assert_array_equal(codes.rotation(a, b), b)
        np.testing.assert_array_equal(jacobian(a, b), np.eye(2))
    np.testing.assert_allclose(jacobian(z, 2 * z), 2 * np.eye(2), atol=1e-6)  # the same direction


def test_without_memory_running_means_are_the_means_of_what_is_assigned(x64):
    z, k = RNG.normal(size=(4, 10, 3)), RNG.integers(0, 5, (4, 10))
    z, k = z[:, :9], np.where(k == 3, 2, k)[:, :9]  # nothing has code 3
    n, m, e = codes.ema_update(jnp.ones(5), jnp.ones((5, 3)), z, k, 0.0, 0.0)
    np.testing.assert_array_equal(n, np.bincount(k.ravel(), minlength=5))
    for i in range(5):
        mine = z[k == i]
        np.testing.assert_allclose(e[i], mine.mean(0) if len(mine) else 0, rtol=1e-12)
        np.testing.assert_allclose(m[i], mine.sum(0), rtol=1e-12, atol=1e-15)


def test_running_means_follow_their_formula_and_leave_out_what_has_no_code(x64):
    n, m, z = RNG.random(4), RNG.normal(size=(4, 2)), RNG.normal(size=(7, 2))
    k, g, eps = np.array([0, 1, 1, 3, 0, 4, 9]), 0.9, 0.01
    now = np.eye(10)[k][:, :4]
    n_1, m_1 = g * n + (1 - g) * now.sum(0), g * m + (1 - g) * now.T @ z
    smooth = (n_1 + eps) / (n_1.sum() + 4 * eps) * n_1.sum()
    found = codes.ema_update(n, m, z, k, g, eps)
    for got, expected in zip(found, (n_1, m_1, m_1 / smooth[:, None]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_means_of_k_means_end_at_the_clusters_and_the_cost_never_rises():
    centres = 10 * np.eye(4, 3) - 3
    z = (centres[:, None] + RNG.uniform(-1, 1, (4, 20, 3))).astype(np.float32)
    found = codes.kmeans(z, z[:, 0], 3)
    np.testing.assert_allclose(found, z.mean(1), rtol=1e-5)
    z, e = RNG.normal(size=(2, 100, 3)), RNG.normal(size=(6, 3))
    e[5] = 100.0  # nothing comes to it
    steps = [codes.kmeans(z, e, n) for n in range(8)]
    costs = [((z[..., None, :] - np.asarray(e)) ** 2).sum(-1).min(-1).sum() for e in steps]
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(costs))
    assert costs[-1] < 0.8 * costs[0]
    np.testing.assert_array_equal(steps[-1][5], 100)


def test_perplexity_is_the_number_of_codes_that_occur_alike():
    for share in (1, 2, 4):
        k = np.repeat(np.arange(share), 6).reshape(3, -1)
        assert codes.perplexity(k, 4) == pytest.approx(share, rel=1e-6)
        assert codes.used_share(k, 4) == share / 4
    p = np.array([0.5, 0.25, 0.25])
    found = codes.perplexity(np.array([0, 0, 1, 2, 7, 7]), 3)  # 7 is none
    assert found == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)


def test_residual_codes_are_each_the_nearest_to_what_is_left_and_never_lose(x64):
    z, books = RNG.normal(size=(2, 8, 3)), RNG.normal(size=(4, 6, 3))
    books[:, 2] = 0
    rest, k, e = jax.jit(codes.residual)(z, books)
    assert (rest.shape, k.shape, e.shape) == ((4, 2, 8, 3), (4, 2, 8), (4, 2, 8, 3))
    r = z
    for s in range(4):
        np.testing.assert_allclose(rest[s], r, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(k[s], brute_force(r, books[s]))
        left = r - books[s][k[s]]
        assert (np.linalg.norm(left, axis=-1) <= np.linalg.norm(r, axis=-1)).all()
        r = left
    assert np.linalg.norm(r, axis=-1).mean() < 0.9 * np.linalg.norm(z, axis=-1).mean()
    np.testing.assert_allclose(e.sum(0) + r, z, rtol=1e-12, atol=1e-12)

    def total(z, books):
        rest, _, e = codes.residual(z, books)
        return e.sum() + 10 * rest.sum()

    of_z, of_books = jax.grad(total, (0, 1))(z, books)
    np.testing.assert_array_equal(of_z, 40)
    np.testing.assert_array_equal(of_books[..., 0], [np.bincount(i.ravel(), minlength=6) for i in k])


@pytest.mark.parametrize("levels", [(2,), (3,), (4, 5), (2, 2, 2), (7, 2, 3), (8, 5, 5, 5), (8, 6, 5)])
def test_scalar_codes_by_enumeration(levels):
    """Exactly prod L_i codes, numbered 0 .. prod L_i - 1, and 0 is the code of 0."""
    V, d = math.prod(levels), len(levels)
    line = jnp.linspace(-9, 9, 4001)
    each = codes.fsq(jnp.tile(line[:, None], (1, d)), levels)
    values = [np.unique(np.asarray(each[:, i])) for i in range(d)]
    for L, found in zip(levels, values, strict=True):
        np.testing.assert_allclose(found, (np.arange(L) - L // 2) / (L // 2), rtol=1e-6)
    all_codes = np.array(list(itertools.product(*values)), np.float32)
    numbers = codes.fsq_indices(jnp.asarray(all_codes), levels)
    np.testing.assert_array_equal(np.sort(numbers), np.arange(V))
    np.testing.assert_array_equal(codes.fsq_codes(numbers, levels), all_codes)
    again = codes.fsq_indices(codes.fsq_codes(jnp.arange(V), levels), levels)
    np.testing.assert_array_equal(again, np.arange(V))
    np.testing.assert_array_equal(codes.fsq(jnp.zeros((3, d)), levels), 0)
    assert numbers.dtype == jnp.int32


def test_scalar_codes_are_bounded_and_pass_the_gradient_of_the_bound(x64):
    z, levels = RNG.normal(size=(50, 3)), np.array([5, 4, 2])
    h, offset = (levels - 1) * 1.001 / 2, np.array([0, 0.5, 0.5])
    shift = np.array([0, np.arctanh(0.5 / h[1]), 0])
    b = h * np.tanh(z + shift) - offset
    code, slope = jax.vmap(jax.value_and_grad(lambda z: codes.fsq(z, levels).sum()))(z)
    np.testing.assert_allclose(code, (np.round(b) / (levels // 2)).sum(-1), rtol=1e-12)
    np.testing.assert_allclose(slope, h * (1 - np.tanh(z + shift) ** 2) / (levels // 2), rtol=1e-12)


def test_two_levels_are_the_sign():
    z = jnp.asarray(RNG.normal(size=(1000, 1)), jnp.float32)
    code = codes.fsq(z, (2,))
    np.testing.assert_array_equal(code, np.where(z >= 0, 0, -1))
    assert jax.grad(lambda z: codes.fsq(z, (2,)).sum())(jnp.zeros(1))[0] == pytest.approx(0.5005)
    assert 0.4 < np.mean(code == 0) < 0.6


def test_a_nan_stays_one_and_has_the_number_0():
    code = codes.fsq(jnp.array([[jnp.nan, 0.0], [0.0, 0.0]]), (3, 3))
    assert np.isnan(code).tolist() == [[True, False], [False, False]]
    np.testing.assert_array_equal(codes.fsq_indices(code, (3, 3)), [0, 4])


@pytest.mark.parametrize("levels", [(), (1,), (2.0, 2.0), 4, (2**16, 2**15)])
def test_levels_that_make_no_codes_are_refused(levels):
    with pytest.raises(ValueError, match="levels: expected ints of at least 2 with a product"):
        codes.fsq_codes(jnp.zeros(2, jnp.int32), levels)
