"""The VQ-VAE's nets between images and maps of vectors, against lax's own convolutions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vaejax import nets

LAYOUT = ("NHWC", "HWIO", "NHWC")


def params_of(net, x):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    return jax.tree.map(
        lambda a: jnp.float32(rng.normal(size=a.shape) * (a.shape[-1] / a.size) ** 0.5), shapes
    )


def conv(layer, x, stride=1):
    out = lax.conv_general_dilated(x, layer["kernel"], (stride, stride), "SAME", dimension_numbers=LAYOUT)
    return out + layer["bias"]


def blocks(params, h):
    for n in range(2):
        inner = jnp.tanh(conv(params[f"block_{n}_0"], jnp.tanh(h)))
        h = h + conv(params[f"block_{n}_1"], inner)
    return h


def test_they_are_laxs_convolutions_one_after_the_other():
    """Of 11 x 7 pixels: 6 x 4 and 3 x 2, and back."""
    down = nets.ConvDown(5, features=4, activation="tanh")
    up = nets.ConvUp((11, 7), 2, features=4, activation="tanh")
    x, z = (jnp.float32(np.random.default_rng(1).normal(size=s)) for s in ((2, 11, 7, 3), (2, 3, 2, 5)))
    of_down, of_up = params_of(down, x), params_of(up, z)

    @jax.jit
    def run(of_down, of_up, x, z):
        h = jnp.tanh(conv(of_down["conv_0"], x, 2))
        h = blocks(of_down, jnp.tanh(conv(of_down["conv_1"], h, 2)))
        g = jnp.tanh(blocks(of_up, conv(of_up["conv"], z)))
        for name, side in (("conv_0", (6, 4)), ("out", (11, 7))):
            layer = of_up[name]
            g = lax.conv_transpose(g, layer["kernel"], (2, 2), "SAME") + layer["bias"]
            g = g[:, : side[0], : side[1]]
            g = g if name == "out" else jnp.tanh(g)
        theirs = conv(of_down["out"], jnp.tanh(h)), g
        return (down.apply({"params": of_down}, x), up.apply({"params": of_up}, z)), theirs

    ours, theirs = run(of_down, of_up, x, z)
    assert [a.shape for a in ours] == [(2, 3, 2, 5), (2, 11, 7, 2)]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nets.ConvDown(0), ValueError, "channels: expected at least 1, got 0"),
        (lambda: nets.ConvDown(2, halvings=0), ValueError, "halvings: expected at least 1, got 0"),
        (lambda: nets.ConvDown(2, blocks=-1), ValueError, "blocks: expected at least 1, got -1"),
        (lambda: nets.ConvDown(2, blocks=False), TypeError, "blocks: expected an int, got bool"),
        (lambda: nets.ConvUp((4,)), ValueError, r"side: expected an int or \(H, W\), got \(4,\)"),
        (lambda: nets.ConvUp(4, features=1.0), TypeError, "features: expected an int, got float"),
        (lambda: nets.ConvUp(4, activation="none"), ValueError, "activation: expected one of"),
    ],
)
def test_bad_sizes_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_inputs_of_other_sides_are_refused():
    for net, x, error, message in (
        (
            nets.ConvUp(8),
            jnp.zeros((1, 3, 2, 5)),
            ValueError,
            r"z: expected maps \[..., 2, 2, D\], got shape",
        ),
        (nets.ConvDown(2), jnp.zeros((8, 8)), ValueError, r"x: expected \[..., H, W, C\] of at least one"),
        (nets.ConvDown(2), jnp.zeros((8, 8, 1), int), TypeError, "x: expected floating point values"),
    ):
        with pytest.raises(error, match=message):
            jax.eval_shape(net.init, jax.random.key(0), x)
    assert nets.ConvDown(2, blocks=0).blocks == 0
