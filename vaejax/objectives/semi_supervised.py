"""Few labels: the class is a latent where it is not known (M2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from vaejax.checks import check_finite, check_positive_int, plain
from vaejax.objectives.auxiliary import classes_of, head_of, mean_over
from vaejax.objectives.compose import Term, logs
from vaejax.objectives.draw import sample
from vaejax.objectives.elbo import kl
from vaejax.types import VAE, Array, Draw

__all__ = ["semi_supervised"]

MISSING = -1


def semi_supervised(
    classes: int, alpha: float, *, labelled: float = 1.0, prior: Sequence[float] | None = None,
    head: str = "classifier", labels: str = "y",
) -> Term:  # fmt: skip
    """M2: the bound of p(x, y) where y is known, of p(x) where it is not, and a classifier q(y|x).

        Lb(x, y) = -log p(x|y, z) + KL(q(z|x, y) || p(z|y)) - log p(y),   z ~ q(z|x, y)
        with a label:     labelled Lb(x, y) - alpha log q(y|x)
        without:          U(x) = sum_y q(y|x) Lb(x, y) - H[q(y|x)]

    U bounds -log p(x) by enumeration of all classes, with the same noise in z for each; at the best q(y|x),
    softmax(-Lb(x, .)), it is -log sum_y exp(-Lb(x, y)). It stands for `reconstruction` and `kl` together.

    The model is conditional, its c the class as a one-hot vector, and has the classifier as a head on x:
    `models.with_heads(model, on="x", classifier=net)`. In the batch are y, -1 where it is missing, and a c of
    shape [B, V], as `data.with_condition(split, "y", classes=V, missing=True)` makes it; what c holds is not
    looked at, but what needs the draw of `compose`, as `reconstruction`, sees it.

    Args:
      classes: V.
      alpha: the weight of -log q(y|x) of a row with a label. The paper's .1 N of a set of N rows is
        .1 (N / N_u) (1 - s) / s where labelled rows are a share s of the batches and N_u have none: about
        .1 for s = 1/2.
      labelled: the weight of Lb(x, y): less than 1 where labelled rows are repeated, so that they do not
        count for more in p(x); (N_l / N_u) (1 - s) / s undoes a share s.
      prior: p(y), V positive numbers that sum to 1; None: all alike.
      head: the name of the classifier, x -> logits [B, V].
      labels: the field of the batch with y, integers [B]: 0..V-1, or -1 where there is no label. Another
        value makes the term nan where it is traced, and is an error where it is not.

    Returns:
      A term in nats, [B]. It logs "<head>/accuracy" of the rows with a label, 0 if there are none, and
      "bound": Lb(x, y) or U(x), without weights.

    Raises:
      TypeError, ValueError: for another kind of argument; when called, for a missing head, field or
        condition, labels that are not integers or of another shape, or logits of another shape.

    Source: Kingma, Rezende, Mohamed & Welling 2014, arXiv 1406.5298, eq. 6 to 9.
    """
    check_positive_int(classes, "classes")
    for name, weight in (("alpha", alpha), ("labelled", labelled)):
        check_finite(weight, name)
        if weight < 0:
            raise ValueError(f"{name}: expected at least 0, got {weight!r}")
    V, alpha, labelled = int(classes), plain(alpha), plain(labelled)
    log_prior = _log_prior(prior, V)

    def parts(key: Array, vae: VAE, draw: Draw) -> tuple[Array, Array, Array, Array]:
        """The bound of every row, -log q(y|x), if the best guess is right, which have labels; [B] each."""
        y, x = _checked_labels(draw, labels, V), draw.batch["x"]
        logits = head_of(vae, head)(x)
        if logits.shape != (len(y), V):
            raise ValueError(f"head {head!r}: expected logits of shape {(len(y), V)}, got {logits.shape}")
        log_q, known = jax.nn.log_softmax(logits), y != MISSING
        Lb = _bounds(key, vae, draw, V) - log_prior.astype(logits.dtype)
        U = jnp.sum(jnp.exp(log_q) * (Lb + log_q), axis=1)
        # a class that there is not gives nan
        index = jnp.where(known, jnp.where(y < 0, V, y), 0)[:, None]
        of_label = [jnp.take_along_axis(a, index, axis=1, mode="fill")[:, 0] for a in (Lb, -log_q)]
        bound = jnp.where(known, of_label[0], U)
        return bound, of_label[1], jnp.argmax(logits, axis=1) == y, known

    def accuracy(key: Array, vae: VAE, draw: Draw) -> Array:
        _, _, right, known = parts(key, vae, draw)
        return mean_over(known, right)

    def bound(key: Array, vae: VAE, draw: Draw) -> Array:
        return parts(key, vae, draw)[0]

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        bound, nll, _, known = parts(key, vae, draw)
        return jnp.where(known, labelled * bound + alpha * nll, bound)

    return logs(term, **{f"{head}/accuracy": accuracy, "bound": bound})


def _bounds(key: Array, vae: VAE, draw: Draw, V: int) -> Array:
    """-log p(x|c, z) + KL of every class c, [B, V] nats; the noise in z is the same for all."""
    batch, shape = draw.batch, (len(draw.log_px), V)
    got = jnp.shape(batch["c"]) if "c" in batch else "none"
    if got != shape:
        made = 'data.with_condition(split, "y", classes=V, missing=True)'
        raise ValueError(f"c: expected the classes as one-hot rows {shape}, as {made} makes them; got {got}")

    def of_class(c: Array) -> Array:
        own = sample(key, vae, {**batch, "c": jnp.broadcast_to(c, shape)})
        return kl(key, vae, own) - own.log_px

    return jax.vmap(of_class)(jnp.eye(V, dtype=batch["c"].dtype)).T


def _checked_labels(draw: Draw, name: str, V: int) -> Array:
    y = classes_of(draw, name)
    if y.shape != draw.log_px.shape:
        raise ValueError(f"labels: expected {draw.log_px.shape} in batch[{name!r}], got {y.shape}")
    known = draw.batch[name]
    if not isinstance(known, Tracer):  # else they have no values yet
        low, high = np.asarray(known).min(), np.asarray(known).max()
        if low < MISSING or high >= V:
            raise ValueError(f"labels: expected 0..{V - 1}, or -1 where missing; got {low}..{high}")
    return y


def _log_prior(prior: Any, V: int) -> np.ndarray:
    """log p(y), [V]."""
    if prior is None:
        return np.full(V, -math.log(V))
    p = np.asarray(prior, np.float64)
    if p.shape != (V,) or not (p > 0).all() or abs(p.sum() - 1) > 1e-6:
        raise ValueError(f"prior: expected {V} positive numbers that sum to 1, got {prior!r}")
    return np.log(p)
