"""A Gaussian model with a scale for every feature, kept at its optimum under a prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import check_positive, check_positive_int, check_real, plain
from vaejax.distributions import mean
from vaejax.fixed import Fixed
from vaejax.models.optimal_scale import check_gaussian, decode_at, undecoded
from vaejax.ops.spike_and_slab import variance_mode
from vaejax.types import VAE, Array, Batch, Draw, Model, Params, PyTree

__all__ = ["feature_scales"]


def feature_scales(
    model: Model, *, examples: int, nu: float = 3.0, xi: float = 1.0, decay: float = 0.9
) -> Model:
    """Give a model with a Gaussian p(x|z) a scale sigma_j for every feature, by the closed step of an EM.

        r_j <- decay r_j + (1 - decay) mean_b (x_bj - mu_bj)^2,   sigma_j^2 = (N r_j + nu xi) / (N + nu + 2)

    the mode under sigma_j^2 ~ inverse-gamma(nu / 2, nu xi / 2), with r_j a running mean over batches, at one
    z ~ q(z|x) each, of what is a sum over all examples; with decay = 0 and the whole set as the batch it is
    the M step itself. Training scores a batch with the scales of the steps before. r starts at 1, which is
    forgotten in some 1 / (1 - decay) steps.

    Deviation from the authors' code, which moves log sigma by the gradient, beside a squared error that is a
    mean over features.

    Args:
      model: with the likelihood `distributions.gaussian()`, whose own scale no longer counts.
      examples: N, of the training set.
      nu: how many examples the prior is worth; 3 is the authors'.
      xi: the variance that it expects, in squared units of the data.
      decay: in [0, 1), of the running mean.

    Returns:
      A Model with variables {"square": r [*event]}, and "model" if the model has some. They move once a step,
      by the update that moves the encoder, and not in evaluation.

    Raises:
      TypeError, ValueError: for anything but a Model with a Gaussian likelihood (of a model without a spec
        that shows in the first decode), numbers out of range; when bound, for variables without "square".

    Source: Moran et al. 2021, arXiv 2110.10804; Cappe & Moulines 2009, arXiv 0712.4273 (EM by running means).
    """
    check_gaussian(model)
    check_positive_int(examples, "examples")
    check_positive(nu, "nu")
    check_positive(xi, "xi")
    check_real(decay, "decay")
    if not 0 <= decay < 1:
        raise ValueError(f"decay: expected a number in [0, 1), got {decay!r}")
    examples, nu, xi, decay = map(plain, (examples, nu, xi, decay))
    return Model(
        init=partial(_init, model),
        bind=partial(_bind, model, decay, Fixed(_variance, examples, nu, xi)),
        support=model.support,
        spec={
            "builder": "feature_scales", "model": model.spec,
            "examples": examples, "nu": nu, "xi": xi, "decay": decay,
        },
        groups=model.groups,
    )  # fmt: skip


def _init(model: Model, key: Array, batch: Batch) -> tuple[dict[str, PyTree], PyTree]:
    params, inner = model.init(key, batch)
    return params, _variables(jnp.ones(batch["x"].shape[1:], jnp.float32), inner)


def _variables(square: Array, inner: PyTree) -> dict[str, PyTree]:
    return {"square": square} | ({} if inner is None else {"model": inner})


def _bind(
    model: Model, decay: float, variance: Callable[[Array], Array],
    params: Params, variables: PyTree = None, *, step: Any = None,
) -> VAE:  # fmt: skip
    if not (isinstance(variables, Mapping) and "square" in variables):
        raise ValueError(f"variables: expected a mapping with 'square', as init makes it; got {variables!r}")
    square, inner = variables["square"], variables.get("model")
    vae = model.bind(params, inner, step=step)
    encode = (
        Partial(Fixed(_encode, decay), vae.encode, vae.decode, square, inner)
        if step is not None
        else Partial(undecoded, vae.encode)
    )
    return vae._replace(encode=encode, decode=Partial(decode_at, vae.decode, jnp.sqrt(variance(square))))


def _variance(examples: int, nu: float, xi: float, square: Array) -> Array:
    return variance_mode(square, examples, nu, xi)


def _encode(
    decay: float, encode: Callable, decode: Callable, square: Array, inner: PyTree, key: Array, batch: Batch
) -> Draw:
    draw = encode(key, batch)
    mu = mean(decode(draw.z, batch.get("c")))  # once more where x is scored: compiled, the two are one
    now = jnp.mean(jnp.square(batch["x"] - mu), axis=0)
    moved = jax.lax.stop_gradient(decay * square + (1 - decay) * now).astype(square.dtype)
    return draw._replace(
        variables=_variables(moved, inner if draw.variables is None else draw.variables), px=None
    )
