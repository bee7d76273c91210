"""Two players: terms that a critic judges, and what the critic itself minimises.

A term holds the critic's parameters constant, the critic's objective the codes: no player sees the other's
gradient, whichever groups an update moves.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vaejax.checks import check_choice
from vaejax.keys import named_key
from vaejax.objectives.compose import Term, logs, mixes_examples
from vaejax.objectives.draw import prior_codes
from vaejax.objectives.linearised import codes, one_latent_array
from vaejax.ops.aggregate import permute_columns
from vaejax.types import VAE, Array, Draw

__all__ = ["adversarial", "adversarial_critic", "total_correlation", "total_correlation_critic"]


def total_correlation(*, critic: str = "critic") -> Term:
    """D(z), a critic's estimate of log q(z) - sum_j log q(z_j): its mean is the total correlation of q(z).

    The critic learns by `total_correlation_critic` (`models.with_heads` shows the two players). The
    estimate is as good as the critic, which needs a start of some hundred steps.

    Args:
      critic: the name of the head, z [B, d] -> logits [B].

    Returns:
      A term, [B] nats.

    Raises:
      TypeError: if the name is not a string.
      ValueError: when called, for a model without that head, or a head with another output.

    Source: Kim & Mnih 2018, arXiv 1802.05983, eq. 3 and algorithm 2 (the difference of its two logits is D).
    """
    _check_name(critic)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        del key
        D = jax.lax.stop_gradient(_head(vae, critic))
        return _logits(D, one_latent_array(draw))

    return term


def total_correlation_critic(*, critic: str = "critic") -> Term:
    """The cross-entropy of FactorVAE's critic, which tells codes from permuted codes.

    1/2 mean softplus(-D(z)) + 1/2 mean softplus(D(z')), z the codes of the first half of the batch, z' those
    of the second with every column permuted on its own. log 2 where the critic cannot tell; the best
    critic is D(z) = log q(z) - sum_j log q(z_j).

    Deviation: the paper takes two batches of B for the two sides. To permute the very codes that are shown
    as real, as some public code does, would couple them.

    Args:
      critic: the name of the head, z [B, d] -> logits [B].

    Returns:
      A term, scalar, nats, that mixes examples; it logs "<critic>/accuracy".

    Raises:
      TypeError: if the name is not a string.
      ValueError: when called, for a batch of fewer than 3, a model without that head, or a head with another
        output.

    Source: Kim & Mnih 2018, arXiv 1802.05983, algorithm 2.
    """
    _check_name(critic)

    def of_both(key: Array, vae: VAE, draw: Draw) -> list[Array]:
        """D of real and of permuted codes, of half the batch each."""
        z = jax.lax.stop_gradient(one_latent_array(draw))
        B = len(z)
        if B < 3:
            raise ValueError(f"x: expected a batch of at least 3 examples, two of them to permute; got {B}")
        permuted = permute_columns(named_key(key, "permute"), z[B // 2 :])
        return [_logits(_head(vae, critic), v) for v in (z[: B // 2], permuted)]

    def accuracy(key: Array, vae: VAE, draw: Draw) -> Array:
        real, fake = of_both(key, vae, draw)
        return 0.5 * jnp.mean(real > 0) + 0.5 * jnp.mean(fake <= 0)

    @mixes_examples
    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        real, fake = of_both(key, vae, draw)
        return 0.5 * jnp.mean(jax.nn.softplus(-real)) + 0.5 * jnp.mean(jax.nn.softplus(fake))

    return logs(term, **{f"{critic}/accuracy": accuracy})


def adversarial(*, critic: str = "critic", at: str = "sample") -> Term:
    """-log sigmoid(D(z)): codes that a critic takes for samples of the prior (non-saturating).

    WAE-GAN: reconstruction + lam times this. Adversarial autoencoder: reconstruction + this, and no KL. The
    critic learns by `adversarial_critic` (`models.with_heads` shows the two players).

    Args:
      critic: the name of the head, z [B, d] -> logits [B].
      at: "sample", the drawn z, or "mean", the posterior's; the critic's term takes the same.

    Returns:
      A term, [B] nats.

    Raises:
      TypeError, ValueError: if the name is not a string, for another at; when called, for a model without
        that head, or a head with another output.

    Source: Tolstikhin et al. 2018, arXiv 1711.01558, algorithm 1; Makhzani et al. 2015, arXiv 1511.05644.
    """
    _check_name(critic)
    check_choice(at, ("sample", "mean"), "at")

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        del key
        D = jax.lax.stop_gradient(_head(vae, critic))
        return jax.nn.softplus(-_logits(D, codes(draw, at)))

    return term


def adversarial_critic(*, critic: str = "critic", at: str = "sample") -> Term:
    """-log sigmoid(D(p)) - log(1 - sigmoid(D(z))): a critic that tells prior samples p from codes z.

    One prior sample an example. 2 log 2 where the critic cannot tell; the best critic is
    D(z) = log p(z) - log q(z), with q(z) the aggregate posterior.

    Args:
      critic: the name of the head, z [B, d] -> logits [B].
      at: "sample", the drawn z, or "mean", the posterior's.

    Returns:
      A term, [B] nats; it logs "<critic>/accuracy".

    Raises:
      TypeError, ValueError: as `adversarial`.

    Source: as `adversarial`.
    """
    _check_name(critic)
    check_choice(at, ("sample", "mean"), "at")

    def of_both(key: Array, vae: VAE, draw: Draw) -> list[Array]:
        """D of prior samples and of codes, [B] each."""
        z = jax.lax.stop_gradient(codes(draw, at))
        p = jax.lax.stop_gradient(prior_codes(key, vae, draw.batch))
        return [_logits(_head(vae, critic), v) for v in (p, z)]

    def accuracy(key: Array, vae: VAE, draw: Draw) -> Array:
        of_p, of_z = of_both(key, vae, draw)
        right = jnp.stack([of_p > 0, of_z <= 0])
        return jnp.mean(right, axis=0, dtype=of_p.dtype)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        of_p, of_z = of_both(key, vae, draw)
        return jax.nn.softplus(-of_p) + jax.nn.softplus(of_z)

    return logs(term, **{f"{critic}/accuracy": accuracy})


def _head(vae: VAE, critic: str) -> Callable[[Array], Array]:
    if critic not in vae.heads:
        raise ValueError(
            f"critic: expected one of the model's heads {sorted(vae.heads)}, got {critic!r} "
            "(models.with_heads adds one)"
        )
    return vae.heads[critic]


def _logits(D: Callable[[Array], Array], z: Array) -> Array:
    """D(z), [B], the shape checked."""
    logits = D(z)
    if logits.shape != z.shape[:1]:
        raise ValueError(f"critic: expected one logit an example, {z.shape[:1]}; got {logits.shape}")
    return logits


def _check_name(critic: str) -> None:
    if not isinstance(critic, str):
        raise TypeError(f"critic: expected the name of a head, got {critic!r}")
