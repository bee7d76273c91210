"""Penalties that tie the first latents to factors that are known, of all rows or of some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive_int
from vaejax.objectives.auxiliary import classes_of, head_of, mean_over
from vaejax.objectives.compose import Term, mixes_examples
from vaejax.objectives.linearised import posterior_mean
from vaejax.types import VAE, Array, Draw

__all__ = ["supervised"]


def supervised(
    form: str, values: Sequence[int], *, labels: str = "y", head: str = "supervision", partial: bool = False
) -> Term:
    """A penalty on the means mu of the first F latents beside the F factors y: latent j is to be factor j.

    With v_j = y_j / (V_j - 1) in [0, 1], as the form says:

        l2              sum_j (sigmoid(mu_j) - v_j)^2
        scaled_l2       sum_j (a mu_j - v_j)^2, a learned: the head is `nets.Constant(1.0)`
        cross_entropy   sum_j of the binary cross-entropy of v_j and sigmoid(mu_j), in nats
        covariance      sum_{i != j} Cov(mu_i, v_j)^2 over the batch, i over all latents
        embedding       sum_j -log softmax_v(-(mu_j - e_jv)^2 / (2 s^2))[y_j], in nats, e learned: the head
                        is `nets.Embeddings(F, V, s)`

    It stands beside reconstruction and KL; under `scaled` its weight is constant, annealed (`ramp_schedule`)
    or comes late (`late_schedule`).

    Args:
      form: one of those.
      values: (V_1, ..., V_F), how many values each factor has, at least 2; F at most the number of latents.
      labels: the field of the batch with the factors, integers [B, F] in 0..V_j - 1, or -1 in (one of) them
        where a row has no label. What is out of range makes the term nan.
      head: of scaled_l2 and embedding, the name of the head with what they learn.
      partial: some rows have no label: the mean over the others, 0 if there are none. Without it such a row
        makes the term nan.

    Returns:
      A term, [B], or a scalar that mixes examples if `partial` or of the covariance.

    Raises:
      TypeError, ValueError: for another form or values; when called, for latents that are not one array with
        a mean, a missing head or field, or labels of another kind or shape.

    Source: Locatello et al. 2019, arXiv 1905.01258, section 3. There the weight of the covariance's diagonal
    and the form of the l2 are searched; here the diagonal is free.
    """
    check_choice(form, (*_COSTS, "covariance"), "form")
    sizes = _checked_sizes(values)

    def per_row(key: Array, vae: VAE, draw: Draw) -> Array:
        del key
        mu, y, v, missing = _seen(draw, labels, sizes)
        nats = _COSTS[form](lambda: head_of(vae, head)(mu), mu, y, v)
        return mean_over(~missing, nats) if partial else jnp.where(missing, jnp.nan, nats)

    @mixes_examples
    def covariance(key: Array, vae: VAE, draw: Draw) -> Array:
        del key, vae
        mu, _, v, missing = _seen(draw, labels, sizes)
        counts = ~missing if partial else jnp.ones_like(missing)
        return _covariance(mu, jnp.where(missing[:, None] & ~partial, jnp.nan, v), counts)

    if form == "covariance":
        return covariance
    return mixes_examples(per_row) if partial else per_row


def _checked_sizes(values: Sequence[int]) -> tuple[int, ...]:
    for j, V in enumerate(values):
        check_positive_int(V, f"values[{j}]")
        if V < 2:
            raise ValueError(f"values[{j}]: expected at least 2, got {V}")
    if not len(values):
        raise ValueError("values: expected one number for each factor, got none")
    return tuple(map(int, values))


def _seen(draw: Draw, labels: str, sizes: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """mu [B, d], y [B, F] and v [B, F], 0 in rows without a label, and which rows these are, [B].

    A label out of range is y beyond the last value, and a v of nan.
    """
    mu, y = posterior_mean(draw), classes_of(draw, labels)
    if y.shape != (len(mu), len(sizes)):
        expected = f"{(len(mu), len(sizes))} in batch[{labels!r}], one for each of values"
        raise ValueError(f"labels: expected {expected}; got {y.shape}")
    if mu.shape[1] < len(sizes):
        raise ValueError(f"values: expected at most one for each of {mu.shape[1]} latents, got {sizes}")
    missing = jnp.any(y == -1, axis=1)
    y = jnp.where(missing[:, None], 0, y)  # before any cost: a nan behind a `where` stays in the gradient
    V = jnp.asarray(sizes)
    inside = (y >= 0) & (y < V)
    v = jnp.where(inside, y / (V - 1), jnp.nan).astype(mu.dtype)
    return mu, jnp.where(inside, y, max(sizes)), v, missing


def _l2(of_head: Callable[[], Array], mu: Array, y: Array, v: Array) -> Array:
    del of_head, y
    return jnp.sum(jnp.square(jax.nn.sigmoid(mu[:, : v.shape[1]]) - v), axis=1)


def _scaled_l2(of_head: Callable[[], Array], mu: Array, y: Array, v: Array) -> Array:
    del y
    a = of_head()
    if a.shape != mu.shape[:1]:
        raise ValueError(
            f"head: expected a number an example, {mu.shape[:1]}, as nets.Constant; got {a.shape}"
        )
    return jnp.sum(jnp.square(a[:, None] * mu[:, : v.shape[1]] - v), axis=1)


def _cross_entropy(of_head: Callable[[], Array], mu: Array, y: Array, v: Array) -> Array:
    """-v log sigmoid(mu) - (1 - v) log sigmoid(-mu)."""
    del of_head, y
    mu = mu[:, : v.shape[1]]
    return jnp.sum(jax.nn.softplus(mu) - v * mu, axis=1)


def _embedding(of_head: Callable[[], Array], mu: Array, y: Array, v: Array) -> Array:
    del mu
    logits = of_head()
    if logits.ndim != 3 or logits.shape[:2] != v.shape:
        expected = f"logits {(*v.shape, 'V')}, as nets.Embeddings gives them"
        raise ValueError(f"head: expected {expected}; got {logits.shape}")
    y = jnp.where(jnp.isnan(v), logits.shape[2], y)[..., None]  # nan of a class that there is not
    return -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), y, axis=2, mode="fill")[..., 0], axis=1)


def _covariance(mu: Array, v: Array, counts: Array) -> Array:
    """sum_{i != j} Cov(mu_i, v_j)^2 over the rows that count."""
    share = counts.astype(mu.dtype) / jnp.maximum(1, jnp.sum(counts))
    mu, v = (a - share @ a for a in (mu, v))
    cov = jnp.einsum("b,bi,bj->ij", share, mu, v)
    return jnp.sum(jnp.square(jnp.where(jnp.eye(*cov.shape, dtype=bool), 0.0, cov)))


_COSTS: Mapping[str, Callable[..., Array]] = {
    "l2": _l2, "scaled_l2": _scaled_l2, "cross_entropy": _cross_entropy, "embedding": _embedding,
}  # fmt: skip
