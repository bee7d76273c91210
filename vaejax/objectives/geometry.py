"""Penalties on the size of the decoder's Jacobian; their common options are explained at `jacobian_l1`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vaejax.checks import check_choice, check_positive, check_positive_int, plain
from vaejax.distributions import mean
from vaejax.objectives.compose import Term
from vaejax.objectives.linearised import Penalty, check_size, decoder_term, signs, spread
from vaejax.ops import jacobian
from vaejax.ops import probes as ops_probes
from vaejax.types import Array, Distribution

__all__ = ["column_group_l1", "jacobian_l1", "jacobian_l2", "row_group_l1", "spectral_norm"]


def jacobian_l1(
    *,
    method: str = "exact",
    columns: int = 1,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    eps: float = 1e-3,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """||J(z)||_{1,1} = sum_ij |d mu_x,i / d z_j|: a sum over all D outputs and d latents.

    The paper's formula, E_q ||J(z)||_{1,1}, differs from its public code, and the options span both:
    the code takes a one-sided finite difference with step 1e-3 and detaches z, so that the penalty
    trains the decoder only (`method="finite_difference"`, `stop_gradient=True`); the formula has the
    exact J and a gradient that also reaches the encoder (`method="exact"`, `stop_gradient=False`). Both
    differentiate the decoder's mean, after the sigmoid, over all pixels and channels, undivided.

    Its scale depends on the data range and on the scale of z: a weight gamma means something only
    together with the weight of the KL. It prefers a basis of the latents, up to permutation and sign,
    also where the singular values of J tie and no function of J^T J does.

    Args:
      method: "exact", forward mode over all d columns; "columns", that many columns an example, scaled
        by d/m, an unbiased estimate of value and gradient; "finite_difference", the authors' form. There
        are no random projections: they estimate `row_group_l1`, another penalty.
      columns: m, for method="columns" only, 1..d.
      of: the statistic of p(x|z) whose Jacobian is meant: `distributions.mean` or `logits`, or any
        function of p(x|z) to an array.
      stop_gradient: True keeps the penalty's gradient out of z, and so out of the encoder.
      eps: the step, for method="finite_difference" only. Through a net in half precision the difference is
        its rounding, divided by eps: there method="exact" is the one to take.
      at: "sample", the drawn z, or "mean", the posterior's.
      chunk: examples at a time, so that memory does not grow with B; None: chosen from the decoder, and
        all at once where little is needed (`ops.chunks`). It changes neither value nor gradient.

    Returns:
      A term, [B], in units of the data per unit of z.

    Raises:
      TypeError, ValueError: for an unknown method, columns that are not 1..d (the upper end is checked
        when the term is called), an option of another method, or latents that are not one array [B, d].

    Source: Rhodes & Lee 2021, arXiv 2106.02923, eq. 2 and the authors' public code.
    """
    check_choice(method, ("exact", "columns", "finite_difference"), "method")
    check_size(columns, "columns", method=method, of_method="columns", default=1)
    if eps != 1e-3 and method != "finite_difference":
        raise ValueError(
            f'eps: only method="finite_difference" has a step; got eps={eps!r}, method={method!r}'
        )
    check_positive(eps, "eps")
    eps = plain(eps)
    options: dict[str, Any] = {"of": of, "at": at, "stop_gradient": stop_gradient, "chunk": chunk}

    def from_differences(decode: Callable, z: Array) -> Array:
        return jacobian.jacobian_l1(jacobian.finite_difference_jacobian(decode, z, eps))

    if method == "finite_difference":
        return decoder_term(from_differences, **options)
    if method == "columns":
        return decoder_term(_from_columns(_l1), spread(columns), **options)
    return decoder_term(_from_all_columns(_l1), **options)


def jacobian_l2(
    *,
    method: str = "exact",
    columns: int = 1,
    probes: int = 1,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """||J(z)||_F^2 = sum_ij J_ij^2, which no rotation of the latents changes: it aligns no axes.

    Args:
      method: "exact"; "columns", as for `jacobian_l1`; "hutchinson", (1/k) sum_k ||J v_k||^2 with random
        signs v_k, unbiased in value and gradient, of variance (2/k) sum_{i != j} (J^T J)_ij^2. Columns
        vary with the lengths of the columns of J, probes with the products between them.
      columns: m, for method="columns" only, 1..d.
      probes: k, for method="hutchinson" only, >= 1.
      of: as for `jacobian_l1`.
      stop_gradient: as for `jacobian_l1`.
      at: as for `jacobian_l1`.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in squared units of the data per squared unit of z.

    Raises:
      TypeError, ValueError: as `jacobian_l1`.

    Source: Hutchinson 1989, doi 10.1080/03610918908812806 (the estimator); Rhodes & Lee 2021, arXiv
    2106.02923 (the penalty, to compare with).
    """
    check_choice(method, ("exact", "columns", "hutchinson"), "method")
    check_size(columns, "columns", method=method, of_method="columns", default=1)
    check_size(probes, "probes", method=method, of_method="hutchinson", default=1)
    options: dict[str, Any] = {"of": of, "at": at, "stop_gradient": stop_gradient, "chunk": chunk}

    def from_probes(decode: Callable, z: Array, v: Array) -> Array:
        return jacobian.jacobian_l2(jacobian.decoder_products(decode, z, v)) / probes

    if method == "hutchinson":
        return decoder_term(from_probes, signs(probes), **options)
    if method == "columns":
        return decoder_term(_from_columns(_l2), spread(columns), **options)
    return decoder_term(_from_all_columns(_l2), **options)


def column_group_l1(
    *,
    method: str = "exact",
    columns: int = 1,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """sum_j ||J_:j||_2: a group lasso over the columns of J, which switches whole latents off.

    Args:
      method: "exact" or "columns", as for `jacobian_l1`.
      columns: m, for method="columns" only, 1..d.
      of: as for `jacobian_l1`.
      stop_gradient: as for `jacobian_l1`.
      at: as for `jacobian_l1`.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in units of the data per unit of z.

    Raises:
      TypeError, ValueError: as `jacobian_l1`.

    Source: Yuan & Lin 2006, doi 10.1111/j.1467-9868.2005.00532.x (the group lasso).
    """
    check_choice(method, ("exact", "columns"), "method")
    check_size(columns, "columns", method=method, of_method="columns", default=1)
    options: dict[str, Any] = {"of": of, "at": at, "stop_gradient": stop_gradient, "chunk": chunk}
    if method == "columns":
        return decoder_term(_from_columns(_column_groups), spread(columns), **options)
    return decoder_term(_from_all_columns(_column_groups), **options)


def row_group_l1(
    *,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """sum_i ||J_i:||_2, a group lasso over the rows of J: outputs that no latent moves, in no special basis.

    Args:
      of: as for `jacobian_l1`.
      stop_gradient: as for `jacobian_l1`.
      at: as for `jacobian_l1`.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in units of the data per unit of z.

    Raises:
      TypeError, ValueError: as `jacobian_l1`.

    Source: Yuan & Lin 2006, doi 10.1111/j.1467-9868.2005.00532.x (the group lasso).
    """

    def penalty(decode: Callable, z: Array) -> Array:
        return jacobian.row_group_l1(jacobian.decoder_jacobian(decode, z))

    return decoder_term(penalty, of=of, at=at, stop_gradient=stop_gradient, chunk=chunk)


def spectral_norm(
    *,
    iterations: int = 10,
    of: Callable[[Distribution], Array] = mean,
    stop_gradient: bool = True,
    at: str = "sample",
    chunk: int | None = None,
) -> Term:
    """sigma_max(J(z)), the largest singular value, by power iteration without the dense J.

    v <- J^T J v / ||J^T J v|| from a fixed start, one product with J and one with J^T each; the value is
    ||J v||, never above sigma_max, and its gradient leaves v alone. Not the spectral norm of weights.

    Args:
      iterations: n; the relative error is of order (s_2 / s_1)^(4 n).
      of: as for `jacobian_l1`.
      stop_gradient: as for `jacobian_l1`.
      at: as for `jacobian_l1`.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in units of the data per unit of z; squaring it is the caller's choice.

    Raises:
      TypeError, ValueError: for iterations that are not a positive int, and as `jacobian_l1`.

    Source: Miyato et al. 2018, arXiv 1802.05957 (power iteration under a stopped gradient, for weights).
    """
    check_positive_int(iterations, "iterations")

    def penalty(decode: Callable, z: Array) -> Array:
        return ops_probes.spectral_norm(decode, z, iterations)

    return decoder_term(penalty, of=of, at=at, stop_gradient=stop_gradient, chunk=chunk)


# Sums over the columns of J, [B, D, m] -> [B], times a scale that stands for the columns left out.


def _l1(jac: Array, scale: float = 1) -> Array:
    return jacobian.jacobian_l1(scale * jac)


def _l2(jac: Array, scale: float = 1) -> Array:
    return scale * jacobian.jacobian_l2(jac)


def _column_groups(jac: Array, scale: float = 1) -> Array:
    return scale * jacobian.column_group_l1(jac)


def _from_all_columns(norm: Callable[..., Array]) -> Penalty:
    def penalty(decode: Callable, z: Array) -> Array:
        return norm(jacobian.decoder_jacobian(decode, z))

    return penalty


def _from_columns(norm: Callable[..., Array]) -> Penalty:
    """(d/m) times the sum over m of the d columns."""

    def penalty(decode: Callable, z: Array, chosen: Array) -> Array:
        return norm(jacobian.decoder_columns(decode, z, chosen), z.shape[-1] / chosen.shape[-1])

    return penalty
