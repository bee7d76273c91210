"""A recurrent layer over a whole sequence."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from vaejax.types import Array


@jax.custom_vjp
def lstm(inputs: Array, kernel: Array, h: Array, c: Array) -> Array:
    """The states h_t of an LSTM after each of T inputs.

        (i, f, g, o)_t = inputs_t + h_{t-1} kernel
        c_t = sigmoid(f_t) c_{t-1} + sigmoid(i_t) tanh(g_t),   h_t = sigmoid(o_t) tanh(c_t)

    What automatic differentiation would do T times, the product that the kernel's gradient is, is done once
    for all t; so there is a gradient, and no forward derivative (`jax.jvp`, `jacfwd`).

    Args:
      inputs: [T, B, 4n], what each input adds to the gates, in the order above.
      kernel: [n, 4n]; products are in its dtype, which may be a half precision, all else in that of inputs.
      h: h_0, [B, n].
      c: c_0, [B, n].

    Returns:
      [T, B, n].

    Source: Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735, with the forget gate of Gers,
    Schmidhuber & Cummins 2000, doi 10.1162/089976600300015015.
    """
    return _forward(inputs, kernel, h, c)[0]


def _forward(inputs: Array, kernel: Array, h: Array, c: Array) -> tuple[Array, tuple[Array, ...]]:
    n = h.shape[-1]
    chex.assert_shape([kernel, inputs[0], c], [(n, 4 * n), (*h.shape[:-1], 4 * n), h.shape])

    def step(carry: tuple[Array, Array], a: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        h, c = carry
        i, f, g, o = jnp.split(a + _product(h, kernel), 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        c = f * c + i * g
        h = o * jnp.tanh(c)
        return (h, c), (h, c, i, f, g, o)

    _, (hs, cs, *gates) = jax.lax.scan(step, (h, c), inputs)
    return hs, (kernel, h, c, hs, cs, *gates)


def _backward(kept: tuple[Array, ...], of_h: Array) -> tuple[Array, Array, Array, Array]:
    kernel, h, c, hs, cs, *gates = kept
    before = jnp.concatenate([c[None], cs[:-1]])

    def step(carry: tuple[Array, Array], at: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        dh, dc = carry
        given, c_before, c, i, f, g, o = at
        dh, tanh_c = dh + given, jnp.tanh(c)
        dc = dc + dh * o * (1 - tanh_c**2)
        di, df, dg, do = dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c
        da = jnp.concatenate([di, df, dg, do * o * (1 - o)], axis=-1)
        return (_product(da, kernel.T), dc * f), da

    zeros = jnp.zeros_like(h), jnp.zeros_like(c)
    (dh, dc), da = jax.lax.scan(step, zeros, (of_h, before, cs, *gates), reverse=True)
    hs_before = jnp.concatenate([h[None], hs[:-1]])
    of_kernel = hs_before.reshape(-1, hs.shape[-1]).T @ da.reshape(-1, da.shape[-1])
    return da, of_kernel.astype(kernel.dtype), dh, dc


def _product(a: Array, kernel: Array) -> Array:
    """a kernel, computed in the kernel's dtype, in that of a."""
    return (a.astype(kernel.dtype) @ kernel).astype(a.dtype)


lstm.defvjp(_forward, _backward)
