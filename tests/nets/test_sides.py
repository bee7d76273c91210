"""Convolutional nets on images of any sides, against lax's own convolutions; at 2^k they are the paper's."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vaejax import compose, distributions, models, nets, objectives

KEY = jax.random.key(0)
LAYOUT = ("NHWC", "HWIO", "NHWC")


def normal_params(net, x):
    """Parameters none of which is zero."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, KEY, x)["params"]
    return jax.tree.map(
        lambda a: jnp.asarray(rng.normal(size=a.shape) * (a.shape[-1] / a.size) ** 0.5), shapes
    )


def dense(params, h):
    return h @ params["kernel"] + params["bias"]


def lax_encoder(params, x, sides):
    """x [N, H, W, C], the sides after each convolution given by hand."""
    for n, side in enumerate(sides):
        fill = [(0, 2 * new + 2 - old) for new, old in zip(side, x.shape[1:3], strict=True)]
        layer = params[f"conv_{n}"]
        out = lax.conv_general_dilated(x, layer["kernel"], (2, 2), fill, dimension_numbers=LAYOUT)
        assert out.shape[1:3] == side
        x = jax.nn.softplus(out + layer["bias"])
    h = jax.nn.softplus(dense(params["dense"], x.reshape(len(x), -1)))
    return dense(params["head"]["loc"], h), dense(params["head"]["logvar"], h)


def lax_decoder(params, z, sides):
    """z [N, d], the sides of the grid and after each layer given by hand."""
    h = jax.nn.softplus(dense(params["dense_1"], jax.nn.softplus(dense(params["dense_0"], z))))
    h = h.reshape(len(z), *sides[0], -1)
    names = [*sorted(name for name in params if name.startswith("conv")), "out"]
    for name, side in zip(names, sides[1:], strict=True):
        h = lax.conv_transpose(h, params[name]["kernel"], (2, 2), "SAME") + params[name]["bias"]
        assert all(new in (old, old - 1) for new, old in zip(side, h.shape[1:3], strict=True))
        h = h[:, : side[0], : side[1]]
        h = h if name == "out" else jax.nn.softplus(h)
    return h


def with_gradients(function, params, x):
    def total(params, x):
        out = function(params, x)
        return sum(jnp.sin(a).sum() for a in jax.tree.leaves(out)), out

    (_, out), gradients = jax.value_and_grad(total, (0, 1), has_aux=True)(params, x)
    return out, gradients


def assert_close(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), actual, expected)


ENCODERS = [
    ((5, 7, 1), [(2, 3)]),
    ((1, 28, 3), [(1, 13)]),
    ((16, 13, 1), [(7, 6), (2, 2)]),  # no zeros for the side that is the paper's
]


@pytest.mark.parametrize(("shape", "sides"), ENCODERS, ids=lambda a: str(a) if isinstance(a, tuple) else "")
def test_an_encoder_of_any_sides_is_its_layers(x64, shape, sides):
    net = nets.ConvEncoder(2, width=0.05, activation="softplus")
    x = jax.random.normal(KEY, (2, 3, *shape))
    params = normal_params(net, x)
    ours = jax.jit(lambda p, x: with_gradients(lambda p, x: net.apply({"params": p}, x), p, x))
    flat = x.reshape(6, *shape)
    out, (by_params, by_x) = ours(params, x)
    expected, (p, g) = jax.jit(lambda p, x: with_gradients(lambda p, x: lax_encoder(p, x, sides), p, x))(
        params, flat
    )
    assert_close([a.reshape(6, 2) for a in out], list(expected))
    assert_close((by_params, by_x.reshape(flat.shape)), (p, g))
    seen = (np.asarray(by_x) != 0).all((0, 1, 4))
    assert seen[: 14 if shape[0] == 16 else None].all()  # every pixel is, but for the paper's two rows


DECODERS = [
    ((5, 7), [(3, 4), (5, 7)]),
    ((3, 18), [(1, 3), (1, 5), (2, 9), (3, 18)]),
]


@pytest.mark.parametrize(("side", "sides"), DECODERS, ids=lambda a: "" if isinstance(a, list) else str(a))
def test_a_decoder_of_any_sides_is_its_layers(x64, side, sides):
    net = nets.ConvDecoder(side, channels=2, width=0.05, activation="softplus")
    z = jax.random.normal(KEY, (2, 3, 2))
    params = normal_params(net, z)
    out, gradients = jax.jit(lambda p, z: with_gradients(lambda p, z: net.apply({"params": p}, z), p, z))(
        params, z
    )
    assert out.shape == (2, 3, *sides[-1], 2)
    expected, (p, g) = jax.jit(lambda p, z: with_gradients(lambda p, z: lax_decoder(p, z, sides), p, z))(
        params, z.reshape(6, 2)
    )
    assert_close(out.reshape(expected.shape), expected)
    assert_close(gradients, (p, g.reshape(z.shape)))


class PaperEncoder(nn.Module):
    """As it was while sides had to be 2^k, of flax's layers."""

    side: int

    @nn.compact
    def __call__(self, x):
        for n, c in enumerate([3, 3, 6, 6][: int(math.log2(self.side)) - 2]):
            x = nn.relu(nn.Conv(c, (4, 4), (2, 2), "VALID", name=f"conv_{n}")(x))
        x = nn.relu(nn.Dense(26, name="dense")(x.reshape(*x.shape[:-3], -1)))
        return PaperHead(name="head")(x)


