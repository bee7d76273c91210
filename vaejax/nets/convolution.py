"""The strided 2-D convolution as three bilinear maps that are closed under transposition.

With y [N, H, W, a] on the large side, x [N, h, w, b] on the small side and a kernel k [p, q, a, b],

    C(y, k)[n, i, j, b] = sum_{u, v, a} y[n, s i + u - lo, s j + v - lo, a] k[u, v, a, b]
    T(x, k)             = the transpose of C in y: the transposed convolution
    G(x, y)             = the transpose of C in k: the gradient of a kernel

and <x, C(y, k)> = <T(x, k), y> = <G(x, y), k>: every derivative, of any order, is again one of the
three. Each is a primitive with its own lowering: native convolutions on GPU and TPU; on a CPU, where
most of those are slow, the forms of `vaejax.nets.on_cpu`.

Operands of the primitives carry one more leading axis, E: E kernels, each with data of its own. `vmap`
folds its axis into N where only data are mapped, into E where kernels are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from vaejax.nets import on_cpu
from vaejax.nets.geometry import Geometry
from vaejax.types import Array


def _convolve(y: Array, kernel: Array, *, geometry: Geometry) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(y, kernel, geometry.stride, geometry.padding, dimension_numbers=layout)


def _transpose(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    y = jax.ShapeDtypeStruct((x.shape[0], *geometry.side, kernel.shape[2]), x.dtype)
    (out,) = jax.linear_transpose(partial(_convolve, kernel=kernel, geometry=geometry), y)(x)
    return out


def _kernel_gradient(x: Array, y: Array, *, geometry: Geometry) -> Array:
    kernel = jax.ShapeDtypeStruct((*geometry.kernel, y.shape[-1], x.shape[-1]), x.dtype)
    (out,) = jax.linear_transpose(lambda k: _convolve(y, k, geometry=geometry), kernel)(x)
    return out


def _each(function: Callable[..., Array], over: Callable[..., Callable]) -> Callable[..., Array]:
    """`function` of every kernel, `over` the axis E."""

    def ensemble(left: Array, right: Array, *, geometry: Geometry) -> Array:
        one = partial(function, geometry=geometry)
        # One kernel is the common case: it stays a plain convolution, not a grouped one.
        return one(left[0], right[0])[None] if left.shape[0] == 1 else over(one)(left, right)

    return ensemble


def _in_turn(one: Callable[..., Array]) -> Callable[..., Array]:
    """`vmap` as a loop: on a CPU a convolution of several kernels at once is slow."""
    return lambda left, right: lax.map(lambda pair: one(*pair), (left, right))


def _fold(args: tuple, dims: tuple, *, prim: Primitive, geometry: Geometry) -> tuple:
    """Batch by E: both operands [K, E, ...] -> [K E, ...]."""
    (size,) = {x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None}
    folded = []
    for x, d in zip(args, dims, strict=True):
        x = jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        folded.append(x.reshape(size * x.shape[1], *x.shape[2:]))
    out = prim.bind(*folded, geometry=geometry)
    return out.reshape(size, out.shape[0] // size, *out.shape[1:]), 0


def _fold_data(args: tuple, dims: tuple, *, prim: Primitive, geometry: Geometry) -> tuple:
    """Batch C and T: by N where the kernel is unmapped, else by E."""
    data, kernel = args
    if dims[1] is not None:
        return _fold(args, dims, prim=prim, geometry=geometry)
    data = jnp.moveaxis(data, dims[0], 1)
    e, size, n = data.shape[:3]
    out = prim.bind(data.reshape(e, size * n, *data.shape[3:]), kernel, geometry=geometry)
    return out.reshape(e, size, n, *out.shape[2:]), 1


def _primitive(
    name: str, shape: Callable[..., tuple], batch: Callable, native: Callable, cpu: Callable
) -> Primitive:
    """A primitive of two operands and a `geometry`; `shape(left, right, geometry)` is its result's."""
    prim = Primitive(name)
    # Outside jit an operation compiles by itself, as every operation of jax.lax does.
    jitted = jax.jit(prim.bind, static_argnames=("geometry",))

    def impl(left: Array, right: Array, *, geometry: Geometry) -> Array:
        with jax.disable_jit(False):  # where a user debugs without it, else `bind` would call itself
            return jitted(left, right, geometry=geometry)

    prim.def_impl(impl)
    # Both operands vary over the same manual axes (see `_align`): the result does too.
    prim.def_abstract_eval(
        lambda left, right, *, geometry: left.update(
            shape=shape(left.shape, right.shape, geometry), weak_type=False
        )
    )
    batching.primitive_batchers[prim] = partial(batch, prim=prim)
    mlir.register_lowering(prim, mlir.lower_fun(_each(native, jax.vmap), multiple_results=False))
    in_turn = mlir.lower_fun(_each(cpu, _in_turn), multiple_results=False)
    mlir.register_lowering(prim, in_turn, platform="cpu")
    return prim


