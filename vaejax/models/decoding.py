"""From a decoder net and a likelihood to p(x|z): what every builder with one likelihood shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.distributions import Autoregressive, Likelihood
from vaejax.distributions.joint import Joint, JointLikelihood, check_modalities
from vaejax.fixed import Fixed
from vaejax.keys import named_key
from vaejax.models.apply import apply, initialised
from vaejax.models.leading import over_lead, own_net
from vaejax.nets import PerModality
from vaejax.types import Array, Distribution, PyTree

_KINDS = {
    None: "a net of parameters",
    "flow": "an invertible net, as nets.FlatFlow or nets.ImageFlow",
    "diffusion": "a net that predicts noise, as nets.Denoiser or nets.UNet",
    "tokens": "a net over tokens, as nets.LSTMDecoder",
}


def decoding(
    decoder: nn.Module, likelihood: Likelihood, training: bool = False
) -> Callable[..., Distribution]:
    """The function (params, z [..., *event], lead, *c) -> p(x|z, c), `lead` the number of z's leading axes.

    With `training`, the p(x|z, c) of a model that is bound with a step; for most likelihoods it is the same.

    A decoder is a net z -> parameters, and the values of x are independent given z. Or it says that it is
    `autoregressive`, and has the `shape` of x: a net (z, x) -> parameters, those of x_i from x_<i alone. A
    condition comes after z: (z, c) or (z, c, x). Or it `decodes` what a likelihood of networks asks for.

    Raises:
      TypeError: if only one of the two is of networks, or they are of different ones.
    """
    each = _networks(decoder, likelihood)
    if each is not None:
        parts = {name: decoding(net, part, training) for name, (net, part) in each.items()}
        return Fixed(_joint, tuple(parts.items()))
    wanted, is_one = likelihood.decodes, getattr(decoder, "decodes", None)
    if wanted != is_one:
        raise TypeError(
            f"decoder: expected {_KINDS[wanted]} for the likelihood {likelihood.name}, "
            f"got {type(decoder).__name__}, {_KINDS[is_one]}"
        )
    noise = likelihood.options.get("dequantise") == "variational"
    if wanted == "flow" and noise != (getattr(decoder, "noise", None) is not None):
        raise ValueError(
            f"noise: expected {'a net' if noise else 'None'} in the decoder of {likelihood.name} with "
            f"dequantise={likelihood.options['dequantise']!r}"
        )
    net = Fixed(apply, decoder)
    of_network = (likelihood.in_training if training else None) or likelihood.of_network
    if of_network is not None:
        return Fixed(_of_network, net, of_network, tuple(decoder.shape))  # pyright: ignore
    if is_autoregressive(decoder):
        return Fixed(_autoregressive, net, likelihood, tuple(decoder.shape))  # pyright: ignore
    return Fixed(_independent, net, likelihood, own_net(decoder))


def _networks(decoder: nn.Module, likelihood: Likelihood) -> dict[str, tuple[nn.Module, Likelihood]] | None:
    """{modality: its net and likelihood} where one of them is of networks; else None."""
    if not (isinstance(likelihood, JointLikelihood) and isinstance(decoder, PerModality)):
        return None
    named: dict[str, Likelihood] = dict(likelihood.options)
    if all(part.decodes is None for part in named.values()) or set(named) != set(decoder.nets):
        return None
    return {name: (decoder.nets[name], part) for name, part in named.items()}


def _joint(
    parts: tuple[tuple[str, Callable], ...], params: PyTree, z: Array, lead: int, *c: Array
) -> Distribution:
    return Joint({name: decode(params[f"nets_{name}"], z, lead, *c) for name, decode in parts})


def _autoregressive(
    net: Callable,
    likelihood: Likelihood,
    event: tuple[int, ...],
    params: PyTree,
    z: Array,
    lead: int,
    *c: Array,
) -> Distribution:
    return Autoregressive(Partial(net, params, z, *c), likelihood, (*z.shape[:lead], *event), len(event))


def _of_network(
    net: Callable,
    of_network: Callable[..., Distribution],
    event: tuple[int, ...],
    params: PyTree,
    z: Array,
    lead: int,
    *c: Array,
) -> Distribution:
    return of_network(Partial(net, params, z, *c), z.shape[:lead], event)


def _independent(
    net: Callable,
    likelihood: Likelihood,
    own: nn.Module | None,
    params: PyTree,
    z: Array,
    lead: int,
    *c: Array,
) -> Distribution:
    parameters = net(params, z, *c) if own is None or lead == 1 else over_lead(net, own, params, z, lead, *c)
    return likelihood.build(parameters, jax.tree.map(lambda a: a.ndim - lead, parameters))


def init_decoder(
    key: Array, decoder: nn.Module, likelihood: Likelihood, z: Array, x: Any, *c: Array
) -> PyTree:
    """The decoder's parameters from what it eats for one example: z [1, *event], c, and x [1, *event].

    Raises:
      ValueError: if its output has not the shape that the likelihood needs for x, or it is not a function
        of its parameters and inputs alone.
    """
    each = _networks(decoder, likelihood)
    if each is not None:  # parameters as those of a `PerModality` of other nets
        check_modalities(each, x if isinstance(x, Mapping) else ())
        return {
            f"nets_{name}": init_decoder(named_key(key, name), net, part, z, x[name], *c)
            for name, (net, part) in each.items()
        }
    sees_x = is_autoregressive(decoder) or likelihood.decodes is not None
    inputs = (z, *c, *((x,) if sees_x else ()))
    if likelihood.decodes == "diffusion":
        inputs = (*inputs, jnp.zeros(x.shape[:1]))  # of log-SNRs
    output, params = initialised("decoder", decoder, key, *inputs)
    if likelihood.decodes is not None:
        return params  # x and u have the shape that the decoder states, and checks
    got = jax.tree.map(lambda a: a.shape, output)
    if isinstance(x, Mapping) and not isinstance(likelihood, JointLikelihood):
        names = ", ".join(f"{name}=..." for name in sorted(x))
        raise ValueError(
            f"likelihood: expected distributions.joint({names}) for such an x; got {likelihood.name}"
        )
    shapes = likelihood.parameter_shape(jax.tree.map(lambda a: a.shape[1:], x))
    expected = {k: (1, *v) for k, v in shapes.items()} if isinstance(shapes, Mapping) else (1, *shapes)
    if got != expected:
        raise ValueError(
            f"decoder: expected an output of shape {expected} for one example, which {likelihood.name} needs "
            f"for x of shape {jax.tree.map(jnp.shape, x)}; got {got}"
        )
    return params


def is_autoregressive(decoder: nn.Module) -> bool:
    """Whether the decoder sees x too."""
    return getattr(decoder, "autoregressive", False)
