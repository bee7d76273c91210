"""The three maps of a strided convolution in the forms that XLA is fast at on a CPU.

Three taps a side and many channels, and on cores without AVX-512 two taps of blocks: minimal filtering, see
`vaejax.nets.winograd` and `vaejax.nets.filtering`. Else:

C and G are native convolutions with N leading, or in G the contracted axis last, and nothing folded into
them. Other layouts, and dilated x as in T, fall back to loops of scalars, ten to fifty times slower. G reads
all of x for every channel of y, so that it is done in slices of N. On cores without AVX-512, where y has few
channels, or the kernel few taps, G is one product of patches; of a kernel 1x1 a product as it is. C of grey
or colour images to few channels is a product of windows of blocks.

T of stride 1 is a C of the kernel turned round. Else, with stride s and a kernel of at most m s taps a side,
cut the large side y into blocks of s x s pixels. Between blocks and the small side x the convolution has
stride 1 and m x m taps, which leaves two forms: one native convolution, or one matrix product whose taps are
added up.

    windows(x) [N, u, v, m m b]  to  blocks(y)   [N, u, v, s s a],      u = h + m - 1
    x          [N, h, w, b]      to  patches(y)  [N, h, w, m m s s a]

windows(x) are what the convolution walks over, at [u, v] and tap (i, j) x[u - i, v - j]; it does not write
them down. The smaller pair wins, since memory traffic and not arithmetic is what the two differ in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from vaejax.machine import cores, wide_products
from vaejax.nets import filtering, winograd
from vaejax.nets.geometry import Geometry, pad, split
from vaejax.types import Array

_FEW = 64  # entries of a kernel for one channel of x
_CACHE = 2**20  # bytes of x or y that G reads at a time: x is read again for every channel of y


def convolve(y: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """C: [N, H, W, a], [p, q, a, b] -> [N, h, w, b]."""
    if minimal := _filtered(y, geometry, *kernel.shape[2:]):
        return minimal.convolve(y, kernel, geometry)
    if _slow_native(geometry, *kernel.shape[2:]):
        return _times(_windows(y, geometry), split(kernel, geometry).reshape(-1, kernel.shape[-1]))
    return _native(y, kernel, window_strides=geometry.stride, padding=geometry.reach)


def kernel_gradient(x: Array, y: Array, *, geometry: Geometry) -> Array:
    """G: [N, h, w, b], [N, H, W, a] -> [p, q, a, b]."""
    g, a, b = geometry, y.shape[-1], x.shape[-1]
    if minimal := _filtered(x, g, a, b):
        return minimal.kernel_gradient(x, y, g)
    if math.prod(g.kernel) == 1:
        seen = pad(y, *g.reach)[:, :: g.stride[0], :: g.stride[1]].reshape(-1, a)
        return lax.optimization_barrier(seen.T @ x.reshape(-1, b)).reshape(1, 1, a, b)
    if math.prod(g.kernel) * a <= _FEW and not wide_products():
        return lax.optimization_barrier(_patches(y, g) @ x.reshape(-1, b)).reshape(*g.kernel, a, b)
    return _summed(partial(_dilated, g=g), x, y).transpose(1, 2, 0, 3)


def transpose(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """T: [N, h, w, b], [p, q, a, b] -> [N, H, W, a]."""
    g, (a, b) = geometry, kernel.shape[2:]
    if minimal := _filtered(x, g, a, b):
        return minimal.transpose(x, kernel, g)
    if g.stride == (1, 1) and math.prod(g.kernel) * a > _FEW:
        padding = [(k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(g.kernel, g.reach, strict=True)]
        return _native(x, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), window_strides=(1, 1), padding=padding)
    taps = split(kernel, g)
    if _on_small_side(g, a, b):
        (m, l), matrix = g.taps, taps.transpose(0, 1, 5, 2, 3, 4).reshape(*g.taps, b, -1)
        padding = (m - 1, m - 1), (l - 1, l - 1)
        return _unblocks(_native(x, jnp.flip(matrix, (0, 1)), window_strides=(1, 1), padding=padding), g)
    return _unblocks(_unpatches(_times(x, taps.reshape(-1, b).T), g), g)


def _filtered(data: Array, g: Geometry, a: int, b: int) -> Any:
    """The module of minimal filtering, where the products that it saves are worth its sums, else None.

    Those of the kernel want many places, those of x and y many channels on the other side; measured. In 16
    bits the rounding of its sums costs 5 times the error of the native form.
    """
    n, c = len(data), math.prod(g.stride) * a
    if data.dtype.itemsize < 4:
        return None
    wide = wide_products()
    if not wide and g.taps == (2, 2) and n * math.prod(g.small) >= 1024 and c * b >= 24 * (c + b):
        return filtering
    tiles = n * math.prod(winograd.tiles(g))
    # at other strides the blocks are put back slowly, and 25 products for 64 of two taps gain nothing on nine
    enough = a * b >= (64 if wide else 40) * (a + b)
    if g.taps == (3, 3) and g.stride == (1, 1) and tiles >= 128 and enough:
        return winograd
    return None


def _dilated(x: Array, y: Array, g: Geometry) -> Array:
    """G as y convolved with x dilated, summed over N: [a, p, q, b]."""
    image, kernel = y.transpose(3, 1, 2, 0), x.transpose(1, 2, 0, 3)
    return _native(image, kernel, window_strides=(1, 1), padding=g.reach, rhs_dilation=g.stride)


def _summed(of: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """The sum of `of` over slices of N that stay in a core's cache, some at once where a device has cores.

    XLA is slow at odd numbers of examples. Where devices share N, each has its own of every slice.
    """
    n, size, devices = len(x), max(x.nbytes, y.nbytes), len(jax.local_devices(backend="cpu"))
    m = max((m for m in range(2, n, 2) if n % m == 0 and m * size <= n * _CACHE), default=n)
    if m == n or size <= _CACHE:
        return of(x, y)
    at_once = math.gcd(n // m, 4) if _several_cores() else 1

    # within shard_map what is seen is one device's
    alone = devices == 1 or jax.sharding.get_abstract_mesh().manual_axes

    def slice_of(array: Array, i: Array) -> Array:
        if alone:
            return lax.dynamic_slice_in_dim(array, i * m, m)
        return lax.dynamic_index_in_dim(array.reshape(m, n // m, *array.shape[1:]), i, 1, keepdims=False)

    def step(total: Array, first: Array) -> tuple[Array, None]:
        places = [first + i for i in range(at_once)]
        return total + sum(of(slice_of(x, i), slice_of(y, i)) for i in places), None

    none = jnp.zeros_like(jax.eval_shape(of, x[:m], y[:m]))
    return lax.scan(step, none, jnp.arange(0, n // m, at_once))[0]


def _slow_native(g: Geometry, a: int, b: int) -> bool:
    """Whether C's native form takes two to four times as long as a product; measured."""
    return math.prod(g.kernel) * a <= _FEW and a in (1, 3) and b <= 16 * a


