"""Optimisers that ask for more than a gradient: the loss, a key; and those that no step can serve."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import KEY, START, assert_same_fit, toy_fit, toy_model, toy_objective, toy_update
from vaejax import objectives
from vaejax.train import gradient_update, repeat, sequence
from vaejax.types import TrainState


def keeps_the_value():
    """A transformation whose state is the `value` of the last step."""

    def update(updates, state, params=None, *, value, **others):
        return jax.tree.map(jnp.zeros_like, updates), jnp.asarray(value, jnp.float32)

    return optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)


@pytest.mark.parametrize("microbatch", [None, 2])
def test_the_value_is_the_loss_of_the_whole_batch(microbatch):
    def objective(key, vae, batch, step):
        loss, (metrics, _) = toy_objective()(key, vae, batch, step)
        return loss, ({**metrics, "loss": 2 * loss}, None)  # the loss, not what is logged under its name

    model = toy_model()
    update = toy_update(objective, keeps_the_value(), model, microbatch=microbatch)
    params, _ = model.init(KEY, None)
    state = TrainState(params, None, update.init(params), jnp.zeros((), jnp.int32))
    batch = {"x": jax.random.normal(jax.random.key(1), (6, 3))}
    after, metrics = jax.jit(lambda state: update.apply(state, KEY, batch, lambda key: batch))(state)
    expected = jax.jit(lambda params: objective(KEY, model.bind(params), batch, 0)[0])(params)
    assert after.opt_state == pytest.approx(float(expected), rel=1e-6)
    assert metrics["loss"] == pytest.approx(2 * float(expected), rel=1e-6)


def slope_of_one(key, vae, batch, step):
    """A loss that is always 1 and a gradient that is always 1."""
    level = vae.heads["decoder"]()
    return 1.0 + level - jax.lax.stop_gradient(level), ({}, None)


PLATEAU = optax.chain(optax.sgd(1.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=2))


@pytest.mark.parametrize("optimizer", [PLATEAU, optax.MultiSteps(PLATEAU, 1)], ids=["chain", "MultiSteps"])
def test_the_rate_goes_down_on_a_plateau(optimizer):
    fitted = toy_fit(5, update=toy_update(slope_of_one, optimizer), chunk=2)
    # the first loss is the best so far; each second one after it that is no better halves the rate
    assert fitted.state.params["decoder"] == START["decoder"] - (1 + 1 + 0.5 + 0.5 + 0.25)


def test_what_it_waits_for_is_resumed_and_is_of_each_seed(tmp_path):
    update = sequence(
        vae=repeat(toy_update(slope_of_one, PLATEAU, wrt=("decoder",)), 2), held=("encoder", "critic")
    )
    options = {"update": update, "chunk": 1, "key": KEY}
    toy_fit(2, folder=tmp_path, **options)
    whole = toy_fit(3, **options)
    assert_same_fit(toy_fit(3, folder=tmp_path, resume=True, **options), whole)
    assert whole.state.params["decoder"] == START["decoder"] - (1 + 1 + 0.5 + 0.5 + 0.25 + 0.25)
    for fitted in toy_fit(3, seeds=(0, 1), **options).values():
        assert fitted.state.params["decoder"] == whole.state.params["decoder"]


def test_polyaks_step_is_that_of_the_loss():
    def objective(key, vae, batch, step):
        return vae.heads["decoder"]() ** 2, ({}, None)

    # f / |f'|^2 = 1/4 of the gradient 2 * 3
    fitted = toy_fit(1, update=toy_update(objective, optax.polyak_sgd()))
    assert fitted.state.params["decoder"] == pytest.approx(3 - 9 / 36 * 6, rel=1e-5)


def test_an_optimiser_may_keep_a_typed_key(tmp_path):
    noisy = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3, impl="rbg")), optax.sgd(0.1))
    params = jax.tree.map(jnp.asarray, {"decoder": START["decoder"]})
    state, start = noisy.init(params), params
    for _ in range(4):
        updates, state = noisy.update({"decoder": jnp.ones(())}, state, params)
        params = optax.apply_updates(params, updates)
    assert abs(params["decoder"] - (start["decoder"] - 0.4)) > 1e-3  # there was noise
    options = {"update": toy_update(slope_of_one, noisy, wrt=("decoder",)), "chunk": 2}
    toy_fit(2, folder=tmp_path, **options)
    resumed = toy_fit(4, folder=tmp_path, resume=True, **options)
    assert resumed.state.params["decoder"] == pytest.approx(float(params["decoder"]), rel=1e-6)


def test_one_that_takes_no_more_is_given_no_more():
    """`sam` is of the kind that takes further arguments, and its update takes none."""
    sam = optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.3), sync_period=2, reset_state=False)
    params = jax.tree.map(jnp.asarray, {"decoder": START["decoder"]})
    state = sam.init(params)
    for _ in range(4):
        updates, state = sam.update({"decoder": jnp.ones(())}, state, params)
        params = optax.apply_updates(params, updates)
    fitted = toy_fit(4, update=toy_update(slope_of_one, sam, wrt=("decoder",)))
    assert params["decoder"] != START["decoder"]
    assert fitted.state.params["decoder"] == pytest.approx(float(params["decoder"]), rel=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "lacks"),
    [
        (optax.lbfgs(), "L-BFGS .*value_fn"),
        (optax.contrib.sophia(0.1), "Sophia for `obj_fn`"),
        (optax.lookahead(optax.sgd(0.1), 5, 0.5), "lookahead for pairs of parameters"),
        (
            optax.contrib.differentially_private_aggregate(1.0, 1.0, key=jax.random.key(0)),
            "DP-SGD for a gradient of each example",
        ),
    ],
    ids=["lbfgs", "sophia", "lookahead", "dpsgd"],
)
def test_what_no_step_has_is_refused_by_name_before_anything_compiles(optimizer, lacks, tmp_path):
    with pytest.raises(TypeError, match=f"optimizer: expected one that takes .*{lacks}"):
        toy_fit(3, update=toy_update(optimizer=optimizer), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_errors_of_an_optimiser_of_ones_own_are_its_own():
    def update(updates, state, params=None):
        raise ValueError("my own trouble")

    mine = optax.GradientTransformation(lambda params: (), update)
    with pytest.raises(ValueError, match=r"^my own trouble"):
        toy_fit(1, update=toy_update(optimizer=mine))


def test_an_optimizer_is_an_optax_transformation():
    with pytest.raises(TypeError, match=r"optimizer: expected an optax transformation, .*; got float"):
        toy_update(optimizer=1e-3)
    with pytest.raises(TypeError, match=r"optimizer: expected an optax transformation, .*; got function"):
        toy_update(optimizer=optax.adam)


def test_an_update_is_of_an_objective_and_a_model():
    with pytest.raises(TypeError, match=r"objective: expected a function, as compose\(\.\.\.\); got dict"):
        gradient_update({}, toy_model(), optax.sgd(0.1))
    bound = toy_model().bind(jax.tree.map(jnp.asarray, START))
    with pytest.raises(TypeError, match=r"model: expected a vaejax\.Model, got VAE"):
        gradient_update(toy_objective(), bound, optax.sgd(0.1))


RETURN = r"expected to return \(loss, \(metrics, variables\)\), .* as \(loss, \({}, None\)\);"


def returning(result):
    return toy_update(lambda key, vae, batch, step: result(vae.heads["decoder"](), batch["x"]))


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda p, x: p, TypeError, rf"{RETURN} got an array \[\]"),
        (lambda p, x: (p, {}), TypeError, rf"{RETURN} got \(an array \[\], a dict\)"),
        (lambda p, x: (p, {"a": p, "b": p}), TypeError, rf"{RETURN} got \(an array \[\], a dict\)"),
        (lambda p, x: (p, {}, None), TypeError, rf"{RETURN} got \(an array \[\], a dict, None\)"),
        (lambda p, x: p * x[:2, 0], TypeError, rf"{RETURN} got an array \[2\]"),
        (lambda p, x: p * x[:, 0], TypeError, rf"{RETURN} got an array \[6\]"),
        (lambda p, x: (p, x[:2]), TypeError, rf"{RETURN} got \(an array \[\], an array \[2, 3\]\)"),
        (lambda p, x: None, TypeError, rf"{RETURN} got None"),
        (lambda p, x: ({}, ({}, None)), TypeError, "expected a loss that is one float; got a dict"),
        (
            lambda p, x: (p * x[:, 0], ({}, None)),
            ValueError,
            r"expected a loss that is one float, the mean over .*; got float32 \[6\]",
        ),
        (lambda p, x: (1, ({}, None)), ValueError, r"expected a loss that is one float, .*; got int32 \[\]"),
        (lambda p, x: (p, (None, None)), TypeError, "expected metrics as a dict, got NoneType"),
    ],
)
def test_what_an_objective_returns_is_checked_before_anything_is_made(result, error, message, tmp_path):
    with pytest.raises(error, match=f"objective: {message}"):
        toy_fit(2, update=returning(result), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_steps_with_a_large_gradient_or_none_that_is_finite_are_skipped_and_the_others_are_as_without():
    """The recipe of docs/training.md."""

    def objective(key, vae, batch, step):
        loss, (metrics, _) = toy_objective()(key, vae, batch, 0)
        p = vae.heads["decoder"]()
        return loss + jnp.array([0.0, jnp.nan, 1e6, 0.0])[step] * p, (metrics, None)

    large = partial(optax.skip_large_updates, max_squared_norm=1e4)
    adam = optax.adam(0.05)
    skipping = optax.MultiSteps(adam, 1, should_skip_update_fn=large).gradient_transformation()
    update, plain = toy_update(objective, skipping), toy_update(toy_objective(), adam)
    params, _ = toy_model().init(KEY, None)
    batch = {"x": jax.random.normal(jax.random.key(1), (6, 3))}

    def after(update, steps):
        state = TrainState(params, None, update.init(params), jnp.int32(0))
        for step in steps:
            state, _ = update.apply(state._replace(step=jnp.int32(step)), KEY, batch, None)
        return state.params

    with_skips, without = jax.jit(lambda: (after(update, (0, 1, 2, 3)), after(plain, (0, 3))))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), with_skips, without)


def test_an_objective_that_takes_other_arguments_is_named():
    model = toy_model()
    for objective, name in (
        (objectives.kl, "kl"),  # a term, and no objective
        (objectives.iwae, "iwae"),  # not even that
        (lambda vae, batch: 0.0, "<lambda>"),
    ):
        message = rf"objective: expected .*, as compose\(.*; got {name}, which takes other arguments"
        with pytest.raises(TypeError, match=message):
            gradient_update(objective, model, optax.sgd(0.1))


def test_swapped_arguments_of_an_update_are_named():
    model, sgd = toy_model(), optax.sgd(0.1)
    expected = "optimizer: expected an optax transformation, "
    for arguments, message in (
        ((model, toy_objective(), sgd), r"objective: expected a function, as compose\(\.\.\.\); got Model"),
        ((toy_objective(), sgd, model), rf"{expected}.* got Model"),
        ((sgd, model, toy_objective()), rf"{expected}.* got function"),
        ((toy_objective(), model, 1e-3), rf"{expected}.* got float"),
        ((toy_objective(), model, optax.adam), rf"{expected}.* got function"),
    ):
        with pytest.raises(TypeError, match=message):
            gradient_update(*arguments)
