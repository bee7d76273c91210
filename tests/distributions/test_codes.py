"""Distributions of codes on grids so small that all of them can be counted."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests.monte_carlo import assert_counts
from vaejax.distributions import (
    AutoregressiveCodes,
    CodePoint,
    Codes,
    Coding,
    OneHot,
    has_closed_form,
    has_kl_per_dimension,
    kl_divergence,
    kl_or_sampled,
)

KEY = jax.random.key(0)
PLACES, P, V, D = (2, 2), 4, 3, 2
CODEBOOK = np.array([[0.0, 1.0], [2.0, 0.0], [-1.0, -1.0]], np.float32)
ALL = np.array(list(itertools.product(range(V), repeat=P)), np.int32).reshape(-1, *PLACES)
B = 2


def index_of(codebook, z):
    return jnp.argmin(jnp.sum(jnp.square(z[..., None, :] - codebook), -1), -1)


def vector_of(codebook, k):
    return jnp.asarray(codebook)[k]


CODING = Coding(PLACES, V, Partial(index_of, CODEBOOK), Partial(vector_of, CODEBOOK))


def number_of(k):
    """The place of indices in `ALL`."""
    k = np.asarray(k).reshape(*np.shape(k)[: np.ndim(k) - 2], P)
    return k @ V ** np.arange(P)[::-1]


def looked_up(table, k):
    """Free logits of every place after every beginning, [..., 2, 2, V]: table [*batch, P, V^(P-1), V]."""
    k = k.reshape(*k.shape[:-2], P)
    powers = np.array([[V ** (i - 1 - j) if j < i else 0 for j in range(P)] for i in range(P)])
    before = jnp.einsum("...j,ij->...i", k, powers)
    table = jnp.broadcast_to(table, (*k.shape[:-1], *table.shape[-3:]))
    logits = jnp.take_along_axis(table, before[..., None, None], axis=-2)
    return logits.reshape(*k.shape[:-1], *PLACES, V)


TABLE = np.random.default_rng(0).normal(size=(B, P, V ** (P - 1), V), scale=1.5).astype(np.float32)
P_OF = AutoregressiveCodes(CODING, Partial(looked_up, TABLE[0]))
P_GIVEN = AutoregressiveCodes(CODING, Partial(looked_up, TABLE), (B,))


def law(table):
    """p of all codes by the product of the conditionals, in float64."""
    table = np.asarray(table, np.float64)
    p = np.exp(table) / np.exp(table).sum(-1, keepdims=True)
    result = []
    for k in ALL.reshape(-1, P):
        before = [int(k[:i] @ V ** np.arange(i)[::-1]) for i in range(P)]
        result.append(np.prod([p[i, before[i], k[i]] for i in range(P)]))
    return np.array(result)


def test_the_mass_of_a_code_is_the_product_of_its_conditionals_and_all_sum_to_one():
    """By indices and by vectors; of one law and of a batch of them, with more axes before."""
    z = CODEBOOK[ALL]

    @jax.jit
    def run(p, given, k, z):
        several = jnp.stack([given.log_prob(k[:2]), given.log_prob(k[5:7])])
        together = given.log_prob(jnp.stack([k[:2], k[5:7]]))
        return (
            p.log_prob(k),
            p.log_prob(z),
            given.log_prob(k[:, None]),
            given.log_prob(z[7]),
            several,
            together,
        )

    by_k, by_z, given, one, several, together = run(P_OF, P_GIVEN, ALL, z)
    np.testing.assert_allclose(np.exp(by_k), law(TABLE[0]), rtol=2e-5)
    np.testing.assert_allclose(np.exp(np.asarray(by_k, np.float64)).sum(), 1, rtol=1e-5)
    np.testing.assert_array_equal(by_k, by_z)
    np.testing.assert_allclose(np.exp(given), np.stack([law(t) for t in TABLE], 1), rtol=2e-5)
    np.testing.assert_allclose(one, given[7], rtol=1e-5)  # one code against the batch
    np.testing.assert_allclose(together, several, rtol=1e-5)


def test_samples_have_the_law_that_it_states_and_their_own_mass():
    @jax.jit
    def run(p, given):
        z, log_p = p.sample_and_log_prob(seed=KEY, sample_shape=10_000)
        return z, log_p, p.log_prob(z), given.sample(seed=KEY, sample_shape=10_000)

    z, log_p, again, of_each = run(P_OF, P_GIVEN)
    assert (z.shape, of_each.shape) == ((10_000, *PLACES, D), (10_000, B, *PLACES, D))
    assert (P_OF.event_shape, P_GIVEN.batch_shape) == ((*PLACES, D), (B,))
    assert_counts(number_of(index_of(CODEBOOK, z)), law(TABLE[0]))
    np.testing.assert_allclose(log_p, again, rtol=1e-5)
    for b in range(B):
        assert_counts(number_of(index_of(CODEBOOK, of_each[:, b])), law(TABLE[b]))


def test_alike_codes_have_p_log_v_nats_and_what_is_no_code_none():
    p = Codes(CODING)
    z, log_p = p.sample_and_log_prob(seed=KEY, sample_shape=(5000, 2))
    assert_counts(number_of(index_of(CODEBOOK, z)).ravel(), np.full(V**P, 1.0 / V**P))
    np.testing.assert_allclose(log_p, np.full((5000, 2), -P * np.log(V)), rtol=1e-6)
    np.testing.assert_array_equal(log_p[:, 0], p.log_prob(z)[:, 0])
    assert log_p.dtype == jnp.float32
    for value in (-1, V):
        k = ALL[:2].copy()
        k[0, 1, 1] = value
        for of in (p, P_OF):
            np.testing.assert_array_equal(np.isfinite(of.log_prob(k)), [False, True])
    with pytest.raises(ValueError, match=r"value: expected indices \[..., 2, 2\], got \(2, 4\)"):
        p.log_prob(np.zeros((2, 4), int))
    with pytest.raises(TypeError, match=r"coding: expected a distributions.Coding, got tuple"):
        Codes((PLACES, V))


def test_a_point_has_its_code_alone_and_its_kl_is_the_nats_of_the_code():
    k = ALL[[3, 40, 80]]
    q = CodePoint(CODING, k)
    assert (q.batch_shape, q.event_shape, q.reparameterised) == ((3,), (*PLACES, D), False)
    np.testing.assert_array_equal(q.log_prob(k), np.zeros(3))
    np.testing.assert_array_equal(
        q.log_prob(ALL[:, None]), np.where(np.arange(81)[:, None] == [3, 40, 80], 0, -np.inf)
    )
    np.testing.assert_array_equal(q.mean(), CODEBOOK[k])
    z, log_q = q.sample_and_log_prob(seed=KEY, sample_shape=2)
    np.testing.assert_array_equal(z, np.broadcast_to(CODEBOOK[k], z.shape))
    np.testing.assert_array_equal(log_q, np.zeros((2, 3)))
    for p in (P_OF, Codes(CODING)):
        assert has_closed_form(q, p)
        assert not has_kl_per_dimension(q, p)
        expected = -np.asarray(p.log_prob(k))
        np.testing.assert_array_equal(kl_divergence(q, p), expected)
        np.testing.assert_array_equal(kl_or_sampled(q, p, jnp.zeros(3), p.log_prob(k)), expected)
    assert not has_closed_form(P_OF, Codes(CODING))  # no point
    assert not has_closed_form(q, OneHot(jnp.zeros((2, 3))))


def test_the_network_is_among_the_leaves_and_codes_carry_no_gradient():
    """`stop_gradient` of a distribution stops its net; a vector's gradient would be that of its index."""
    z = jnp.asarray(CODEBOOK[ALL[5]])

    @jax.jit
    def slopes(table, z):
        def log_p(table, z, stop):
            p = AutoregressiveCodes(CODING, Partial(looked_up, table))
            return (jax.lax.stop_gradient(p) if stop else p).log_prob(z)

        return [jax.grad(log_p, (0, 1))(table, z, stop) for stop in (False, True)]

    (of_table, of_z), (stopped, _) = slopes(TABLE[0], z)
    np.testing.assert_array_equal(of_z, np.zeros_like(z))
    np.testing.assert_array_equal(stopped, np.zeros_like(of_table))
    before = [int(ALL[5].ravel()[:i] @ V ** np.arange(i)[::-1]) for i in range(P)]
    p = jax.nn.softmax(TABLE[0])
    for i, k in enumerate(ALL[5].ravel()):  # 1 at the code less the chances there, elsewhere nothing
        np.testing.assert_allclose(of_table[i, before[i]], np.eye(V)[k] - p[i, before[i]], atol=1e-6)
    assert (np.abs(of_table).sum(-1) > 0).sum() == P
