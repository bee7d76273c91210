"""Aggressive training: the count of inner steps, what moves when, and how it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import DATA, KEY, START, assert_same, assert_same_fit, toy_fit, toy_model, toy_update
from vaejax.keys import named_key
from vaejax.train import aggressive, averaged, end_aggressive, fit, gradient_update, repeat, sequence
from vaejax.train.step import make_chunk
from vaejax.types import TrainState, Update

X = jnp.arange(6.0).reshape(6, 1)
BATCH = {"x": X}


def fresh(key):
    """Batches that say which key they were drawn with."""
    return {"x": X + jax.random.uniform(key)}


def scripted(losses):
    """An encoder whose n-th step has the n-th loss; its state counts steps, phi sums the batches it saw."""
    script = jnp.asarray(losses, jnp.float32)

    def apply(state, key, batch, take):
        n = state.opt_state
        phi = state.params["encoder"].at[n].set(batch["x"][0, 0])
        return state._replace(params={**state.params, "encoder": phi}, opt_state=n + 1), {"loss": script[n]}

    return Update(lambda params: jnp.zeros((), jnp.int32), apply, ("encoder",))


def decoder():
    """theta counts the decoder's steps, and says which encoder and batch the last one saw."""

    def apply(state, key, batch, take):
        theta = state.params["decoder"]
        seen = {"steps": theta["steps"] + 1, "encoder": state.params["encoder"], "x": batch["x"][0, 0]}
        return state._replace(params={**state.params, "decoder": seen}), {"loss": jnp.zeros(())}

    return Update(lambda params: (), apply, ("decoder",))


def one_step(losses, window, most=99, flag=True):
    update = aggressive(scripted(losses), decoder(), window=window, most=most)
    nowhere = -jnp.ones(len(losses) + 1)
    params = {"encoder": nowhere, "decoder": {"steps": jnp.zeros(()), "encoder": nowhere, "x": jnp.zeros(())}}
    opt_state = {**update.init(params), "aggressive": jnp.asarray(flag)}
    state = TrainState(params, None, opt_state, jnp.zeros((), jnp.int32))
    return jax.jit(lambda state: update.apply(state, KEY, BATCH, fresh))(state)


@pytest.mark.parametrize(
    ("losses", "window", "most", "steps"),
    [
        ([5, 5, 5, 6, 6, 6, 0, 0, 0], 3, 99, 6),  # the second window is worse
        # worse than the one before, not than the first
        ([5, 5, 5, 4, 4, 4, 3, 3, 3.1, 3, 3.1, 3.1, 0], 3, 99, 12),
        ([5, 5, 5, 5, 5, 5, 9, 9, 9, 0], 3, 99, 9),  # equal is not worse
        ([1e6, 1e6, 1e5, 1e5, 2e5, 2e5, 0], 2, 99, 6),  # the first window never ends it
        ([9, 1, 1, 8.9, 5, 6, 0], 2, 99, 6),  # means of windows, not losses
        (-np.arange(120.0), 10, 99, 99),
        (-np.arange(9.0), 3, 4, 4),
        ([1, 2, 3, 4], 1, 99, 2),
    ],
)
def test_the_number_of_inner_steps(losses, window, most, steps):
    state, metrics = one_step(losses, window, most)
    assert metrics["inner_steps"] == steps
    assert state.opt_state["encoder"] == steps  # the encoder's state persists, and the outer step leaves it
    seen = np.asarray(state.params["encoder"])
    assert (seen[:steps] >= 0).all()
    assert (seen[steps:] == -1).all()
    assert seen[0] == 0  # the step's own batch, then fresh ones
    assert len(set(seen[:steps].tolist())) == steps
    # the decoder moves once, on the step's batch, and sees the encoder after the inner loop
    assert state.params["decoder"]["steps"] == 1
    assert state.params["decoder"]["x"] == 0
    np.testing.assert_array_equal(state.params["decoder"]["encoder"], seen)


def test_when_it_has_ended_there_is_no_inner_loop_and_both_move_from_the_same_point():
    state, metrics = one_step([1.0, 2.0], 1, flag=False)
    assert metrics["inner_steps"] == metrics["aggressive"] == 0
    assert state.opt_state["encoder"] == state.params["decoder"]["steps"] == 1
    assert (state.params["decoder"]["encoder"] == -1).all()  # not yet moved where the decoder looked


def test_the_simple_form_is_k_steps_of_the_encoder_to_one_of_the_decoder():
    update = sequence(encoder=repeat(scripted([0.0] * 5), 5), decoder=decoder())
    nowhere = -jnp.ones(6)
    params = {"encoder": nowhere, "decoder": {"steps": jnp.zeros(()), "encoder": nowhere, "x": jnp.zeros(())}}
    state = TrainState(params, None, update.init(params), jnp.zeros((), jnp.int32))
    state, _ = jax.jit(lambda state: update.apply(state, KEY, BATCH, fresh))(state)
    seen = np.asarray(state.params["encoder"])
    assert state.opt_state["encoder"] == 5
    assert (seen[0], seen[5]) == (0, -1)  # the step's own batch first, then fresh ones
    assert len(set(seen[:5].tolist())) == 5
    assert (state.params["decoder"]["steps"], state.params["decoder"]["x"]) == (1, 0)
    np.testing.assert_array_equal(state.params["decoder"]["encoder"], seen)


