"""The moving average of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.toy import DATA, KEY, START, assert_same, toy_fit, toy_model, toy_update
from vaejax.train import averaged
from vaejax.types import TrainState


def test_the_moving_average_is_the_weighted_sum_of_the_parameters():
    decay, model = 0.75, toy_model()
    update = averaged(toy_update(model=model, wrt=("encoder", "decoder")), decay)
    assert update.groups == ("encoder", "decoder")
    start = {name: jnp.asarray(a, jnp.float32) for name, a in START.items()}
    state = TrainState(start, None, update.init(start), jnp.int32(0))
    batch = {"x": jnp.asarray(DATA.arrays["x"][:6]), "index": jnp.arange(6)}
    seen = [start["encoder"]]
    for i in range(3):
        state, _ = update.apply(state, jax.random.fold_in(KEY, i), batch, None)
        seen.append(state.params["encoder"])
    ema = state.opt_state["ema"]
    weights = [decay**3, *(decay ** (2 - t) * (1 - decay) for t in range(3))]
    expected = sum(w * p for w, p in zip(weights, seen, strict=True))
    np.testing.assert_allclose(ema["encoder"], expected, rtol=1e-6)
    assert set(ema) == {"encoder", "decoder"}  # a group that does not move has no average
    with pytest.raises(ValueError, match=r"decay: expected a number in \[0, 1\), got 1.0"):
        averaged(update, 1.0)


def test_training_does_not_see_the_average_and_resumes_with_it(tmp_path):
    plain = toy_fit(8)
    update = averaged(toy_update(), 0.5)
    whole = toy_fit(8, update=update, chunk=4)
    assert_same(whole.state.params, plain.state.params)
    toy_fit(4, update=update, chunk=4, folder=tmp_path)
    assert_same(toy_fit(8, update=update, chunk=4, folder=tmp_path, resume=True).state, whole.state)


def test_the_last_step_leaves_the_average_as_the_parameters(tmp_path):
    """That one alone, also of a training that was stopped before it; groups that stay have no average."""
    other = averaged(toy_update(wrt=("encoder",)), 0.5)
    plain, ended = (
        toy_fit(8, update=update) for update in (other, averaged(toy_update(wrt=("encoder",)), 0.5, steps=8))
    )
    assert_same(ended.state.opt_state, plain.state.opt_state)
    assert_same(ended.state.params["encoder"], plain.state.opt_state["ema"]["encoder"])
    assert_same(ended.state.params["decoder"], plain.state.params["decoder"])
    longer = averaged(toy_update(wrt=("encoder",)), 0.5, steps=9)
    assert_same(toy_fit(8, update=longer).state.params, plain.state.params)
    toy_fit(4, update=longer, chunk=4, folder=tmp_path)
    assert_same(
        toy_fit(9, update=longer, folder=tmp_path, resume=True).state, toy_fit(9, update=longer).state
    )
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        averaged(toy_update(), 0.5, steps=0)
