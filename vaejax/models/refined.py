"""A model whose reconstruction a second decoder refines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.checks import check_support
from vaejax.distributions import Likelihood, mean
from vaejax.hints import described
from vaejax.keys import named_key
from vaejax.models.decoding import decoding, init_decoder
from vaejax.models.spec import spec_of
from vaejax.types import DATA_SUPPORTS, SUPPORTS, VAE, Array, Batch, Distribution, Model, PyTree

__all__ = ["refined"]

GROUP = "refiner"


def refined(model: Model, net: nn.Module, likelihood: Likelihood) -> Model:
    """Replace p(x|z) by one that sees the first decoder's mean x_0(z), too: p(x|z, x_0), as a diffusion.

    No gradient passes through x_0. Trained first is `model`, then the refiner alone, `wrt=("refiner",)`, from
    its parameters: two stages, whose -ELBO is the second likelihood's (or its bound's) with the first stage's
    KL. The first decoder stays as the head "first".

    Args:
      model: with a p(x|z) that has a mean, and latents that are one array.
      net: a decoder (z, x_0) -> the likelihood's parameters, or one that the likelihood asks for, such as
        `nets.UNet`, where x_0 stands beside u. Bytes x_0 it sees in [-1, 1].
      likelihood: a factory's result, such as `distributions.diffusion()`.

    Returns:
      A Model with one more parameter group, "refiner".

    Raises:
      TypeError, ValueError: for arguments of another kind, a net that does not fit the likelihood, supports
        that no data share; when decoded, for a p(x|z) without a mean.

    Source: Pandey et al. 2022, arXiv 2201.00308, whose first formulation conditions on x_0 alone, with the
    diffusion that they call generator and refiner.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected a flax.linen.Module, got {described(net, nn.Module)}")
    if not isinstance(likelihood, Likelihood):
        raise TypeError(f"likelihood: expected a vaejax.distributions.Likelihood, got {likelihood!r}")
    shared = [s for s in DATA_SUPPORTS if s in SUPPORTS[model.support] and s in SUPPORTS[likelihood.support]]
    if not shared:
        check_support(likelihood.support, model.support)
    decode = decoding(net, likelihood)
    return Model(
        init=partial(_init, model, net, likelihood),
        bind=partial(_bind, model, decode),
        support=likelihood.support,
        spec={
            "builder": "refined",
            "model": model.spec,
            "net": spec_of(net),
            "likelihood": spec_of(likelihood),
        },
        groups=(*model.groups, GROUP) if model.groups else (),
    )


def _init(
    model: Model, net: nn.Module, likelihood: Likelihood, key: Array, batch: Batch
) -> tuple[dict[str, PyTree], PyTree]:
    params, variables = model.init(key, batch)
    one = jax.tree.map(lambda a: a[:1], dict(batch))
    z = jax.eval_shape(lambda: model.bind(params, variables).encode(key, one).z)
    if isinstance(z, tuple):
        raise TypeError(f"model: expected latents that are one array, got {len(z)} parts")
    zeros = jnp.zeros(z.shape, z.dtype)
    c = (one["c"],) if "c" in one else ()
    first = jnp.zeros(one["x"].shape, jnp.float32)
    own = init_decoder(named_key(key, GROUP), net, likelihood, zeros, one["x"], *c, first)
    return {**params, GROUP: own}, variables


def _bind(
    model: Model, decode: Callable,
    params: Mapping[str, PyTree], variables: PyTree = None, *, step: Any = None,
) -> VAE:  # fmt: skip
    vae = model.bind(params, variables, step=step)
    return vae._replace(
        encode=Partial(_undecoded, vae.encode),
        decode=Partial(_decode, decode, vae.decode, params[GROUP]),
        heads={**vae.heads, "first": vae.decode},
    )


def _undecoded(encode: Callable, key: Array, batch: Batch) -> Any:
    """Without a p(x|z) that the model's own encode may have made: that is the first one."""
    return encode(key, batch)._replace(px=None)


def _decode(
    decode: Callable, first: Callable, params: PyTree, z: Array, c: Array | None = None
) -> Distribution:
    px = first(z, c)
    x = jax.lax.stop_gradient(mean(px))
    if getattr(px, "support", None) == "bytes":
        x = x / 127.5 - 1
    return decode(params, z, len(px.batch_shape), *(() if c is None else (c,)), x)
