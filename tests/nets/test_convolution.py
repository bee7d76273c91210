"""The three bilinear maps against lax, in float64: values and derivatives of every order."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vaejax.nets import conv, conv_transpose, convolution, filtering, on_cpu
from vaejax.nets.geometry import Geometry

LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def close(actual, expected) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), actual, expected)


def lax_conv(y, kernel, stride, padding):
    return lax.conv_general_dilated(y, kernel, stride, padding, dimension_numbers=LAYOUT)


def value_and_pullback(f, data, kernel):
    out, pullback = jax.vjp(f, data, kernel)
    return out, pullback(jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))


# (side, channels in, channels out, kernel, stride, padding): both forms of every map, see `on_cpu`.
CONVOLUTIONS = [
    ((9, 9), 1, 3, (4, 4), (2, 2), "VALID"),
    ((14, 14), 5, 4, (4, 4), (2, 2), "VALID"),
    ((8, 8), 3, 2, (3, 3), (2, 2), "SAME"),
    ((6, 7), 2, 3, (3, 3), (1, 1), "SAME"),
    ((7, 9), 2, 3, (5, 2), (3, 2), ((1, 2), (0, 3))),
    ((5, 5), 2, 2, (1, 1), (2, 2), "VALID"),
]


@pytest.mark.parametrize(("side", "a", "b", "kernel", "stride", "padding"), CONVOLUTIONS)
def test_conv_equals_lax_with_gradients(side, a, b, kernel, stride, padding):
    y, w = normal(0, 2, *side, a), normal(1, *kernel, a, b)
    ours = partial(conv, stride=stride, padding=padding)
    theirs = partial(lax_conv, stride=stride, padding=padding)
    close(*jax.jit(lambda y, w: [value_and_pullback(f, y, w) for f in (ours, theirs)])(y, w))


# (side, channels in, channels out, kernel, stride): the decoder's 4x4 s2, one output channel, other kernels.
TRANSPOSED = [
    ((8, 8), 4, 4, (4, 4), (2, 2)),
    ((4, 4), 5, 1, (4, 4), (2, 2)),
    ((4, 5), 3, 2, (3, 3), (2, 2)),
    ((4, 5), 3, 2, (3, 3), (1, 1)),
    ((3, 4), 2, 3, (5, 1), (3, 2)),
]


@pytest.mark.parametrize(("side", "b", "a", "kernel", "stride"), TRANSPOSED)
def test_conv_transpose_equals_lax_with_gradients(side, b, a, kernel, stride):
    x, w = normal(0, 2, *side, b), normal(1, *kernel, b, a)
    ours = partial(conv_transpose, stride=stride)
    theirs = partial(lax.conv_transpose, strides=stride, padding="SAME")
    found, expected = jax.jit(lambda x, w: [value_and_pullback(f, x, w) for f in (ours, theirs)])(x, w)
    assert found[0].shape == (2, side[0] * stride[0], side[1] * stride[1], a)
    close(found, expected)


GEOMETRY = Geometry((2, 2), ((1, 1), (1, 1)), (12, 12), (4, 4))


def maps():
    x, y, w = normal(0, 3, 6, 6, 4), normal(1, 3, 12, 12, 4), normal(2, 4, 4, 4, 4)
    return x, y, w


def test_maps_are_transposes_of_each_other():
    @jax.jit
    def products(x, y, w):
        return (
            jnp.vdot(x, on_cpu.convolve(y, w, geometry=GEOMETRY)),
            jnp.vdot(on_cpu.transpose(x, w, geometry=GEOMETRY), y),
            jnp.vdot(on_cpu.kernel_gradient(x, y, geometry=GEOMETRY), w),
        )

    expected, *others = products(*maps())
    np.testing.assert_allclose(others, [expected] * 2, rtol=1e-12)


# Which form every map takes, see `on_cpu`: (minimal filtering, few entries in a kernel, on the small side,
# a core that multiplies 512 bits at once, cores for each device)
FORMS = [
    (True, False, False, False, 1),
    (False, False, True, False, 1),
    (False, False, False, True, 4),
    (False, True, True, False, 1),
    (False, True, False, True, 4),
]


@pytest.mark.parametrize("g", [GEOMETRY, Geometry((1, 1), ((1, 1), (0, 2)), (6, 6), (3, 3))])
@pytest.mark.parametrize(("filtered", "few", "small_side", "wide", "cores"), FORMS)
def test_what_a_cpu_gets_equals_the_native_convolutions(
    monkeypatch, filtered, few, small_side, wide, cores, g
):
    minimal = filtering if filtered and g.taps == (2, 2) else None
    monkeypatch.setattr(on_cpu, "_filtered", lambda n, g, a, b: minimal)
    monkeypatch.setattr(on_cpu, "_FEW", 1000 if few else 0)
    monkeypatch.setattr(on_cpu, "_slow_native", lambda g, a, b: few)
    monkeypatch.setattr(on_cpu, "_on_small_side", lambda g, a, b: small_side)
    monkeypatch.setattr(on_cpu, "wide_products", lambda: wide)
    monkeypatch.setattr(on_cpu, "cores", lambda: cores * jax.local_device_count())
    g = {"geometry": g}

    @jax.jit
    def both(x, y, w):
        return (
            (on_cpu.convolve(y, w, **g), on_cpu.transpose(x, w, **g), on_cpu.kernel_gradient(x, y, **g)),
            (
                convolution._convolve(y, w, **g),
                convolution._transpose(x, w, **g),
                convolution._kernel_gradient(x, y, **g),
            ),
        )

    shapes = (3, *g["geometry"].small, 4), (3, *g["geometry"].side, 4), (*g["geometry"].kernel, 4, 4)
    close(*both(*(normal(seed, *shape) for seed, shape in enumerate(shapes))))


@pytest.mark.parametrize(
    ("n", "cores", "devices", "slices"), [(8, 1, 1, 4), (16, 8, 1, 8), (8, 1, 2, 4), (9, 1, 1, 1)]
)
def test_the_gradient_of_a_kernel_in_slices(monkeypatch, n, cores, devices, slices):
    """Slices of a device's examples, some at once, or of all devices'; an odd number is left whole."""
    shapes, seen = ((n, *GEOMETRY.small, 4), (n, *GEOMETRY.side, 4)), []

    def spied(x, y, g):
        seen.append(len(x))
        return dilated(x, y, g)

    dilated = on_cpu._dilated
    x, y = (normal(seed, *shape) for seed, shape in enumerate(shapes))
    monkeypatch.setattr(on_cpu, "_CACHE", 2 * y.nbytes // n)
    monkeypatch.setattr(on_cpu, "_dilated", spied)
    monkeypatch.setattr(on_cpu, "cores", lambda: cores)
    monkeypatch.setattr(jax, "local_devices", lambda backend: [None] * devices)
    found = jax.jit(partial(on_cpu.kernel_gradient, geometry=GEOMETRY))(x, y)
    close(found, convolution._kernel_gradient(x, y, geometry=GEOMETRY))
    assert set(seen) == {n // slices}


def test_what_a_cpu_gets_in_float32():
    """XLA takes other kernels for float32 than for the float64 of this file."""

    @jax.jit
    def both(x, y, w):
        cases = ((on_cpu.convolve, y, w), (on_cpu.transpose, x, w), (on_cpu.kernel_gradient, x, y))
        return [
            [f(*(a.astype(dtype) for a in operands), geometry=GEOMETRY) for f, *operands in cases]
            for dtype in (jnp.float32, jnp.float64)
        ]

    for in_float32, expected in zip(*both(*maps()), strict=True):
        assert in_float32.dtype == jnp.float32
        np.testing.assert_allclose(in_float32, expected, atol=1e-4)


@pytest.mark.parametrize(("platform", "native"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_each_platform_gets_its_own_lowering(platform, native, monkeypatch):
    monkeypatch.setattr(on_cpu, "wide_products", lambda: False)
    x, y, w = maps()

    def step(x, y, w):
        return value_and_pullback(partial(conv_transpose, stride=(2, 2)), x, w), conv(
            y, w, stride=(2, 2), padding="VALID"
        )

    text = jax.jit(step).trace(x, y, w).lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.gather" not in text
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    # on a CPU the transposed one too, of stride 1; but the kernel's gradient, of few channels, is a product
    assert len(convolutions) == (4 if native else 3)
    fast = [
        "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in c and "lhs_dilate = [2" not in c for c in convolutions
    ]
    assert all(fast) != native


def two_layers(conv, conv_transpose):
    """A smooth decoder and an encoder layer, so that derivatives of every order are not zero."""

    def net(params, z):
        h = jnp.tanh(z @ params["w"]).reshape(*z.shape[:-1], 2, 2, 3)
        h = jnp.tanh(conv_transpose(h, params["k0"], (2, 2)))
        h = jnp.tanh(conv_transpose(h, params["k1"], (2, 2)))
        return conv(h, params["k2"], (2, 2), "VALID")

    return net


OURS = two_layers(
    lambda y, k, s, p: conv(y, k, stride=s, padding=p), lambda x, k, s: conv_transpose(x, k, stride=s)
)


def lax_conv_folded(y, k, s, p):
    out = lax_conv(y.reshape(-1, *y.shape[-3:]), k, s, p)
    return out.reshape(*y.shape[:-3], *out.shape[1:])


def lax_conv_transpose_folded(x, k, s):
    out = lax.conv_transpose(x.reshape(-1, *x.shape[-3:]), k, s, "SAME")
    return out.reshape(*x.shape[:-3], *out.shape[1:])


LAX = two_layers(lax_conv_folded, lax_conv_transpose_folded)


def params_and_z():
    params = {
        "w": normal(0, 3, 12),
        "k0": 0.3 * normal(1, 4, 4, 3, 4),
        "k1": 0.3 * normal(2, 4, 4, 4, 1),
        "k2": 0.3 * normal(3, 4, 4, 1, 2),
    }
    return params, normal(4, 2, 3)


def grad_of_jacobian_l1(net, params, z):
    def loss(p, z):
        return jnp.abs(jax.vmap(jax.jacfwd(partial(net, p)))(z)).sum()

    return jax.grad(loss, argnums=(0, 1))(params, z)


def jvp_of_vjp(net, params, z):
    gradient = jax.grad(lambda p, z: jnp.sum(net(p, z) ** 2), argnums=(0, 1))
    return jax.jvp(gradient, (params, z), (jax.tree.map(jnp.cos, params), jnp.sin(z)))


def vmap_of_jvp(net, params, z):
    return jax.vmap(lambda z, e: jax.jvp(partial(net, params), (z,), (e,)))(z, jnp.eye(3)[:2])


@pytest.mark.parametrize("derivative", [grad_of_jacobian_l1, jvp_of_vjp, vmap_of_jvp])
def test_derivatives_of_second_order_equal_lax(derivative):
    ours, theirs = (jax.jit(partial(derivative, net))(*params_and_z()) for net in (OURS, LAX))
    close(ours, theirs)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 3)])
def test_vmap_equals_a_loop(axes):
    w = normal(1, 4, 4, 2, 3)
    y = normal(0, 2, 9, 9, 2)
    ys = jnp.stack([y, 2 * y + 1], axes[0]) if axes[0] is not None else y
    ws = jnp.stack([w, w**2], axes[1]) if axes[1] is not None else w
    step = partial(value_and_pullback, partial(conv, stride=(2, 2), padding="VALID"))

    def pick(x, axis, n):
        return x if axis is None else jnp.take(x, n, axis)

    @jax.jit
    def both(ys, ws):
        loop = [step(pick(ys, axes[0], n), pick(ws, axes[1], n)) for n in range(2)]
        return jax.vmap(step, in_axes=axes)(ys, ws), jax.tree.map(lambda *x: jnp.stack(x), *loop)

    close(*both(ys, ws))


def test_vmap_with_one_kernel_folds_into_the_batch():
    def shapes(fn, *args):
        (eqn,) = [e for e in jax.make_jaxpr(fn)(*args).eqns if "strided" in e.primitive.name]
        return [v.aval.shape for v in eqn.invars]

    mapped = jax.vmap(partial(conv, stride=(2, 2), padding="VALID"), in_axes=(0, None))
    assert shapes(mapped, jnp.ones((5, 2, 8, 8, 1)), jnp.ones((4, 4, 1, 3))) == [
        (1, 10, 8, 8, 1),
        (1, 4, 4, 1, 3),
    ]


@pytest.mark.parametrize("lead", [(), (0,), (2, 0), (2, 3)])
def test_any_leading_axes(lead):
    y, w = normal(0, *lead, 8, 8, 2), normal(1, 4, 4, 2, 3)
    n, shapes = int(np.prod(lead)), ((*lead, 3, 3, 3), (*lead, 16, 16, 3))

    @jax.jit
    def both(y, w):
        ours = conv(y, w, stride=(2, 2), padding="VALID"), conv_transpose(y, w, stride=(2, 2))
        flat = y.reshape(n, 8, 8, 2)
        theirs = (
            (lax_conv(flat, w, (2, 2), "VALID"), lax.conv_transpose(flat, w, (2, 2), "SAME")) if n else ()
        )
        return ours, theirs

    ours, theirs = both(y, w)
    assert (ours[0].shape, ours[1].shape) == shapes
    if n:
        close(ours, tuple(out.reshape(shape) for out, shape in zip(theirs, shapes, strict=True)))


def test_gradient_of_a_replicated_kernel_is_summed_over_the_shards():
    mesh = jax.make_mesh((1,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
    y, w = normal(0, 2, 8, 8, 1), normal(1, 4, 4, 1, 2)
    gradient = jax.grad(lambda w, y: jnp.sum(jnp.sin(conv(y, w, stride=(2, 2), padding="VALID"))))
    whole, shards = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("b")
    sharded = jax.shard_map(gradient, mesh=mesh, in_specs=(whole, shards), out_specs=whole)
    close(jax.jit(sharded)(w, y), jax.jit(gradient)(w, y))
    # One device cannot show a missing sum by its value.
    assert str(jax.make_jaxpr(sharded)(w, y)).count("psum") == 1


@pytest.mark.parametrize(
    ("y", "w", "error", "match"),
    [
        ((8, 8), (4, 4, 1, 2), ValueError, r"\(8, 8\)"),
        ((8, 8, 3), (4, 4, 1, 2), ValueError, "1 channels"),
        ((3, 8, 1), (4, 4, 1, 2), ValueError, r"\(3, 8\)"),
        ((8, 8, 1), (4, 4, 1, 2), TypeError, "float32"),
    ],
)
def test_what_does_not_fit_is_named(y, w, error, match):
    data = jnp.zeros(y, jnp.float32 if error is TypeError else jnp.float64)
    with pytest.raises(error, match=match):
        conv(data, jnp.zeros(w), stride=(2, 2), padding="VALID")


def test_a_network_can_be_debugged_without_jit():
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, 6, 6, 3), (4, 4, 3, 2)))

    def square(x, w):
        return jnp.sum(conv(x, w, stride=(2, 2), padding=((1, 1), (1, 1))) ** 2)

    expected = jax.jit(jax.grad(square, (0, 1)))(x, w)
    with jax.disable_jit():
        slopes = jax.grad(square, (0, 1))(x, w)
    for ours, theirs in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