def _on_small_side(g: Geometry, a: int, b: int) -> bool:
    """Whether windows(x) and blocks(y) are smaller together than patches(y)."""
    pixels, taps = math.prod(g.stride), math.prod(g.taps)
    return math.prod(g.blocks) * (pixels * a + taps * b) < math.prod(g.small) * taps * pixels * a


def _native(image: Array, kernel: Array, padding: Any, **options: Any) -> Array:
    # The barriers keep XLA from folding reversals and transpositions of the caller into the convolution.
    image, kernel = lax.optimization_barrier((image, kernel))
    convolve = partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)
    if options["window_strides"] == (1, 1) and "rhs_dilation" not in options and _several_cores():
        (top, bottom), columns = padding
        # With a row too many XLA takes all cores, else one: findings/xla_cpu_convolution_one_core.sh
        return lax.optimization_barrier(convolve(image, kernel, padding=((top, bottom + 1), columns)))[:, :-1]
    return lax.optimization_barrier(convolve(image, kernel, padding=padding))


def _several_cores() -> bool:
    """Whether a device has several cores."""
    return cores() >= 2 * len(jax.local_devices(backend="cpu"))


def _windows(y: Array, g: Geometry) -> Array:
    """[N, H, W, a] -> [N, h, w, m m s s a]: at every place of the small side the blocks that it meets."""
    (u, v), (s, t), (h, w), n, a = g.blocks, g.stride, g.small, y.shape[0], y.shape[-1]
    y = pad(y, *g.crop).reshape(n, u, s, v, t, a).transpose(0, 1, 3, 2, 4, 5).reshape(n, u, v, s * t * a)
    taps = [y[:, i : i + h, j : j + w] for i, j in g.offsets]
    return lax.optimization_barrier(jnp.concatenate(taps, axis=-1))


def _patches(y: Array, g: Geometry) -> Array:
    """[N, H, W, a] -> [p q a, N h w]: y at every entry of the kernel."""
    (p, q), (s, t), (h, w) = g.kernel, g.stride, g.small
    y = jnp.moveaxis(pad(y, *g.reach), -1, 0)
    rows = [y[:, :, i : i + s * (h - 1) + 1 : s] for i in range(p)]
    taps = [row[..., j : j + t * (w - 1) + 1 : t] for row in rows for j in range(q)]
    return jnp.stack(taps).reshape(p * q * y.shape[0], -1)


def _unblocks(blocks: Array, g: Geometry) -> Array:
    """Blocks laid out: [N, u, v, s s a] -> [N, H, W, a]."""
    (u, v), (s, t), n = g.blocks, g.stride, blocks.shape[0]
    a = blocks.shape[-1] // (s * t)
    y = blocks.reshape(n, u, v, s, t, a).transpose(0, 1, 3, 2, 4, 5).reshape(n, u * s, v * t, a)
    (top, bottom), (left, right) = g.crop
    return pad(y, (-top, -bottom), (-left, -right))


def _unpatches(patches: Array, g: Geometry) -> Array:
    """[N, h, w, m m c] -> [N, u, v, c]: tap (i, j) of (h, w) is added to block (h + i, w + j)."""
    (m, l), c = g.taps, patches.shape[-1] // len(g.offsets)
    return sum(
        pad(patches[..., n * c : (n + 1) * c], (i, m - 1 - i), (j, l - 1 - j))
        for n, (i, j) in enumerate(g.offsets)
    )  # pyright: ignore


def _times(array: Array, matrix: Array) -> Array:
    """[N, h, w, c] times [c, k]: one matrix product."""
    rows = math.prod(array.shape[:-1])
    return (array.reshape(rows, array.shape[-1]) @ matrix).reshape(*array.shape[:-1], matrix.shape[1])
