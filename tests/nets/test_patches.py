"""The nets for patches: the paper's sizes, and what they compute by flax's own layers."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.nets import PatchDecoder, PatchEncoder

KEY = jax.random.key(0)


def normal_params(net, x):
    """Parameters none of which is zero."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, KEY, x)
    return jax.tree.map(lambda p: jnp.asarray(0.2 * rng.normal(size=p.shape), p.dtype), shapes)


def shapes(net, *shape: int):
    params = jax.eval_shape(net.init, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))["params"]
    return {name: p["kernel"].shape for name, p in params.items() if "kernel" in p}, params


def test_sizes_of_the_paper():
    # Rhodes & Lee (2021) at 16x16x1 with d = 10, by hand: weights, then biases.
    kernels, params = shapes(PatchEncoder(10), 1, 16, 16, 1)
    assert kernels == {"conv_0": (3, 3, 1, 64), "conv_1": (3, 3, 64, 128), "dense": (3 * 3 * 128, 128)}
    encoder = 9 * (1 * 64 + 64 * 128) + 1152 * 128 + 128 * 20 + (64 + 128 + 128 + 20)
    assert sum(p.size for p in jax.tree.leaves(params)) == encoder
    kernels, params = shapes(PatchDecoder(), 1, 10)
    assert kernels == {
        "dense_0": (10, 128), "dense_1": (128, 1024),
        "conv_0": (3, 3, 64, 64), "conv_1": (3, 3, 64, 32), "out": (3, 3, 32, 1),
    }  # fmt: skip
    decoder = 10 * 128 + 128 * 1024 + 9 * (64 * 64 + 64 * 32 + 32) + (128 + 1024 + 64 + 32 + 1)
    assert sum(p.size for p in jax.tree.leaves(params)) == decoder


def test_width_side_and_channels():
    kernels, _ = shapes(PatchEncoder(3, width=0.5), 2, 9, 12, 3)
    assert kernels == {"conv_0": (3, 3, 3, 32), "conv_1": (3, 3, 32, 64), "dense": (1 * 2 * 64, 64)}
    kernels, _ = shapes(PatchDecoder(12, channels=3, width=0.25), 2, 3)
    assert kernels["dense_1"] == (32, 9 * 16)
    assert kernels["out"] == (3, 3, 8, 3)
    out = jax.eval_shape(
        lambda z: PatchDecoder(12, channels=3, width=0.25).init_with_output(KEY, z)[0], jnp.zeros((5, 2, 3))
    )
    assert (out.shape, out.dtype) == ((5, 2, 12, 12, 3), jnp.float32)


def test_the_encoder_is_its_layers():
    net = PatchEncoder(2, width=0.05, activation="tanh", offset=0.3, scale=2.0)
    x = jax.random.normal(KEY, (3, 16, 16, 1))
    params = normal_params(net, x)

    def layers(p, x):
        h = (x - 0.3) / 2
        for name, channels in (("conv_0", 3), ("conv_1", 6)):
            h = jnp.tanh(nn.Conv(channels, (3, 3), (2, 2), "VALID").apply({"params": p[name]}, h))
        h = jnp.tanh(h.reshape(3, -1) @ p["dense"]["kernel"] + p["dense"]["bias"])
        return [h @ p["head"][head]["kernel"] + p["head"][head]["bias"] for head in ("loc", "logvar")]

    found, expected = jax.jit(lambda p, x: (net.apply(p, x), layers(p["params"], x)))(params, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "sides"),
    [(8, [(2, 2), (4, 4), (8, 8)]), ((6, 9), [(2, 3), (3, 5), (6, 9)]), (1, [(1, 1), (1, 1), (1, 1)])],
)
def test_the_decoder_is_its_layers(side, sides):
    net, z = PatchDecoder(side, width=0.05, activation="tanh"), jax.random.normal(KEY, (3, 2))
    params = normal_params(net, z)

    def layers(p, h):
        for name in ("dense_0", "dense_1"):
            h = jnp.tanh(h @ p[name]["kernel"] + p[name]["bias"])
        h = h.reshape(3, *sides[0], 3)
        for name, channels, (rows, columns) in (("conv_0", 3, sides[1]), ("conv_1", 2, sides[2])):
            h = nn.ConvTranspose(channels, (3, 3), (2, 2)).apply({"params": p[name]}, h)
            h = jnp.tanh(h[:, :rows, :columns])
        return nn.ConvTranspose(1, (3, 3)).apply({"params": p["out"]}, h)

    found, expected = jax.jit(lambda p, z: (net.apply(p, z), layers(p["params"], z)))(params, z)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_log_variance_starts_at_its_bias():
    net = PatchEncoder(3, width=0.05)
    loc, logvar = jax.jit(lambda x: net.init_with_output(KEY, x)[0])(jnp.zeros((16, 16, 1)))
    np.testing.assert_array_equal(loc, np.zeros(3))
    np.testing.assert_array_equal(logvar, np.full(3, -3.0))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: PatchEncoder(0), ValueError, "latents.*got 0"),
        (lambda: PatchEncoder(2, width=0.0), ValueError, "width.*got 0.0"),
        (lambda: PatchEncoder(2, scale=-1.0), ValueError, "scale.*got -1.0"),
        (lambda: PatchEncoder(2, activation="sigmoid"), ValueError, "activation.*'sigmoid'"),
        (lambda: PatchDecoder(0), ValueError, "side.*got 0"),
        (lambda: PatchDecoder(channels=0), ValueError, "channels.*got 0"),
        (lambda: PatchDecoder(width=float("nan")), ValueError, "width.*got nan"),
    ],
)
def test_fields_are_checked_when_a_net_is_made(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("net", "x", "error", "match"),
    [
        (PatchEncoder(2), jnp.zeros((1, 6, 16, 1)), ValueError, r"at least 7; got shape \(1, 6, 16, 1\)"),
        (PatchEncoder(2), jnp.zeros((16, 16)), ValueError, r"\(16, 16\)"),
        (PatchEncoder(2), jnp.zeros((16, 16, 1), jnp.uint8), TypeError, "uint8"),
        (PatchDecoder(), jnp.zeros((2,), int), TypeError, "int32"),
    ],
)  # fmt: skip
def test_input_is_checked_before_anything_compiles(net, x, error, match):
    with pytest.raises(error, match=match):
        jax.eval_shape(net.init, KEY, x)
