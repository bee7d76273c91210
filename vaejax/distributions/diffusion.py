"""p(x|z) by diffusion: a bound on log p(x|z) in nats, of a net that predicts noise."""

from __future__ import annotations

import math
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import check_choice, check_positive_int, plain
from vaejax.distributions.likelihoods import Likelihood
from vaejax.fixed import Fixed
from vaejax.ops.diffusion import discrete_weight, noised, prior_kl, step_back
from vaejax.types import Array, Distribution

__all__ = ["Diffusion", "diffusion"]

LEVELS = 256


class Diffusion(distrax.Distribution):
    """A chain of noise over x, undone by a net that predicts the noise eps from u_t = a_t x + s_t eps and z.

    -log p(x|z) <= KL(q(u_1|x) || N(0, I)) + E[-log p(x|u_0)] + E[w_t ||eps - eps_hat(u_t, g_t, z)||^2]

    with the log-SNR -g(t), t from 0 to 1. In continuous time w_t = g'(t) / 2 and t ~ U(0, 1); in T steps
    w_t = T expm1(g(i/T) - g((i-1)/T)) / 2 and i is uniform on 1..T. p(x|u_0) is N(u_0 / a_0, exp(g_0) I) of
    real data; of bytes, scaled to [-1, 1], it is that density at the 256 values, normalised.

    `is_bound`: `log_prob_bound(keys, x, times)` estimates it with one t for each example; there is no
    `log_prob`, and no mean. Samples take `sampling_steps` passes of the net, by `step_back`.

    `network`: (u, g) -> eps_hat, and with `method="gamma"` t -> g(t): a `jax.tree_util.Partial` over its
    parameters and z. `steps`: T, None for continuous time. `spreads_times`: whether `score` is to give times.

    Source: Ho, Jain & Abbeel 2020, arXiv 2006.11239; Kingma et al. 2021, arXiv 2107.00630, eq. 11-17.
    """

    is_bound = True
    has_mean = False

    def __init__(
        self, network: Partial, batch: tuple[int, ...], event: tuple[int, ...], steps: int | None,
        support: str, sampling_steps: int, eta: float, spread: bool,
    ):  # fmt: skip
        super().__init__()
        self._network = network
        self._batch, self._event = tuple(batch), tuple(event)
        self._steps, self._support = steps, support
        self._sampling_steps, self._eta = sampling_steps, eta
        self.spreads_times = spread

    @property
    def support(self) -> str:
        return self._support

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._event

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._batch

    def gamma(self, t: Array | float) -> Array:
        """g(t), minus the log-SNR, [...]."""
        return self._network.func(*self._network.args, jnp.asarray(t, self._dtype()), method="gamma")

    def predicted(self, u: Array, g: Array) -> Array:
        """eps_hat for u [..., *event] and g [...]."""
        return self._network(u, g)

    def log_prob(self, value: Array) -> Array:
        raise TypeError(
            "log_prob: expected a likelihood with a closed form; that of a diffusion is a bound: "
            "log_prob_bound(keys, x)"
        )

    def mean(self) -> Array:
        raise TypeError("p(x|z): expected one with a mean; a diffusion has samples only")

    def log_prob_bound(self, keys: Array, value: Array, times: Array | None = None) -> Array:
        """The estimate of the bound, [*batch] nats; keys [*batch]; times [*batch] in [0, 1), None: drawn."""
        x = self._scaled(value)
        first, second, third = self._noise(keys, x)
        t = first if times is None else times
        error = self._error(x, second, self._at(t)[0])
        rate = self._at(t)[1] * error
        prior = prior_kl(x, self.gamma(1.0), len(self._event))
        return self._log_px_0(value, x, third) - prior - rate

    def denoising_error(self, keys: Array, value: Array, times: Array | None = None) -> Array:
        """||eps - eps_hat||^2 at one t for each example, [*batch]: the last term without its weight."""
        x = self._scaled(value)
        first, second, _ = self._noise(keys, x)
        return self._error(x, second, self._at(first if times is None else times)[0])

    def step(self, u: Array, t: Array, t_next: Array, eta: float | Array, noise: Array) -> Array:
        """u at time t_next from u at time t, [..., *event], as `ops.diffusion.step_back`."""
        g, g_next = self.gamma(t), self.gamma(t_next)
        lead = u.shape[: u.ndim - len(self._event)]
        return step_back(u, self.predicted(u, jnp.broadcast_to(g, lead)), g, g_next, eta, noise)

    def shown(self, u: Array) -> Array:
        """The x of a u_0: its mean given u_0 for real data, the nearest byte for bytes."""
        x = u / jnp.sqrt(jax.nn.sigmoid(-self.gamma(0.0)))
        return x if self._support != "bytes" else jnp.clip(jnp.round((x + 1) * 127.5), 0, 255)

    def noisy(self, value: Array) -> Array:
        """The u_0 of x without noise, a_0 x."""
        return self._scaled(value) * jnp.sqrt(jax.nn.sigmoid(-self.gamma(0.0)))

    def _sample_n(self, key: Array, n: int) -> Array:
        shape = (n, *self._batch, *self._event)
        steps = self._sampling_steps
        start = jax.random.normal(jax.random.fold_in(key, steps), shape, self._dtype())

        def one(u: Array, i: Array) -> tuple[Array, None]:
            noise = jax.random.normal(jax.random.fold_in(key, i), shape, u.dtype)
            return self.step(u, (i + 1) / steps, i / steps, self._eta, noise).astype(u.dtype), None

        u, _ = jax.lax.scan(one, start, jnp.arange(steps), reverse=True)
        return self.shown(u)

    def _dtype(self) -> Any:
        return jnp.result_type(*jax.tree.leaves(self._network.args))

    def _scaled(self, value: Array) -> Array:
        x = jnp.asarray(value, self._dtype())
        return x / 127.5 - 1 if self._support == "bytes" else x

    def _noise(self, keys: Array, x: Array) -> tuple[Array, Array, Array]:
        """A time [*batch] and twice the noise of x for every example."""

        def of_one(key: Array) -> tuple[Array, Array, Array]:
            of_t, of_u, of_0 = jax.random.split(key, 3)
            t = jax.random.uniform(of_t, (), x.dtype)
            eps, eps_0 = (jax.random.normal(k, self._event, x.dtype) for k in (of_u, of_0))
            return t, eps, eps_0

        drawn = jax.vmap(of_one)(keys.reshape(-1))
        return tuple(a.reshape(*self._batch, *a.shape[1:]) for a in drawn)  # pyright: ignore

    def _at(self, t: Array) -> tuple[Array, Array]:
        """g at a time in [0, 1), and the weight of the squared error there."""
        if self._steps is None:
            g, slope = jax.jvp(self.gamma, (t,), (jnp.ones_like(t),))
            return g, slope / 2
        i = jnp.floor(t * self._steps)
        before, g = self.gamma(i / self._steps), self.gamma((i + 1) / self._steps)
        return g, self._steps * discrete_weight(before, g)

    def _error(self, x: Array, eps: Array, g: Array) -> Array:
        axes = tuple(range(-len(self._event), 0))
        return jnp.sum((eps - self.predicted(noised(x, eps, g), g)) ** 2, axes)

    def _log_px_0(self, value: Array, x: Array, eps: Array) -> Array:
        g = self.gamma(0.0)
        if self._support != "bytes":  # E of it: ||eps||^2 is D in the mean
            return -0.5 * math.prod(self._event) * (1 + math.log(2 * math.pi) + g)
        values = jnp.arange(LEVELS, dtype=x.dtype) / 127.5 - 1
        at = x + jnp.exp(g / 2) * eps  # u_0 / a_0
        logits = -0.5 * jnp.exp(-g) * (at[..., None] - values) ** 2
        taken = -0.5 * eps**2
        return jnp.sum(taken - jax.nn.logsumexp(logits, -1), tuple(range(-len(self._event), 0)))


