"""Penalties on the geometry of the decoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive_int
from vaejax.distributions import mean
from vaejax.keys import example_index, named_key
from vaejax.objectives.compose import Term
from vaejax.ops import jacobian as ops_jacobian
from vaejax.types import VAE, Array, Distribution, Draw

__all__ = ["jacobian_l1"]


def jacobian_l1(
    *,
    method: str = "exact",
    columns: int = 1,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    eps: float = 1e-3,
) -> Term:
    """||J(z)||_{1,1} = sum_ij |d mu_x,i / d z_j| at the drawn z: a sum over all D outputs and d latents.

    The paper's formula, E_q ||J(z)||_{1,1}, differs from its public code, and the options span both:
    the code takes a one-sided finite difference with step 1e-3 and detaches z, so that the penalty
    trains the decoder only (`method="finite_difference"`, `stop_gradient=True`); the formula has the
    exact J and a gradient that also reaches the encoder (`method="exact"`, `stop_gradient=False`). Both
    differentiate the decoder's mean, after the sigmoid, over all pixels and channels, undivided.

    Its scale depends on the data range and on the scale of z: a weight gamma means something only
    together with the weight of the KL.

    Args:
      method: "exact", forward mode over all d columns; "columns", that many columns an example, scaled
        by d/m, an unbiased estimate of value and gradient (random projections are not, for L1);
        "finite_difference", the authors' form.
      columns: m, for method="columns" only, 1..d.
      of: the statistic of p(x|z) whose Jacobian is meant: `distributions.mean` or `logits`, or any
        function of p(x|z) to an array.
      stop_gradient: True keeps the penalty's gradient out of z, and so out of the encoder.
      eps: the step, for method="finite_difference" only.

    Returns:
      A term, [B], in units of the data per unit of z.

    Raises:
      TypeError, ValueError: for an unknown method, columns that are not 1..d (the upper end is checked
        when the term is called), an option of another method, or latents that are not one array [B, d].

    Source: Rhodes & Lee 2021, arXiv 2106.02923, eq. 2 and the authors' public code.
    """
    check_choice(method, ("exact", "columns", "finite_difference"), "method")
    check_positive_int(columns, "columns")
    if columns != 1 and method != "columns":
        raise ValueError(f'columns: only method="columns" has them; got columns={columns}, method={method!r}')
    if eps != 1e-3 and method != "finite_difference":
        raise ValueError(
            f'eps: only method="finite_difference" has a step; got eps={eps!r}, method={method!r}'
        )
    if not (eps > 0 and math.isfinite(eps)):
        raise ValueError(f"eps: expected a positive finite step, got {eps!r}")
    if not callable(of):
        raise TypeError(f"of: expected a function of p(x|z) to an array, got {of!r}")

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        z = _one_latent_array(draw)
        d = z.shape[-1]
        if columns > d:
            raise ValueError(f"columns: expected at most the number of latents, {d}; got {columns}")
        if stop_gradient:
            # z itself is detached, and J is linearised anew there: a tangent map shared with the
            # reconstruction would still depend on z and leak into the encoder
            z = jax.lax.stop_gradient(z)
        if method == "exact":
            jac = _on_decoder(ops_jacobian.decoder_jacobian, vae, draw, of, z)
        elif method == "finite_difference":
            jac = _on_decoder(partial(ops_jacobian.finite_difference_jacobian, eps=eps), vae, draw, of, z)
        else:
            offset = jax.random.randint(named_key(key, "columns"), (), 0, d)
            chosen = ops_jacobian.spread_columns(offset, example_index(draw.batch), d, columns)  # [B, m]
            jac = d / columns * _on_decoder(ops_jacobian.decoder_columns, vae, draw, of, z, chosen)
        return ops_jacobian.jacobian_l1(jac)

    return term


def _one_latent_array(draw: Draw) -> Array:
    """z: [B, d] of a draw with one level of vector latents."""
    if not isinstance(draw.z, jax.Array) or draw.z.ndim != 2:
        got = jax.tree.map(jnp.shape, draw.z)
        raise TypeError(f"z: expected one array of latents [B, d]; got shape(s) {got}")
    return draw.z


def _on_decoder(
    op: Callable[..., Array], vae: VAE, draw: Draw, of: Callable, z: Array, *args: Array
) -> Array:
    """Apply `op(decode, z, *args)` of ops.jacobian with decode the statistic `of` p(x|z, c), [B, ...]."""

    def per_example(z_i: Array, c_i: Array | None, *args_i: Array) -> Array:
        def decode(latent: Array) -> Array:
            return of(vae.decode(latent, c_i))

        return op(decode, z_i[None], *(a[None] for a in args_i))[0]

    return jax.vmap(per_example)(z, draw.batch.get("c"), *args)
