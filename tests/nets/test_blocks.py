"""The nets of deep hierarchies: their formulas, starts and checks; leading axes are in the catalogue."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import nets
from vaejax.nets.on_maps import enlarged, pooled

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def drawn(net, *inputs):
    """Parameters none of which is zero, drawn by numpy."""
    shapes = jax.eval_shape(net.init, KEY, *inputs)["params"]
    return jax.tree.map(lambda a: jnp.asarray(0.3 * RNG.normal(size=a.shape), jnp.float32), shapes)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def conv(p, x):
    """3 x 3 with zeros around, by its sum; 1 x 1 where that is what the kernel is."""
    if p["kernel"].ndim == 2:
        return dense(p, x)
    _, H, W, _ = x.shape
    around = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [around[:, u : u + H, v : v + W] @ p["kernel"][u, v] for u in range(3) for v in range(3)]
    return sum(taps) + p["bias"]


def trunk(p, x):
    h = dense(p["reduce"], jax.nn.gelu(x))
    return conv(p["conv_1"], jax.nn.gelu(conv(p["conv_0"], jax.nn.gelu(h))))


def block(p, x):
    return x + dense(p["expand"], jax.nn.gelu(trunk(p["trunk"], x)))


@pytest.mark.parametrize("side", [2, 3])
def test_a_bottleneck_is_its_formula_with_1x1_on_small_maps(side):
    net, x = nets.Bottleneck(3), normal(2, side, side, 4)
    params = drawn(net, x)
    assert params["trunk"]["conv_0"]["kernel"].ndim == (2 if side == 2 else 4)
    np.testing.assert_allclose(net.apply({"params": params}, x), block(params, x), rtol=1e-4, atol=1e-5)


def test_the_last_layer_of_n_blocks_starts_narrower_by_the_root_of_n():
    def start(blocks):
        params = nets.Bottleneck(64, blocks).init(KEY, jnp.zeros((1, 1, 64)))["params"]
        return params["expand"]["kernel"], params["trunk"]["reduce"]["kernel"]

    (one, same), (many, also) = start(1), start(25)
    np.testing.assert_allclose(5 * many, one, rtol=1e-5)
    np.testing.assert_array_equal(same, also)


def test_a_pyramid_is_its_blocks_one_after_the_other():
    """Stacked parameters in a scan are those of separate blocks, with their gradients."""
    net, x = nets.Pyramid(4, 3, sides=(2, 6), levels=(1, 2), blocks=(2, 3)), normal(2, 6, 6, 1)
    params, weights = drawn(net, x), [normal(2, 2, 2, 4), normal(2, 6, 6, 4)]

    def unrolled(p, x):
        h, found = conv(p["first"], x), []
        for side, count in ((6, 3), (2, 2)):
            for i in range(count):
                h = block(jax.tree.map(lambda a, i=i: a[i], p[f"blocks_{side}"]["block"]), h)
            found.append(h)
            if side == 6:
                h = block(p["down_6"], h)
                h = h.reshape(2, 2, 3, 2, 3, 4).mean((2, 4))
        return found[::-1]

    def scanned(p, x):
        small, *large = net.apply({"params": p}, x)
        assert large[0] is large[1]  # the walk of a hierarchy keeps it once
        return small, large[0]

    def both(p, x):
        def total(function, p):
            maps = function(p, x)
            return sum(jnp.sum(a * w) for a, w in zip(maps, weights, strict=True)), maps

        return [jax.value_and_grad(lambda p, f=f: total(f, p), has_aux=True)(p) for f in (scanned, unrolled)]

    one, other = jax.jit(both)(params, x)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_maps_are_shared_in_half_precision_too():
    net = nets.Pyramid(2, 2, sides=(2,), levels=(3,), blocks=(1,), dtype="bfloat16")
    maps = []
    jax.eval_shape(lambda key, x: maps.extend(net.init_with_output(key, x)[0]), KEY, normal(2, 2, 1))
    assert maps[0] is maps[1] is maps[2]
    assert maps[0].dtype == jnp.float32


def test_a_prior_starts_at_the_standard_normal_and_adds_nothing():
    h = normal(2, 3, 3, 4)
    loc, logvar, below = nets.BlockPrior(2, 3).init_with_output(KEY, h)[0]
    np.testing.assert_array_equal(loc, np.zeros((2, 3, 3, 2)))
    np.testing.assert_array_equal(logvar, np.zeros((2, 3, 3, 2)))
    np.testing.assert_array_equal(below, h)


def test_encoder_prior_and_decoder_are_their_formulas():
    a, h, z = normal(2, 3, 3, 5), normal(2, 3, 3, 4), normal(2, 3, 3, 2)
    encoder, prior, bounded = nets.BlockEncoder(2, 3), nets.BlockPrior(2, 3), nets.BlockPrior(2, 3, clamp=0.2)
    decoder = nets.BlockDecoder(4, nets.Bottleneck(3), up=2)
    p, q, d = drawn(encoder, a, h), drawn(prior, h), drawn(decoder, z, h)

    inside = jax.nn.gelu(trunk(p["trunk"], jnp.concatenate([a, h], axis=-1)))
    loc, logvar = encoder.apply({"params": p}, a, h)
    np.testing.assert_allclose(loc, dense(p["head"]["loc"], inside), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logvar, dense(p["head"]["logvar"], inside), rtol=1e-4, atol=1e-5)

    out = dense(q["head"], jax.nn.gelu(trunk(q["trunk"], h)))
    found = prior.apply({"params": q}, h)
    for got, expected in zip(found, (out[..., :2], out[..., 2:4], h + out[..., 4:]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    *of_p, _ = bounded.apply({"params": q}, h)
    for got, free in zip(of_p, found[:2], strict=True):
        np.testing.assert_allclose(got, 0.2 * np.tanh(free / 0.2), rtol=1e-5, atol=1e-6)

    below = block(d["body"], h + dense(d["project"], z))
    below = below.repeat(2, axis=1).repeat(2, axis=2) + d["start_below"]
    np.testing.assert_allclose(decoder.apply({"params": d}, z, h), below, rtol=1e-4, atol=1e-5)


def test_the_top_has_a_learned_map_in_the_place_of_h():
    decoder, z = nets.BlockDecoder(4, nets.Bottleneck(3)), normal(2, 2, 2, 1)
    d = drawn(decoder, z)
    alone = decoder.apply({"params": d}, z)
    start = d.pop("start")
    given = decoder.apply({"params": d}, z, jnp.broadcast_to(start, (2, 2, 2, 4)))
    np.testing.assert_allclose(alone, given, rtol=1e-6)
    assert start.shape == (2, 2, 4)
    assert not jax.tree.leaves(decoder.init(KEY, z)["params"]["start"])[0].any()


def test_a_body_takes_the_place_of_the_trunk():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            return 2 * x

    h = normal(2, 3, 3, 4)
    net = nets.BlockPrior(1, 3, body=Twice())
    p = drawn(net, h)
    out = dense(p["head"], jax.nn.gelu(2 * dense(p["reduce"], h)))
    np.testing.assert_allclose(net.apply({"params": p}, h)[0], out[..., :1], rtol=1e-4, atol=1e-6)


def test_the_pixel_head_is_affine_twice():
    net, h = nets.PixelHead(2), normal(2, 3, 3, 4)
    p = drawn(net, h)
    expected = dense(p["out"], h * p["gain"] + p["bias"])
    np.testing.assert_allclose(net.apply({"params": p}, h), expected, rtol=1e-5, atol=1e-6)


def test_means_undo_an_enlargement_over_any_leading_axes():
    x = normal(2, 1, 3, 2, 4)
    large = enlarged(x, 3)
    assert large.shape == (2, 1, 9, 6, 4)
    np.testing.assert_allclose(pooled(large, 3), x, rtol=1e-6)
    np.testing.assert_array_equal(large[0, 0, 3:6, :3, 1], np.full((3, 3), x[0, 0, 1, 0, 1]))


def depthwise(kernel, x):
    H, W = x.shape[-3:-1]
    around = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return sum(kernel[u, v, 0] * around[:, u : u + H, v : v + W] for u in range(5) for v in range(5))


def excite(p, x):
    h = jax.nn.relu(dense(p["squeeze"], x.mean((-3, -2))))
    return x * jax.nn.sigmoid(dense(p["excite"], h))[..., None, None, :]


def norm(p, x, groups=2):
    """Mean 0 and variance 1 over the places and the channels of a group of one example."""
    B, H, W, C = x.shape
    g = x.reshape(B, H, W, groups, C // groups)
    mean, var = g.mean((1, 2, 4), keepdims=True), g.var((1, 2, 4), keepdims=True)
    return ((g - mean) / np.sqrt(var + 1e-5)).reshape(x.shape) * p["scale"] + p["bias"]


def test_the_cells_are_their_formulas():
    s, x = jax.nn.swish, normal(2, 3, 4, 4)
    encoder, decoder = nets.EncoderCell(groups=2), nets.DecoderCell(expand=3, groups=2)
    p, d = drawn(encoder, x), drawn(decoder, x)
    h = conv(p["conv_1"], s(norm(p["norm_1"], conv(p["conv_0"], s(norm(p["norm_0"], x))))))
    found = encoder.apply({"params": p}, x)
    np.testing.assert_allclose(found, x + 0.1 * excite(p["excite"], h), rtol=1e-4, atol=1e-5)
    h = s(norm(d["norm_1"], norm(d["norm_0"], x) @ d["expand"]["kernel"]))
    h = s(norm(d["norm_2"], depthwise(d["depthwise"]["kernel"], h))) @ d["reduce"]["kernel"]
    found = decoder.apply({"params": d}, x)
    expected = x + 0.1 * excite(d["excite"], norm(d["norm_3"], h))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nets.Bottleneck(0), ValueError, "features: expected at least 1, got 0"),
        (lambda: nets.Bottleneck(2, blocks=0), ValueError, "blocks: expected at least 1, got 0"),
        (lambda: nets.BlockEncoder(2, 3, body="cell"), TypeError, "body: expected a flax.linen.Module"),
        (lambda: nets.BlockPrior(2, 3, clamp=0.0), ValueError, "clamp: expected a positive finite number"),
        (lambda: nets.BlockDecoder(2, None), TypeError, "body: expected a flax.linen.Module, got None"),
        (lambda: nets.PixelHead(1.5), TypeError, "channels: expected an int"),
        (lambda: nets.DecoderCell(expand=0), ValueError, "expand: expected at least 1, got 0"),
        (
            lambda: nets.Pyramid(2, 2, (2, 3), (1, 1), (1, 1)),
            ValueError,
            "sides: expected some, the smallest",
        ),
        (lambda: nets.Pyramid(2, 2, (2, 4), (1,), (1, 1)), ValueError, "levels: expected one for each of 2"),
        (lambda: nets.Pyramid(2, 2, (2, 4), (0, 0), (1, 1)), ValueError, "levels: expected at least one"),
        (lambda: nets.Pyramid(2, 2, (2,), (1,), (-1,)), ValueError, r"blocks\[0\]: expected at least 1"),
    ],
)
def test_fields_are_checked_when_a_net_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


SQUARE = jnp.zeros((3, 3, 4))


@pytest.mark.parametrize(
    ("net", "inputs", "message"),
    [
        (nets.Bottleneck(2), (jnp.zeros(4),), r"x: expected maps .* got shape \(4,\)"),
        (nets.Pyramid(2, 2, (2,), (1,), (1,)), (SQUARE,), "x: expected images of side 2"),
        (nets.BlockEncoder(2, 3), (SQUARE, SQUARE[:2]), r"h: expected \(3, 3\) as of a"),
        (nets.BlockDecoder(4, nets.PixelHead(2)), (SQUARE,), "body: expected a net that keeps the shape"),
        (nets.BlockDecoder(5, nets.Bottleneck(2)), (SQUARE, SQUARE), r"h: expected \[..., 3, 3, 5\]"),
        (nets.EncoderCell(groups=3), (SQUARE,), "groups: expected a divisor of 4 channels, got 3"),
    ],
)
def test_inputs_are_checked_before_anything_compiles(net, inputs, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(net.init, KEY, *inputs)