def diffusion(
    steps: int | None = None,
    *,
    support: str = "real",
    sampling_steps: int = 100,
    eta: float = 1.0,
    spread: bool = True,
) -> Likelihood:
    """p(x|z) by a decoder that predicts noise, such as `nets.Denoiser` or `nets.UNet`: a bound, in nats.

    See `distributions.Diffusion` for the bound. What needs an exact log p(x|z), as `objectives.iwae` and
    `evaluation.marginal_log_likelihood`, refuses it.

    Args:
      steps: T of a chain in discrete time, which Ho et al. have; None for continuous time, the limit of
        many, whose bound does not depend on the schedule between its ends.
      support: "real", for data of about unit scale, or "bytes".
      sampling_steps: passes of the net for a sample.
      eta: 1 for ancestral samples, 0 for those that depend on the first noise alone (DDIM), or between.
      spread: whether the times of a batch are spread evenly over [0, 1) (`ops.diffusion.strata`), which
        leaves the mean of the bound over keys and lowers its variance; else they are independent.

    Raises:
      TypeError, ValueError: for numbers of steps that are not ints of at least 1, another support, or an eta
        outside of [0, 1]. When a model is built, TypeError for a decoder that is no denoiser.

    Source: Ho, Jain & Abbeel 2020, arXiv 2006.11239; Kingma et al. 2021, arXiv 2107.00630; Song, Meng & Ermon
    2020, arXiv 2010.02502; with latents: Pandey et al. 2022, arXiv 2201.00308; Preechakul et al. 2021, arXiv
    2111.15640.
    """
    if steps is not None:
        check_positive_int(steps, "steps")
    check_choice(support, ("real", "bytes"), "support")
    check_positive_int(sampling_steps, "sampling_steps")
    eta = plain(eta)
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not 0 <= eta <= 1:
        raise ValueError(f"eta: expected a number in [0, 1], got {eta!r}")
    if not isinstance(spread, bool):
        raise TypeError(f"spread: expected True or False, got {spread!r}")
    options = {
        "steps": plain(steps), "support": support, "sampling_steps": plain(sampling_steps), "eta": eta,
        "spread": spread,
    }  # fmt: skip
    return Likelihood(
        name="diffusion",
        support=support,
        build=_no_build,
        options=options,
        decodes="diffusion",
        of_network=Fixed(_of_network, *options.values()),
    )


def _no_build(parameters: Array, event_ndims: int) -> Distribution:
    raise TypeError("diffusion: expected a network, as `of_network` takes it")


def _of_network(
    steps: int | None, support: str, sampling_steps: int, eta: float, spread: bool, network: Partial,
    batch: tuple[int, ...], event: tuple[int, ...],
) -> Distribution:  # fmt: skip
    return Diffusion(network, batch, event, steps, support, sampling_steps, eta, spread)
