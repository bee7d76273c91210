"""Pairs of examples that share unknown factors: their posteriors have the shared latents in common."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_real, plain
from vaejax.distributions import diagonal_gaussian, is_diagonal_gaussian, kl_divergence, score
from vaejax.keys import example_keys, named_key
from vaejax.objectives.compose import Term, logs, sees_step
from vaejax.objectives.elbo import kl
from vaejax.ops import pairs
from vaejax.types import VAE, Array, Batch, Distribution, Draw

__all__ = ["group"]

_AVERAGES = {"mean": pairs.mean_average, "precision": pairs.precision_average}


def group(
    average: str = "mean", *, shared: int | None = None, beta: float | Callable[[Any], Any] = 1.0
) -> Term:  # fmt: skip
    """The mean of the negative ELBOs of both examples of a pair, whose posteriors share what the pair does.

        1/2 sum_i [ -log p(x_i|z_i) + beta KL(q_i || p) ],    z_i ~ q_i,

    where q_1 and q_2 are the encoder's but for the latents that count as shared (`ops.pairs.shared_latents`):
    there both are the average of the two. Which are shared is found for each pair, and no gradient goes
    through that. The batch has the second example as `batch["x2"]`, of the shape of x, as `data.pairs` makes
    it; the model is one of single examples, and stands for `reconstruction` and `kl` together.

    Args:
      average: "mean", GroupVAE's (mean of means and of variances); or "precision", ML-VAE's (their product).
      shared: how many latents are; None: those whose delta_j is below the middle of the largest and the
        least, as in Ada-GVAE and Ada-ML-VAE. 0 is a beta-VAE of twice as many examples.
      beta: weight of the KL: a number >= 0, or a schedule step -> weight.

    Returns:
      A term in nats, [B], a mean over both; it logs `kl`, of x alone and unmerged, and `shared`, how many
      latents are on average.

    Raises:
      TypeError, ValueError: for another average, a shared that is no int of at least 0, a beta that is
        neither or negative; when called, for a batch without x2 or of another shape than x, another q than
        one diagonal Gaussian of latents [d], or more shared latents than there are.

    Source: Locatello et al. 2020, arXiv 2002.02886, after Bouchacourt et al. 2018, arXiv
    1705.08841, and Hosoya 2019, arXiv 1809.02383.
    """
    check_choice(average, tuple(_AVERAGES), "average")
    shared = _count(shared)
    weight_of = weight_at(beta)

    def cost(beta: Any, key: Array, vae: VAE, draw: Draw) -> Array:
        second = _second(draw.batch)
        other = vae.encode(named_key(key, "encode"), second)
        merged = _merged(average, shared, draw.q, other.q)
        each = [
            _negative_elbo(named_key(key, name), vae, q, p, batch, beta)
            for name, q, p, batch in zip(
                ("x", "x2"), merged, (draw.p, other.p), (draw.batch, second), strict=True
            )
        ]
        return (each[0] + each[1]) / 2

    def constant(key: Array, vae: VAE, draw: Draw) -> Array:
        return cost(weight_of(None), key, vae, draw)

    @sees_step
    def scheduled(key: Array, vae: VAE, draw: Draw, step: Array) -> Array:
        return cost(weight_of(step), key, vae, draw)

    def number(key: Array, vae: VAE, draw: Draw) -> Array:
        other = vae.encode(named_key(key, "encode"), _second(draw.batch))
        return jnp.sum(_which(shared, draw.q, other.q), axis=-1).astype(jnp.float32)

    return logs(scheduled if callable(beta) else constant, kl=kl, shared=number)


def _count(shared: Any) -> int | None:
    if shared is None:
        return None
    if isinstance(shared, bool) or not isinstance(shared, numbers.Integral):
        raise TypeError(f"shared: expected an int or None, got {type(shared).__name__} ({shared!r})")
    if shared < 0:
        raise ValueError(f"shared: expected at least 0, got {shared}")
    return int(shared)


def weight_at(beta: Any) -> Callable[[Any], Any]:
    """beta as a function of the step."""
    if callable(beta):
        return beta
    check_real(beta, "beta")
    beta = plain(beta)
    if not 0 <= beta < float("inf"):
        raise ValueError(f"beta: expected a finite number of at least 0, got {beta!r}")
    return lambda step: beta


def _second(batch: Batch) -> dict[str, Any]:
    """The batch of the second examples."""
    if "x2" not in batch:
        raise ValueError(
            f"batch: expected x2, the second example of each pair, beside x; got {sorted(batch)}"
        )
    x, x2 = batch["x"], batch["x2"]
    if jnp.shape(x) != jnp.shape(x2):
        raise ValueError(
            f"x2: expected pairs of equal sets, the shape of x, {jnp.shape(x)}; got {jnp.shape(x2)}"
        )
    return {**{name: a for name, a in batch.items() if name != "x2"}, "x": x2}


def _parameters(q: Distribution, other: Distribution) -> tuple[Array, Array, Array, Array]:
    """(loc, scale) of both posteriors."""
    if not (is_diagonal_gaussian(q) and is_diagonal_gaussian(other)):
        raise TypeError(
            f"q: expected one diagonal Gaussian with latents [d]; got {getattr(q, 'name', type(q).__name__)}"
        )
    return q.mean(), q.stddev(), other.mean(), other.stddev()


def _which(shared: int | None, q: Distribution, other: Distribution) -> Array:
    """The latents that count as shared, [B, d]."""
    both = _parameters(q, other)
    if shared is not None and shared > both[0].shape[-1]:
        raise ValueError(f"shared: expected at most the number of latents, {both[0].shape[-1]}; got {shared}")
    return pairs.shared_latents(*jax.lax.stop_gradient(both), count=shared)


def _merged(
    average: str, shared: int | None, q: Distribution, other: Distribution
) -> tuple[Distribution, Distribution]:
    """Both posteriors, with the average of the two in the place of the latents that are shared."""
    loc, scale, loc_2, scale_2 = _parameters(q, other)
    mask = _which(shared, q, other)
    mean, spread = _AVERAGES[average](loc, scale, loc_2, scale_2)
    first = diagonal_gaussian(jnp.where(mask, mean, loc), jnp.where(mask, spread, scale))
    return first, diagonal_gaussian(jnp.where(mask, mean, loc_2), jnp.where(mask, spread, scale_2))


def _negative_elbo(key: Array, vae: VAE, q: Distribution, p: Distribution, batch: Batch, beta: Any) -> Array:
    """-log p(x|z) + beta KL(q||p) at z ~ q, each example with noise of its own: [B] nats."""
    loc, scale = q.mean(), q.stddev()
    keys = example_keys(named_key(key, "noise"), batch)
    z = loc + scale * jax.vmap(lambda k: jax.random.normal(k, loc.shape[1:], loc.dtype))(keys)
    px = vae.decode(z, batch.get("c"))
    keys = example_keys(named_key(key, "score"), batch)
    log_px = score(keys, px, batch["x"], batch.get("observed"))
    return -log_px + beta * _divergence(q, p, z)


def _divergence(q: Distribution, p: Distribution, z: Array) -> Array:
    """KL(q||p) in closed form, under another prior than a Gaussian by its one sample."""
    return kl_divergence(q, p) if is_diagonal_gaussian(p) else q.log_prob(z) - p.log_prob(z)
