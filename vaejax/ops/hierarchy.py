"""How a level's posterior is made of what the encoder says and of the prior that it meets."""

from __future__ import annotations

import chex
import jax

from vaejax.types import Array

__all__ = ["precision_weighted", "residual"]


def precision_weighted(loc: Array, logvar: Array, loc_p: Array, logvar_p: Array) -> tuple[Array, Array]:
    """N(loc, v) N(loc_p, v_p), normalised: 1/v_q = 1/v + 1/v_p, loc_q = v_q (loc / v + loc_p / v_p).

    N(1, 1) and N(0, 1) make N(1/2, 1/2).

    Args:
      loc: what the encoder says, [...].
      logvar: log v, [...].
      loc_p: of the prior under the levels above, [...].
      logvar_p: log v_p, [...].

    Returns:
      (loc_q, log v_q), each [...].

    Source: Sonderby et al. 2016, arXiv 1602.02282, eq. 10 to 12.
    """
    chex.assert_equal_shape([loc, logvar, loc_p, logvar_p])
    # v_p / (v + v_p), the encoder's share of the precision: no 1 / v, which overflows first
    weight = jax.nn.sigmoid(logvar_p - logvar)
    return loc_p + weight * (loc - loc_p), logvar + jax.nn.log_sigmoid(logvar_p - logvar)


def residual(dloc: Array, dlogvar: Array, loc_p: Array, logvar_p: Array) -> tuple[Array, Array]:
    """loc_q = loc_p + dloc, log v_q = log v_p + dlogvar: at 0 the posterior is the prior.

    KL(q||p) = 1/2 [dloc^2 / v_p + exp(dlogvar) - dlogvar - 1].

    Args:
      dloc: what the encoder adds to the mean, [...].
      dlogvar: what it adds to the log-variance, [...].
      loc_p: of the prior under the levels above, [...].
      logvar_p: log v_p, [...].

    Returns:
      (loc_q, log v_q), each [...].

    Source: Vahdat & Kautz 2020, arXiv 2007.03898, section 3.2.
    """
    chex.assert_equal_shape([dloc, dlogvar, loc_p, logvar_p])
    return loc_p + dloc, logvar_p + dlogvar
