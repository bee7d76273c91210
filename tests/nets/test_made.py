"""MADE: which outputs see which inputs, by the zeros of the Jacobian."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import nets


@pytest.mark.parametrize(("d", "features"), [(5, (5,)), (4, (9, 6, 4)), (2, (2,)), (1, (3,))])
def test_the_numbers_of_a_value_see_all_values_before_it_no_others_and_the_context(d, features, x64):
    net = nets.MADE(features, outputs=3, activation="tanh")
    rng = np.random.default_rng(0)
    z, context = rng.normal(size=d), rng.normal(size=2)
    shapes = jax.eval_shape(net.init, jax.random.key(0), z, context)["params"]
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), shapes)
    jacobians = jax.jacfwd(lambda z, c: net.apply({"params": params}, z, c), (0, 1))
    by_z, by_context = jax.jit(jacobians)(z, context)
    assert by_z.shape == (d, 3, d)
    before = np.arange(d)[:, None] > np.arange(d)
    for of_one in np.moveaxis(np.asarray(by_z), 1, 0):
        np.testing.assert_array_equal(of_one != 0, before)
    assert (np.asarray(by_context) != 0).all()  # also the numbers of z_1


@pytest.mark.parametrize(("d", "features"), [(5, (4,)), (4, (9, 3)), (2, (1,)), (1, (1,))])
def test_without_a_context_too_and_the_numbers_of_the_first_value_are_constants(d, features, x64):
    net = nets.MADE(features, outputs=2, activation="tanh")
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), np.zeros(d))["params"]
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), shapes)
    by_z = jax.jit(jax.jacfwd(lambda z: net.apply({"params": params}, z)))(rng.normal(size=d))
    before = np.arange(d)[:, None] > np.arange(d)
    for k in range(2):
        np.testing.assert_array_equal(np.asarray(by_z)[:, k] != 0, before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": ()}, ValueError, r"features: expected at least one hidden layer, got \(\)"),
        ({"features": (4, 0)}, ValueError, r"features\[1\]: expected at least 1, got 0"),
        ({"outputs": 0}, ValueError, "outputs: expected at least 1, got 0"),
        ({"outputs": 1.5}, TypeError, "outputs: expected an int, got float"),
        ({"activation": "sin"}, ValueError, "activation: expected one of 'relu'.*got 'sin'"),
        ({"dtype": int}, TypeError, "dtype: expected a floating point dtype or None"),
    ],
)
def test_bad_fields_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        nets.MADE(**({"features": (4,), "outputs": 2} | change))


def test_bad_arrays_are_refused():
    with pytest.raises(ValueError, match=r"features\[1\]: expected at least 4 for 5 values, got 3"):
        jax.eval_shape(nets.MADE((4, 3), 2).init, jax.random.key(0), jnp.ones(5))
    with pytest.raises(ValueError, match=r"features\[0\]: expected at least 5 for 5 values, got 4"):
        jax.eval_shape(nets.MADE((4,), 2).init, jax.random.key(0), jnp.ones(5), jnp.ones(2))
    with pytest.raises(TypeError, match="z: expected floating point values"):
        jax.eval_shape(nets.MADE((4,), 2).init, jax.random.key(0), jnp.ones(5, int))
