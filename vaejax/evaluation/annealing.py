"""Chains that anneal between q(z|x) and p(x, z) by Hamiltonian Monte Carlo, for `ais`.

    pi_t(z) = q(z|x)^(1 - b_t) p(x, z)^b_t,  0 = b_0 < ... < b_T = 1

Chains are mapped; z: [C, B, d] for C chains of B examples, latents of another shape in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.distributions import score
from vaejax.evaluation.codes import flat
from vaejax.keys import example_keys, named_key
from vaejax.types import VAE, Array, Batch

ACCEPTANCE = 0.65  # what the step size is adapted to: Neal 2011, 1206.1901
RATE = 0.2  # of log(step size) per transition and unit of acceptance
STEEPNESS = 4.0  # of the sigmoid that spaces the temperatures


def temperatures(T: int) -> Array:
    """b_0 .. b_T, a sigmoid rescaled to run from 0 to 1."""
    s = 1 / (1 + np.exp(-STEEPNESS * np.linspace(-1, 1, T + 1)))
    return jnp.asarray((s - s[0]) / (s[-1] - s[0]), jnp.float32)


class Path(NamedTuple):
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


def path(key: Array, vae: VAE, batch: Batch, chains: int, leapfrog_steps: int) -> tuple[Path, Array]:
    """The path for a batch, and a first z ~ q(z|x) for every chain, [C, B, d]."""
    draw = vae.encode(key, batch)  # for q and p; distributions do not cross the map over chains

    def log_joint(z: Array) -> Array:
        z = z.reshape(draw.z.shape)
        return score(key, vae.decode(z, batch.get("c")), batch["x"], batch.get("observed")) + draw.p.log_prob(
            z
        )

    def log_q(z: Array) -> Array:
        return draw.q.log_prob(z.reshape(draw.z.shape))

    keys = jax.random.split(named_key(key, "start"), chains)
    z = jax.vmap(lambda k: flat(vae.encode(k, batch).z))(keys)
    return Path(log_q, log_joint, example_keys(key, batch), leapfrog_steps), z


def _transition(path: Path, name: str, t: Array, beta: Array, step: Array, z: Array) -> tuple[Array, Array]:
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


def adapt(path: Path, betas: Array, z: Array) -> Array:
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


def forward(path: Path, betas: Array, steps: Array, z: Array) -> tuple[Array, Array]:
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


def backward(path: Path, betas: Array, steps: Array, z: Array) -> Array:
    """Anneal from p(x, z) to q, the forward path in reverse: log w [C, B]."""

    def move(state: tuple[Array, Array], at: tuple) -> tuple[tuple[Array, Array], None]:
        z, log_w = state
        t, before, beta, step = at
        z, _ = _transition(path, "backward", t, beta, step, z)
        return (z, log_w + (beta - before) * path.log_ratio(z)), None

    along = (jnp.arange(len(steps)), betas[:-1], betas[1:], steps)
    return jax.lax.scan(move, (z, jnp.zeros(z.shape[:2])), along, reverse=True)[0][1]