class PaperHead(nn.Module):
    @nn.compact
    def __call__(self, h):
        return nn.Dense(2, name="loc")(h), nn.Dense(
            2, bias_init=nn.initializers.constant(-3.0), name="logvar"
        )(h)


class PaperDecoder(nn.Module):
    side: int

    @nn.compact
    def __call__(self, z):
        h = nn.relu(nn.Dense(96, name="dense_1")(nn.relu(nn.Dense(26, name="dense_0")(z))))
        h = h.reshape(*h.shape[:-1], 4, 4, 6)
        for n, c in enumerate([6, 3, 3][5 - int(math.log2(self.side)) + 1 :]):
            h = nn.relu(nn.ConvTranspose(c, (4, 4), (2, 2), name=f"conv_{n}")(h))
        return nn.ConvTranspose(1, (4, 4), (2, 2), name="out")(h)


def test_at_powers_of_two_the_parameters_of_a_key_are_the_papers():
    x, z = jnp.zeros((1, 16, 16, 1)), jnp.zeros((1, 2))

    @jax.jit
    def both(key):
        nets_of_both = (
            (nets.ConvEncoder(2, width=0.1), PaperEncoder(16), x),
            (nets.ConvDecoder(16, width=0.1), PaperDecoder(16), z),
        )
        return [(net.init(key, a), paper.init(key, a)) for net, paper, a in nets_of_both]

    for params, papers in both(KEY):
        jax.tree.map(np.testing.assert_array_equal, params, papers)


# sides, the last map of the encoder, the first of the decoder
SIZES = [
    ((28, 28), (2, 2), (4, 4)),
    ((24, 24), (2, 2), (3, 3)),
    ((218, 178), (5, 4), (4, 3)),
    ((64, 64), (2, 2), (4, 4)),
    ((8, 8), (3, 3), (4, 4)),
    ((1, 1), (1, 1), (1, 1)),
]


@pytest.mark.parametrize(("side", "last", "first"), SIZES, ids=str)
def test_sizes_of_real_data(side, last, first):
    x = jax.ShapeDtypeStruct((2, *side, 3), jnp.float32)
    (loc, _), params = jax.eval_shape(nets.ConvEncoder(5, width=0.5).init_with_output, KEY, x)
    assert loc.shape == (2, 5)
    kernels = params["params"]
    channels = max((n, p["kernel"].shape[-1]) for n, p in kernels.items() if n.startswith("conv"))[1]
    assert kernels["dense"]["kernel"].shape == (math.prod(last) * channels, 128)
    z = jax.ShapeDtypeStruct((2, 5), jnp.float32)
    out, params = jax.eval_shape(nets.ConvDecoder(side, 3, width=0.5).init_with_output, KEY, z)
    assert out.shape == x.shape
    assert params["params"]["dense_1"]["kernel"].shape == (128, math.prod(first) * 32)


def test_a_step_on_28_by_28_goes_down():
    model = models.gaussian_vae(
        encoder=nets.ConvEncoder(latents=2, width=0.05),
        decoder=nets.ConvDecoder(side=28, width=0.05),
        latents=2,
        likelihood=distributions.bernoulli(),
    )
    batch = {"x": jnp.asarray(np.random.default_rng(0).random((2, 28, 28, 1)) < 0.2, jnp.float32)}
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda a: jnp.float32(rng.normal(size=a.shape) * (a.shape[-1] / a.size) ** 0.5),
        jax.eval_shape(model.init, KEY, batch)[0],
    )
    step = jax.jit(jax.value_and_grad(lambda p: objective(KEY, model.bind(p), batch, 0)[0]))
    value, gradient = step(params)
    lower, _ = step(jax.tree.map(lambda p, g: p - 1e-4 * g, params, gradient))
    assert lower < value
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradient))  # every layer learns


def test_sides_are_plain_data():
    spec = models.gaussian_vae(
        encoder=nets.ConvEncoder(latents=2),
        decoder=nets.ConvDecoder(side=[28, 20]),
        latents=2,
        likelihood=distributions.bernoulli(),
    ).spec
    assert spec["decoder"]["options"]["side"] == (28, 20)
    old = {"name": "ConvDecoder", "options": {"side": 32, "channels": 1, "width": 1.0, "activation": "relu"}}
    again = models.from_spec({**spec, "decoder": old})
    assert again.spec["decoder"] == old  # and so is what a run folder from before holds


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda net: net(0), ValueError, "side: expected at least 1, got 0"),
        (lambda net: net((28, 0)), ValueError, r"side\[1\]: expected at least 1, got 0"),
        (lambda net: net((28,)), ValueError, r"side: expected an int or \(H, W\), got \(28,\)"),
        (lambda net: net((28, 28, 1)), ValueError, r"side: expected an int or \(H, W\), got \(28, 28, 1\)"),
        (lambda net: net(28.0), TypeError, "side: expected an int, got float"),
        (lambda net: net((28, "20")), TypeError, r"side\[1\]: expected an int, got str"),
    ],
)
@pytest.mark.parametrize("net", [nets.ConvDecoder, nets.PatchDecoder])
def test_what_is_no_side_is_refused(net, make, error, match):
    with pytest.raises(error, match=match):
        make(net)


@pytest.mark.parametrize("shape", [(1, 0, 4, 1), (4, 0, 1), (4, 4), (4, 4, 0)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"x: expected images \[..., H, W, C\] of at least one pixel; got"):
        jax.eval_shape(nets.ConvEncoder(2).init, KEY, jnp.zeros(shape))
