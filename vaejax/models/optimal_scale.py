"""A Gaussian model whose scale is the optimal one of the batch it last saw in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.distributions import Gaussian, mean
from vaejax.distributions.location_scale import root_mean_square
from vaejax.types import VAE, Array, Batch, Distribution, Draw, Model, PyTree

__all__ = ["optimal_scale"]


def optimal_scale(model: Model) -> Model:
    """Give a model with a Gaussian p(x|z) the scale that was optimal for the last training batch.

    sigma^2 = mean over the batch and all D dimensions of (x - mu_x(z))^2, at one z ~ q(z|x) each.

    A sigma taken from the x that it scores makes no density, so training and evaluation differ: train on
    `objectives.optimal_gaussian_reconstruction`, which finds sigma anew in every batch; p(x|z) itself has the
    sigma of the last batch before, from the model's variables. There it is saved, evaluated and validated
    with. `objectives.reconstruction` would train on it too, one step behind.

    Args:
      model: with the likelihood `distributions.gaussian()`, whose own scale no longer counts.

    Returns:
      A Model with variables {"scale": sigma}, 1 before the first step, and "model" if the model has some.

    Raises:
      TypeError, ValueError: for anything but a Model with a Gaussian likelihood (of a model without a spec
        that shows in the first decode); when bound, for variables without the scale.

    Source: Rybkin, Daniilidis & Levine 2020, arXiv 2006.13202.
    """
    check_gaussian(model)
    return Model(
        init=partial(_init, model),
        bind=partial(_bind, model),
        support=model.support,
        spec={"builder": "optimal_scale", "model": model.spec},
        groups=model.groups,
    )


def check_gaussian(model: Any) -> None:
    """Raise unless it is a Model whose likelihood is `gaussian()`, as far as its spec tells."""
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    name = model.spec.get("likelihood", {}).get("name", "gaussian")
    if name != "gaussian":
        raise ValueError(f"model: expected the likelihood gaussian(), got {name}()")


def _init(model: Model, key: Array, batch: Batch) -> tuple[dict[str, PyTree], PyTree]:
    params, variables = model.init(key, batch)
    return params, _variables(jnp.ones((), jnp.float32), variables)


def _variables(scale: Array, inner: PyTree) -> dict[str, Any]:
    return {"scale": scale} | ({} if inner is None else {"model": inner})


def _bind(model: Model, params: Mapping[str, PyTree], variables: PyTree = None, *, step: Any = None) -> VAE:
    if not (isinstance(variables, Mapping) and "scale" in variables):
        raise ValueError(f"variables: expected a mapping with 'scale', as init makes it; got {variables!r}")
    vae = model.bind(params, variables.get("model"), step=step)
    encode = (
        Partial(_encode, vae.encode, vae.decode, variables)
        if step is not None
        else Partial(undecoded, vae.encode)
    )
    return vae._replace(encode=encode, decode=Partial(decode_at, vae.decode, variables["scale"]))


def _encode(encode: Callable, decode: Callable, variables: PyTree, key: Array, batch: Batch) -> Draw:
    draw = encode(key, batch)
    mu = mean(decode(draw.z, batch.get("c")))  # once more where x is scored: compiled, the two are one
    scale = jax.lax.stop_gradient(root_mean_square(batch["x"], mu, batch.get("observed")))
    scale = scale.astype(jnp.result_type(variables["scale"]))  # from step to step the same
    new = _variables(scale, variables.get("model") if draw.variables is None else draw.variables)
    return draw._replace(variables=new, px=None)


def undecoded(encode: Callable, key: Array, batch: Batch) -> Draw:
    """Without a p(x|z) that the model's own encode may have made, whose scale is another."""
    return encode(key, batch)._replace(px=None)


def decode_at(decode: Callable, scale: Array, z: PyTree, c: Array | None = None) -> Distribution:
    """The Gaussian of a model's own mean and this scale, a number or [*event]."""
    px = decode(z, c)
    if not isinstance(px, Gaussian):
        raise TypeError(f"model: expected a Gaussian p(x|z), got {px.name}")
    return Gaussian(mean(px), scale, len(px.event_shape))
