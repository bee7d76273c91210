"""The networks: leading axes, parameters that equal flax's, the paper's sizes, errors before compilation."""

from __future__ import annotations

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.nets import MLP, Conv, ConvDecoder, ConvEncoder, ConvTranspose, MLPEncoder
from vaejax.nets.convolutional import EnlargedConv
from vaejax.nets.on_maps import enlarged

KEY = jax.random.key(0)

# net, shape of one example, shapes of one output
NETS = {
    "mlp": (MLP((5,), (2, 3)), (4,), ((2, 3),)),
    "mlp_of_images": (MLP((5, 4), (), "tanh", event_ndims=3), (3, 2, 1), ((),)),
    "mlp_encoder": (MLPEncoder(2, (5,), "gelu", event_ndims=2), (3, 2), ((2,), (2,))),
    "conv_encoder_16": (ConvEncoder(3, width=0.1), (16, 16, 2), ((3,), (3,))),
    "conv_encoder_32": (ConvEncoder(3, width=0.1), (32, 32, 1), ((3,), (3,))),
    "conv_decoder_16": (ConvDecoder(16, width=0.1), (3,), ((16, 16, 1),)),
    "conv_decoder_32": (ConvDecoder(32, channels=3, width=0.1), (3,), ((32, 32, 3),)),
    "conv": (Conv(3, (3, 3), (2, 2)), (5, 6, 2), ((3, 3, 3),)),
    "conv_transpose": (ConvTranspose(3, (3, 3), (2, 2)), (3, 4, 2), ((6, 8, 3),)),
}


