"""log p(x) by annealed importance sampling, and between two bounds on simulated data; for small models.

    pi_t(z) = q(z|x)^(1 - b_t) p(x, z)^b_t,  0 = b_0 < ... < b_T = 1

Hamiltonian Monte Carlo moves z along the path: `annealing` has the chains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int
from vaejax.evaluation.annealing import adapt, backward, forward, path, temperatures
from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.codes import batch_of, check_real, flat
from vaejax.evaluation.entry import (
    can_score,
    check_model,
    check_weights,
    checked_condition,
    enter,
    looked_at,
    of_arrays,
    program,
    traced,
)
from vaejax.keys import check_key, named_key, threefry_key
from vaejax.ops.bounds import log_mean_exp
from vaejax.types import VAE, AnyArray, Array, Batch, Draw, Progress, Split

_WHY = "which Hamiltonian dynamics can move"


def annealed_log_likelihood(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    num_temperatures: int = 1000,
    num_chains: int = 16,
    leapfrog_steps: int = 10,
    batch_size: int = 64,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Estimate log p(x) of every example of a split by annealed importance sampling from q(z|x).

        log w = sum_t (b_t - b_(t-1)) [log p(x, z_(t-1)) - log q(z_(t-1)|x)],  z_t ~ HMC(pi_t) from z_(t-1)

    and the estimate is the log of the mean of w over chains: a lower bound on log p(x) in expectation, like
    importance sampling, which is T = 1. Long chains make it tight where q is poor: it is the check on
    `marginal_log_likelihood`. Each chain of an example costs 2 T (leapfrog_steps + 1) decoder gradients.

    The temperatures are spaced as a sigmoid, b_t ~ sigmoid(4 (2 t / T - 1)). A burn-in, one annealing with
    noise of its own, adapts a step size per example towards an acceptance of .65 and keeps the one of
    every temperature; the run that counts has these steps, frozen, so its weights stay unbiased.

    Args:
      key: typed PRNG key.
      vae: a bound model whose z is one array of real numbers, [B, d] or of another shape, whose q has a
        density at any z, and whose p(x|z) is exact; both and the prior differentiable in z.
      split: the examples; its transform runs first.
      num_temperatures: T.
      num_chains: C >= 2 chains per example.
      leapfrog_steps: in each transition, of which there is one per temperature.
      batch_size: the most examples at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`, `num_temperatures`, `num_chains`; means over the split and their standard errors over examples (nan
      for one example): `nll`, `nll_se` in nats, `ess`, `ess_se` (chains), `acceptance`, `acceptance_se`;
      `per_example`: `log_likelihood`, `ess` and `acceptance`, [N] each.

    Raises:
      TypeError, ValueError: an argument is of another kind, the latents are several parts or levels or no
        real numbers, q is a flow without an inverse or a point, p(x|z) is itself a bound or cannot score
        the split, or the model wants a c that the split has not, or none.

    Source: Neal 2001, physics/9803008; Wu, Burda, Salakhutdinov & Grosse 2017, arXiv 1611.04273.
    """
    key = enter(key, vae, split, progress=progress, batch_size=batch_size)
    _check_path(num_temperatures, num_chains, leapfrog_steps)
    size = even_size(split, batch_size)
    draw, _ = traced(key, vae, split, size)
    _check_draw(draw, "annealed_log_likelihood")
    betas = temperatures(num_temperatures)
    annealed = program(_jitted_annealed, split.transform, num_chains, leapfrog_steps, betas, key, vae)
    result = per_example(annealed, split, size, progress)
    return {
        "n": split.size,
        "num_temperatures": int(num_temperatures),
        "num_chains": int(num_chains),
        **mean_and_error("nll", -result["log_likelihood"]),
        **mean_and_error("ess", result["ess"]),
        **mean_and_error("acceptance", result["acceptance"]),
        "per_example": result,
    }


