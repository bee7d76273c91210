"""Networks over a grid of codes: the logits of every code from the codes before it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int
from vaejax.hints import described
from vaejax.nets.dense import beside, dtype_name
from vaejax.nets.pixelcnn import check_layers, gated_layers
from vaejax.precision import at_least_float32
from vaejax.types import Array


class CausalTransformer(nn.Module):
    """Logits of every code from those before it: (k [..., *places], c?) -> [..., *places, V].

    The places are a sequence in raster order, i = 0 .. P - 1; it starts with a learned token:

        h_0 = start + position_0,   h_i = E[k_{i-1}] + position_i,   each + C c where there is a condition
        h = h + A norm(h),   h = h + B gelu(D norm(h))   in each block
        logits = W norm(h)

    A is attention of `heads` heads to the places up to i; norm is LayerNorm. A block holds P^2 numbers for
    each head.

    Args:
      places: the shape of k for one example, such as (H, W); (H, W, S) of S codes at each place.
      values: V.
      width: of h, a multiple of the heads.
      blocks: how many.
      heads: of the attention in each.
      context: a net c -> [..., *places, F] that takes the place of c, for a condition that means something
        else at every place; None for c itself, flattened, the same everywhere.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for float32. Parameters and
        output stay float32.

    Raises:
      TypeError, ValueError: for sizes below 1, a width that the heads do not divide, another kind of context;
        when called, for k that are not integers of these places.

    Source: Vaswani et al. 2017, arXiv 1706.03762; LayerNorm before each part: Radford et al. 2019 (GPT-2);
    over codes of images: Esser, Rombach & Ommer 2021, arXiv 2012.09841. Initialisers are flax's.
    """

    places: tuple[int, ...]
    values: int
    width: int
    blocks: int
    heads: int = 4
    context: nn.Module | None = None
    dtype: Any = None

    autoregressive: ClassVar[bool] = True  # what a prior asks of its net

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        _check_codes_net(self.places, self.values, self.context)
        for name in ("width", "blocks", "heads"):
            check_positive_int(getattr(self, name), name)
        if self.width % self.heads:
            raise ValueError(f"width: expected a multiple of {self.heads} heads, got {self.width}")
        super().__post_init__()

    @nn.compact
    def __call__(self, k: Array, *c: Array) -> Array:
        lead = _check_codes(k, self.places)
        P, start = math.prod(self.places), nn.initializers.normal(0.02)
        flat = k.reshape(*lead, P)
        h = nn.Embed(self.values, self.width, dtype=self.dtype, name="embedding")(flat[..., :-1])
        first = self.param("start", start, (self.width,), jnp.float32).astype(h.dtype)
        h = jnp.concatenate([jnp.broadcast_to(first, (*lead, 1, self.width)), h], axis=-2)
        h = h + self.param("position", start, (P, self.width), jnp.float32).astype(h.dtype)
        if c:
            maps = _maps(lead, self.places, self.context, *c)
            maps = maps.reshape(*lead, -1, maps.shape[-1])  # [..., P or 1, F]
            h = h + nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="condition")(maps)
        for n in range(self.blocks):
            h = h + self._attention(self._norm(f"norm_a_{n}")(h), n)
            hidden = nn.Dense(4 * self.width, dtype=self.dtype, name=f"hidden_{n}")
            out = nn.Dense(self.width, dtype=self.dtype, name=f"out_{n}")
            h = h + out(jax.nn.gelu(hidden(self._norm(f"norm_b_{n}")(h))))
        h = nn.LayerNorm(name="norm")(at_least_float32(h))
        logits = nn.Dense(self.values, name="head")(h)
        return logits.reshape(*lead, *self.places, self.values)

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(dtype=self.dtype, name=name)

    def _attention(self, h: Array, n: int) -> Array:
        """softmax(q k^T / sqrt(size)) v over the places up to each, in heads; [..., P, width]."""
        P, size = h.shape[-2], self.width // self.heads
        each = nn.Dense(3 * self.width, dtype=self.dtype, name=f"qkv_{n}")(h)
        q, k, v = jnp.moveaxis(each.reshape(*each.shape[:-1], 3, self.heads, size), -3, 0)
        scores = at_least_float32(jnp.einsum("...ihd,...jhd->...hij", q, k)) / math.sqrt(size)
        seen = jnp.tril(jnp.ones((P, P), bool))
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)).astype(v.dtype)
        mixed = jnp.einsum("...hij,...jhd->...ihd", weights, v)
        return nn.Dense(self.width, dtype=self.dtype, name=f"mix_{n}")(mixed.reshape(h.shape))


class CodePixelCNN(nn.Module):
    """Logits of every code from those before it: (k [..., *places], c?) -> [..., *places, V].

    The layers of `GatedPixelCNN` over codes in the place of pixels, each seen as a learned vector. Several
    codes at one place, as of residual stages, come one after the other, each with vectors of its own.

    Args:
      places: (H, W), or (H, W, S) of S codes at each place.
      values: V.
      features: channels of each stack, a multiple of S.
      kernels: sides of each layer's, odd, at least 3, as for `GatedPixelCNN`.
      embed: size of the vectors that stand for codes.
      context: a net c -> maps [..., H, W, F] that takes the place of c in every layer; None for c itself,
        flattened, the same everywhere.
      dtype: what the layers before the last compute in, such as "bfloat16"; None for float32. Parameters and
        output stay float32.

    Raises:
      TypeError, ValueError: for places of another number of axes, sizes below 1, features that S does not
        divide, no or even kernels, another kind of context; when called, for k that are not integers of these
        places.

    Source: van den Oord et al. 2016, arXiv 1606.05328; as a prior of codes: van den Oord, Vinyals &
    Kavukcuoglu 2017, arXiv 1711.00937, section 3.3.
    """

    places: tuple[int, ...]
    values: int
    features: int
    kernels: tuple[int, ...]
    embed: int = 32
    context: nn.Module | None = None
    dtype: Any = None

    autoregressive: ClassVar[bool] = True  # what a prior asks of its net

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        _check_codes_net(self.places, self.values, self.context)
        if len(self.places) not in (2, 3):
            raise ValueError(f"places: expected (H, W) or (H, W, S), got {self.places}")
        check_layers(self.features, self.kernels, self._stages, "codes at a place")
        check_positive_int(self.embed, "embed")
        super().__post_init__()

    @property
    def _stages(self) -> int:
        """S."""
        return math.prod(self.places[2:])

    @nn.compact
    def __call__(self, k: Array, *c: Array) -> Array:
        lead, (H, W), S = _check_codes(k, self.places), self.places[:2], self._stages
        k = k.reshape(*lead, H, W, S).astype(jnp.int32) + self.values * jnp.arange(S)  # a table for each
        h = nn.Embed(S * self.values, self.embed, dtype=self.dtype, name="embedding")(k)
        h = h.reshape(*lead, H, W, S * self.embed)
        maps = _maps(lead, (H, W), self.context, *c) if c else None
        numbers = S * self.values
        logits = gated_layers(h, maps, self.features, self.kernels, S, numbers, self.dtype)
        return logits.reshape(*lead, *self.places, self.values)


def _check_codes_net(places: tuple[int, ...], values: int, context: Any) -> None:
    """Raise unless these are what a net over codes may have."""
    if not places:
        raise ValueError("places: expected at least one axis, got ()")
    for n, size in enumerate(places):
        check_positive_int(size, f"places[{n}]")
    check_positive_int(values, "values")
    if not (context is None or isinstance(context, nn.Module)):
        raise TypeError(f"context: expected a flax.linen.Module or None, got {described(context)}")


def _check_codes(k: Array, places: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes of codes [..., *places]; raise for what is none."""
    if not jnp.issubdtype(k.dtype, jnp.integer):
        raise TypeError(f"k: expected integers, the indices of codes; got dtype {k.dtype}")
    if k.shape[max(0, k.ndim - len(places)) :] != tuple(places):
        raise ValueError(f"k: expected [..., {', '.join(map(str, places))}], got {k.shape}")
    return k.shape[: k.ndim - len(places)]


def _maps(lead: tuple[int, ...], places: tuple[int, ...], context: nn.Module | None, c: Array) -> Array:
    """What conditions every place, [..., *places, F]; ones in their stead where it is the same everywhere."""
    if context is None:
        flat = beside(jnp.zeros((*lead, 0), c.dtype), (c,))
        return flat.reshape(*lead, *(1,) * len(places), flat.shape[-1])
    maps = context(c)
    if maps.shape[:-1] != (*lead, *places):
        raise ValueError(
            f"context: expected maps [..., {', '.join(map(str, places))}, F], got {list(maps.shape)}"
        )
    return maps
