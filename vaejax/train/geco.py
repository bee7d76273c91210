"""The optimiser of a Lagrangian: descent for the model, ascent for its multiplier."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

from vaejax.checks import check_positive, check_real, plain
from vaejax.types import Array, Params, PyTree

__all__ = ["geco_optimizer"]


def geco_optimizer(
    optimizer: optax.GradientTransformation,
    *,
    rate: float,
    decay: float = 0.99,
    bounds: tuple[float, float] = (1e-6, 1e6),
    multiplier: str = "multiplier",
) -> optax.GradientTransformation:
    """GECO's two players in one gradient: `optimizer` for the model, a rule for the constraint's multiplier.

        C_ma <- decay C_ma + (1 - decay) C,   lam <- clip(lam exp(rate C_ma), lo, hi)

    with C the batch's mean of error - kappa (`objectives.geco`). The model sees lam as it was before the
    step. The average is the weighted mean of the C so far (`optax.ema`, debiased), where the paper starts it
    at the first; from some 1 / (1 - decay) steps on they are the same. State and multiplier are saved and
    resumed as all else. To be used with `gradient_update` on all groups.

    Args:
      optimizer: for every group but the multiplier's.
      rate: nu > 0, per unit of the error.
      decay: of the moving average, in [0, 1); 0.99 in the paper.
      bounds: 0 < lo < hi, of lam.
      multiplier: the group that holds log lam, a number.

    Returns:
      An optax transformation of the params of all groups.

    Raises:
      TypeError, ValueError: for a rate, decay or bounds of another kind or out of range; when
        initialised, without that group.

    Source: Rezende & Viola 2018, arXiv 1810.00597, algorithm 1.
    """
    check_positive(rate, "rate")
    check_real(decay, "decay")
    rate, decay = plain(rate), plain(decay)
    if len(bounds) != 2:
        raise ValueError(f"bounds: expected two numbers (lo, hi), got {bounds!r}")
    lo, hi = bounds
    if not 0 <= decay < 1:
        raise ValueError(f"decay: expected a number in [0, 1), got {decay!r}")
    if not 0 < lo < hi < math.inf:
        raise ValueError(f"bounds: expected 0 < lo < hi, got {bounds!r}")
    rate, decay = float(rate), float(decay)

    def within(updates: PyTree, params: PyTree) -> PyTree:
        def kept(update: Array, log_lam: Array) -> Array:
            return jnp.clip(log_lam + update, math.log(lo), math.log(hi)) - log_lam

        return jax.tree.map(kept, updates, params)

    def labels(params: Params) -> dict[str, str]:
        if multiplier not in params:
            raise ValueError(f"multiplier: expected a group among {sorted(params)}, got {multiplier!r}")
        return {group: "multiplier" if group == multiplier else "model" for group in params}

    # the gradient with respect to log lam is -C
    ascent = optax.chain(optax.ema(decay), optax.sgd(rate), optax.stateless(within))
    return optax.partition({"model": optimizer, "multiplier": ascent}, labels)
