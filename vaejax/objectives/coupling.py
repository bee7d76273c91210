"""Penalties on what latents do together; their common options are explained at `jacobian_l1`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive, plain
from vaejax.distributions import mean
from vaejax.objectives.compose import Term
from vaejax.objectives.linearised import check_size, decoder_term, signs, subsets
from vaejax.ops import jacobian, metric
from vaejax.ops.probes import decoder_hessian, off_diagonal, quadratic_forms
from vaejax.types import Array, Distribution

__all__ = ["hessian_penalty", "ima", "orthogonality"]


def orthogonality(
    *,
    method: str = "exact",
    columns: int = 2,
    probes: int = 2,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """sum_{j != k} (J_:j^T J_:k)^2 at z, which is 0 just where the columns of J are orthogonal (OroJaR).

    The authors' code estimates it with k = 2, finite differences, without the 1/2, and takes the
    maximum over the batch; here the estimates are exact in the mean, and the mean is `compose`'s.

    Args:
      method: "exact"; "hutchinson", 1/2 the sample variance of ||J v||^2 over k probes of random signs;
        "columns", the pairs among m columns an example, times d (d - 1) / (m (m - 1)). Both estimates are
        unbiased in value and gradient.
      columns: m, for method="columns" only, 2..d.
      probes: k, for method="hutchinson" only, >= 2.
      of: as for `jacobian_l1`.
      stop_gradient: as for `jacobian_l1`.
      at: as for `jacobian_l1`.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in units of the data per unit of z, to the fourth power.

    Raises:
      TypeError, ValueError: as `jacobian_l1`, or for fewer than two columns or probes.

    Source: Wei et al. 2021, arXiv 2108.07668.
    """
    check_choice(method, ("exact", "columns", "hutchinson"), "method")
    check_size(columns, "columns", method=method, of_method="columns", default=2, least=2)
    check_size(probes, "probes", method=method, of_method="hutchinson", default=2, least=2)
    options: dict[str, Any] = {"of": of, "at": at, "stop_gradient": stop_gradient, "chunk": chunk}

    def exact(decode: Callable, z: Array) -> Array:
        return jacobian.orthogonality(jacobian.decoder_jacobian(decode, z))

    def from_columns(decode: Callable, z: Array, chosen: Array) -> Array:
        d, m = z.shape[-1], columns
        pairs = d * (d - 1) / (m * (m - 1))
        return pairs * jacobian.orthogonality(jacobian.decoder_columns(decode, z, chosen))

    def from_probes(decode: Callable, z: Array, v: Array) -> Array:
        products = jacobian.decoder_products(decode, z, v)  # [D, k]
        return off_diagonal(jnp.sum(jnp.square(products), axis=0))

    if method == "hutchinson":
        return decoder_term(from_probes, signs(probes), **options)
    if method == "columns":
        return decoder_term(from_columns, subsets(columns), **options)
    return decoder_term(exact, **options)


def ima(
    *,
    ridge: float = 0.01,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """1/2 [sum_j log(g_jj + r) - log det(g + r I)] of g = J^T J at z: how far columns are from orthogonal.

    With r = 0 it is the contrast of independent mechanism analysis, sum_j log |J_:j| - 1/2 log det J^T J. It
    is at least 0 (Hadamard), and 0 just where the columns are orthogonal. Unlike `orthogonality` it does not
    change with the length of a column, and so cannot be lowered by one that shrinks, but for lengths down to
    sqrt(r): the ridge takes latents that do nothing, whose columns are 0, out of it.

    Args:
      ridge: r > 0, in squared units of the data per squared unit of z. The variance of p(x|z) makes it a gap
        in the bound of a VAE (`kumar_poole`).
      of: as for `jacobian_l1`.
      stop_gradient: as for `jacobian_l1`.
      at: as for `jacobian_l1`.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in nats.

    Raises:
      TypeError, ValueError: for a ridge that is not a positive number, and as `jacobian_l1`.

    Source: Gresele et al. 2021, arXiv 2106.05200. Simon, Frossard & De Vleeschouwer 2026, arXiv 2606.21385,
    train flows with Jacobians regularised towards orthogonal columns, and prove identifiability from that,
    where all combinations of factors occur.
    """
    check_positive(ridge, "ridge")
    ridge = plain(ridge)

    def penalty(decode: Callable, z: Array) -> Array:
        jac = jacobian.decoder_jacobian(decode, z[None])
        each = jac, jnp.ones(jac.shape[:2], jac.dtype), ridge
        return 0.5 * (metric.log_det_diagonal(*each) - metric.log_det_full(*each))[0]

    return decoder_term(penalty, of=of, at=at, stop_gradient=stop_gradient, chunk=chunk)


def hessian_penalty(
    *,
    method: str = "exact",
    probes: int = 2,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """sum_i sum_{j != k} (d^2 mu_x,i / d z_j d z_k)^2 at z: what two latents change only together.

    The authors take the maximum over the outputs, and finite differences; here it is their sum, exactly
    differentiated. It is 0 for any decoder that is a sum of functions of one latent each, and almost
    everywhere for one that is piecewise linear.

    Args:
      method: "exact", d^2 tangents, for few latents; "hutchinson", 1/2 the sample variance of v^T H_i v
        over k probes of random signs, for every output: unbiased in value and gradient.
      probes: k, for method="hutchinson" only, >= 2.
      of: as for `jacobian_l1`.
      stop_gradient: as for `jacobian_l1`.
      at: as for `jacobian_l1`.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in squared units of the data per unit of z to the fourth power.

    Raises:
      TypeError, ValueError: as `jacobian_l1`, or for fewer than two probes.

    Source: Peebles et al. 2020, arXiv 2008.10599.
    """
    check_choice(method, ("exact", "hutchinson"), "method")
    check_size(probes, "probes", method=method, of_method="hutchinson", default=2, least=2)
    options: dict[str, Any] = {"of": of, "at": at, "stop_gradient": stop_gradient, "chunk": chunk}

    def exact(decode: Callable, z: Array) -> Array:
        hessian = decoder_hessian(decode, z)  # [D, d, d]
        mixed = hessian * (1 - jnp.eye(z.shape[-1], dtype=z.dtype))
        return jnp.sum(jnp.square(mixed))

    def from_probes(decode: Callable, z: Array, v: Array) -> Array:
        return jnp.sum(off_diagonal(quadratic_forms(decode, z, v)))

    if method == "hutchinson":
        return decoder_term(from_probes, signs(probes), **options)
    return decoder_term(exact, **options)
