"""The measured step is the one that `fit` runs."""

import jax
import pytest

from tests.train.toy import DATA, KEY, START, toy_model, toy_update
from vaejax import train
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
