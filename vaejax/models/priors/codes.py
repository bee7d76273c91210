"""Priors of codes, such as those of a vector-quantised posterior."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.distributions import AutoregressiveCodes, Codes, Coding
from vaejax.fixed import Fixed
from vaejax.hints import described
from vaejax.models.apply import apply, initialised
from vaejax.models.priors.family import Around, Prior, one_event
from vaejax.types import Array, PyTree

__all__ = ["codes"]


def codes(net: nn.Module | None = None) -> Prior:
    """p(z) or p(z|c) of codes: all alike, P log V nats each, or one code after the other by a net.

        log p(z) = sum_i log p(k_i|k_<i, c), i over the places in raster order, k the indices of z

    It stands over a posterior whose latents are codes, to which the KL is -log p(z) at the code, exactly; so
    -ELBO = reconstruction + the nats of the codes. A net is fitted with the rest, where the posterior moves
    under it, or afterwards to frozen codes, by `objectives.cross_entropy` alone with `wrt=("prior",)`: then
    the codebook stays.

    Where the model has a condition, the net sees it: of a net that is to do without, `nets.First(net)` makes
    one. A sample takes a pass of the net for every place.

    Args:
      net: an autoregressive Flax module, k [..., *places] (and c) -> logits [..., *places, V], those of a
        place from the places before it alone: `nets.CausalTransformer`, `nets.CodePixelCNN`. None: uniform.

    Returns:
      A Prior, whose parameters are the net's.

    Raises:
      TypeError: for anything but a Flax module.
      ValueError: for a net that does not say that it is `autoregressive`; when a model is initialised, if its
        posterior has no codes to share, or the net's output is not of their shape.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, section 3.3.
    """
    if net is None:
        return Prior("codes", _uniform, options={"net": None})
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected a flax.linen.Module or None, got {described(net, nn.Module)}")
    if not getattr(net, "autoregressive", False):
        raise ValueError(
            "net: expected an autoregressive one, such as nets.CausalTransformer (of yours: with the class "
            f"attribute autoregressive = True); got {type(net).__name__}"
        )
    return Prior("codes", Fixed(_build, net), Fixed(_init, net), {"net": net})


def _uniform(own: PyTree, around: Around) -> Codes:
    del own
    return Codes(_coding(around))


def _build(net: nn.Module, own: PyTree, around: Around) -> AutoregressiveCodes:
    coding, c = _coding(around), around.c
    network = Partial(Fixed(_logits, net, len(coding.places)), own, c)
    return AutoregressiveCodes(coding, network, () if c is None else (len(c),))


def _logits(net: nn.Module, ndims: int, own: PyTree, c: Array | None, k: Array) -> Array:
    """Of indices [*sample, B, *places], of `ndims` axes of places, under the condition c [B, ...]."""
    if c is None:
        return apply(net, own, k)
    lead = k.shape[: k.ndim - ndims]
    return apply(net, own, k, jnp.broadcast_to(c, (*lead, *c.shape[1:])))


def _init(net: nn.Module, key: Array, around: Around) -> dict[str, Any]:
    coding = _coding(around)
    k = jnp.zeros((1, *coding.places), jnp.int32)
    output, params = initialised("prior", net, key, k, *(() if around.c is None else (around.c,)))
    got, expected = jax.tree.map(jnp.shape, output), (1, *coding.places, coding.values)
    if got != expected:
        raise ValueError(f"prior: expected logits of shape {expected} from its net for one code, got {got}")
    return dict(params)


def _coding(around: Around) -> Coding:
    """How the codes of the posterior are made; ValueError where it has none."""
    one_event(around, "codes()")
    if not isinstance(around.shared, Coding):
        raise ValueError(
            "prior: codes() expected a posterior of codes, which shares how they are made (a "
            f"distributions.Coding); got {type(around.shared).__name__} shared"
        )
    return around.shared
