"""Networks around networks: what the inner one sees, what is appended, and their plain data."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vaejax import distributions, models, nets
from vaejax.models.spec import net_spec

KEY = jax.random.key(0)


def test_from_bytes_puts_0_to_255_on_minus_one_to_one():
    inner = nets.MLPEncoder(latents=2, features=(), event_ndims=2)
    x = np.random.default_rng(0).integers(0, 256, size=(3, 4, 2)).astype(np.uint8)

    @jax.jit
    def both(x):
        out, variables = nets.FromBytes(inner).init_with_output(KEY, x)
        params = variables["params"]["net"]
        return out, inner.apply({"params": params}, (x.astype(np.float32) - 127.5) / 127.5)

    for a, b in zip(*both(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(nets.FromBytes(_Same()).apply({}, jnp.array([0.0, 255.0])), [-1, 1])


class _Same(nn.Module):
    @nn.compact
    def __call__(self, x, *others):
        return x + sum(others)


def test_more_inputs_go_to_the_inner_network():
    x, c = jnp.array([[255.0], [0.0]]), jnp.array([[3.0], [5.0]])
    np.testing.assert_array_equal(nets.FromBytes(_Same()).apply({}, x, c), [[4], [4]])
    out = nets.SharedScale(_Same(), start=0.25).init_with_output(KEY, x, c)[0]
    np.testing.assert_array_equal(out, [[258, 0.25], [5, 0.25]])


def test_the_shared_scale_is_one_parameter_behind_the_locations():
    inner = nets.MLP(features=(), output_shape=(2, 3))
    z = jax.random.normal(KEY, (4, 5, 2))
    params = jax.jit(nets.SharedScale(inner).init)(KEY, z)["params"]
    assert params["log_scale"].shape == ()
    assert params["log_scale"] == 0

    @jax.jit
    def both(params, z):
        moved = {**params, "log_scale": jnp.float32(-1.5)}
        return nets.SharedScale(inner).apply({"params": moved}, z), inner.apply(
            {"params": params["decoder"]}, z
        )

    out, expected = both(params, z)
    np.testing.assert_array_equal(out[..., :3], expected)
    np.testing.assert_array_equal(out[..., 3:], np.full((4, 5, 2, 3), -1.5))


@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda: nets.FromBytes(nets.MLP), "net"), (lambda: nets.SharedScale("MLP"), "decoder")],
)
def test_what_is_no_network_is_refused(make, name):
    with pytest.raises(TypeError, match=f"{name}: expected a flax.linen.Module, got"):
        make()


def test_a_network_around_a_network_is_plain_data():
    model = models.gaussian_vae(
        encoder=nets.FromBytes(nets.MLPEncoder(latents=2, features=(3, 4))),
        decoder=nets.SharedScale(nets.MLP(features=(), output_shape=(5,)), start=-1.0),
        latents=2,
        likelihood=distributions.discretised_logistic(),
    )
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    assert again.spec == model.spec
    batch = {"x": jnp.zeros((2, 5))}
    means = jax.jit(
        lambda key: [m.bind(m.init(key, batch)[0]).decode(jnp.ones(2)).mean() for m in (model, again)]
    )
    np.testing.assert_array_equal(*means(KEY))
    stranger = net_spec(nets.SharedScale(_Same()))
    with pytest.raises(
        ValueError, match=r"expected a public name of vaejax.nets, got 'tests.nets.test_around._Same'"
    ):
        models.from_spec(json.loads(json.dumps({**model.spec, "decoder": stranger})))
