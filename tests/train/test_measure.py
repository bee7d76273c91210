"""The measured step is the one that `fit` runs."""

import jax
import numpy as np
import pytest

from tests.train.toy import DATA, KEY, START, toy_model, toy_update
from vaejax import train
from vaejax.train import measure
from vaejax.types import Split


def test_what_is_counted():
    model = toy_model()
    cost = train.measure_step(KEY, model, toy_update(model=model), DATA, batch_size=6, steps=3, rounds=2)
    assert cost.parameters == 3 + 1 + 2
    # parameters, the two moments of Adam, its count and the step, four bytes each
    assert cost.state_mib * 2**20 == 4 * (3 * cost.parameters + 2)
    assert 0 < cost.seconds < cost.compile_seconds
    assert cost.temporaries_mib > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 21}, "batch_size: expected at most the 20 examples of the data, got 21"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"data": Split(DATA.arrays, "bytes")}, "the data have support 'bytes'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_compiles(change, message):
    def init(key, batch):
        pytest.fail("initialised")

    model = toy_model(START)._replace(init=init)
    options = {"data": DATA, "batch_size": 6, **change}
    with pytest.raises(ValueError, match=message):
        train.measure_step(jax.random.key(0), model, toy_update(model=model), **options)


def test_a_slow_step_is_measured_fewer_times():
    """The first step says how many a round has."""
    model = toy_model()
    counted, ran = [], jax.stages.Compiled.__call__

    def spy(self, *arguments):
        counted.append(int(np.asarray(arguments[-1])))
        return ran(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Compiled, "__call__", spy)
        options = {"batch_size": 6, "steps": 40, "rounds": 2}
        train.measure_step(KEY, model, toy_update(model=model), DATA, **options, seconds=1e-9)
        assert counted == [1, 1, 1]
        counted.clear()
        train.measure_step(KEY, model, toy_update(model=model), DATA, **options, seconds=1e9)
        assert counted == [1, 40, 40]


def test_a_whole_fit_is_its_steps_and_validations(monkeypatch):
    """Nine steps in chunks of two: validated after every second chunk and at the end."""
    seen = []

    def validate(key, vae):
        pytest.fail("called by `twice` alone")

    def twice(function, key, vae):
        seen.append(np.asarray(vae.heads["encoder"]()).tolist())
        assert function is validate
        return 0.5, 0.25

    monkeypatch.setattr(measure, "twice", twice)
    model = toy_model(START)
    update, options = toy_update(model=model), {"batch_size": 6, "chunk": 2, "save_every": 2, "seconds": 0.1}
    cost = train.measure_fit(KEY, model, update, DATA, 9, validate=validate, **options)
    assert cost.steps == 9
    assert seen == [START["encoder"]]
    assert cost.validations == 0.5 + 2 * 0.25
    assert cost.first == cost.step.trace_seconds + cost.step.compile_seconds
    assert cost.seconds == cost.first + 9 * cost.step.seconds + cost.validations
    assert train.measure_fit(KEY, model, update, DATA, 9, **options).validations == 0
    with pytest.raises(ValueError, match="save_every: expected at least 1, got 0"):
        train.measure_fit(KEY, model, update, DATA, 9, batch_size=6, save_every=0)


@pytest.mark.parametrize(("first", "calls"), [(8.0, 2), (30.0, 1)])
def test_what_is_slow_is_not_called_twice(monkeypatch, first, calls):
    """By a clock of its own: what it takes a first time, and a second at the second."""
    now, made = [100.0], []

    def function(x):
        now[0] += 1.0 if made else first
        made.append(x)

    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    assert measure.twice(function, "x") == (first, 1.0 if calls == 2 else first)
    assert made == ["x"] * calls
