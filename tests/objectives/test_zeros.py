"""Terms at exact zeros, where |.| and lengths have a corner: nothing is pushed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from vaejax import distributions, nets, objectives
from vaejax.distributions import diagonal_gaussian
from vaejax.types import VAE, Draw

KEY = jax.random.key(0)
DECODER = nets.MLP(features=(6,), output_shape=(5,))  # a ReLU between
Z = jax.random.normal(jax.random.key(1), (4, 3))
PARAMS = jax.jit(DECODER.init)(KEY, Z)["params"]
PENALTIES = {
    "l1": (objectives.jacobian_l1, {}),
    "l1, logits": (objectives.jacobian_l1, {"of": distributions.logits}),
    "l1, columns": (objectives.jacobian_l1, {"method": "columns", "columns": 2}),
    "l1, differences": (objectives.jacobian_l1, {"method": "finite_difference"}),
    "l1, chunks": (objectives.jacobian_l1, {"chunk": 2}),
    "columns": (objectives.column_group_l1, {}),
    "some columns": (objectives.column_group_l1, {"method": "columns"}),
    "rows": (objectives.row_group_l1, {}),
    "spectral": (objectives.spectral_norm, {}),
}


def decode(params, z, c=None):
    return distributions.Bernoulli(DECODER.apply({"params": params}, z), 1)


def penalty_of(term):
    draw = Draw(Z, None, None, None, None, {"x": jnp.zeros((4, 5))})
    return lambda params: jnp.sum(term(KEY, VAE(None, Partial(decode, params), None, {}), draw))


@pytest.mark.parametrize("case", PENALTIES)
def test_a_decoder_that_does_nothing_is_left_alone(case):
    make, options = PENALTIES[case]
    still = {**PARAMS, "out": jax.tree.map(jnp.zeros_like, PARAMS["out"])}
    dead = {**PARAMS, "dense_0": {**PARAMS["dense_0"], "bias": PARAMS["dense_0"]["bias"].at[0].set(-1e3)}}
    evaluate = jax.jit(jax.value_and_grad(penalty_of(make(**options))))

    value, gradient = evaluate(still)
    assert value == 0
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, 0)
    moved = jax.tree.map(lambda p, g: p - 0.1 * g, still, gradient)  # one step on the penalty alone
    assert evaluate(moved)[0] == 0

    value, gradient = evaluate(dead)  # one unit of the ReLU never fires: what leads to it and from it stays
    assert value > 0
    np.testing.assert_array_equal(gradient["dense_0"]["kernel"][:, 0], 0)
    np.testing.assert_array_equal(gradient["out"]["kernel"][0], 0)
    assert np.abs(gradient["out"]["kernel"][1:]).max() > 1e-3  # the control


def test_a_laplace_that_meets_its_data_exactly_pulls_neither_way():
    x = jnp.array([[0.0, 2.0, -1.0]])

    def log_px(loc):
        return distributions.laplace(0.5).build(loc, 1).log_prob(x)[0]

    value, slope = jax.jit(jax.value_and_grad(log_px))(jnp.array([[0.0, 1.0, 1.0]]))
    np.testing.assert_allclose(value, -(0 + 1 + 2) / 0.5 - 3 * np.log(2 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(slope, [[0, 2, -2]])


@pytest.mark.parametrize("form", ["batch", "example"])
def test_a_rate_at_its_capacity_is_left_there(form):
    def term(loc):
        q, p = diagonal_gaussian(loc, jnp.ones((2, 1))), diagonal_gaussian(jnp.zeros(1), jnp.ones(1))
        draw = Draw(loc, q.log_prob(loc), p.log_prob(loc), q, p, {"x": loc})
        return jnp.mean(objectives.capacity(0.5, form=form)(KEY, None, draw))

    gradient = jax.jit(jax.grad(term))
    for loc, slope in ((1.0, 0.0), (2.0, 2.0 / 2), (0.5, -0.5 / 2)):  # KL = loc^2 / 2
        np.testing.assert_allclose(gradient(jnp.full((2, 1), loc)), slope, atol=1e-7)
