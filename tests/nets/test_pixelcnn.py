"""The gated PixelCNN: what a pixel sees, and the equations of its layers pixel by pixel."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vaejax import nets

Z = np.random.default_rng(0).normal(size=2)


def random_params(net, z, x, seed=1):
    """Of order one, biases too, in float64 where that is on; nothing is compiled."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, jax.random.key(0), z, x)["params"]
    return jax.tree.map(
        lambda a: jnp.asarray(rng.normal(size=a.shape)) * (a.shape[-1] / a.size) ** 0.5, shapes
    )


def field(shape, reach):
    """[i, j]: whether value i is to see value j, by the definition, in raster order."""
    places = list(itertools.product(*map(range, shape)))

    def sees(i, j):
        (r, c, channel), (s, d, other) = i, j
        above = 0 < r - s <= reach + 1 and abs(c - d) <= reach
        left = r == s and 0 < c - d <= reach
        return above or left or ((r, c) == (s, d) and other < channel)

    return np.array([[sees(i, j) for j in places] for i in places])


@pytest.mark.parametrize(
    ("shape", "features", "kernels", "values"),
    [((7, 8, 1), 6, (3, 3), 2), ((3, 3, 3), 9, (5,), 2), ((4, 3, 1), 4, (3, 3), 256)],
)
def test_a_value_sees_just_the_values_before_it_and_z(x64, shape, features, kernels, values):
    net = nets.GatedPixelCNN(shape, features, kernels, values)
    x = np.random.default_rng(2).uniform(0, values - 1, shape)
    several = [random_params(net, Z, x, seed) for seed in range(4)]  # a relu may hide a path of one of them
    params = jax.tree.map(lambda *a: jnp.stack(a), *several)
    jacobian = jax.jacfwd(lambda p, z, x: net.apply({"params": p}, z, x), (1, 2))
    by_z, by_x = jax.jit(jax.vmap(jacobian, (0, None, None)))(params, Z, x)
    D = np.prod(shape)
    by_x = np.abs(by_x).reshape(4, D, -1, D).sum((0, 2))
    assert not np.triu(by_x).any()  # raster order
    np.testing.assert_array_equal(by_x != 0, field(shape, sum(k // 2 for k in kernels)))
    assert (np.abs(by_z).reshape(4, D, -1, 2).sum((0, 2)) > 0).all()


def test_two_layers_by_hand(x64):
    """Pixel by pixel, with the k x k and 1 x k kernels of the paper and their masks."""
    net = nets.GatedPixelCNN((3, 4, 1), 2, (5, 3))
    x = np.random.default_rng(2).integers(0, 2, (3, 4, 1)).astype(float)
    params = random_params(net, Z, x)
    logits = jax.jit(net.apply)({"params": params}, Z, x)

    def at(image, r, c):
        inside = 0 <= r < 3 and 0 <= c < 4
        return image[r, c] if inside else np.zeros(image.shape[-1])

    def conv(name, image, r, c):
        kernel, bias = np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"])
        rows, columns = kernel.shape[:2]
        left = columns // 2 if rows > 1 else columns - 1
        taps = itertools.product(range(rows), range(columns))
        return bias + sum(at(image, r + u - rows + 1, c + w - left) @ kernel[u, w] for u, w in taps)

    def gate(a):
        return np.tanh(a[:2]) / (1 + np.exp(-a[2:]))

    def dense(name, value):
        return value @ np.asarray(params[name]["kernel"])

    params["horizontal_0"]["kernel"] = params["horizontal_0"]["kernel"].at[0, -1].set(0.0)  # mask A
    seen = 2 * x - 1
    v, h = (
        np.concatenate([np.zeros((1, 4, 1)), seen[:-1]]),
        seen,
    )  # v: rows above only, beyond the image zeros
    for n in range(2):
        new_v, new_h = np.zeros((3, 4, 2)), np.zeros((3, 4, 2))
        for r, c in itertools.product(range(3), range(4)):
            a = conv(f"vertical_{n}", v, r, c) + dense(f"vertical_z_{n}", Z)
            b = conv(f"horizontal_{n}", h, r, c) + dense(f"down_{n}", a) + dense(f"horizontal_z_{n}", Z)
            out = gate(b) @ np.asarray(params[f"out_{n}"]["kernel"])[0, 0] + params[f"out_{n}"]["bias"]
            new_v[r, c], new_h[r, c] = gate(a), out + (h[r, c] if n else 0)
        v, h = new_v, new_h
    for r, c in itertools.product(range(3), range(4)):
        hidden = np.maximum(conv("hidden", np.maximum(h, 0), r, c), 0)[None, None]
        np.testing.assert_allclose(logits[r, c], conv("head", hidden, 0, 0), rtol=1e-10, atol=1e-12)


class Everywhere(nn.Module):
    """z at every place, times its row and column."""

    slope: float = 0.0

    def __call__(self, z):
        place = 1 + self.slope * jnp.arange(6.0).reshape(2, 3, 1)
        return z[..., None, None, :] * place


def test_a_context_takes_the_place_of_z():
    plain = nets.GatedPixelCNN((2, 3, 1), 4, (3,))
    z, x = jnp.float32(np.random.default_rng(2).normal(size=(5, 2))), jnp.ones((5, 2, 3, 1))
    params = {"params": random_params(plain, z, x)}

    @jax.jit
    def logits(params, z, x):
        of_contexts = [plain.clone(context=Everywhere(slope)).apply(params, z, x) for slope in (0.0, 1.0)]
        return plain.apply(params, z, x), *of_contexts

    same, flat, sloped = logits(params, z, x)
    np.testing.assert_allclose(flat, same, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sloped[:, 0, 0], same[:, 0, 0], rtol=1e-5, atol=1e-6)
    assert (np.abs(sloped - same)[:, 1, 2] > 1e-3).any()


def test_bytes_are_seen_in_minus_one_to_one():
    net = nets.GatedPixelCNN((1, 2, 1), 4, (3,), 256)
    bits = nets.GatedPixelCNN((1, 2, 1), 4, (3,))
    x, z = np.array([[[255], [0]]], np.uint8), np.float32(Z)
    params = random_params(net, z, x)
    head = jax.tree.map(lambda a: a[..., 7:8], params["head"])

    @jax.jit
    def logits(params, head, x):
        as_bits = bits.apply({"params": params | {"head": head}}, z, x / 255.0)
        return net.apply({"params": params}, z, x)[..., 7:8], as_bits

    np.testing.assert_allclose(*logits(params, head, x), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shape": (4, 4)}, ValueError, r"shape: expected \(H, W, C\), got \(4, 4\)"),
        ({"shape": (4, 0, 1)}, ValueError, r"shape\[1\]: expected at least 1, got 0"),
        ({"features": 0}, ValueError, "features: expected at least 1"),
        ({"shape": (4, 4, 3)}, ValueError, "features: expected a multiple of 3 channels, got 4"),
        ({"kernels": ()}, ValueError, "kernels: expected at least one"),
        ({"kernels": (3, 4)}, ValueError, r"kernels\[1\]: expected an odd number of at least 3, got 4"),
        ({"kernels": (1,)}, ValueError, r"kernels\[0\]: expected an odd number of at least 3, got 1"),
        ({"values": 16}, ValueError, "values: expected 2 or 256, got 16"),
        ({"context": 3}, TypeError, "context: expected a flax.linen.Module or None, got 3"),
    ],
)
def test_bad_fields_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        nets.GatedPixelCNN(**({"shape": (4, 4, 1), "features": 4, "kernels": (3,)} | change))


def test_bad_arrays_are_refused():
    net = nets.GatedPixelCNN((2, 3, 1), 4, (3,))
    with pytest.raises(ValueError, match=r"x: expected \[..., 2, 3, 1\], got \(3, 2, 1\)"):
        net.init(jax.random.key(0), jnp.ones(2), jnp.ones((3, 2, 1)))
    with pytest.raises(TypeError, match="z: expected floating point values"):
        net.init(jax.random.key(0), jnp.ones(2, int), jnp.ones((2, 3, 1)))
    net = net.clone(context=nets.MLP((), (3, 2, 4)))
    with pytest.raises(ValueError, match=r"context: expected maps \[..., 2, 3, F\], got \(3, 2, 4\)"):
        net.init(jax.random.key(0), jnp.ones(2), jnp.ones((2, 3, 1)))
