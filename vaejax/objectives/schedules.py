"""Weights over the steps of training, where optax has none: pure functions step -> float, as its own are.

The linear ramp from b0 to b1 is `optax.linear_schedule(b0, b1, T)`, with T >= 1: without steps to rise in it
stays at b0 for ever, so that a weight which was to be there from the start never comes. `ramp_schedule`,
from 0, is at its end then; the others refuse T = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vaejax.checks import check_finite, check_positive_int, plain
from vaejax.types import Array

__all__ = ["cosine_schedule", "cyclical_schedule", "late_schedule", "ramp_schedule", "sigmoid_schedule"]

Schedule = Callable[[Array | int], Array]


def cosine_schedule(init_value: float, end_value: float, transition_steps: int) -> Schedule:
    """b0 + (b1 - b0) (1 - cos(pi min(1, t/T))) / 2: a ramp that starts and ends without a slope.

    Args:
      init_value: b0, finite; 0 too, from which `optax.cosine_decay_schedule` cannot start.
      end_value: b1, finite.
      transition_steps: T, >= 1.

    Raises:
      TypeError, ValueError: for arguments of another kind.
    """
    check_finite(init_value, "init_value")
    check_finite(end_value, "end_value")
    check_positive_int(transition_steps, "transition_steps")
    init_value, end_value, transition_steps = map(plain, (init_value, end_value, transition_steps))

    def schedule(step: Array | int) -> Array:
        done = jnp.minimum(1.0, jnp.asarray(step) / transition_steps)
        return init_value + (end_value - init_value) * (1 - jnp.cos(jnp.pi * done)) / 2

    return schedule


def late_schedule(end_value: float, start: int) -> Schedule:
    """0 before step t0, b from there on: a weight that is switched on late.

    Args:
      end_value: b, finite.
      start: t0, >= 0; 0 has it there from the first step.

    Raises:
      TypeError, ValueError: for arguments of another kind.

    Source: Locatello et al. 2019, arXiv 1905.01258 (supervision that comes when the model is trained).
    """
    check_finite(end_value, "end_value")
    end_value, start = plain(end_value), plain(start)
    if type(start) is not int or start != 0:
        check_positive_int(start, "start")

    def schedule(step: Array | int) -> Array:
        return jnp.where(jnp.asarray(step) < start, 0.0, end_value)

    return schedule


def ramp_schedule(end_value: float, transition_steps: int) -> Schedule:
    """b min(1, t/T): a weight that rises from 0, and is there from the start if T is 0.

    Args:
      end_value: b, finite.
      transition_steps: T, >= 0.

    Raises:
      TypeError, ValueError: for arguments of another kind.
    """
    check_finite(end_value, "end_value")
    end_value, transition_steps = plain(end_value), plain(transition_steps)
    if type(transition_steps) is int and transition_steps == 0:
        return lambda step: jnp.asarray(end_value, jnp.float32)
    check_positive_int(transition_steps, "transition_steps")

    def schedule(step: Array | int) -> Array:
        left = 1 - jnp.clip(jnp.asarray(step), 0, transition_steps) / transition_steps
        return end_value - end_value * left  # in this order it is `optax.linear_schedule` to the bit

    return schedule


def sigmoid_schedule(init_value: float, end_value: float, midpoint: float, steepness: float) -> Schedule:
    """b0 + (b1 - b0) / (1 + exp(-k (t - t0))): halfway at t0.

    It is never quite b0: at step 0 it has (b1 - b0) / (1 + exp(k t0)) of the way behind it.

    Args:
      init_value: b0, finite.
      end_value: b1, finite.
      midpoint: t0, in steps.
      steepness: k, per step.

    Raises:
      TypeError, ValueError: for arguments of another kind.

    Source: Bowman et al. 2015, arXiv 1511.06349.
    """
    for name, value in (
        ("init_value", init_value),
        ("end_value", end_value),
        ("midpoint", midpoint),
        ("steepness", steepness),
    ):
        check_finite(value, name)
    init_value, end_value, midpoint, steepness = map(plain, (init_value, end_value, midpoint, steepness))

    def schedule(step: Array | int) -> Array:
        return init_value + (end_value - init_value) * jax.nn.sigmoid(steepness * (step - midpoint))

    return schedule


def cyclical_schedule(end_value: float, total_steps: int, *, cycles: int = 4, ratio: float = 0.5) -> Schedule:
    """min(1, tau / r) b1 with tau = (t mod P) / (T/M), P = ceil(T/M), and b1 from step T on.

    Every cycle ramps from 0 to b1 over the share r of its length, and stays there for the rest.

    Args:
      end_value: b1, finite.
      total_steps: T, >= 1: the steps of all cycles.
      cycles: M, 1..T.
      ratio: r, in (0, 1].

    Raises:
      TypeError, ValueError: for arguments of another kind or out of range.

    Source: Fu et al. 2019, arXiv 1903.10145, eq. 6 and 7; there t counts from 1 and t - 1 is used.
    """
    check_finite(end_value, "end_value")
    check_finite(ratio, "ratio")
    check_positive_int(total_steps, "total_steps")
    check_positive_int(cycles, "cycles")
    if cycles > total_steps:
        raise ValueError(f"cycles: expected at most the {total_steps} steps, got {cycles}")
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio: expected a number in (0, 1], got {ratio!r}")
    end_value, total_steps, cycles, ratio = map(plain, (end_value, total_steps, cycles, ratio))
    period = math.ceil(total_steps / cycles)

    def schedule(step: Array | int) -> Array:
        # (t mod P) M / (T r), whole numbers before the one division
        ramp = (jnp.asarray(step) % period) * cycles / (total_steps * ratio)
        return end_value * jnp.where(jnp.asarray(step) < total_steps, jnp.minimum(1.0, ramp), 1.0)

    return schedule
