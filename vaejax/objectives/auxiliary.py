"""Terms on auxiliary heads: what z must tell of x, whatever the decoder makes of it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive, plain
from vaejax.distributions import Gaussian, Likelihood, score
from vaejax.keys import example_keys
from vaejax.objectives.compose import Term, logs, mixes_examples
from vaejax.objectives.draw import scored_at
from vaejax.types import VAE, Array, Draw

__all__ = ["auxiliary_classification", "auxiliary_reconstruction", "auxiliary_regression", "info_nce"]


def auxiliary_classification(
    head: str = "classifier", *, on: str = "z", labels: str = "y", partial: bool = False
) -> Term:
    """-log r(y|z), r(y|z) = softmax(head(z))[y], summed over attributes: z must tell the classes.

    E[log r(y|z)] + H(y) is a lower bound of I(z; y). The gradient trains the head and the encoder.

    On x it is -log q(y|x), the cost of a classifier: by itself, a supervised net.

    Args:
      head: the name of the head, z -> logits [B, V]; or [B, F, V] for F attributes.
      on: "z", or "x" for a head of `models.with_heads(model, on="x", ...)`, which alone has a gradient.
      labels: the field of the batch with the classes, integers [B] or [B, F] in 0..V-1.
      partial: some rows have no label, -1 in (one of) their attributes: the mean over the others, 0 if
        there are none. Without it such a row makes the term nan, as a class beyond V - 1 always does.

    Returns:
      A term in nats, [B], or a scalar that mixes examples if `partial`; it logs "<head>/accuracy".

    Raises:
      TypeError, ValueError: for another `on`; when called, for a missing head or field, labels that are not
        integers or do not fit the logits.

    Source: the idea in Salimans et al. 2016; the bound in Barber & Agakov 2003.
    """
    check_choice(on, ("z", "x"), "on")

    def of_rows(vae: VAE, draw: Draw) -> tuple[Array, Array, Array]:
        """-log r(y|z) and whether the best guess is right, [B] each, and which rows have labels."""
        y = classes_of(draw, labels)
        logits = head_of(vae, head)(draw.z if on == "z" else draw.batch["x"])
        if logits.shape[:-1] != y.shape:
            raise ValueError(f"head {head!r}: expected logits of shape {(*y.shape, 'V')}, got {logits.shape}")
        known = y != -1
        # a class that there is not gives nan
        index = jnp.where(known, jnp.where(y < 0, logits.shape[-1], y), 0)[..., None]
        nll = -jnp.take_along_axis(jax.nn.log_softmax(logits), index, axis=-1, mode="fill")[..., 0]
        right = jnp.argmax(logits, axis=-1) == y
        rows = (len(y), -1)
        return (
            jnp.sum(nll.reshape(rows), axis=1),
            jnp.mean(right.reshape(rows), axis=1),
            jnp.all(known.reshape(rows), axis=1),
        )

    def accuracy(key: Array, vae: VAE, draw: Draw) -> Array:
        _, right, known = of_rows(vae, draw)
        return mean_over(known, right) if partial else right

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        nll, _, known = of_rows(vae, draw)
        return mean_over(known, nll) if partial else jnp.where(known, nll, jnp.nan)

    term = logs(term, **{f"{head}/accuracy": accuracy})
    return mixes_examples(term) if partial else term


def auxiliary_regression(
    head: str = "regressor", *, labels: str = "y", scale: float = 1.0, partial: bool = False
) -> Term:
    """-log r(y|z), r(y|z) = N(head(z), scale^2 I): z must tell the attributes y, which are numbers.

    E[log r(y|z)] + H(y) is a lower bound of I(z; y). The gradient trains the head and the encoder.

    Args:
      head: the name of the head, z -> means of the shape of y.
      labels: the field of the batch with the attributes, floating point [B] or [B, F].
      scale: the standard deviation of r, > 0.
      partial: rows with nan in an attribute have no label: the mean over the others, 0 if there are none.

    Returns:
      A term in nats, [B], or a scalar that mixes examples if `partial`; it logs "<head>/squared_error",
      |y - head(z)|^2.

    Raises:
      TypeError, ValueError: for a scale that is not positive; when called, for a missing head or field,
        attributes that are not floating point or not of the shape of the head's means.

    Source: Barber & Agakov 2003 (the bound).
    """
    check_positive(scale, "scale")
    scale = plain(scale)

    def of_rows(vae: VAE, draw: Draw) -> tuple[Array, Array, Array]:
        """y where known, else the means; the means; which rows have labels."""
        y, means = labels_of(draw, labels), head_of(vae, head)(draw.z)
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise TypeError(f"labels: expected floating point values in batch[{labels!r}], got {y.dtype}")
        if means.shape != y.shape:
            raise ValueError(f"head {head!r}: expected means of the shape of y, {y.shape}, got {means.shape}")
        known = jnp.all(~jnp.isnan(y.reshape(len(y), -1)), axis=1)
        fits = known.reshape(-1, *(1,) * (y.ndim - 1))
        return (jnp.where(fits, y, means) if partial else y), means, known

    def squared_error(key: Array, vae: VAE, draw: Draw) -> Array:
        y, means, known = of_rows(vae, draw)
        error = jnp.sum(jnp.square(y - means).reshape(len(y), -1), axis=1)
        return mean_over(known, error) if partial else error

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        y, means, known = of_rows(vae, draw)
        nll = -score(key, Gaussian(means, scale, means.ndim - 1), y)
        return mean_over(known, nll) if partial else nll

    term = logs(term, **{f"{head}/squared_error": squared_error})
    return mixes_examples(term) if partial else term


def auxiliary_reconstruction(likelihood: Likelihood, head: str = "auxiliary") -> Term:
    """-log r(x|z) under a likelihood of a head's own: z must tell x to a decoder of little power.

    E[log r(x|z)] + H(x) is a lower bound of I_q(x; z) for whatever r, and tight at r = q(x|z): beside a
    decoder that can do without z it maximises that mutual information. The gradient trains head and encoder.

    Args:
      likelihood: that of r, as `distributions.bernoulli()`; of the support of the data.
      head: the name of the head, z -> the likelihood's parameters, as a decoder net.

    Returns:
      A term, [B] nats.

    Raises:
      TypeError, ValueError: for anything but a Likelihood; when called, for a missing head, or data of
        another shape than r(x|z).

    Source: Barber & Agakov 2003 (the bound); Lucas & Verbeek 2018, arXiv 1711.11479 (beside a PixelCNN).
    """
    if not isinstance(likelihood, Likelihood):
        raise TypeError(f"likelihood: expected a distributions.Likelihood, got {likelihood!r}")

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        x = draw.batch["x"]
        r = likelihood.build(head_of(vae, head)(draw.z), x.ndim - 1)
        return -score(example_keys(key, draw.batch), r, x, draw.batch.get("observed"))

    return term


@mixes_examples
def info_nce(key: Array, vae: VAE, draw: Draw) -> Array:
    """-[log q(z_b|x_b) - log 1/B sum_b' q(z_b|x_b')]: its mean bounds -I_q(x; z) from above.

    The contrastive bound with the best critic there is, log q(z|x), which a VAE has in its hands: nothing is
    learned for it. The bound ends at log B nats. Scaled by lam it gives every nat of information lam.

    Args:
      key: not used: nothing is drawn.
      vae: not used: q is in the draw.
      draw: with q of one level.

    Returns:
      [B] nats, that mix examples.

    Raises:
      TypeError: if the posterior has several levels.

    Source: van den Oord et al. 2018, arXiv 1807.03748; Poole et al. 2019, arXiv 1905.06922, eq. 12.
    """
    del key, vae
    if isinstance(draw.q, tuple):
        raise TypeError(f"q: expected one posterior distribution, got {len(draw.q)} levels")
    log_q = jax.vmap(draw.q.log_prob)(scored_at(draw))  # [B, B]: the row is z, the column x
    return jax.nn.logsumexp(log_q, axis=1) - jnp.log(len(log_q)) - jnp.diagonal(log_q)


def mean_over(rows: Array, values: Array) -> Array:
    """The mean of [B] values over some rows, 0 over none."""
    values = values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(jnp.float32)
    return jnp.sum(jnp.where(rows, values, 0.0)) / jnp.maximum(1, jnp.sum(rows))


def head_of(vae: VAE, name: str) -> Callable[..., Array]:
    """The head of that name; ValueError where there is none."""
    if name not in vae.heads:
        raise ValueError(f"head: expected one of {sorted(vae.heads)}, got {name!r} (see models.with_heads)")
    return vae.heads[name]


def classes_of(draw: Draw, name: str) -> Array:
    """That field of the batch; TypeError unless it holds integers."""
    y = labels_of(draw, name)
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"labels: expected integers in batch[{name!r}], got {y.dtype}")
    return y


def labels_of(draw: Draw, name: str) -> Array:
    """That field of the batch; ValueError where there is none."""
    if name not in draw.batch:
        raise ValueError(f"labels: expected a field among {sorted(draw.batch)}, got {name!r}")
    return jnp.asarray(draw.batch[name])
