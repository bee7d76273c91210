"""Categorical posteriors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive, check_positive_int, plain
from vaejax.distributions import OneHot
from vaejax.fixed import Fixed
from vaejax.keys import example_keys
from vaejax.models.posteriors.family import Drawn, Posterior
from vaejax.types import Array, Batch, PyTree

__all__ = ["categorical"]

Temperature = float | tuple[float, float, int]


def categorical(
    values: int, variables: int = 1, temperature: Temperature = 1.0, hard: bool = True
) -> Posterior:  # fmt: skip
    """q(z|x) = prod_m Cat(z_m; softmax(logits_m(x))), z_m one-hot of V values.

    The encoder gives logits [M, V], as `nets.MLP(features, output_shape=(M, V))` does, and the decoder's net
    eats z flattened, [..., M V]. The priors are `priors.uniform()` and `priors.categorical()`, the KL to
    which is exact.

    In evaluation draws are exact. In training they are relaxed, so that a gradient reaches the logits:
    softmax((logits + Gumbel noise) / temperature), whose gradient is biased, less so at low temperatures.
    Without bias: `objectives.enumerated` or `objectives.leave_one_out` in the place of `reconstruction`.

    Args:
      values: V, at least 2.
      variables: M.
      temperature: a number, or (start, end, steps): from start to end in equal ratios over so many steps of
        training, such as (1.0, 0.5, 50_000).
      hard: whether the value in training is exactly one-hot too, and only its gradient relaxed
        (straight-through); else the decoder sees points between, and log q and log p are taken at the one-hot
        of the same noise.

    Returns:
      A Posterior without parameters of its own; its code is the mode.

    Raises:
      TypeError, ValueError: for sizes that are not such ints, temperatures that are not positive numbers,
        a hard that is not a bool.

    Source: Jang, Gu & Poole 2016, arXiv 1611.01144; Maddison, Mnih & Teh 2016, arXiv 1611.00712.
    """
    check_positive_int(values, "values")
    if values < 2:
        raise ValueError(f"values: expected at least 2, got {values}")
    check_positive_int(variables, "variables")
    temperature = _checked(temperature)
    if not isinstance(hard, bool):
        raise TypeError(f"hard: expected a bool, got {type(hard).__name__} ({hard!r})")
    event = (plain(variables), plain(values))
    return Posterior(
        "categorical",
        event,
        event,
        _one_hot,
        draw=Fixed(_draw, temperature, hard),
        code=_mode,
        inputs=_flat,
        options={"values": event[1], "variables": event[0], "temperature": temperature, "hard": hard},
    )


def _checked(temperature: Any) -> Temperature:
    if not isinstance(temperature, tuple | list):
        check_positive(temperature, "temperature")
        return plain(temperature)
    if len(temperature) != 3:
        raise ValueError(f"temperature: expected a number or (start, end, steps), got {temperature!r}")
    start, end, steps = temperature
    check_positive(start, "start of temperature")
    check_positive(end, "end of temperature")
    check_positive_int(steps, "steps of temperature")
    return plain(start), plain(end), plain(steps)


def _one_hot(own: PyTree, state: PyTree, parameters: Array) -> OneHot:
    del own, state
    return OneHot(parameters)


def _mode(q: OneHot) -> Array:
    return q.mode()


def _flat(z: Array) -> Array:
    return z.reshape(*z.shape[:-2], -1)


def _draw(
    temperature: Temperature, hard: bool, posterior: Posterior,
    own: PyTree, state: PyTree, parameters: Array, key: Array, batch: Batch, step: Any,
) -> Drawn:  # fmt: skip
    del posterior
    q, keys = _one_hot(own, state, parameters), example_keys(key, batch)
    if step is None:
        z = jax.vmap(lambda k, logits: OneHot(logits).sample(seed=k))(keys, q.logits)
        return Drawn(z, q.log_prob(z), q)
    tau = _at(temperature, step).astype(q.logits.dtype)

    def relaxed(hard: bool) -> Array:
        return jax.vmap(lambda k, logits: OneHot(logits).relaxed(k, tau, hard=hard))(keys, q.logits)

    point = relaxed(True)
    return (
        Drawn(point, q.log_prob(point), q)
        if hard
        else Drawn(relaxed(False), q.log_prob(point), q, point=point)
    )


def _at(temperature: Temperature, step: Any) -> Array:
    """The temperature at a step of training."""
    if not isinstance(temperature, tuple):
        return jnp.asarray(temperature)
    start, end, steps = temperature
    done = jnp.minimum(jnp.asarray(step, jnp.float32) / steps, 1.0)
    return start * (end / start) ** done
