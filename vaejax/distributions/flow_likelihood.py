"""p(x|z) by an invertible net: a density of real data, or a bound on the probability of bytes."""

from __future__ import annotations

import math
from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import check_choice
from vaejax.distributions.flows import Flow
from vaejax.distributions.gaussian import diagonal_gaussian
from vaejax.distributions.likelihoods import Likelihood
from vaejax.fixed import Fixed
from vaejax.types import Array, Distribution

__all__ = ["Dequantised", "flow"]

BYTES = 256


class Dequantised(distrax.Distribution):
    """P(x) of bytes x under a density p of y = (x + u) / 256 on the unit cube: a bound, in nats.

    log P(x) >= E_q(u|x)[log p((x + u) / 256) - log q(u|x)] - D log 256,  u in (0, 1)^D,

    with equality where q(u|x) is p(u|x). `is_bound`: `log_prob_bound(keys, x)` is the estimate by one u for
    each example, and there is no `log_prob`. A sample is floor(256 y), to 0..255 where y leaves the cube.

    `density`: p. `noise`: (eps [..., *event], x) -> (u, log q(u|x) [...]), eps ~ N(0, I); None: u is uniform.

    Source: Theis, van den Oord & Bethge 2015, arXiv 1511.01844 (uniform); Ho et al. 2019, arXiv 1902.00275
    (variational, eq. 8).
    """

    is_bound = True
    has_mean = False
    support = "bytes"

    def __init__(self, density: Distribution, noise: Callable[..., tuple[Array, Array]] | None = None):
        super().__init__()
        self._density = density
        self._noise = noise

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._density.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._density.batch_shape

    def log_prob(self, value: Array) -> Array:
        raise TypeError(
            "log_prob: expected a likelihood with a closed form; that of dequantised bytes is a bound: "
            "log_prob_bound(keys, x)"
        )

    def log_prob_bound(self, keys: Array, value: Array) -> Array:
        """The bound by one u for each example, [*batch] nats; keys [*batch]."""
        x = jnp.asarray(value, jnp.result_type(jnp.float32, *jax.tree.leaves(self._density)))
        u, log_q = self._drawn(keys, x)
        size = math.prod(self.event_shape)
        return self._density.log_prob((x + u) / BYTES) - log_q - size * math.log(BYTES)

    def _drawn(self, keys: Array, x: Array) -> tuple[Array, Array | float]:
        """u and log q(u|x)."""
        flat, event = keys.reshape(-1), self.event_shape
        if self._noise is None:
            bits = jax.vmap(lambda k: jax.random.bits(k, event, jnp.uint16))(flat)
            # odd multiples of 2^-16: x + u is exact in float32 (a finer u would round 255 + u up to 256)
            return (bits | 1).astype(x.dtype).reshape(x.shape) * 2.0**-16, 0.0
        eps = jax.vmap(lambda k: jax.random.normal(k, event, x.dtype))(flat).reshape(x.shape)
        return self._noise(eps, x)

    def mean(self) -> Array:
        raise TypeError("p(x|z): expected one with a mean; a flow has samples only")

    def _sample_n(self, key: Array, n: int) -> Array:
        y = self._density._sample_n(key, n)
        return jnp.clip(jnp.floor(BYTES * y), 0, BYTES - 1)


def flow(dequantise: str | None = None) -> Likelihood:
    """p(x|z) by a decoder that is an invertible net between x and u ~ N(0, I), such as `nets.ImageFlow`.

    log p(x|z) = log N(u; 0, I) + log|det du/dx|, exact, in nats. It has no mean, only samples: a
    reconstruction is a sample, too. Bytes have no density; `dequantise` says how noise makes them real,
    which makes log P(x|z) a bound (`is_bound`), refused where an exact log-density is needed.

    Args:
      dequantise: None for real data, and for data in [0, 1], which the decoder then takes as real numbers
        unless it has an `alpha`; "uniform" for bytes with noise from U(0, 1); "variational" for bytes with
        noise from the decoder's `noise`, of whose bound it is the tighter.

    Raises:
      ValueError: for another dequantise. When a model is built, TypeError for a decoder that is not
        invertible; when it is bound to a batch, ValueError for "variational" without a `noise`.

    Source: Dinh, Sohl-Dickstein & Bengio 2016, arXiv 1605.08803; Theis et al. 2015, arXiv 1511.01844; Ho et
    al. 2019, arXiv 1902.00275.
    """
    if dequantise is not None:
        check_choice(dequantise, ("uniform", "variational"), "dequantise")
    return Likelihood(
        name="flow",
        support="real" if dequantise is None else "bytes",
        build=_no_build,
        options={"dequantise": dequantise},
        decodes="flow",
        of_network=Fixed(_of_network, dequantise),
    )


def _no_build(parameters: Array, event_ndims: int) -> Distribution:
    raise TypeError("flow: expected a network, as `of_network` takes it; a flow has no parameters of values")


def _of_network(
    dequantise: str | None, network: Partial, batch: tuple[int, ...], event: tuple[int, ...]
) -> Distribution:
    dtype = jnp.result_type(*jax.tree.leaves(network.args))
    zeros = jnp.zeros((*batch, math.prod(event)), dtype)
    base = diagonal_gaussian(zeros, jnp.ones_like(zeros))
    density = _Density(base, _method(network, "generate"), network, event)
    if dequantise is None:
        return density
    return Dequantised(density, _method(network, "dequantise") if dequantise == "variational" else None)


class _Density(Flow):
    """A flow over data."""

    support = "real"


def _method(network: Partial, name: str) -> Partial:
    """Another function of the decoder at the same parameters and z."""
    return Partial(network.func, *network.args, method=name)
