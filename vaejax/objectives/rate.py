"""The rate, KL(q(z|x) || p(z)), held to a level instead of weighted; the true KL is logged beside it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_choice, check_finite, check_real, plain
from vaejax.distributions import OneHot, has_kl_per_dimension, kl_or_sampled, kl_per_dimension
from vaejax.fixed import Fixed
from vaejax.objectives.compose import Term, logs, mixes_examples, sees_step
from vaejax.objectives.draw import levels_of
from vaejax.objectives.elbo import kl, kl_per_level
from vaejax.ops.slopes import absolute
from vaejax.types import VAE, Array, Draw, PyTree

__all__ = ["capacity", "free_bits", "geco", "target_rate"]


def capacity(
    target: float | Callable[[Any], Any], *, form: str = "batch", part: int | None = None
) -> Term:  # fmt: skip
    """|KL - C|: the KL is drawn to C nats, from both sides; weight it with `scaled(gamma, ...)`.

    At KL = C the slope is 0.

    On an exact model the KL is C from the gamma on at which gamma KL alone would push it to C; less
    leaves it above.

    Latents in parts have a capacity for each: of z = (Gaussian, one-hot), `part=0` and `part=1` are
    JointVAE's two, where the C of M variables of V values is at most M log V. |KL - C| of a one-hot part is
    also met by one value for all x: what tells is I(x; c), which is logged beside it.

    Args:
      target: C in nats, >= 0, or a schedule step -> C, as `optax.linear_schedule(0.0, 25.0, 100_000)`; over
        0 steps that one stays at 0 for ever.
      form: "batch", |mean_b KL_b - C|, the one of the paper's followers (disentanglement_lib); or
        "example", |KL_b - C| for every example. For KL = (3, 1.8) and C = 2.4 they are 0 and 0.6.
      part: the number 0.. of the part of the latents that is meant; None: all of them together.

    Returns:
      A term in nats, a scalar that mixes examples, or [B]; it logs `kl`, and of a part `kl_<part>` and, if it
      is one-hot, `information_<part>`: sum_m H[mean_b q(c_m|x_b)] - mean_b H[q(c_m|x_b)].

    Raises:
      TypeError, ValueError: for a target that is neither or negative, another form, a part that is not an int
        of at least 0; when called, for a part that the latents do not have.

    Source: Burgess et al. 2018, arXiv 1804.03599, eq. 8; of parts: Dupont 2018, arXiv 1804.00104, eq. 7.
    """
    check_choice(form, ("batch", "example"), "form")
    if part is not None:
        _check_part(part)
        part = plain(part)
    if not callable(target):
        _check_nats(target, "target")
        target = plain(target)
    rate_of = kl if part is None else Fixed(_kl_of_part, part)

    def distance(C: Any, key: Array, vae: VAE, draw: Draw) -> Array:
        rate = rate_of(key, vae, draw)
        return absolute((jnp.mean(rate) if form == "batch" else rate) - C)

    def constant(key: Array, vae: VAE, draw: Draw) -> Array:
        return distance(target, key, vae, draw)

    @sees_step
    def scheduled(key: Array, vae: VAE, draw: Draw, step: Array) -> Array:
        return distance(target(step), key, vae, draw)  # type: ignore[operator]

    term = logs(scheduled if callable(target) else constant, kl=kl, **_measures_of(part))
    return mixes_examples(term) if form == "batch" else term


def free_bits(lam: float, *, form: str = "batch", groups: Sequence[int] | str | None = None) -> Term:
    """sum_g max(lam, KL_g): each group of latents has lam nats for free.

    Below lam the gradient is exactly 0: there is no pressure to fall further, and none to rise. The value is
    not a bound on anything where the clamp holds; `kl`, logged beside it, is the true one.

    Args:
      lam: nats for each group, >= 0.
      form: "batch", sum_g max(lam, mean_b KL_bg), the original; or "example", sum_g max(lam, KL_bg) for
        every example. For KL = [[.1, .9, 2], [.5, .3, 1]] and lam = .5 they are 2.6 and (3.4, 2) = 2.7 in
        the mean.
      groups: the number 0.. of each latent's group, [d]; of a hierarchy, the top level first. None: every
        latent is one. Where the KL is no sum over latents in closed form, as of a flow posterior or under a
        mixture prior, all latents of a level have one number, and their KL is the one-sample estimate
        log q(z|x) - log p(z), as in the paper. "levels": every level or part is a group.

    Returns:
      A term in nats, a scalar that mixes examples, or [B]; it logs `kl`.

    Raises:
      TypeError, ValueError: for a lam that is not a number >= 0, another form, groups that are neither
        "levels" nor ints 0..G-1; when called, for groups of another number of latents, or that part latents
        whose KL is no sum over them.

    Source: Kingma et al. 2016, arXiv 1606.04934, eq. 15 (batch; a group there is a channel of a level).
    """
    _check_nats(lam, "lam")
    lam = plain(lam)
    check_choice(form, ("batch", "example"), "form")
    if isinstance(groups, str) and groups == "levels":
        rate_of = kl_per_level
    else:
        rate_of = partial(_kl_per_group, group_of=None if groups is None else _check_groups(groups))

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        del key, vae
        rate = rate_of(draw)
        return jnp.sum(_at_least(lam, jnp.mean(rate, axis=0) if form == "batch" else rate), axis=-1)

    term = logs(term, kl=kl)
    return mixes_examples(term) if form == "batch" else term


def target_rate(lam: float) -> Term:
    """max(lam, mean_b KL_b): the latents have lam nats for free between them.

    As in `free_bits` the gradient is exactly 0 below lam.

    Args:
      lam: nats in all, >= 0; 8 in the paper's text models.

    Returns:
      A term, a scalar in nats that mixes examples; it logs `kl`.

    Raises:
      TypeError, ValueError: for a lam that is not a number >= 0.

    Source: Li et al. 2019, arXiv 1909.00868, after Pelsmaeker & Aziz 2019, arXiv 1904.08194.
    """
    _check_nats(lam, "lam")
    lam = plain(lam)

    @mixes_examples
    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        return _at_least(lam, jnp.mean(kl(key, vae, draw)))

    return logs(term, kl=kl)


def geco(error: Term, bound: float, *, multiplier: str = "multiplier") -> Term:
    """lam (error - kappa), with lam the multiplier of the constraint E[error] <= kappa.

    Beside `kl` it is the Lagrangian of: least KL such that the error is at most kappa. Its gradient with
    respect to the model is that of lam error; with respect to log lam it is turned round, kappa - error,
    so that a descent raises lam where the constraint is violated: with the head
    `models.with_heads(model, multiplier=nets.Constant())`, which is log lam, and `train.geco_optimizer`,
    one `gradient_update` is the algorithm. Where kappa can be reached, the fixed point has error = kappa.

    Args:
      error: the term under the constraint, as `objectives.reconstruction`, in nats.
      bound: kappa, in the units of the error.
      multiplier: the head that holds log lam, z [B, d] -> [B], each the same.

    Returns:
      A term; it logs `kl`, "constraint", the mean of error - kappa, and lam under the head's name.

    Raises:
      TypeError, ValueError: for a bound that is not a finite number; when called, for a missing head.

    Source: Rezende & Viola 2018, arXiv 1810.00597, algorithm 1.
    """
    check_finite(bound, "bound")
    bound = plain(bound)

    def log_multiplier(vae: VAE, draw: Draw) -> Array:
        if multiplier not in vae.heads:
            raise ValueError(f"multiplier: expected a head among {sorted(vae.heads)}, got {multiplier!r}")
        return vae.heads[multiplier](jax.lax.stop_gradient(draw.z))

    def constraint(key: Array, vae: VAE, draw: Draw) -> Array:
        return error(key, vae, draw) - bound

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        stop = jax.lax.stop_gradient
        log_lam, violation = log_multiplier(vae, draw), constraint(key, vae, draw)
        lam = stop(jnp.exp(log_lam))
        return lam * violation - (log_lam - stop(log_lam)) * stop(violation)  # the second part is 0

    def value(key: Array, vae: VAE, draw: Draw) -> Array:
        return jnp.exp(log_multiplier(vae, draw))

    term = logs(term, kl=kl, constraint=constraint, **{multiplier: value})
    return mixes_examples(term) if getattr(error, "mixes_examples", False) else term


def _at_least(lam: float, rate: Array) -> Array:
    """max(lam, rate), with no gradient at the tie either."""
    return jnp.where(rate <= lam, lam, rate)  # nan stays nan


def _kl_per_group(draw: Draw, group_of: np.ndarray | None) -> Array:
    """KL of every group of latents, [B, G], or of every latent."""
    rate = _kl_per_latent(draw, group_of)
    return rate if group_of is None else jax.ops.segment_sum(rate.T, group_of, group_of.max() + 1).T


def _kl_per_latent(draw: Draw, group_of: np.ndarray | None) -> Array:
    """KL of every latent, [B, d], the levels of a hierarchy side by side; its sums over groups are right.

    Where the KL of a level is no sum over its latents, the first has it all: they must be of one group.
    """
    rates, apart = [], []
    for q, p, log_q, log_p in levels_of(draw):
        if has_kl_per_dimension(q, p):
            rate = kl_per_dimension(q, p)
            rates.append(rate.reshape(len(rate), -1))
        else:
            rate = kl_or_sampled(q, p, log_q, log_p)
            place = sum(r.shape[1] for r in rates)
            rates.append(jnp.zeros((len(rate), math.prod(q.event_shape)), rate.dtype).at[:, 0].set(rate))
            apart.append((f"KL({q.name} || {p.name})", slice(place, place + rates[-1].shape[1])))
    d = sum(rate.shape[1] for rate in rates)
    if group_of is not None and len(group_of) != d:
        raise ValueError(f"groups: expected one for each of {d} latents, got {len(group_of)}")
    for name, latents in apart:
        if group_of is None or len(set(group_of[latents].tolist())) > 1:
            got = None if group_of is None else group_of[latents].tolist()
            raise TypeError(
                f"groups: expected one number for all latents of {name}, no sum over them; got {got}"
            )
    return jnp.concatenate(rates, axis=1)


def _measures_of(part: int | None) -> dict[str, Term]:
    """What the capacity of a part logs: its KL, and of a one-hot part what its codes tell of x."""
    if part is None:
        return {}
    return {f"kl_{part}": Fixed(_kl_of_part, part), f"information_{part}": Fixed(_information_of_part, part)}


def _of_part(part: int, *of_draw: PyTree) -> list[Any]:
    """The part of each of these fields of a draw."""
    parts = [field if isinstance(field, tuple) else (field,) for field in of_draw]
    if part >= len(parts[0]):
        raise ValueError(f"part: expected one of the {len(parts[0])} parts of the latents, got {part}")
    return [field[part] for field in parts]


def _kl_of_part(part: int, key: Array, vae: VAE, draw: Draw) -> Array:
    del key, vae
    return kl_or_sampled(*_of_part(part, draw.q, draw.p, draw.log_q, draw.log_p))


def _information_of_part(part: int, key: Array, vae: VAE, draw: Draw) -> Array | None:
    """I(x; c_m) under the batch, summed over the variables m of a one-hot part; None of another."""
    del key, vae
    (q,) = _of_part(part, draw.q)
    if not isinstance(q, OneHot):
        return None
    return jnp.sum(jax.scipy.special.entr(jnp.mean(q.mean(), axis=0))) - jnp.mean(q.entropy())


def _check_nats(value: float, name: str) -> None:
    check_real(value, name)
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}: expected a finite number of nats >= 0, got {value!r}")


def _check_part(part: int) -> None:
    if isinstance(part, bool) or not isinstance(part, numbers.Integral):
        raise TypeError(f"part: expected an int, got {type(part).__name__} ({part!r})")
    if part < 0:
        raise ValueError(f"part: expected at least 0, got {part}")


def _check_groups(groups: Sequence[int] | str) -> np.ndarray:
    array = np.asarray(groups)
    if array.ndim != 1 or array.dtype.kind not in "iu" or set(array.tolist()) != set(range(len(set(groups)))):
        raise ValueError(f"groups: expected the numbers 0..G-1, one for each latent, got {groups!r}")
    return array