def sandwich(
    key: Array,
    vae: VAE,
    n: int,
    *,
    num_temperatures: int = 1000,
    c: AnyArray | None = None,
    num_chains: int = 16,
    leapfrog_steps: int = 10,
) -> dict[str, Any]:
    """Bound log p(x) from both sides, on data that the model itself made.

    z* ~ p(z), x ~ p(x|z*): so z* is an exact draw of p(z|x), and chains that anneal backwards from it give
    E[1/w] = 1/p(x): an upper bound on log p(x) in expectation, minus the log of the mean of 1/w over chains.
    The lower bound is that of `annealed_log_likelihood`, with the same temperatures and step sizes. Their gap
    bounds the error of both on data like the model's; on real data it says nothing.

    Args:
      key: typed PRNG key.
      vae: as for `annealed_log_likelihood`; its p(x|z) samples.
      n: examples to simulate, all at once.
      num_temperatures: as for `annealed_log_likelihood`.
      c: [n, ...], the conditions of a model that has one; the bounds are then on log p(x|c).
      num_chains: as for `annealed_log_likelihood`.
      leapfrog_steps: as for `annealed_log_likelihood`.

    Returns:
      `n`; means over the examples and their standard errors (nan for n = 1), nats: `lower`, `lower_se`,
      `upper`, `upper_se`, `gap`, `gap_se` (upper minus lower); `per_example`: `lower` and `upper` [n], `x`
      [n, ...], `z` [n, *event].

    Raises:
      TypeError, ValueError: as `annealed_log_likelihood`.

    Source: Grosse, Ghahramani & Adams 2015, arXiv 1511.02543.
    """
    check_key(key)
    check_model(vae, "encode", "decode", "sample_prior")
    check_positive_int(n, "n")
    _check_path(num_temperatures, num_chains, leapfrog_steps)
    key, c = threefry_key(key), checked_condition(c, n)
    simulate, arrays = of_arrays(partial(_simulated, int(n), key), vae)
    shape = jax.eval_shape(simulate, arrays, c)[0]
    index = np.arange(n, dtype=np.int32)
    _check_draw(jax.eval_shape(vae.encode, key, {**batch_of(shape, c), "index": index}), "sandwich")
    x, z = program(_jitted_simulated, int(n), key, vae)(c)
    batch = {**batch_of(x, c), "index": index}
    betas = temperatures(num_temperatures)
    of_batch = program(_jitted_sandwich, num_chains, leapfrog_steps, betas, key, vae)
    out = jax.tree.map(np.asarray, of_batch(batch, z))
    summary = {name: mean_and_error(name, out[name]) for name in ("lower", "upper")}
    gap = mean_and_error("gap", out["upper"].astype(np.float64) - out["lower"])
    summary = {**summary["lower"], **summary["upper"], **gap}
    return {"n": int(n), **summary, "per_example": {**out, "x": x, "z": z}}


def _annealed(
    transform: Callable[[Array, Batch], Batch], chains: int, leapfrog_steps: int,
    betas: Array, key: Array, vae: VAE, batch: Batch,
) -> dict[str, Array]:  # fmt: skip
    along, z = path(named_key(key, "ais"), vae, transformed(transform, key, batch), chains, leapfrog_steps)
    log_w, accepted = forward(along, betas, adapt(along, betas, z), z)
    lse = jax.nn.logsumexp
    ess = jnp.exp(2 * lse(log_w, axis=0) - lse(2 * log_w, axis=0))
    return {"log_likelihood": log_mean_exp(log_w), "ess": ess, "acceptance": accepted}


def _simulated(n: int, key: Array, vae: VAE, c: Array | None) -> tuple[Array, Array]:
    """x and z, the model's own."""
    z = vae.sample_prior(named_key(key, "prior"), n, c)
    px = vae.decode(z, c)
    check_weights(Draw(z, None, None, None, None, {}, px), "sandwich")
    x = px.sample(seed=named_key(key, "data"))
    return jnp.asarray(x, jax.tree.leaves(z)[0].dtype), z  # a Bernoulli's are int32


def _sandwich(
    chains: int, leapfrog_steps: int, betas: Array, key: Array, vae: VAE, batch: Batch, z: Array
) -> dict[str, Array]:
    along, start = path(named_key(key, "ais"), vae, batch, chains, leapfrog_steps)
    steps = adapt(along, betas, start)
    up, _ = forward(along, betas, steps, start)
    down = backward(along, betas, steps, jnp.broadcast_to(flat(z), start.shape))
    return {"lower": log_mean_exp(up), "upper": -log_mean_exp(-down)}


_jitted_annealed = jax.jit(_annealed, static_argnums=(0, 1, 2))  # the boundaries
_jitted_simulated = jax.jit(_simulated, static_argnums=0)
_jitted_sandwich = jax.jit(_sandwich, static_argnums=(0, 1))


def _check_path(num_temperatures: int, num_chains: int, leapfrog_steps: int) -> None:
    check_positive_int(num_temperatures, "num_temperatures")
    check_positive_int(num_chains, "num_chains")
    check_positive_int(leapfrog_steps, "leapfrog_steps")
    if num_chains < 2:
        raise ValueError(
            f"num_chains: expected at least 2, whose spread starts the step size; got {num_chains}"
        )


def _check_draw(draw: Draw, name: str) -> None:
    """Raise unless the latents can be moved along the path and p(x|z) is exact; `draw` is in shapes."""
    check_real(draw, _WHY)
    check_weights(draw, name)
    if not looked_at(can_score, draw):
        raise TypeError(f"q: expected a density log q(z|x) at any z, got {draw.q.name}, which has no inverse")
