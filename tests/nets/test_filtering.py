"""Minimal filtering against lax's convolutions, and what decides where it is used."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.nets import convolution, filtering, on_cpu
from vaejax.nets.geometry import Geometry

# Even and odd sides, other kernels, places that the kernel does not reach
GEOMETRIES = [
    Geometry((2, 2), ((1, 1), (1, 1)), (16, 16), (4, 4)),
    Geometry((2, 2), ((0, 0), (0, 0)), (31, 13), (4, 4)),
    Geometry((2, 3), ((1, 2), (0, 1)), (15, 14), (3, 5)),
    Geometry((1, 1), ((0, 0), (1, 1)), (9, 8), (2, 2)),
    Geometry((2, 2), ((0, 0), (0, 0)), (4, 4), (4, 4)),  # one place, half a tile
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
    return [
        (ours(*operands, g), theirs(*operands, geometry=g))
        for ours, theirs, operands in (
            (filtering.convolve, convolution._convolve, (y, w)),
            (filtering.transpose, convolution._transpose, (x, w)),
            (filtering.kernel_gradient, convolution._kernel_gradient, (x, y)),
        )
    ]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("g", GEOMETRIES)
def test_equals_the_native_convolutions(g):
    assert g.taps == (2, 2)
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


def test_float32_is_as_exact_as_the_native_convolution():
    g = GEOMETRIES[0]
    single = maps(g, 16, 32, 32, np.float32)
    program = partial(jax.jit(both, static_argnums=0), g)
    with jax.enable_x64(True):
        exact = [np.asarray(pair[1]) for pair in program(*(np.asarray(a, np.float64) for a in single))]
    for found, truth in zip(program(*single), exact, strict=True):
        errors = [np.abs(out - truth).max() for out in found]
        assert errors[0] < 4 * errors[1]
        assert errors[0] < 1e-5 * np.abs(truth).max()


PAPER = Geometry((2, 2), ((1, 1), (1, 1)), (32, 32), (4, 4))  # of the paper's decoder, 16x16 to 32x32


@pytest.mark.parametrize(
    ("n", "g", "a", "b", "filtered"),
    [
        (16, PAPER, 32, 32, True),
        (4, PAPER, 32, 32, True),
        (3, PAPER, 32, 32, False),  # too few places for the sums of the kernel
        (16, PAPER, 1, 32, False),  # too few channels for those of x
        (16, PAPER, 16, 16, False),
        (16, Geometry((1, 1), ((1, 1), (1, 1)), (16, 16), (3, 3)), 64, 64, False),  # three taps
    ],
)
def test_is_used_where_it_pays(n, g, a, b, filtered):
    shapes = (n, *g.small, b), (n, *g.side, a), (*g.kernel, a, b)

    def products(function, operands, dtype):
        given = [jax.ShapeDtypeStruct(shapes[i], dtype) for i in operands]
        jaxpr = jax.make_jaxpr(partial(function, geometry=g))(*given)
        return sum(e.primitive.name == "dot_general" for e in jaxpr.eqns)

    for function, operands in (
        (on_cpu.convolve, (1, 2)),
        (on_cpu.transpose, (0, 2)),
        (on_cpu.kernel_gradient, (0, 1)),
    ):
        assert (products(function, operands, jnp.float32) == 9) == filtered
        assert products(function, operands, jnp.bfloat16) < 9  # its sums would be rounded too coarsely
