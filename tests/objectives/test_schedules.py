"""Schedules at their knots."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax.objectives import (
    cosine_schedule,
    cyclical_schedule,
    late_schedule,
    ramp_schedule,
    sigmoid_schedule,
)


def _at(schedule, steps):
    """By ints, and by the traced int32 of a training step."""
    traced = jax.jit(jax.vmap(schedule))(np.asarray(steps, np.int32))
    np.testing.assert_allclose([float(schedule(t)) for t in steps], traced, rtol=1e-6, atol=1e-7)
    return traced


@pytest.mark.parametrize(
    ("schedule", "knots"),
    [
        (optax.linear_schedule(0.2, 1.0, 10), {0: 0.2, 5: 0.6, 9: 0.92, 10: 1.0, 99: 1.0}),
        (ramp_schedule(2.0, 8), {0: 0.0, 2: 0.5, 7: 1.75, 8: 2.0, 99: 2.0}),
        (ramp_schedule(0.3, 0), {0: 0.3, 1: 0.3, 99: 0.3}),  # without steps it is at its end from the start
        (late_schedule(2.0, 8), {0: 0.0, 7: 0.0, 8: 2.0, 99: 2.0}),
        (late_schedule(2.0, 0), {0: 2.0, 1: 2.0}),
        (cosine_schedule(0.0, 2.0, 8), {0: 0.0, 2: 1 - 0.5**0.5, 4: 1.0, 6: 1 + 0.5**0.5, 8: 2.0, 99: 2.0}),
        (cosine_schedule(3.0, 1.0, 2), {0: 3.0, 1: 2.0, 2: 1.0, 3: 1.0}),
        (
            sigmoid_schedule(0.5, 1.5, 100.0, 0.1),
            {0: 0.5 + 1 / (1 + np.exp(10)), 90: 0.5 + 1 / (1 + np.e), 100: 1.0, 110: 1.5 - 1 / (1 + np.e)},
        ),
        (cyclical_schedule(1.0, 100), {0: 0, 12: 0.96, 13: 1, 24: 1, 25: 0, 37: 0.96, 99: 1, 100: 1, 112: 1}),
        # a period of 10 / 4 steps is taken as 3: the ramp has its own length, 2.5 r, all the same
        (cyclical_schedule(3.0, 10, ratio=1.0), {0: 0, 1: 1.2, 2: 2.4, 3: 0, 9: 0, 10: 3}),
        (cyclical_schedule(1.0, 40, cycles=1, ratio=0.25), {0: 0, 5: 0.5, 10: 1, 39: 1, 40: 1}),
    ],
)
def test_values_at_the_knots(schedule, knots):
    np.testing.assert_allclose(_at(schedule, list(knots)), list(knots.values()), rtol=1e-6, atol=1e-7)


def test_a_ramp_without_steps_is_refused_and_optax_s_never_starts():
    """What docs/collapse.md and docs/training.md warn of."""
    assert optax.linear_schedule(0.0, 1.0, 0)(10**6) == 0
    for make in (lambda: cosine_schedule(0.0, 1.0, 0), lambda: cyclical_schedule(1.0, 0)):
        with pytest.raises(ValueError, match=r"(transition|total)_steps: expected at least 1, got 0"):
            make()
    np.testing.assert_allclose(
        [cosine_schedule(0.0, 1.0, 1)(step) for step in (0, 1, 2)], [0, 1, 1], atol=1e-7
    )


@pytest.mark.parametrize(("end", "steps"), [(1.0, 10), (0.3, 7), (-2.0, 1), (1e-3, 1000)])
def test_the_ramp_is_optax_s_to_the_bit_and_there_at_once_without_steps(end, steps):
    at = np.array([0, 1, 2, 3, 6, 7, 9, 10, 999, 1000, 10**6], np.int32)
    ours, theirs, at_once = (
        schedule(jnp.asarray(at))  # operation by operation, as no compiler may reorder them
        for schedule in (
            ramp_schedule(end, steps),
            optax.linear_schedule(0.0, end, steps),
            ramp_schedule(end, 0),
        )
    )
    np.testing.assert_array_equal(ours, theirs)
    assert (ours[0], ours[-1]) == (0, np.float32(end))
    np.testing.assert_array_equal(at_once, np.full(len(at), end, np.float32))
    assert ramp_schedule(end, 0)(0) == np.float32(end)  # of an int, too


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cosine_schedule(0.0, np.inf, 3), ValueError, "end_value: expected a finite number, got inf"),
        (lambda: cosine_schedule(0.0, 1.0, 0), ValueError, "transition_steps: expected at least 1"),
        (lambda: ramp_schedule(np.nan, 3), ValueError, "end_value: expected a finite number, got nan"),
        (lambda: ramp_schedule(1.0, -1), ValueError, "transition_steps: expected at least 1, got -1"),
        (lambda: ramp_schedule(1.0, 0.0), TypeError, "transition_steps: expected an int"),
        (lambda: ramp_schedule(1.0, False), TypeError, "transition_steps: expected an int"),
        (lambda: sigmoid_schedule("0", 1.0, 3, 1), TypeError, "init_value: expected a number, got str"),
        (lambda: cyclical_schedule(1.0, 3), ValueError, "cycles: expected at most the 3 steps, got 4"),
        (lambda: cyclical_schedule(1.0, 9, ratio=0.0), ValueError, r"ratio: expected a number in \(0, 1\]"),
        (lambda: cyclical_schedule(1.0, 9, ratio=1.1), ValueError, r"ratio: expected a number in \(0, 1\]"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
