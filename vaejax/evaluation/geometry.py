"""The decoder's local geometry, measured at the codes (`posterior_mean`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from vaejax.checks import check_positive_int
from vaejax.distributions import mean
from vaejax.evaluation.codes import batch_of, check_part, chosen, coded, put
from vaejax.evaluation.entry import check_model, checked, checked_condition, program
from vaejax.ops import metric
from vaejax.ops.chunks import map_examples
from vaejax.ops.jacobian import decoder_jacobian
from vaejax.types import VAE, AnyArray, Array, Distribution, PyTree

__all__ = ["DecoderGeometry", "decoder_geometry"]


class DecoderGeometry(NamedTuple):
    """Of J = d mu_x / d z, [D, d], at every example; every array leads with [n]."""

    singular_values: Array  # [n, d], descending, in units of the data per unit of z
    condition_number: Array  # of J^T J, (s_1 / s_d)^2; infinite with a latent that does nothing
    log_volume: Array  # 1/2 log det J^T J = sum_j log s_j; -inf with a latent that does nothing


def decoder_geometry(
    vae: VAE, x: AnyArray, *, c: AnyArray | None = None, part: int | None = None,
    of: Callable[[Distribution], Array] = mean, chunk: int | None = None,
) -> DecoderGeometry:  # fmt: skip
    """Singular values of the decoder's Jacobian, condition number and volume of J^T J.

    Args:
      vae: a bound model.
      x: [n, *event], transformed as the model eats it.
      c: [n, ...], the conditions of a model that has one.
      part: by which of several parts or levels, the others held at their code.
      of: the statistic of p(x|z) whose Jacobian is meant, as for `objectives.jacobian_l1`.
      chunk: examples at a time; None: chosen from the decoder.

    Returns:
      A DecoderGeometry of n examples.

    Raises:
      TypeError, ValueError: an argument is of another kind, the latents (or the part) are no real numbers,
        or c is missing or one too many.

    Source: Arvanitidis, Hansen & Hauberg 2018, arXiv 1710.11379 (the metric of a decoder).
    """
    check_model(vae)
    x = checked(x, "x", "[n, *event]")
    if not callable(of):
        raise TypeError(f"of: expected a function of p(x|z), got {type(of).__name__}")
    if chunk is not None:
        check_positive_int(chunk, "chunk")
    return program(_jitted_geometry, of, chunk, part, vae)(x, checked_condition(c, len(x)))


def _geometry(
    of: Callable[[Distribution], Array], chunk: int | None, part: int | None,
    vae: VAE, x: Array, c: Array | None,
) -> DecoderGeometry:  # fmt: skip
    code, draw = coded(vae, batch_of(x, c))
    check_part(draw, part, "by which the decoder has a Jacobian")

    def per_example(code: PyTree, c: Array | None) -> DecoderGeometry:
        z = chosen(code, part).ravel()
        jac = decoder_jacobian(lambda latent: of(vae.decode(put(code, part, latent), c)), z[None])
        measures = metric.singular_values(jac), metric.condition_number(jac), metric.log_volume(jac)
        return DecoderGeometry(*(measure[0] for measure in measures))

    return map_examples(per_example, jax.lax.stop_gradient(code), c, chunk=chunk)


_jitted_geometry = jax.jit(_geometry, static_argnums=(0, 1, 2))  # the boundary
