"""Chunks of examples: the same numbers as the whole batch, at the memory of a chunk."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import chunks
from vaejax.ops.chunks import automatic_chunk, largest_array, map_examples

RNG = np.random.default_rng(0)
Z, C = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 2))
W = RNG.normal(size=(3, 50))


def test_the_chunk_changes_neither_value_nor_gradient(x64):
    def values(w, z, chunk):
        def one(z_i, absent, pair):
            assert absent is None
            return jnp.sum(jnp.sin(z_i @ w)) * pair["c"].sum(), jnp.tanh(z_i)

        return map_examples(one, z, None, {"c": jnp.asarray(C)}, chunk=chunk)

    def both(chunk):
        def loss(w, z):
            first, second = values(w, z, chunk)
            return jnp.sum(first * jnp.arange(7.0)) + jnp.sum(second**3)

        return values(W, Z, chunk), jax.grad(loss, argnums=(0, 1))(W, Z)

    whole, *chunked = jax.jit(lambda: [both(chunk) for chunk in (7, 1, 3, 6, 9, None)])()  # 7 = 2 * 3 + 1
    np.testing.assert_allclose(whole[0][0], np.sin(Z @ W).sum(1) * C.sum(1), rtol=1e-12)
    for other in chunked:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), other, whole)


def wide(w, z_i):
    """A network with 50 times as many hidden values as it has inputs."""
    return jnp.sum(jnp.sin(jnp.tanh(z_i @ w) @ w.T))


def temporaries(examples, chunk):
    w, z = jnp.zeros((20, 1000)), jnp.zeros((examples, 20))
    gradient = jax.grad(lambda w, z: map_examples(partial(wide, w), z, chunk=chunk).sum())
    return jax.jit(gradient).lower(w, z).compile().memory_analysis().temp_size_in_bytes


def test_the_gradients_memory_is_that_of_a_chunk():
    small, large = temporaries(8, 4), temporaries(200, 4)
    inputs = 200 * 20 * 4
    assert large - small <= 2 * inputs
    assert temporaries(200, 200) > 5 * large  # the control


@pytest.mark.parametrize(
    ("examples", "fits", "expected"),
    [(12, 100, 12), (12, 12, 12), (12, 11, 6), (12, 5, 4), (7, 5, 5), (10, 4, 4), (8, 0, 1), (64, 3, 2)],
)
def test_the_automatic_chunk_divides_the_batch_where_that_costs_little(monkeypatch, examples, fits, expected):
    # one example writes 2^18 float32: 1 MiB; jnp.sin of it another
    monkeypatch.setitem(chunks._BUDGET_MIB, jax.default_backend(), 2 * fits)
    assert automatic_chunk(lambda x: jnp.sin(2.0 * x), jnp.zeros((examples, 2**18))) == expected


def test_what_is_written_is_read_from_the_trace():
    x = jnp.zeros(100)

    def written(fn):
        return chunks._written(jax.make_jaxpr(fn)(x).jaxpr)

    assert written(lambda x: x + 1) == 400
    assert written(jax.jit(lambda x: jnp.sin(x + 1))) == 800  # inside the inner program, once
    assert written(jax.nn.relu) == written(lambda x: jnp.maximum(x, 0)) == 400
    assert written(jax.vmap(lambda a: jnp.outer(a, x).sum())) > 100 * 400
    loop = written(lambda x: jax.lax.fori_loop(0, 5, lambda i, x: jnp.sin(x), x))
    assert 400 <= loop < 420  # the body once


def test_the_largest_array_is_found_inside_loops_and_branches():
    def deep(x):
        def body(c, _):
            wide = jax.lax.cond(c[0] > 0, lambda c: jnp.outer(c, c), lambda c: jnp.outer(c, -c), c)
            return jnp.tanh(wide).sum(0), None

        return jax.lax.scan(body, x, length=2)[0]

    assert largest_array(jax.make_jaxpr(deep)(jnp.ones(7)).jaxpr) == 49
    assert largest_array(jax.make_jaxpr(jax.vmap(deep))(jnp.ones((5, 7))).jaxpr) == 5 * 49
    assert largest_array(jax.make_jaxpr(lambda x: x)(jnp.ones(7)).jaxpr) == 0