def quadratic(optimizer=None):
    """Real updates: encoder and decoder of the toy, whose losses are coupled."""
    model = toy_model()

    def objective(key, vae, batch, step):
        encoder, decoder = vae.heads["encoder"](), vae.heads["decoder"]()
        eps = jax.random.normal(key, (3,))
        loss = jnp.mean(jnp.sum((batch["x"] + 0.1 * eps - decoder * encoder) ** 2, axis=-1))
        return loss, ({}, None)

    def of(group):
        return gradient_update(objective, model, optimizer or optax.sgd(0.01), wrt=(group,))

    return model, of("encoder"), of("decoder")


def test_theta_stands_still_in_the_inner_loop_and_phi_in_the_outer_step():
    _, encoder, decoder = quadratic(optax.adam(0.03))
    seen = []

    def watched(update, name):
        def apply(state, key, batch, take):
            after, metrics = update.apply(state, key, batch, take)
            jax.debug.callback(lambda *s: seen.append((name, *s)), state.params, after.params, ordered=True)
            return after, metrics

        return update._replace(apply=apply)

    update = aggressive(
        watched(encoder, "encoder"), watched(decoder, "decoder"), window=2, most=5, held=("critic",)
    )
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), START, is_leaf=lambda a: isinstance(a, list))
    before = TrainState(params, None, update.init(params), jnp.zeros((), jnp.int32))
    batch = {"x": jax.random.normal(KEY, (4, 3))}
    take = lambda key: {"x": jax.random.normal(key, (4, 3))}  # noqa: E731
    after, metrics = jax.jit(lambda s: update.apply(s, KEY, batch, take))(before)
    jax.effects_barrier()
    n = int(metrics["inner_steps"])
    inner = [s for s in seen if s[0] == "encoder"][:n]
    outer = [s for s in seen if s[0] == "decoder"]
    assert (n >= 2, len(outer)) == (True, 1)
    for _, start, end in inner:
        assert_same(start["decoder"], params["decoder"])
        assert (np.asarray(start["encoder"]) != end["encoder"]).all()
    assert_same(after.params["encoder"], jnp.asarray(inner[-1][2]["encoder"]))
    assert_same(after.params["decoder"], jnp.asarray(outer[0][2]["decoder"]))
    assert after.params["decoder"] != params["decoder"]
    assert_same(after.params["critic"], params["critic"])
    assert after.opt_state["encoder"][0].count == n
    assert after.opt_state["decoder"][0].count == 1


def test_ended_it_is_one_update_of_both_groups():
    model, encoder, decoder = quadratic()
    update = aggressive(encoder, decoder, held=("critic",))

    def run(update, ended):
        initial = update.init
        start = lambda p: {**initial(p), "aggressive": jnp.zeros((), bool)} if ended else initial(p)  # noqa: E731
        return toy_fit(5, update=update._replace(init=start), model=model, chunk=5)

    def objective(key, vae, batch, step):  # the key of the outer step
        encoder, decoder = vae.heads["encoder"](), vae.heads["decoder"]()
        eps = jax.random.normal(named_key(key, "/outer"), (3,))
        loss = jnp.mean(jnp.sum((batch["x"] + 0.1 * eps - decoder * encoder) ** 2, axis=-1))
        return loss, ({}, None)

    joint = gradient_update(objective, model, optax.sgd(0.01), wrt=("encoder", "decoder"))
    a, b = run(update, True), run(joint, False)
    for group in START:
        np.testing.assert_allclose(a.state.params[group], b.state.params[group], rtol=1e-6)
    np.testing.assert_allclose(a.metrics["loss"], b.metrics["loss"], rtol=1e-6)


# how it ends


def records_of(*values):
    return [{"step": n, "validation": {"mutual_information": v}} for n, v in enumerate(values)]


@pytest.mark.parametrize(
    ("patience", "values", "ends"),
    [
        (1, (1.0, 2.0, 2.0, 3.0), False),  # a tie has not fallen
        (1, (1.0, 2.0, 1.9), True),  # the rule for texts
        (5, (3.0, 1.0, 1.0, 1.0, 1.0), False),
        (5, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0), True),
        (2, (3.0, 2.0, 4.0, 3.0, 9.0), True),  # counted over the run, not in a row; it does not come back
        (2, (3.0, 2.0, 4.0, 5.0, 9.0), False),
    ],
)
def test_it_ends_at_the_validations_below_the_best_before(patience, values, ends):
    state = TrainState({}, None, {"aggressive": jnp.ones((), bool), "encoder": 3}, jnp.zeros(()))
    after = end_aggressive(patience)(records_of(*values), state)
    assert after.opt_state["aggressive"] == (not ends)
    assert after.opt_state["encoder"] == 3


