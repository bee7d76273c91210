"""Layers whose parameters all come from outside: planar, radial and Sylvester flows.

Each step adds a constant start to its numbers, so that numbers of 0 are the identity and every number of
them has a gradient there, or one after its first step: at w = 0 or R = Rt = 0 a flow would stay as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from vaejax.fixed import Fixed
from vaejax.models.flows.layer import Layer, scanned
from vaejax.ops import flows
from vaejax.types import Array, PyTree

__all__ = ["planar", "radial", "sylvester"]


def planar(d: int, steps: int) -> Layer:
    """Steps of `ops.flows.planar`, 2 d + 1 numbers each; w of step t starts along axis t."""
    maps = (_planar, flows.planar, flows.planar_inverse)
    return _layer(steps * (2 * d + 1), steps, *maps)


def radial(d: int, steps: int) -> Layer:
    """Steps of `ops.flows.radial`, d + 2 numbers each."""
    maps = (_radial, flows.radial, flows.radial_inverse)
    return _layer(steps * (d + 2), steps, *maps)


def sylvester(d: int, steps: int, columns: int) -> Layer:
    """Steps of `ops.flows.sylvester` with m columns, m d + m (m + 1) + m numbers each.

    Q is a product of m reflections, that of column k starting along axis t + k in step t; the diagonals of R
    and Rt are tanh of numbers, of which those of Rt start at 1.
    """
    m = columns
    maps = (Fixed(_sylvester, m), flows.sylvester, flows.sylvester_inverse)
    return _layer(steps * (m * d + m * (m + 1) + m), steps, *maps)


def _layer(numbers: int, steps: int, read: Callable, forward: Callable, inverse: Callable) -> Layer:
    return Layer(
        numbers,
        None,
        Fixed(_through, steps, read, forward, False),
        Fixed(_through, steps, read, inverse, True),
    )


def _through(
    steps: int, read: Callable, step: Callable, back: bool, own: PyTree, given: Array, z: Array
) -> tuple[Array, Array]:
    """All steps; `read(d, raw, axes)` makes the parameters of one of its numbers and of unit vectors."""
    del own
    d = z.shape[-1]
    raw = jnp.moveaxis(given.reshape(*given.shape[:-1], steps, -1), -2, 0)
    axes = np.stack([np.roll(np.eye(d, dtype=raw.dtype), -t, 0) for t in range(steps)])
    return scanned(lambda of_step, z: step(z, *read(d, *of_step)), (raw, axes), z, back)


def _planar(d: int, raw: Array, axes: Array) -> tuple[Array, Array, Array]:
    return raw[..., :d], raw[..., d : 2 * d] + axes[0], raw[..., 2 * d]


def _radial(d: int, raw: Array, axes: Array) -> tuple[Array, Array, Array]:
    del axes
    return raw[..., :d], raw[..., d], raw[..., d + 1]


def _sylvester(m: int, d: int, raw: Array, axes: Array) -> tuple[Array, Array, Array, Array]:
    size = m * (m + 1) // 2
    v, upper, tilde, b = jnp.split(raw, np.cumsum([m * d, size, size]), -1)
    v = v.reshape(*v.shape[:-1], m, d) + axes[:m]
    return flows.orthonormal_columns(v), _triangle(upper, m, 0.0), _triangle(tilde, m, 1.0), b


def _triangle(raw: Array, m: int, start: float) -> Array:
    """An upper triangle [..., m, m] of numbers row by row; on the diagonal tanh(number + start)."""
    rows, columns = np.triu_indices(m)
    full = jnp.zeros((*raw.shape[:-1], m, m), raw.dtype).at[..., rows, columns].set(raw)
    return jnp.where(np.eye(m, dtype=bool), jnp.tanh(full + start), full)
