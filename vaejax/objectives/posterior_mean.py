"""Terms at the posterior mean: a deterministic surrogate of the beta-VAE, and the contractive penalty."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive, plain
from vaejax.distributions import (
    Bernoulli,
    ContinuousBernoulli,
    Gaussian,
    is_diagonal_gaussian,
    score,
)
from vaejax.keys import example_keys, named_key
from vaejax.objectives.compose import Term
from vaejax.objectives.linearised import check_chunk, posterior_mean
from vaejax.ops.chunks import map_examples
from vaejax.ops.jacobian import decoder_jacobian, jacobian_l2
from vaejax.ops.metric import log_det_diagonal, log_det_full
from vaejax.ops.probes import encoder_jacobian
from vaejax.types import VAE, Array, Distribution, Draw

__all__ = ["contractive", "kumar_poole", "reconstruction_at_mean"]


def reconstruction_at_mean(key: Array, vae: VAE, draw: Draw) -> Array:
    """-log p(x|m) at the posterior mean m = E_q[z|x], [B] nats.

    Source: Kumar & Poole 2020, arXiv 2002.00041 (the first part of the surrogate, see `kumar_poole`).
    """
    m = posterior_mean(draw)
    px = vae.decode(m, draw.batch.get("c"))
    keys = example_keys(named_key(key, "score"), draw.batch)
    return -score(keys, px, draw.batch["x"], draw.batch.get("observed"))


def kumar_poole(*, beta: float, covariance: str = "full", chunk: int | None = None) -> Term:
    """beta/2 [||u||^2 + log det(I + J^T H J / beta)] at the posterior mean m: beta KL without noise.

    With `reconstruction_at_mean` it is the beta-VAE cost to second order in z - m, at the best posterior
    covariance, (I + J^T H J / beta)^-1: exact where the decoder is linear and p(x|z) Gaussian. J is
    the Jacobian of p(x|z)'s parameter t, and H = -d^2 log p(x|t) / dt^2 there: Gaussian, t the mean and
    H = I / sigma^2 (a learned scale counts as constant in z); Bernoulli, t the logits and
    H = diag(p (1 - p)); continuous Bernoulli, t the logits and H = diag(Var x).

    The prior is N(mu, S^2), S diagonal: u = (m - mu) / S, and J is that of u -> t; for N(0, I) they are m and
    dt / dz. beta stands inside the logarithm too: a weight other than 1 on the term
    is not another beta. Both parts of the objective train encoder and decoder; q's variance is not
    in it.

    Args:
      beta: > 0.
      covariance: "full", or "diagonal", the best diagonal posterior: the log-determinant becomes
        sum_j log(1 + J_:j^T H J_:j / beta), which is larger unless the columns of J are orthogonal under H.
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B] nats.

    Raises:
      TypeError, ValueError: for a beta that is not a positive finite number or another covariance; when
        called, for latents that are not one array [B, d], a prior that is not a diagonal Gaussian, or a
        likelihood without a known H.

    Source: Kumar & Poole 2020, arXiv 2002.00041.
    """
    check_positive(beta, "beta")
    beta = plain(beta)
    check_choice(covariance, ("full", "diagonal"), "covariance")
    check_chunk(chunk)
    log_det = log_det_full if covariance == "full" else log_det_diagonal

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        del key
        m = posterior_mean(draw)
        if not is_diagonal_gaussian(draw.p):
            raise TypeError(f"p: expected a diagonal Gaussian prior, got {type(draw.p).__name__}")
        loc, scale = (jnp.broadcast_to(a, m.shape) for a in (draw.p.mean(), draw.p.stddev()))

        def per_example(m_i: Array, scale_i: Array, c_i: Array | None, seen_i: Array | None) -> Array:
            def parameter(latent: Array) -> Array:
                return _parameter_and_curvature(vae.decode(latent, c_i))[0]

            h = _parameter_and_curvature(vae.decode(m_i, c_i))[1]
            h = h if seen_i is None else jnp.where(seen_i, h, 0.0)  # what was not observed tells nothing of z
            jac = decoder_jacobian(parameter, m_i) * scale_i
            return log_det(jac[None], h.reshape(1, -1), beta)[0]

        given = (draw.batch.get("c"), draw.batch.get("observed"))
        value = map_examples(per_example, m, scale, *given, chunk=chunk)
        return beta / 2 * (jnp.sum(jnp.square((m - loc) / scale), axis=-1) + value)

    return term


def contractive(*, chunk: int | None = None) -> Term:
    """||d m / d x||_F^2, m = E_q[z|x]: the encoder's Jacobian, by reverse mode over the d latents.

    Args:
      chunk: as for `jacobian_l1`.

    Returns:
      A term, [B], in squared units of z per squared unit of the data. It trains the encoder only.

    Raises:
      TypeError, ValueError: for a chunk that is not a positive int; when called, for data that are not
        floating point, and latents that are not one array [B, d].

    Source: Rifai et al. 2011, "Contractive Auto-Encoders", ICML (there on hidden units).
    """
    check_chunk(chunk)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        posterior_mean(draw)
        if not hasattr(draw.batch["x"], "dtype"):
            raise TypeError("contractive: expected an x that is one array; got several modalities")
        if not jnp.issubdtype(draw.batch["x"].dtype, jnp.floating):
            raise TypeError(
                f"x: expected floating point data to differentiate by, got {draw.batch['x'].dtype}"
            )

        def per_example(batch_i: dict[str, Array]) -> Array:
            def encode(x_i: Array) -> Array:
                batch = jax.tree.map(lambda a: a[None], {**batch_i, "x": x_i})
                # the key moves the draw of z, which the mean does not see
                return posterior_mean(vae.encode(key, batch))[0]

            return jacobian_l2(encoder_jacobian(encode, batch_i["x"][None])[0])

        return map_examples(per_example, dict(draw.batch), chunk=chunk)

    return term


def _parameter_and_curvature(px: Distribution) -> tuple[Array, Array]:
    """t and the diagonal of H = -d^2 log p(x|t) / dt^2, both [*event]; independent of x."""
    if isinstance(px, Gaussian):
        return jnp.asarray(px.mean()), 1 / jnp.square(px.stddev())
    if isinstance(px, Bernoulli):
        p = jax.nn.sigmoid(px.logits)
        return px.logits, p * (1 - p)
    if isinstance(px, ContinuousBernoulli):
        event = len(px.event_shape)

        def mean(l: Array) -> Array:
            return ContinuousBernoulli(l, event).mean()

        # an exponential family: the variance is the derivative of the mean by the natural parameter
        return px.logits, jax.jvp(mean, (px.logits,), (jnp.ones_like(px.logits),))[1]
    raise TypeError(
        "kumar_poole: expected a Gaussian, Bernoulli or continuous Bernoulli likelihood, "
        f"got {type(px).__name__}"
    )