def fitted(steps, values, **options):
    model, encoder, decoder = quadratic()
    scores = iter(values)
    validate = lambda key, vae: {"mutual_information": next(scores)}  # noqa: E731
    update = aggressive(encoder, decoder, window=2, most=3, held=("critic",))
    options = {"update": update, "after_validation": end_aggressive(1), **options}
    return toy_fit(steps, model=model, chunk=2, save_every=1, validate=validate, **options)


def test_fit_ends_it_when_the_information_stops_rising_and_resumes_ended(tmp_path):
    whole = fitted(8, [1.0, 2.0, 1.5, 9.0])
    np.testing.assert_array_equal(whole.metrics["aggressive"], [1, 1, 1, 1, 1, 1, 0, 0])
    assert (whole.metrics["inner_steps"][:6] > 0).all()
    assert (whole.metrics["inner_steps"][6:] == 0).all()
    fitted(6, [1.0, 2.0, 1.5], folder=tmp_path)  # its last checkpoint is from before the end
    again = fitted(8, [9.0], folder=tmp_path, resume=True)
    assert_same_fit(whole, again)


@pytest.mark.parametrize(
    ("around", "name"),
    [
        (lambda update: sequence(aggressive=update, held=("critic",)), "aggressive/aggressive"),
        (lambda update: averaged(update, 0.9), "aggressive"),
        (lambda update: averaged(sequence(vae=update, held=("critic",)), 0.9), "vae/aggressive"),
    ],
)
def test_it_ends_inside_other_updates_too(around, name):
    _, encoder, decoder = quadratic()
    update = around(aggressive(encoder, decoder, window=2, most=3, held=("critic",)))
    fitted_ = fitted(6, [2.0, 1.0, 3.0], update=update)
    np.testing.assert_array_equal(fitted_.metrics[name], [1, 1, 1, 1, 0, 0])


def test_every_seed_ends_on_its_own():
    calls = []

    def after_validation(records, state):
        calls.append(int(state.step))
        goes_on = jnp.asarray(len(calls) != 1)  # seed 0 ends at its first validation
        if len(calls) > 2:
            return state
        return state._replace(opt_state={**state.opt_state, "aggressive": goes_on})

    model, encoder, decoder = quadratic()
    update = aggressive(encoder, decoder, window=2, most=3, held=("critic",))
    fits = fit(
        KEY, model, update, DATA, 4, batch_size=6, chunk=2, save_every=1, validate=lambda key, vae: {},
        after_validation=after_validation, seeds=(0, 1), progress=False,
    )  # fmt: skip
    np.testing.assert_array_equal(fits[0].metrics["aggressive"], [1, 1, 0, 0])
    np.testing.assert_array_equal(fits[1].metrics["aggressive"], [1, 1, 1, 1])


ALL, DECODER = toy_update(), toy_update(wrt=("decoder",))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: aggressive(ALL, DECODER), ValueError, r"encoder: expected named groups \(wrt=...\)"),
        (lambda: aggressive(DECODER, DECODER), ValueError, r"groups of their own, got \['decoder', "),
        (lambda: aggressive(None, DECODER), TypeError, "encoder: expected a vaejax.Update, got NoneType"),
        (lambda: aggressive(ALL, DECODER, window=0), ValueError, "window: expected at least 1, got 0"),
        (lambda: aggressive(ALL, DECODER, most=2.0), TypeError, "most: expected an int, got float"),
        (lambda: end_aggressive(0), ValueError, "patience: expected at least 1, got 0"),
        (
            lambda: end_aggressive()(records_of(1.0), TrainState({}, None, {"encoder": 1}, None)),
            ValueError,
            r"state: expected that of an update made by aggressive",
        ),
        (
            lambda: end_aggressive(measure="mi")(records_of(1.0), TrainState({}, None, {"aggressive": 1}, 0)),
            ValueError,
            r"measure: expected one of \['mutual_information'\], got 'mi'",
        ),
        (
            lambda: toy_fit(2, after_validation=end_aggressive()),
            ValueError,
            "after_validation: expected with validate",
        ),
        (
            lambda: toy_fit(2, validate=lambda *a: {}, after_validation=lambda r, s: s._replace(step=0.0)),
            ValueError,
            "after_validation: expected a state of the same structure, shapes and dtypes",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_step_compiles_once():
    model, encoder, decoder = quadratic()
    update = aggressive(encoder, decoder, window=2, most=3, held=("critic",))
    run = jax.jit(make_chunk(update, DATA.transform, 6))
    params, _ = model.init(KEY, None)
    state = TrainState(params, None, update.init(params), jnp.zeros((), jnp.int32))
    rows = np.zeros((2, 6), np.int32)
    for _ in range(2):
        state, _ = run(state, KEY, dict(DATA.arrays), rows, 2)
        ended = {**state.opt_state, "aggressive": jnp.zeros((), bool)}
        state = state._replace(opt_state=ended)
    assert run._cache_size() == 1
