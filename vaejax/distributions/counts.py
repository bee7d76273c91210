"""Likelihoods of counts 0, 1, 2, ...: the negative binomial, with or without more zeros than it has."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from vaejax.checks import check_positive, plain
from vaejax.distributions.likelihoods import Likelihood, split_channels, times
from vaejax.fixed import Fixed
from vaejax.keys import threefry_key
from vaejax.precision import at_least_float32
from vaejax.types import Array

__all__ = ["NegativeBinomial", "negative_binomial"]

_STIRLING = 8.0  # from here on the series of log Gamma is right to 1e-9, and nothing large cancels in it


class NegativeBinomial(distrax.Distribution):
    """Independent counts with mean m and variance m + m^2 / r, summed over the event.

    log P(x) = log Gamma(x + r) / (Gamma(r) x!) + r log r / (r + m) + x log m / (r + m)

    With a logit l of zero inflation, pi = sigmoid(l), a value is 0 with probability pi and else such a count:
    P(0) becomes pi + (1 - pi) P(0), the others (1 - pi) P(x), the mean (1 - pi) m.

    Values are numbers of any type; samples and means are floats. Elsewhere than at whole numbers >= 0 the
    probability is 0 and `log_prob` -inf. In float32 the error grows with the counts: near x = m it is up to
    1e-5 nats at 10, 2e-3 at 1000 and 0.1 at 100 000.

    `log_mean`, `log_r`: [..., *event], r the inverse dispersion, of which infinity is the Poisson
    distribution. `zero_logit`: l, [..., *event], or None without inflation.
    """

    support = "counts"

    def __init__(self, log_mean: Array, log_r: Array, zero_logit: Array | None, event_ndims: int):
        super().__init__()
        self._log_mean, self._log_r = at_least_float32(log_mean), at_least_float32(log_r)
        self._zero_logit = None if zero_logit is None else at_least_float32(zero_logit)
        self._event_ndims = event_ndims

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._log_mean.shape[self._log_mean.ndim - self._event_ndims :]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._log_mean.shape[: self._log_mean.ndim - self._event_ndims]

    def log_prob(self, value: Array) -> Array:
        return jnp.sum(self.log_prob_each(value), axis=tuple(range(-self._event_ndims, 0)))

    def log_prob_each(self, value: Array) -> Array:
        """log P of every value, [..., *event]."""
        value = at_least_float32(jnp.asarray(value))
        is_count = (value >= 0) & (value == jnp.round(value))
        x = jnp.where(is_count, value, 0.0)  # before the density, whose gradient is then finite
        log_p = _log_mass(x, self._log_mean, self._log_r)
        if self._zero_logit is not None:
            log_zero, log_count = jax.nn.log_sigmoid(self._zero_logit), jax.nn.log_sigmoid(-self._zero_logit)
            log_p = log_count + log_p
            log_p = jnp.where(x == 0, jnp.logaddexp(log_zero, log_p), log_p)
        return jnp.where(is_count, log_p, -jnp.inf)

    def mean(self) -> Array:
        m = jnp.exp(self._log_mean)
        return m if self._zero_logit is None else jax.nn.sigmoid(-self._zero_logit) * m

    def variance(self) -> Array:
        """m + m^2 / r; inflated (1 - pi) (m + m^2 / r + pi m^2)."""
        m = jnp.exp(self._log_mean)
        own = m + jnp.exp(2 * self._log_mean - self._log_r)
        if self._zero_logit is None:
            return own
        pi = jax.nn.sigmoid(self._zero_logit)
        return (1 - pi) * (own + pi * m**2)

    def _sample_n(self, key: Array, n: int) -> Array:
        of_rate, of_count, of_zero = jax.random.split(threefry_key(key), 3)  # jax's Poisson is Threefry's
        shape = (n, *self._log_mean.shape)
        rate = jax.random.gamma(of_rate, jnp.broadcast_to(jnp.exp(self._log_r), shape))
        x = jax.random.poisson(of_count, rate * jnp.exp(self._log_mean - self._log_r))
        x = x.astype(self._log_mean.dtype)
        if self._zero_logit is None:
            return x
        return jnp.where(jax.random.bernoulli(of_zero, jax.nn.sigmoid(self._zero_logit), shape), 0.0, x)


def _log_mass(x: Array, log_m: Array, log_r: Array) -> Array:
    """log P(x) of the negative binomial; finite, with its gradient, for every finite log m and log r."""
    r = jnp.exp(log_r)
    s = jax.nn.softplus(log_m - log_r)  # log (r + m) / r
    spread = r < _STIRLING
    # r >= 8: log Gamma(x + r) - log Gamma(r) by Stirling's series for both, the large terms in closed form
    large = jnp.where(spread, _STIRLING, r)
    t = jnp.log1p(x / large)
    series = _remainder(x + large) - _remainder(large)
    near_poisson = (large - 0.5) * t - large * s + x * (t - s + log_m) - x + series - gammaln(x + 1)
    small = jnp.where(spread, r, 1.0)
    of_gamma = gammaln(x + small) - gammaln(small) - gammaln(x + 1)
    return jnp.where(spread, of_gamma - small * s + x * (log_m - log_r - s), near_poisson)


def _remainder(s: Array) -> Array:
    """log Gamma(s) - [(s - 1/2) log s - s + log(2 pi) / 2], s >= 8."""
    return 1 / (12 * s) - 1 / (360 * s**3) + 1 / (1260 * s**5)


def negative_binomial(zero_inflated: bool = False, max_log_r: float = 15.0) -> Likelihood:
    """Negative binomial of counts: a mean and a dispersion for every value, both from the decoder.

    The decoder gives 2 C channels: C numbers log m, then C numbers log r; with zero inflation C logits more.
    With `nets.SharedScale` around a decoder of C channels, log r is one learned number for all. The data have
    support "counts", and `nets.FromCounts` around the encoder lets it see log(1 + x).

    Args:
      zero_inflated: whether a value may be 0 for a reason of its own.
      max_log_r: the bounds of log r, which is held within [-max_log_r, max_log_r]: at the upper one the
        variance is 1 + m e^-15 times that of the Poisson distribution.

    Raises:
      TypeError, ValueError: if zero_inflated is not a bool or max_log_r not a positive finite number.

    Source: Gronbech et al. 2020, bioRxiv 318295, and Lopez et al. 2018, doi 10.1038/s41592-018-0229-2 (VAEs
    of counts of molecules in cells).
    """
    zero_inflated = plain(zero_inflated)
    if not isinstance(zero_inflated, bool):
        raise TypeError(f"zero_inflated: expected a bool, got {zero_inflated!r}")
    check_positive(max_log_r, "max_log_r")
    max_log_r = plain(max_log_r)
    return Likelihood(
        name="negative_binomial",
        support="counts",
        build=Fixed(_negative_binomial, zero_inflated, max_log_r),
        options={"zero_inflated": zero_inflated, "max_log_r": max_log_r},
        channels=Fixed(times, 3 if zero_inflated else 2),
    )


def _negative_binomial(
    zero_inflated: bool, max_log_r: float, parameters: Array, event_ndims: int
) -> NegativeBinomial:
    parts = split_channels(at_least_float32(parameters), event_ndims, 3 if zero_inflated else 2)
    log_r = jnp.clip(parts[1], -max_log_r, max_log_r)
    return NegativeBinomial(parts[0], log_r, parts[2] if zero_inflated else None, event_ndims)
