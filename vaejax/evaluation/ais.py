"""log p(x) by annealed importance sampling, and between two bounds on simulated data; for small models.

    pi_t(z) = q(z|x)^(1 - b_t) p(x, z)^b_t,  0 = b_0 < ... < b_T = 1

Hamiltonian Monte Carlo moves z along the path. Chains are mapped; z: [C, B, d] for C chains of B examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int
from vaejax.distributions import score
from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.entry import check_model, enter, program, traced
from vaejax.keys import check_key, example_keys, named_key, threefry_key
from vaejax.ops.bounds import log_mean_exp
from vaejax.types import VAE, Array, Batch, Progress, Split

ACCEPTANCE = 0.65  # what the step size is adapted to: Neal 2011, 1206.1901
RATE = 0.2  # of log(step size) per transition and unit of acceptance
STEEPNESS = 4.0  # of the sigmoid that spaces the temperatures


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
      vae: a bound model with one array of latents, whose p(x|z) is exact and differentiable in z.
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
      TypeError, ValueError: an argument is of another kind, the latents are not one array [B, d], p(x|z) is
        itself a bound, or it cannot score the split.

    Source: Neal 2001, physics/9803008; Wu, Burda, Salakhutdinov & Grosse 2017, arXiv 1611.04273.
    """
    key = enter(key, vae, split, progress=progress, batch_size=batch_size)
    _check_path(num_temperatures, num_chains, leapfrog_steps)
    size = even_size(split, batch_size)
    draw, _ = traced(key, vae, split, size)
    _check_draw(draw.z, draw.q, draw.px)
    betas = _temperatures(num_temperatures)
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
      vae: a bound model without conditions, with one array of latents; its p(x|z) samples.
      n: examples to simulate, all at once.
      num_temperatures: as for `annealed_log_likelihood`.
      num_chains: as for `annealed_log_likelihood`.
      leapfrog_steps: as for `annealed_log_likelihood`.

    Returns:
      `n`; means over the examples and their standard errors (nan for n = 1), nats: `lower`, `lower_se`,
      `upper`, `upper_se`, `gap`, `gap_se` (upper minus lower); `per_example`: `lower` and `upper` [n], `x`
      [n, ...], `z` [n, d].

    Raises:
      TypeError, ValueError: as `annealed_log_likelihood`.

    Source: Grosse, Ghahramani & Adams 2015, arXiv 1511.02543.
    """
    check_key(key)
    check_model(vae, "encode", "decode", "sample_prior")
    check_positive_int(n, "n")
    _check_path(num_temperatures, num_chains, leapfrog_steps)
    key = threefry_key(key)
    x, z = program(_jitted_simulated, int(n), key, vae)()
    batch = {"x": x, "index": np.arange(n, dtype=np.int32)}
    draw = jax.eval_shape(vae.encode, key, batch)
    _check_draw(draw.z, draw.q, draw.px)
    betas = _temperatures(num_temperatures)
    of_batch = program(_jitted_sandwich, num_chains, leapfrog_steps, betas, key, vae)
    out = jax.tree.map(np.asarray, of_batch(batch, z))
    summary = {name: mean_and_error(name, out[name]) for name in ("lower", "upper")}
    gap = mean_and_error("gap", out["upper"].astype(np.float64) - out["lower"])
    summary = {**summary["lower"], **summary["upper"], **gap}
    return {"n": int(n), **summary, "per_example": {**out, "x": x, "z": z}}


class _Path(NamedTuple):
    """The two ends of the path, both (z: [B, d]) -> [B] nats, and the keys of the examples [B]."""

    log_q: Callable[[Array], Array]
    log_joint: Callable[[Array], Array]
    keys: Array
    leapfrog_steps: int

    def log_ratio(self, z: Array) -> Array:
        """log p(x, z) - log q(z|x), [C, B, d] -> [C, B]."""
        return jax.vmap(lambda z: self.log_joint(z) - self.log_q(z))(z)

    def log_density(self, beta: Array, z: Array) -> Array:
        """log pi(z) = (1 - beta) log q(z|x) + beta log p(x, z), [C, B, d] -> [C, B]."""
        return jax.vmap(lambda z: (1 - beta) * self.log_q(z) + beta * self.log_joint(z))(z)


def _path(key: Array, vae: VAE, batch: Batch, chains: int, leapfrog_steps: int) -> tuple[_Path, Array]:
    """The path for a batch, and a first z ~ q(z|x) for every chain, [C, B, d]."""
    draw = vae.encode(key, batch)  # for q and p; distributions do not cross the map over chains

    def log_joint(z: Array) -> Array:
        return score(key, vae.decode(z, batch.get("c")), batch["x"]) + draw.p.log_prob(z)

    z = jax.vmap(lambda k: vae.encode(k, batch).z)(jax.random.split(named_key(key, "start"), chains))
    return _Path(draw.q.log_prob, log_joint, example_keys(key, batch), leapfrog_steps), z


def _transition(path: _Path, name: str, t: Array, beta: Array, step: Array, z: Array) -> tuple[Array, Array]:
    """One HMC transition that leaves pi_beta as it is; step: [B]. Returns z and the acceptance [B]."""
    keys = jax.vmap(lambda k: jax.random.split(jax.random.fold_in(named_key(k, name), t)))(path.keys)
    C, _, d = z.shape
    momentum = jax.vmap(lambda k: jax.random.normal(k, (C, d), z.dtype), out_axes=1)(keys[:, 0])
    u = jax.vmap(lambda k: jax.random.uniform(k, (C,), z.dtype), out_axes=1)(keys[:, 1])

    def energy(z: Array, momentum: Array) -> Array:
        return -path.log_density(beta, z) + 0.5 * jnp.sum(jnp.square(momentum), axis=-1)

    gradient = jax.grad(lambda z: jnp.sum(path.log_density(beta, z)))  # of every chain and example at once
    eps = step[:, None]

    def leap(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        moved, r, g = state
        r = r + 0.5 * eps * g
        moved = moved + eps * r
        g = gradient(moved)
        return moved, r + 0.5 * eps * g, g

    moved, r, _ = jax.lax.fori_loop(0, path.leapfrog_steps, leap, (z, momentum, gradient(z)))
    change = energy(z, momentum) - energy(moved, r)
    accept = jnp.where(jnp.isnan(change), 0.0, jnp.exp(jnp.minimum(change, 0.0)))  # a divergence is refused
    return jnp.where((u < accept)[..., None], moved, z), jnp.mean(accept, axis=0)


def _adapt(path: _Path, betas: Array, z: Array) -> Array:
    """The burn-in: one annealing that tunes its step size as it goes. The steps, [T, B]."""
    T = len(betas) - 1

    def move(state: tuple[Array, Array], at: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        z, log_step = state
        t, beta = at
        z, accepted = _transition(path, "burn_in", t, beta, jnp.exp(log_step), z)
        log_step = (log_step + RATE * (accepted - ACCEPTANCE)).astype(log_step.dtype)
        return (z, log_step), jnp.exp(log_step)

    narrowest = jnp.min(jnp.std(z, axis=0), axis=-1)  # the narrowest direction of q limits the step, [B]
    return jax.lax.scan(move, (z, jnp.log(0.5 * narrowest)), (jnp.arange(T), betas[1:]))[1]


def _forward(path: _Path, betas: Array, steps: Array, z: Array) -> tuple[Array, Array]:
    """Anneal from q to p(x, z): log w [C, B] and the acceptance [B]."""

    def move(state: tuple[Array, Array], at: tuple) -> tuple[tuple[Array, Array], Array]:
        z, log_w = state
        t, before, beta, step = at
        log_w = log_w + (beta - before) * path.log_ratio(z)
        z, accepted = _transition(path, "forward", t, beta, step, z)
        return (z, log_w), accepted

    along = (jnp.arange(len(steps)), betas[:-1], betas[1:], steps)
    (_, log_w), accepted = jax.lax.scan(move, (z, jnp.zeros(z.shape[:2])), along)
    return log_w, jnp.mean(accepted, axis=0)


def _backward(path: _Path, betas: Array, steps: Array, z: Array) -> Array:
    """Anneal from p(x, z) to q, the forward path in reverse: log w [C, B]."""

    def move(state: tuple[Array, Array], at: tuple) -> tuple[tuple[Array, Array], None]:
        z, log_w = state
        t, before, beta, step = at
        z, _ = _transition(path, "backward", t, beta, step, z)
        return (z, log_w + (beta - before) * path.log_ratio(z)), None

    along = (jnp.arange(len(steps)), betas[:-1], betas[1:], steps)
    return jax.lax.scan(move, (z, jnp.zeros(z.shape[:2])), along, reverse=True)[0][1]


def _annealed(
    transform: Callable[[Array, Batch], Batch], chains: int, leapfrog_steps: int,
    betas: Array, key: Array, vae: VAE, batch: Batch,
) -> dict[str, Array]:  # fmt: skip
    path, z = _path(named_key(key, "ais"), vae, transformed(transform, key, batch), chains, leapfrog_steps)
    log_w, accepted = _forward(path, betas, _adapt(path, betas, z), z)
    lse = jax.nn.logsumexp
    ess = jnp.exp(2 * lse(log_w, axis=0) - lse(2 * log_w, axis=0))
    return {"log_likelihood": log_mean_exp(log_w), "ess": ess, "acceptance": accepted}


def _simulated(n: int, key: Array, vae: VAE) -> tuple[Array, Array]:
    """x and z, the model's own."""
    z = vae.sample_prior(named_key(key, "prior"), n)
    px = vae.decode(z)
    _check_draw(z, None, px)
    x = px.sample(seed=named_key(key, "data"))
    return jnp.asarray(x, z.dtype), z  # a Bernoulli's are int32


