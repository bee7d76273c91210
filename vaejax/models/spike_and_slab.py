"""A model with a spike-and-slab lasso on the mask of its decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import check_positive, check_positive_int, plain
from vaejax.fixed import Fixed
from vaejax.ops.spike_and_slab import eta_mode, log_prob, slab_probability
from vaejax.types import VAE, Array, Batch, Draw, Model, Params, PyTree

__all__ = ["spike_and_slab"]


class _Prior(NamedTuple):
    examples: int
    lam0: float
    lam1: float
    a: float
    b: float | None


def spike_and_slab(
    model: Model, *, examples: int, lam0: float = 10.0, lam1: float = 0.1, a: float = 1.0,
    b: float | None = None,
) -> Model:  # fmt: skip
    """Give a model with a masked decoder a sparse prior on its mask W, for `objectives.spike_and_slab`.

        p(w_jk | eta_k) = eta_k psi_1 + (1 - eta_k) psi_0,   psi_s(w) = (lam_s / 2) exp(-lam_s |w|)
        p_jk = eta_k psi_1 / p(w_jk | eta_k),   eta_k <- (a - 1 + sum_j p_jk) / (a + b + D - 2)

    One EM step a step of training: p is that of W as it is, W moves by the gradient, in which each weight has
    the slope p lam1 + (1 - p) lam0, and eta_k is set, as the mode of its Beta. Zeros are not met exactly: W
    counts as free where its slab probability is above 1/2.

    Deviations from the authors' code: p keeps the factors lam1 / lam0 of the two densities; the prior is that
    of all N examples, a share of 1/N of it for each, where theirs has 1/B in a batch of B; reconstruction
    and KL beside it are sums over features and latents, where theirs are means; eta starts at 1/2, not at
    random. eta is held within [0, 1] where theirs becomes 1e-10 below 0.

    Args:
      model: its decoder has a parameter W [D, d], as `nets.SparseDecoder`.
      examples: N, of the training set.
      lam0: of the spike; 10 is the authors'.
      lam1: of the slab, less than lam0; the authors' .1, or 1 in their simulation.
      a: of the prior Beta(a, b) of eta, > 0.
      b: of that prior, >= 1; None: D, so that few weights are free.

    Returns:
      A Model whose draws have `extra["spike_and_slab"]` [B], the same for every example; whose heads are
      `W() -> [D, d]`, `eta() -> [d]` and `slab() -> [D, d]`, the p_jk; with variables {"eta": eta [d]}, and
      "model" if the model has some. eta moves once a step, by the update that moves the encoder, and not in
      evaluation.

    Raises:
      TypeError, ValueError: for anything but a Model, numbers out of range; when initialised, for a decoder
        without W; when bound, for variables without eta.

    Source: Moran et al. 2021, arXiv 2110.10804, section 3; Rockova & George 2018, doi
    10.1080/01621459.2016.1260469 (the spike-and-slab lasso).
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    check_positive_int(examples, "examples")
    numbers = {"lam0": lam0, "lam1": lam1, "a": a} | ({} if b is None else {"b": b})
    for name, value in numbers.items():
        check_positive(value, name)
    if lam1 >= lam0:
        raise ValueError(f"lam1: expected less than lam0 = {lam0}, got {lam1}")
    if b is not None and b < 1:
        raise ValueError(f"b: expected at least 1, got {b}")
    prior = _Prior(*map(plain, (examples, lam0, lam1, a, b)))
    return Model(
        init=partial(_init, model),
        bind=partial(_bind, model, prior),
        support=model.support,
        spec={"builder": "spike_and_slab", "model": model.spec, **prior._asdict()},
        groups=model.groups,
    )


def _init(model: Model, key: Array, batch: Batch) -> tuple[dict[str, PyTree], PyTree]:
    params, inner = model.init(key, batch)
    W = _mask(params)
    return params, _variables(jnp.full(W.shape[1], 0.5, W.dtype), inner)


def _mask(params: Params) -> Array:
    """W [D, d] of the decoder."""
    decoder = params["decoder"]
    W = decoder.get("W") if isinstance(decoder, Mapping) else None
    if W is None or jnp.ndim(W) != 2:
        got = sorted(decoder) if isinstance(decoder, Mapping) else type(decoder).__name__
        raise ValueError(
            f"model: expected a decoder with a parameter W [D, d], as nets.SparseDecoder; got {got}"
        )
    return W


def _variables(eta: Array, inner: PyTree) -> dict[str, PyTree]:
    return {"eta": eta} | ({} if inner is None else {"model": inner})


def _bind(model: Model, prior: _Prior, params: Params, variables: PyTree = None, *, step: Any = None) -> VAE:
    if not (isinstance(variables, Mapping) and "eta" in variables):
        raise ValueError(f"variables: expected a mapping with 'eta', as init makes it; got {variables!r}")
    eta, inner, W = variables["eta"], variables.get("model"), _mask(params)
    vae = model.bind(params, inner, step=step)
    heads = {
        "W": Partial(_itself, W),
        "eta": Partial(_itself, eta),
        "slab": Partial(Fixed(_slab, prior), W, eta),
    }
    function = Fixed(_evaluated if step is None else _trained, prior)
    return vae._replace(encode=Partial(function, vae.encode, W, eta, inner), heads={**vae.heads, **heads})


def _itself(array: Array) -> Array:
    return array


def _slab(prior: _Prior, W: Array, eta: Array) -> Array:
    return slab_probability(W, eta, prior.lam0, prior.lam1)


def _trained(
    prior: _Prior, encode: Callable, W: Array, eta: Array, inner: PyTree, key: Array, batch: Batch
) -> Draw:
    """The draw with the prior's cost at this eta, and the next eta."""
    draw = _evaluated(prior, encode, W, eta, inner, key, batch)
    p = _slab(prior, jax.lax.stop_gradient(W), eta)
    moved = eta_mode(p, prior.a, len(W) if prior.b is None else prior.b)
    return draw._replace(variables=_variables(moved, inner if draw.variables is None else draw.variables))


def _evaluated(
    prior: _Prior, encode: Callable, W: Array, eta: Array, inner: PyTree, key: Array, batch: Batch
) -> Draw:
    """The draw with -log p(W | eta) / N."""
    del inner
    draw = encode(key, batch)
    log_p = log_prob(W, eta, prior.lam0, prior.lam1)
    B = jax.tree.leaves(batch["x"])[0].shape[0]
    cost = jnp.broadcast_to(-log_p / prior.examples, (B,))
    return draw._replace(extra={**(draw.extra or {}), "spike_and_slab": cost})
