"""A decoder with a mask for each output: what it sees, what it is without a mask, anchors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import nets

D, LATENTS = 5, 3
KEY = jax.random.key(0)
Z = np.float32(np.random.default_rng(0).normal(size=(4, LATENTS)))
NET = nets.SparseDecoder(features=(7, 6), outputs=D, activation="tanh")
DENSE = nets.MLP(features=(7, 6), output_shape=(D,), activation="tanh")


@pytest.fixture(scope="module")
def params():
    return jax.jit(NET.init)(KEY, Z)["params"]


@pytest.fixture(scope="module")
def run():
    """(parameters, z [B, d]) -> x, and the Jacobian of each [B, D, d]."""

    def one(params, z):
        return NET.apply({"params": params}, z)

    return jax.jit(lambda params, z: (one(params, z), jax.vmap(jax.jacfwd(one, 1), (None, 0))(params, z)))


def test_the_jacobian_has_the_support_of_the_mask(params, run):
    W = np.eye(LATENTS, dtype=np.float32)[[0, 1, 2, 2, 0]]
    _, jac = run({**params, "W": W}, Z)
    assert ((np.asarray(jac) != 0) == (W != 0)).all()  # exact zeros, and none elsewhere


def test_with_a_mask_of_ones_it_is_the_dense_net(params, run):
    dense = {k: v for k, v in params.items() if k != "W"}
    shapes = jax.eval_shape(DENSE.init, KEY, Z)["params"]
    assert jax.tree.map(jnp.shape, dense) == jax.tree.map(jnp.shape, shapes)
    x, jac = run({**params, "W": jnp.ones((D, LATENTS))}, Z)
    apply = lambda z: DENSE.apply({"params": dense}, z)  # noqa: E731
    np.testing.assert_allclose(x, apply(Z), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jac, jax.vmap(jax.jacfwd(apply))(Z), rtol=1e-4, atol=1e-6)


def test_each_feature_is_a_run_of_the_net_on_its_own_masked_latents(params, run):
    dense = {k: v for k, v in params.items() if k != "W"}
    x, _ = run(params, Z)
    for j, w in enumerate(params["W"]):
        np.testing.assert_allclose(x[:, j], DENSE.apply({"params": dense}, w * Z)[:, j], rtol=1e-5, atol=1e-6)


def test_the_other_weights_of_an_anchor_are_zero_and_stay_so():
    net = nets.SparseDecoder((6,), D, "tanh", anchors=((0, 2), (3, 1)))

    @jax.jit
    def slopes(key):
        params = net.init(key, Z)["params"]
        return params["W"], jax.grad(lambda p: jnp.sum(net.apply({"params": p}, Z) ** 2))(params)["W"]

    for array in slopes(KEY):
        assert ((np.asarray(array[0]) != 0) == [False, False, True]).all()
        assert ((np.asarray(array[3]) != 0) == [False, True, False]).all()
        assert (array[np.array([1, 2, 4])] != 0).all()


@pytest.mark.parametrize(
    ("anchors", "error", "message"),
    [
        (((0, 1), (0, 2)), ValueError, "anchors: expected features 0..4, each once, and latents"),
        (((5, 1),), ValueError, "anchors: expected features 0..4"),
        (((0, -1),), ValueError, "anchors: expected features 0..4"),
        (((0.0, 1),), TypeError, "anchors: expected pairs"),
        (((0, 1, 2),), TypeError, "anchors: expected pairs"),
    ],
)
def test_other_anchors_are_refused(anchors, error, message):
    with pytest.raises(error, match=message):
        nets.SparseDecoder((6,), D, anchors=anchors)


def test_an_anchor_of_a_latent_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="anchors: expected latents below 3, got 3"):
        jax.eval_shape(nets.SparseDecoder((6,), D, anchors=((0, 3),)).init, KEY, Z)