def _sandwich(
    chains: int, leapfrog_steps: int, betas: Array, key: Array, vae: VAE, batch: Batch, z: Array
) -> dict[str, Array]:
    path, start = _path(named_key(key, "ais"), vae, batch, chains, leapfrog_steps)
    steps = _adapt(path, betas, start)
    forward, _ = _forward(path, betas, steps, start)
    backward = _backward(path, betas, steps, jnp.broadcast_to(z, start.shape))
    return {"lower": log_mean_exp(forward), "upper": -log_mean_exp(-backward)}


_jitted_annealed = jax.jit(_annealed, static_argnums=(0, 1, 2))  # the boundaries
_jitted_simulated = jax.jit(_simulated, static_argnums=0)
_jitted_sandwich = jax.jit(_sandwich, static_argnums=(0, 1))


def _temperatures(T: int) -> Array:
    """b_0 .. b_T, a sigmoid rescaled to run from 0 to 1."""
    s = 1 / (1 + np.exp(-STEEPNESS * np.linspace(-1, 1, T + 1)))
    return jnp.asarray((s - s[0]) / (s[-1] - s[0]), jnp.float32)


def _check_path(num_temperatures: int, num_chains: int, leapfrog_steps: int) -> None:
    check_positive_int(num_temperatures, "num_temperatures")
    check_positive_int(num_chains, "num_chains")
    check_positive_int(leapfrog_steps, "leapfrog_steps")
    if num_chains < 2:
        raise ValueError(
            f"num_chains: expected at least 2, whose spread starts the step size; got {num_chains}"
        )


def _check_draw(z: Any, q: Any, px: Any) -> None:
    """Raise unless the latents are one array [B, d] and p(x|z) is exact."""
    if isinstance(q, tuple) or getattr(z, "ndim", None) != 2:
        raise TypeError(f"z: expected one array of latents [B, d]; got {jax.tree.map(jnp.shape, z)}")
    if getattr(px, "is_bound", False):
        raise TypeError(f"vae: expected an exact log p(x|z), got a bound ({px.name})")
