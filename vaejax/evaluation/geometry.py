"""The decoder's local geometry, measured at the posterior means."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaejax.distributions import mean
from vaejax.evaluation.codes import posterior_mean
from vaejax.ops import metric
from vaejax.ops.chunks import map_examples
from vaejax.ops.jacobian import decoder_jacobian
from vaejax.types import VAE, AnyArray, Array, Distribution

__all__ = ["DecoderGeometry", "decoder_geometry"]


class DecoderGeometry(NamedTuple):
    """Of J = d mu_x / d z, [D, d], at every example; every array leads with [n]."""

    singular_values: Array  # [n, d], descending, in units of the data per unit of z
    condition_number: Array  # of J^T J, (s_1 / s_d)^2; infinite with a latent that does nothing
    log_volume: Array  # 1/2 log det J^T J = sum_j log s_j; -inf with a latent that does nothing


def decoder_geometry(
    vae: VAE, x: AnyArray, *, of: Callable[[Distribution], Array] = mean, chunk: int | None = None
) -> DecoderGeometry:
    """Singular values of the decoder's Jacobian, condition number and volume of J^T J.

    Args:
      vae: a bound model.
      x: [n, *event], transformed as the model eats it.
      of: the statistic of p(x|z) whose Jacobian is meant, as for `objectives.jacobian_l1`.
      chunk: examples at a time; None: chosen from the decoder.

    Returns:
      A DecoderGeometry of n examples.

    Source: Arvanitidis, Hansen & Hauberg 2018, arXiv 1710.11379 (the metric of a decoder).
    """
    z = jax.lax.stop_gradient(posterior_mean(vae, {"x": jnp.asarray(x)}))

    def per_example(z_i: Array) -> DecoderGeometry:
        jac = decoder_jacobian(lambda latent: of(vae.decode(latent)), z_i[None])
        measures = metric.singular_values(jac), metric.condition_number(jac), metric.log_volume(jac)
        return DecoderGeometry(*(measure[0] for measure in measures))

    return map_examples(per_example, z, chunk=chunk)
