"""Checkpoints give back what was saved, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import assert_same, toy_fit, toy_model
from vaejax.train import Checkpoints
from vaejax.types import TrainState, Update

OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(1e-3, 0.0, 10)), optax.ema(0.9)
)


def make_state(step, seed=0, width=3):
    rng = np.random.default_rng(seed + step)
    params = {
        "encoder": {"dense": {"kernel": jnp.asarray(rng.normal(size=(2, width)), jnp.float32)}},
        "decoder": {"scale": jnp.asarray(rng.normal(), jnp.bfloat16)},
    }
    state = OPTIMIZER.init(params)
    for _ in range(step):
        _, state = OPTIMIZER.update(jax.tree.map(lambda a: 0.3 * a, params), state, params)
    variables = {"codebook": jnp.asarray(rng.integers(0, 9, 4), jnp.int32)}
    return TrainState(params, variables, state, jnp.asarray(step, jnp.int32))


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of steps 1, 2 and 3, two of them kept."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (1, 2, 3):
        checkpoints.save(make_state(step), {"note": "a", "step": step})
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    yield checkpoints
    checkpoints.close()


def test_round_trip_is_exact_with_the_optimiser(saved):
    like = jax.eval_shape(lambda: make_state(0))
    assert saved.latest() == 3
    restored = saved.restore(like)
    assert_same(restored, make_state(3))
    assert restored.opt_state[1][0].count == 3
    assert_same(saved.restore(like, 2), make_state(2))
    assert saved.meta() == {"note": "a", "step": 3}
    assert saved.meta(2) == {"note": "a", "step": 2}


def test_only_the_newest_are_kept(saved, tmp_path):
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]


def test_params_come_without_the_optimiser(saved):
    state = make_state(3)
    params, variables = saved.restore_params()
    assert_same((params, variables), (state.params, state.variables))
    assert_same(saved.restore_params(2)[0], make_state(2).params)


def test_a_model_without_variables_comes_back_with_none(tmp_path):
    state = make_state(1)._replace(variables=None)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, {})
    checkpoints.wait()
    assert_same(checkpoints.restore(state), state)
    assert checkpoints.restore_params()[1] is None
    checkpoints.close()


def test_a_saved_step_is_left_as_it_is(saved):
    saved.save(make_state(3, seed=100), {"note": "b"})
    saved.wait()
    assert saved.meta() == {"note": "a", "step": 3}
    assert_same(saved.restore_params()[0], make_state(3).params)


def test_saving_copies_before_the_buffers_are_donated(tmp_path):
    state = make_state(1)
    expected = jax.tree.map(lambda a: np.array(a, copy=True), state.params)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, {})
    jax.tree.map(lambda a: a.delete(), state.params)
    checkpoints.wait()
    assert_same(checkpoints.restore_params()[0], expected)
    checkpoints.close()


def test_nothing_saved_is_said(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.latest() is None
    for read in (checkpoints.meta, checkpoints.restore_params, lambda: checkpoints.restore(make_state(0))):
        with pytest.raises(ValueError, match=r"folder: expected a checkpoint in .*none, found none"):
            read()
    checkpoints.close()


def test_another_state_is_refused_by_name(saved):
    wide = jax.eval_shape(lambda: make_state(0, width=4))
    message = r"params/encoder/dense/kernel: float32\[2, 3\] there, float32\[2, 4\] now"
    with pytest.raises(ValueError, match=message):
        saved.restore(wide)
    like = make_state(0)
    with pytest.raises(ValueError, match=r"holds another state \(step: int32\[\] there, float32\[\] now\)"):
        saved.restore(like._replace(step=jnp.zeros(())))
    with pytest.raises(ValueError, match=r"variables/codebook: int32\[4\] there, None now"):
        saved.restore(like._replace(variables=None))
    with pytest.raises(ValueError, match=r"params/prior: None there, float32\[1\] now"):
        saved.restore(like._replace(params={**like.params, "prior": jnp.zeros(1)}))


A, B = np.arange(3.0, dtype=np.float32), np.arange(3.0, 6.0, dtype=np.float32)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": {"b.c": A}, "a.b": {"c": B}}, r"joined by dots, got .*'a'\]\['b\.c'\] and .*'a\.b'\]\['c'\]"),
        ({"a.": {"b": A}, "a": {".b": B}}, "stay apart when joined by dots"),
        ({"a": [A, B], "a.1": B}, r"stay apart when joined by dots, got .*'a'\]\[1\] and .*'a\.1'\]"),
        ({"a": {0: A, 1: B}}, r"expected names that are strings, got \['params'\]\['a'\]\[0\]"),
        (
            {"a": A, "b": np.zeros((0, 3))},
            r"expected arrays with values, got \[0, 3\] at \['params'\]\['b'\]",
        ),
    ],
)
def test_a_state_that_would_not_come_back_is_refused_before_the_first_step(params, message, tmp_path):
    with pytest.raises(ValueError, match=f"state: .*{message}"):
        Checkpoints(tmp_path / "c").save(TrainState(params, None, {}, jnp.ones((), jnp.int32)), {})
    assert Checkpoints(tmp_path / "c").latest() is None
    model = toy_model()._replace(init=lambda key, batch: (jax.tree.map(jnp.asarray, params), None))

    def apply(state, key, batch, take):
        return state, {"loss": jnp.zeros(())}

    update = Update(lambda params: (), apply)
    with pytest.raises(ValueError, match=f"state: .*{message}"):
        toy_fit(1, model=model, update=update, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert toy_fit(1, model=model, update=update).state.step == 1  # in memory nothing is lost


def test_dots_in_names_that_stay_apart_come_back(tmp_path):
    params = {"a": {"b.c": A}, "a.b": {"d": B}, "a.b.": A + 1, "a/b": {"": B + 1}, "e": [A, {"f": B}]}
    state = TrainState(params, None, {}, np.asarray(1, np.int32))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, {})
    checkpoints.wait()
    assert_same(checkpoints.restore(jax.eval_shape(lambda: jax.tree.map(jnp.asarray, state))), state)
    assert_same(checkpoints.restore_params()[0], params)
    checkpoints.close()
