"""Minimal filtering against lax's convolutions, and what decides where it is used."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.nets import convolution, filtering, on_cpu, winograd
from vaejax.nets.geometry import Geometry

# Even and odd sides, other kernels, places that the kernel does not reach
GEOMETRIES = [
    Geometry((2, 2), ((1, 1), (1, 1)), (16, 16), (4, 4)),
    Geometry((2, 2), ((0, 0), (0, 0)), (31, 13), (4, 4)),
    Geometry((2, 3), ((1, 2), (0, 1)), (15, 14), (3, 5)),
    Geometry((1, 1), ((0, 0), (1, 1)), (9, 8), (2, 2)),
    Geometry((2, 2), ((0, 0), (0, 0)), (4, 4), (4, 4)),  # one place, half a tile
]

# The same of three taps: one tile or several, its last filled up, strides, a kernel that a stride cuts short
THREE_TAPS = [
    Geometry((1, 1), ((1, 1), (1, 1)), (8, 8), (3, 3)),
    Geometry((1, 1), ((0, 0), (2, 1)), (9, 3), (3, 3)),
    Geometry((2, 3), ((1, 2), (0, 1)), (15, 14), (5, 7)),
    Geometry((1, 1), ((0, 0), (0, 0)), (3, 3), (3, 3)),
]


@pytest.fixture
def _float64():
    with jax.enable_x64(True):
        yield


def maps(g: Geometry, n: int = 3, a: int = 3, b: int = 5, dtype=np.float64):
    """x, y and a kernel."""
    draw = np.random.default_rng(0).normal
    shapes = (n, *g.small, b), (n, *g.side, a), (*g.kernel, a, b)
    return [jnp.asarray(draw(size=shape).astype(dtype)) for shape in shapes]


def both(g, x, y, w):
    """Ours and the native ones of the three maps."""
    minimal = filtering if g.taps == (2, 2) else winograd
    return [
        (ours(*operands, g), theirs(*operands, geometry=g))
        for ours, theirs, operands in (
            (minimal.convolve, convolution._convolve, (y, w)),
            (minimal.transpose, convolution._transpose, (x, w)),
            (minimal.kernel_gradient, convolution._kernel_gradient, (x, y)),
        )
    ]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("g", [*GEOMETRIES, *THREE_TAPS])
def test_equals_the_native_convolutions(g):
    assert g.taps in ((2, 2), (3, 3))
    for ours, theirs in jax.jit(partial(both, g))(*maps(g)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("g", GEOMETRIES)
def test_every_way_back_is_the_transpose_of_the_way_there(g):
    @jax.jit
    def products(x, y, w):
        found = []
        for there, back, z in (
            (filtering._of_x, filtering._into_x, x),
            (filtering._of_y, filtering._into_y, y),
            (filtering._of_kernel, filtering._into_kernel, w),
        ):
            parts = there(z, g)
            weights = [jnp.cos(jnp.arange(p.size) + r).reshape(p.shape) for r, p in enumerate(parts)]
            tiled = z is not w
            shaped = [p.reshape(len(z), *g.tiles, -1) for p in weights] if tiled else weights
            expected = sum(jnp.vdot(p, q) for p, q in zip(parts, weights, strict=True))
            found.append((jnp.vdot(z, back(shaped, g)), expected))
        return found

    for product, expected in products(*maps(g)):
        np.testing.assert_allclose(product, expected, rtol=1e-10)


@pytest.mark.parametrize(("g", "worse"), [(GEOMETRIES[0], 4), (THREE_TAPS[0], 30)])
def test_float32_is_about_as_exact_as_the_native_convolution(g, worse):
    single = maps(g, 16, 32, 32, np.float32)
    program = partial(jax.jit(both, static_argnums=0), g)
    with jax.enable_x64(True):
        exact = [np.asarray(pair[1]) for pair in program(*(np.asarray(a, np.float64) for a in single))]
    for found, truth in zip(program(*single), exact, strict=True):
        errors = [np.abs(out - truth).max() for out in found]
        assert errors[0] < worse * errors[1]
        assert errors[0] < 1e-5 * np.abs(truth).max()


@pytest.mark.usefixtures("_float64")
def test_second_derivatives_in_either_form_are_of_the_same_maps(monkeypatch):
    """Forward over reverse, where every map is the minimal one."""
    g = THREE_TAPS[0]
    _, y, w = maps(g, 2, 3, 3)
    conv = partial(convolution.conv, stride=g.stride, padding=g.padding)

    def curvature(y, w):
        gradient = jax.grad(lambda y, w: jnp.sum(jnp.tanh(conv(y, w)) ** 2), (0, 1))
        return jax.jvp(gradient, (y, w), (jnp.sin(y), jnp.cos(w)))

    expected = jax.jit(curvature)(y, w)
    monkeypatch.setattr(on_cpu, "_filtered", lambda *shapes: winograd)
    lowered = jax.jit(lambda y, w: curvature(y, w)).lower(y, w)  # not the program of before
    assert "tensor<36x" in lowered.as_text()
    found = lowered.compile()(y, w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10), found, expected)


PAPER = Geometry((2, 2), ((1, 1), (1, 1)), (32, 32), (4, 4))  # of the paper's decoder, 16x16 to 32x32
THREE = Geometry((1, 1), ((1, 1), (1, 1)), (8, 8), (3, 3))  # of the VQ-VAE's residual blocks


@pytest.mark.parametrize(
    ("n", "g", "a", "b", "minimal", "wide"),
    [
        (16, PAPER, 32, 32, filtering, None),  # the last: where a core multiplies 512 bits at once
        (4, PAPER, 32, 32, filtering, None),
        (3, PAPER, 32, 32, None, None),  # too few places for the sums of the kernel
        (16, PAPER, 1, 32, None, None),  # too few channels for those of x
        (16, PAPER, 16, 16, None, None),
        (32, THREE, 128, 64, winograd, None),
        (32, THREE, 128, 128, winograd, winograd),
        (31, THREE, 128, 128, None, None),
        (32, THREE, 64, 64, None, None),
        (64, Geometry((1, 1), ((0, 0), (0, 0)), (8, 8), (1, 1)), 128, 128, None, None),  # one tap
    ],
)
@pytest.mark.parametrize("is_wide", [False, True])
def test_is_used_where_it_pays(n, g, a, b, minimal, wide, is_wide, monkeypatch):
    monkeypatch.setattr(on_cpu, "wide_products", lambda: is_wide)
    minimal = wide if is_wide else minimal
    shapes = (n, *g.small, b), (n, *g.side, a), (*g.kernel, a, b)
    seen = []

    def spied(data, *sizes):
        seen.append(choose(data, *sizes))
        return seen[-1]

    choose = on_cpu._filtered
    monkeypatch.setattr(on_cpu, "_filtered", spied)
    for dtype in (jnp.float32, jnp.bfloat16):
        for function, operands in (
            (on_cpu.convolve, (1, 2)),
            (on_cpu.transpose, (0, 2)),
            (on_cpu.kernel_gradient, (0, 1)),
        ):
            given = [jax.ShapeDtypeStruct(shapes[i], dtype) for i in operands]
            jax.eval_shape(partial(function, geometry=g), *given)
    assert seen == [minimal] * 3 + [None] * 3  # in 16 bits its sums would be rounded too coarsely