def normal_params(net, x):
    """Parameters none of which is zero; drawn by numpy, since compiling an initialiser takes longer."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, KEY, x)
    return jax.tree.map(lambda p: jnp.asarray(0.2 * rng.normal(size=p.shape), p.dtype), shapes)


def count(net, *shape: int) -> int:
    params = jax.eval_shape(net.init, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))
    return sum(p.size for p in jax.tree.leaves(params))


@pytest.mark.parametrize("name", NETS)
def test_leading_axes_are_independent_examples(name):
    net, event, outputs = NETS[name]
    x = jax.random.normal(KEY, (2, 3, *event))
    params = normal_params(net, x[0])
    both = jax.jit(lambda params, x: (net.apply(params, x), net.apply(params, x[1, 2])))(params, x)
    batched, single = map(jax.tree.leaves, both)
    shapes = jax.tree.map(jnp.shape, jax.eval_shape(net.init, KEY, x[0, 0]))
    assert shapes == jax.tree.map(jnp.shape, params)
    assert [y.shape for y in batched] == [(2, 3, *shape) for shape in outputs]
    for y, y_one in zip(batched, single, strict=True):
        np.testing.assert_allclose(y[1, 2], y_one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "flax"),
    [
        (Conv(3, (4, 4), (2, 2), "VALID"), nn.Conv(3, (4, 4), (2, 2), "VALID")),
        (Conv(3, (3, 3)), nn.Conv(3, (3, 3))),
        (ConvTranspose(3, (4, 4), (2, 2)), nn.ConvTranspose(3, (4, 4), (2, 2))),
        (ConvTranspose(3, (3, 3)), nn.ConvTranspose(3, (3, 3))),
    ],
)
def test_convolutions_equal_flax_in_parameters_and_values(ours, flax):
    x = jax.random.normal(KEY, (2, 8, 8, 2))

    @jax.jit
    def both(key, x):
        params, theirs = (net.init(key, x) for net in (ours, flax))
        moved = jax.tree.map(lambda p: p + 0.1, params)
        return (params, theirs), (ours.apply(moved, x), flax.apply(moved, x))

    params, outputs = both(KEY, x)
    jax.tree.map(np.testing.assert_array_equal, *params)
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)


def test_parameter_counts_of_the_paper():
    # Rhodes & Lee (2021) at 64x64x1 with d = 10, by hand: weights, then biases.
    encoder = 16 * (1 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 256 * 256 + 256 * 20
    encoder += 32 + 32 + 64 + 64 + 256 + 20
    decoder = 10 * 256 + 256 * 1024 + 16 * (64 * 64 + 64 * 32 + 32 * 32 + 32 * 1)
    decoder += 256 + 1024 + 64 + 32 + 32 + 1
    assert count(ConvEncoder(10), 1, 64, 64, 1) == encoder == 186_324
    assert count(ConvDecoder(64), 1, 10) == decoder == 381_313


@pytest.mark.parametrize(
    ("side", "encoder", "decoder"), [(16, [32, 32], [32]), (128, [32, 32, 64, 64, 64], [64, 64, 32, 32])]
)
def test_channels_at_other_sides(side, encoder, decoder):
    def channels(net, *shape):
        params = jax.eval_shape(net.init, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))["params"]
        return [params[n]["kernel"].shape[-1] for n in sorted(params) if n.startswith("conv")]

    assert channels(ConvEncoder(2), side, side, 1) == encoder
    assert channels(ConvDecoder(side), 2) == decoder


@pytest.mark.parametrize(
    ("net", "event", "start"),
    [(ConvEncoder(3, width=0.1), (16, 16, 1), -3.0), (MLPEncoder(3, (4,), logvar_bias=-1.5), (2,), -1.5)],
)
def test_log_variance_starts_at_its_bias(net, event, start):
    # A zero image and zero biases leave the heads' biases.
    loc, logvar = jax.jit(lambda x: net.init_with_output(KEY, x)[0])(jnp.zeros(event))
    np.testing.assert_array_equal(loc, np.zeros(3))
    np.testing.assert_array_equal(logvar, np.full(3, start))


@pytest.mark.parametrize("name", ["mlp", "mlp_encoder", "conv_encoder_16", "conv_decoder_16"])
def test_heads_are_float32_where_the_network_is_bfloat16(name):
    net, event, _ = NETS[name]

    def outputs(x):
        params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), net.init(KEY, x))
        return jax.tree.leaves(net.apply(params, x))

    shapes = jax.eval_shape(outputs, jax.ShapeDtypeStruct((1, *event), jnp.bfloat16))
    assert {y.dtype for y in shapes} == {jnp.dtype("float32")}


def test_float64_stays():
    with jax.enable_x64(True):
        net, event, _ = NETS["conv_decoder_16"]
        z = jax.ShapeDtypeStruct((1, *event), jnp.float64)
        assert jax.eval_shape(lambda z: net.apply(net.init(KEY, z), z), z).dtype == jnp.float64


def test_mlp_is_its_formula():
    net = MLP((4,), (2,), "tanh")
    x = jax.random.normal(KEY, (3, 5))
    params = normal_params(net, x)
    (w0, b0), (w1, b1) = (
        (params["params"][n]["kernel"], params["params"][n]["bias"]) for n in ("dense_0", "out")
    )
    expected = np.tanh(np.asarray(x) @ w0 + b0) @ w1 + b1
    np.testing.assert_allclose(jax.jit(net.apply)(params, x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: MLP((0,), (1,)), ValueError, r"features\[0\].*got 0"),
        (lambda: MLP((2,), (-1,)), ValueError, r"output_shape\[0\].*got -1"),
        (lambda: MLP((2,), (1,), "sigmoid"), ValueError, "activation.*'sigmoid'"),
        (lambda: MLP((2,), (1,), event_ndims=0), ValueError, "event_ndims.*got 0"),
        (lambda: MLPEncoder(0, (2,)), ValueError, "latents.*got 0"),
        (lambda: MLPEncoder(2, (1.5,)), TypeError, r"features\[0\].*1\.5"),
        (lambda: ConvEncoder(0), ValueError, "latents.*got 0"),
        (lambda: ConvEncoder(2, width=0.0), ValueError, "width.*got 0.0"),
        (lambda: ConvDecoder(16, channels=0), ValueError, "channels.*got 0"),
        (lambda: ConvDecoder(16, width=float("nan")), ValueError, "width.*got nan"),
    ],
)
def test_fields_are_checked_when_a_net_is_made(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("net", "x", "error", "match"),
    [
        (ConvEncoder(2), jnp.zeros((16, 16, 1), jnp.uint8), TypeError, "uint8"),
        (ConvDecoder(16), jnp.zeros((2,), int), TypeError, "int32"),
        (MLP((2,), (1,), event_ndims=2), jnp.zeros(3), ValueError, r"event_ndims=2.*\(3,\)"),
        (MLPEncoder(2, (2,)), jnp.zeros((3,), int), TypeError, "int32"),
    ],
)
def test_input_is_checked_before_anything_compiles(net, x, error, match):
    with pytest.raises(error, match=match):
        jax.eval_shape(net.init, KEY, x)


def test_a_convolution_of_an_enlarged_map_equals_the_one_that_writes_it_down():
    x = jax.random.normal(jax.random.key(0), (3, 7, 5, 6))
    enlarged_conv, plain = EnlargedConv(4), Conv(4, (3, 3))

    def weighted(apply, params):
        out = apply(params)
        return jnp.sum(out * jnp.cos(jnp.arange(out.size).reshape(out.shape)))

    @jax.jit
    def both(key):
        params, other = enlarged_conv.init(key, x), plain.init(key, enlarged(x, 2))
        values = [
            jax.value_and_grad(lambda p, f=f: weighted(f, p))(params)
            for f in (lambda p: enlarged_conv.apply(p, x), lambda p: plain.apply(p, enlarged(x, 2)))
        ]
        return values, (params, other)

    (ours, theirs), (params, other) = both(jax.random.key(1))
    chex.assert_trees_all_equal(params, other)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-4)