convolve_p = _primitive(
    "strided_convolve",
    lambda y, k, g: (*y[:2], *g.small, k[-1]),
    _fold_data,
    _convolve,
    on_cpu.convolve,
)
transpose_p = _primitive(
    "strided_convolve_transpose",
    lambda x, k, g: (*x[:2], *g.side, k[-2]),
    _fold_data,
    _transpose,
    on_cpu.transpose,
)
kernel_gradient_p = _primitive(
    "strided_convolve_kernel_gradient",
    lambda x, y, g: (x[0], *g.kernel, y[-1], x[-1]),
    _fold,  # a kernel for each: its sum over N must not mix them
    _kernel_gradient,
    on_cpu.kernel_gradient,
)

# Each rule gets the cotangent and the two operands, of which it may use the one that is not transposed.
ad.defbilinear(
    convolve_p,
    lambda ct, y, kernel, **g: transpose_p.bind(ct, kernel, **g),
    lambda ct, y, kernel, **g: kernel_gradient_p.bind(ct, y, **g),
)
ad.defbilinear(
    transpose_p,
    lambda ct, x, kernel, **g: convolve_p.bind(ct, kernel, **g),
    lambda ct, x, kernel, **g: kernel_gradient_p.bind(x, ct, **g),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda ct, x, y, **g: convolve_p.bind(y, ct, **g),
    lambda ct, x, y, **g: transpose_p.bind(x, ct, **g),
)


def _align(*operands: Array) -> list[Array]:
    """Let all vary over the manual axes of any, as operations of jax.lax do inside `jax.shard_map`.

    Without it the gradient of a replicated kernel would miss its sum over the shards.
    """
    varying = [jax.typeof(x).manual_axis_type.varying for x in operands]
    missing = [frozenset().union(*varying) - own for own in varying]
    return [
        lax.pcast(x, tuple(axes), to="varying") if axes else x
        for x, axes in zip(operands, missing, strict=True)
    ]


def _bind(prim: Primitive, data: Array, kernel: Array, geometry: Geometry) -> Array:
    """The primitive over any leading axes of [..., H, W, c], with one kernel."""
    data, kernel = _align(data, kernel)
    lead = data.shape[:-3]
    data = data.reshape(1, math.prod(lead), *data.shape[-3:])
    out: Any = prim.bind(data, kernel[None], geometry=geometry)
    return out.reshape(*lead, *out.shape[2:])


def _check(data: Array, kernel: Array, channels: int, name: str) -> None:
    if data.ndim < 3 or kernel.ndim != 4:
        raise ValueError(
            f"{name}, kernel: expected [..., H, W, C] and [p, q, in, out]; "
            f"got {data.shape} and {kernel.shape}"
        )
    if data.shape[-1] != channels:
        raise ValueError(
            f"{name}: expected {channels} channels as in kernel {kernel.shape}; got shape {data.shape}"
        )
    if data.dtype != kernel.dtype:
        raise TypeError(f"{name}: expected the kernel's dtype {kernel.dtype}; got {data.dtype}")


def conv(
    y: Array,
    kernel: Array,
    *,
    stride: tuple[int, int],
    padding: str | tuple[tuple[int, int], tuple[int, int]],
) -> Array:
    """Convolve, as `flax.linen.Conv` does: C(y, k), without its bias.

    Args:
      y: [..., H, W, in], any leading axes, none as well.
      kernel: [p, q, in, out], of the same dtype.
      stride: rows, columns.
      padding: "VALID", "SAME" or ((low, high), (low, high)).

    Returns:
      [..., h, w, out].

    Raises:
      ValueError: shapes that do not fit each other, or a side shorter than the kernel.
      TypeError: dtypes that differ.
    """
    _check(y, kernel, kernel.shape[-2], "y")
    side, size = y.shape[-3:-1], kernel.shape[:2]
    pairs = lax.padtype_to_pads(side, size, stride, padding) if isinstance(padding, str) else padding
    rows, columns = ((int(lo), int(hi)) for lo, hi in pairs)
    geometry = Geometry((stride[0], stride[1]), (rows, columns), (side[0], side[1]), (size[0], size[1]))
    if min(geometry.small) < 1:
        raise ValueError(f"y: expected sides of at least the kernel's {size} once padded; got {side}")
    return _bind(convolve_p, y, kernel, geometry)


def conv_transpose(x: Array, kernel: Array, *, stride: tuple[int, int]) -> Array:
    """Enlarge each side `stride` times, as `flax.linen.ConvTranspose(padding="SAME")`, without its bias.

    As there, the kernel is that of the convolution over the x that zeros dilate:
    T(x, k) for k the kernel flipped in both sides and with its channels swapped.

    Args:
      x: [..., h, w, in], any leading axes, none as well.
      kernel: [p, q, in, out], of the same dtype.
      stride: rows, columns.

    Returns:
      [..., h stride, w stride, out].

    Raises:
      ValueError: shapes that do not fit each other.
      TypeError: dtypes that differ.
    """
    _check(x, kernel, kernel.shape[-2], "x")
    size, side = kernel.shape[:2], x.shape[-3:-1]
    # SAME crops the whole p + s (h - 1) to s h, the larger half of an odd crop at the end.
    rows, columns = (
        (max(k - s, 0) // 2, k - s - max(k - s, 0) // 2) for k, s in zip(size, stride, strict=True)
    )
    side = (side[0] * stride[0], side[1] * stride[1])
    geometry = Geometry((stride[0], stride[1]), (rows, columns), side, (size[0], size[1]))
    return _bind(transpose_p, x, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), geometry)
