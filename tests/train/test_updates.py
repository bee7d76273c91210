"""Updates: what they move, with which draws, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from tests import oracle
from tests.train.toy import KEY, START, assert_same, toy_model, toy_objective, toy_update
from vaejax import objectives
from vaejax.distributions import Gaussian
from vaejax.keys import named_key
from vaejax.ops import chunks
from vaejax.train import aggressive, gradient_update, repeat, sequence
from vaejax.types import TrainState


def state_of(update, model, step=0):
    params, variables = model.init(KEY, None)
    return TrainState(params, variables, update.init(params), jnp.asarray(step, jnp.int32))


def batch_of(n=6, seed=3):
    return {"x": jax.random.normal(jax.random.key(seed), (n, 3)), "index": jnp.arange(n)}


def no_take(key):
    raise AssertionError("this update draws no batch of its own")


# microbatches


@pytest.mark.usefixtures("x64")
def test_slices_give_the_whole_batch_draws_included():
    model, n = oracle.linear_vae(), 4
    objective = objectives.compose(
        reconstruction=objectives.reconstruction,
        kl=objectives.kl_sampled,
        iwae=objectives.scaled(0.7, objectives.iwae(2)),
        columns=objectives.scaled(
            lambda step: 0.1 * step, objectives.jacobian_l1(method="columns", columns=1)
        ),
    )
    # three latents for four examples: the random columns do not cover the latents evenly
    w = np.array([[1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, -0.7]])
    params = oracle.exact_params(w)
    params["encoder"]["a"] = params["encoder"]["a"] + 0.3
    batch = {"x": jnp.asarray(oracle.data(n))}
    assert batch["x"].dtype == jnp.float64

    def result(key, microbatch):
        update = gradient_update(objective, model, optax.sgd(0.1, momentum=0.9), microbatch=microbatch)
        state = TrainState(params, None, update.init(params), jnp.asarray(3, jnp.int32))
        return update.apply(state, key, batch, no_take)

    jitted = jax.jit(result, static_argnums=1)
    whole = jitted(KEY, None)
    for m in (1, 2, n):
        sliced = jitted(KEY, m)
        assert jax.tree.structure(sliced) == jax.tree.structure(whole)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), sliced, whole)
    _, other = jitted(jax.random.key(0), None)
    for name in ("kl", "iwae", "columns"):  # a control: the draws matter
        assert abs(other[name] - whole[1][name]) > 1e-3
    assert whole[1]["weight/columns"] == pytest.approx(0.3, rel=1e-6)


def slices(update, model, batch):
    """Into how many slices a step cuts its batch."""
    jaxpr = jax.make_jaxpr(lambda s, b: update.apply(s, KEY, b, no_take))(state_of(update, model), batch)
    lengths = [eqn.params["length"] for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    return lengths[0] if lengths else 1


class Noisy(Gaussian):
    """A likelihood that is a bound: it draws noise to be scored, one key for each example."""

    is_bound = True

    def log_prob_bound(self, keys, x):
        return self.log_prob(x) - jax.vmap(jax.random.uniform)(keys)


def test_slices_score_a_bound_as_the_whole_does():
    """With one key for a batch the loss of a microbatch is another."""
    plain = oracle.linear_vae()

    def bind(params, variables=None, *, step=None):
        vae = plain.bind(params)
        return vae._replace(
            decode=Partial(lambda decode, z, c=None: Noisy(decode(z).mean(), 1.0, 1), vae.decode)
        )

    objective = objectives.compose(
        reconstruction=objectives.reconstruction, at_mean=objectives.reconstruction_at_mean
    )
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), oracle.exact_params())
    model, batch = plain._replace(bind=bind), {"x": jnp.asarray(oracle.data(4), jnp.float32)}

    @jax.jit
    def losses(params):
        of = [gradient_update(objective, model, optax.sgd(0.1), microbatch=m) for m in (None, 1, 2)]
        states = [TrainState(params, None, u.init(params), jnp.zeros((), jnp.int32)) for u in of]
        return [u.apply(s, KEY, batch, no_take)[1] for u, s in zip(of, states, strict=True)]

    whole, *sliced = losses(params)
    for one in sliced:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one, whole)


def test_a_chosen_microbatch_is_the_largest_divisor_up_to_the_choice():
    model, batch = toy_model(), batch_of(12)

    def chosen(most):
        def choose(loss_of_one, arrays):
            assert jax.tree.map(jnp.shape, arrays) == jax.tree.map(jnp.shape, batch)
            loss, _ = loss_of_one(jax.tree.map(lambda a: a[0], arrays))
            assert loss.shape == ()
            return most

        return slices(toy_update(model=model, microbatch=choose), model, batch)

    assert [chosen(most) for most in (1, 2, 3, 5, 6, 11, 12)] == [12, 6, 4, 3, 2, 2, 1]
    # a small model takes the batch at once
    assert slices(toy_update(model=model, microbatch=chunks.automatic_chunk), model, batch) == 1


def test_where_examples_mix_no_microbatch_is_chosen():
    def never(loss_of_one, arrays):
        raise AssertionError("asked for a microbatch")

    objective, model = toy_objective(), toy_model()
    objective.mixes_examples = ("tc",)
    assert slices(toy_update(objective, model=model, microbatch=never), model, batch_of(12)) == 1
    stateful = toy_model(variables={"codebook": jnp.zeros(2)})
    assert slices(toy_update(model=stateful, microbatch=never), stateful, batch_of(12)) == 1


@pytest.mark.parametrize(
    ("microbatch", "error", "message"),
    [
        (0, ValueError, "microbatch: expected at least 1, got 0"),
        (True, TypeError, r"microbatch: expected an int, got bool \(True\)"),
        (2.5, TypeError, r"microbatch: expected an int, got float \(2\.5\)"),
    ],
)
def test_microbatch_is_a_positive_int(microbatch, error, message):
    with pytest.raises(error, match=message):
        toy_update(microbatch=microbatch)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(0, "returns: expected at least 1, got 0"), (2.0, "returns: expected an int, got float")],
)
def test_a_function_says_a_positive_int(answer, message):
    update = toy_update(microbatch=lambda loss, batch: answer)
    with pytest.raises((TypeError, ValueError), match=f"what the function microbatch {message}"):
        update.apply(state_of(update, toy_model()), KEY, batch_of(6), no_take)


def test_microbatch_divides_the_batch():
    update = toy_update(microbatch=4)
    state = state_of(update, toy_model())
    with pytest.raises(ValueError, match="microbatch: expected a divisor of the batch of 6 examples, got 4"):
        update.apply(state, KEY, batch_of(6), no_take)


def test_microbatch_refuses_terms_that_mix_examples():
    @objectives.mixes_examples
    def total_correlation(key, vae, draw):
        return draw.log_q - jnp.mean(draw.log_q)

    objective = objectives.compose(
        kl=objectives.kl, tc=objectives.scaled(2.0, total_correlation), tc2=total_correlation
    )
    with pytest.raises(
        ValueError, match="microbatch: expected None, since these terms mix examples: tc, tc2"
    ):
        gradient_update(objective, toy_model(), optax.sgd(1.0), microbatch=2)
    update = gradient_update(objective, toy_model(), optax.sgd(1.0), wrt=("encoder",))
    assert update.mixes_examples == ("tc", "tc2")
    assert sequence(a=update).mixes_examples == ("tc", "tc2")


def test_microbatch_refuses_a_model_with_variables():
    model = toy_model(variables={"codebook": jnp.zeros(2)})
    update = toy_update(model=model, microbatch=2)
    with pytest.raises(ValueError, match="microbatch: expected None for a model with variables"):
        update.apply(state_of(update, model), KEY, batch_of(), no_take)


# variables and metrics


def test_variables_are_replaced_by_what_the_objective_returns_and_kept_on_none():
    model = toy_model(variables={"count": jnp.asarray(4.0)})
    base = toy_objective()

    def counting(key, vae, batch, step):
        loss, (metrics, _) = base(key, vae, batch, step)
        return loss, (metrics, {"count": jnp.asarray(5.0)})

    for objective, count in ((counting, 5.0), (base, 4.0)):
        update = toy_update(objective, model=model)
        state, _ = update.apply(state_of(update, model), KEY, batch_of(), no_take)
        assert state.variables["count"] == count


def counted():
    """A model whose state counts the steps that moved it."""
    plain, base = toy_model(variables={"count": jnp.asarray(0.0)}), toy_objective()

    def bind(params, variables=None, *, step=None):
        vae = plain.bind(params)
        return vae._replace(heads={**vae.heads, "count": Partial(jnp.asarray, variables["count"])})

    def objective(key, vae, batch, step):
        loss, (metrics, _) = base(key, vae, batch, step)
        return loss, (metrics, {"count": vae.heads["count"]() + 1})

    return plain._replace(bind=bind), objective


def test_state_moves_once_a_step_by_the_update_that_moves_the_encoder():
    """As the codes of a codebook beside a critic, which encodes too; and a prior fitted on frozen codes."""
    model, objective = counted()
    of = {g: toy_update(objective, model=model, wrt=(g,)) for g in START}
    rest = {"decoder": of["decoder"], "critic": of["critic"]}
    joint = aggressive(of["encoder"], of["decoder"], most=3, window=2, held=("critic",))
    ended = joint._replace(init=lambda p: {**joint.init(p), "aggressive": jnp.zeros((), bool)})
    for update, count in (
        (sequence(encoder=of["encoder"], **rest), 1),
        (sequence(**rest, encoder=of["encoder"]), 1),
        (sequence(**rest, held=("encoder",)), 0),
        (toy_update(objective, model=model, wrt=("critic",)), 0),
        (toy_update(objective, model=model), 1),
        (ended, 1),  # both move from the same point
    ):
        state, _ = update.apply(state_of(update, model), KEY, batch_of(), lambda key: batch_of())
        assert state.variables["count"] == count
    state, metrics = joint.apply(state_of(joint, model), KEY, batch_of(), lambda key: batch_of())
    assert state.variables["count"] == metrics["inner_steps"] > 0


# parameter groups


def test_wrt_moves_its_groups_and_sees_the_others_as_constants():
    update, model = toy_update(optimizer=optax.sgd(0.1), wrt=("decoder",)), toy_model()
    before = state_of(update, model)
    after, metrics = update.apply(before, KEY, batch_of(), no_take)
    assert update.groups == ("decoder",)
    assert_same(
        {g: after.params[g] for g in ("encoder", "critic")},
        {g: before.params[g] for g in ("encoder", "critic")},
    )
    assert after.params["decoder"] == pytest.approx(3 - 0.1 * 2 * 3)  # d/db b^2
    assert metrics["grad_norm"] == pytest.approx(6.0)  # of the moving group alone
    assert after.step == 0  # the loop alone counts
    adam = toy_update(wrt=("decoder",)).init(before.params)
    assert set(adam[0].mu) == {"decoder"}


def test_wrt_none_moves_every_group_with_a_gradient():
    update, model = toy_update(optimizer=optax.sgd(0.1)), toy_model()
    before, batch = state_of(update, model), batch_of()
    after, metrics = update.apply(before, KEY, batch, no_take)
    moved = {g: not np.array_equal(before.params[g], after.params[g]) for g in before.params}
    assert moved == {"encoder": True, "decoder": True, "critic": False}
    steps = jax.tree.map(lambda a, b: (b - a) / -0.1, before.params, after.params)
    assert metrics["grad_norm"] == pytest.approx(float(optax.tree.norm(steps)), rel=1e-5)


def test_wrt_is_checked():
    with pytest.raises(TypeError, match="wrt: expected a tuple of group names, got the string 'encoder'"):
        toy_update(wrt="encoder")
    with pytest.raises(ValueError, match=r"wrt: expected at least one group, or None for all; got \(\)"):
        toy_update(wrt=())
    update, params = toy_update(wrt=("encoder", "prior")), toy_model().init(KEY, None)[0]
    message = r"wrt: expected groups among \['critic', 'decoder', 'encoder'\]; got \['prior'\]"
    with pytest.raises(ValueError, match=message):
        update.init(params)
    with pytest.raises(ValueError, match=message):
        update.apply(TrainState(params, None, None, jnp.zeros((), jnp.int32)), KEY, batch_of(), no_take)


# sequence


def distance(key, vae, batch, step):
    """(encoder_0 - decoder)^2 / 2, and a number that tells the key."""
    loss = (vae.heads["encoder"]()[0] - vae.heads["decoder"]()) ** 2 / 2
    return loss, ({"loss": loss, "u": jax.random.uniform(key)}, None)


def test_sequence_applies_one_after_the_other_each_with_its_groups_and_key():
    model = toy_model()
    one = gradient_update(distance, model, optax.sgd(0.5), wrt=("encoder",))
    two = gradient_update(distance, model, optax.adam(0.25), wrt=("decoder",))
    both = sequence(vae=one, other=two, held=("critic",))
    before = state_of(both, model)
    assert both.groups == ("encoder", "decoder")
    assert set(before.opt_state) == {"vae", "other"}
    assert_same(before.opt_state["other"], two.init(before.params))

    after, metrics = both.apply(before, KEY, batch_of(), no_take)
    # encoder_0: 1 - 0.5 (1 - 3) = 2, and the second sees it: its gradient is 3 - 2
    np.testing.assert_array_equal(after.params["encoder"], [2.0, -2.0, 0.5])
    assert metrics["vae/loss"] == 2.0
    assert metrics["other/loss"] == 0.5
    assert metrics["other/grad_norm"] == 1.0
    assert after.params["decoder"] == pytest.approx(3 - 0.25, rel=1e-6)  # Adam's first step is its rate
    assert_same(after.params["critic"], before.params["critic"])
    assert set(metrics) == {f"{u}/{m}" for u in ("vae", "other") for m in ("loss", "u", "grad_norm")}
    assert metrics["vae/u"] == jax.random.uniform(named_key(KEY, "vae"))
    assert metrics["other/u"] == jax.random.uniform(named_key(KEY, "other"))
    assert after.opt_state["other"][0].count == 1
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert after.step == 0


def test_order_of_a_sequence_matters():
    model = toy_model()
    updates = {g: gradient_update(distance, model, optax.sgd(0.5), wrt=(g,)) for g in ("encoder", "decoder")}
    results = []
    for order in (("encoder", "decoder"), ("decoder", "encoder")):
        update = sequence(**{g: updates[g] for g in order}, held=("critic",))
        state, _ = update.apply(state_of(update, model), KEY, batch_of(), no_take)
        results.append((float(state.params["encoder"][0]), float(state.params["decoder"])))
    assert results == [(2.0, 2.5), (1.5, 2.0)]


def test_sequence_refuses():
    enc, dec, every = toy_update(wrt=("encoder", "critic")), toy_update(wrt=("decoder",)), toy_update()
    with pytest.raises(ValueError, match="updates: expected at least one, as name=update; got none"):
        sequence()
    with pytest.raises(TypeError, match=r"update 'a': expected a vaejax\.Update, got int"):
        sequence(a=3)
    with pytest.raises(ValueError, match=r"update 'b': expected named groups \(wrt=\.\.\.\), got None"):
        sequence(a=dec, b=every)
    with pytest.raises(ValueError, match="update 'c': group 'critic' is already moved by 'a'"):
        sequence(a=enc, b=dec, c=toy_update(wrt=("critic",)))
    with pytest.raises(TypeError, match="held: expected a tuple of group names, got 'critic'"):
        sequence(a=dec, held="critic")
    with pytest.raises(ValueError, match=r"held: expected groups that no update moves, got \['critic'\]"):
        sequence(a=enc, held=("critic",))


def test_a_group_that_nobody_moves_is_refused_unless_it_is_held():
    """A learned prior beside wrt=("encoder", "decoder") would stay as it began."""
    params = {**toy_model().init(KEY, None)[0], "prior": jnp.zeros(2)}
    vae, critic = toy_update(wrt=("encoder", "decoder")), toy_update(wrt=("critic",))
    message = r"wrt: expected every group .* \['prior'\] are not, \['critic', 'decoder', 'encoder'\] move"
    for update in (sequence(vae=vae, critic=critic), sequence(all=sequence(vae=vae, critic=critic))):
        with pytest.raises(ValueError, match=message):
            update.init(params)
    with pytest.raises(ValueError, match=r"wrt: expected every group .* \['critic', 'prior'\] are not"):
        aggressive(toy_update(wrt=("encoder",)), toy_update(wrt=("decoder",))).init(params)
    held = sequence(players=sequence(vae=vae, critic=critic), held=("prior",))
    assert set(held.init(params)["players"]) == {"vae", "critic"}


# repeat


def test_repeat_is_manual_applications_on_fresh_batches():
    update, model = toy_update(), toy_model()

    def take(key):
        return batch_of(seed=0) | {"x": jax.random.normal(key, (6, 3))}

    three = repeat(update, 3)
    before, batch = state_of(three, model, step=5), batch_of()
    assert three.groups == update.groups
    after, metrics = three.apply(before, KEY, batch, take)

    state, _ = update.apply(before, named_key(KEY, "/first"), batch, take)
    for i in range(2):
        key = jax.random.fold_in(named_key(KEY, "/again"), i)
        state, last = update.apply(state, key, take(named_key(key, "/take")), take)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), (after, metrics), (state, last))
    assert after.opt_state[0].count == 3
    assert after.step == 5


def test_repeat_once_is_the_update_on_the_step_batch():
    update, model = toy_update(), toy_model()
    before = state_of(update, model)
    once = repeat(update, 1).apply(before, KEY, batch_of(), lambda key: batch_of())
    plain = update.apply(before, named_key(KEY, "/first"), batch_of(), no_take)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), once, plain)


def test_repeat_inside_a_sequence_moves_its_groups():
    model = toy_model()
    many = repeat(gradient_update(distance, model, optax.sgd(0.5), wrt=("encoder",)), 2)
    update = sequence(a=many, b=toy_update(wrt=("critic",)), held=("decoder",))
    after, metrics = update.apply(state_of(update, model), KEY, batch_of(), lambda key: batch_of())
    # encoder_0 halves its distance of 2 to the decoder, twice
    np.testing.assert_array_equal(after.params["encoder"], [2.5, *START["encoder"][1:]])
    assert metrics["a/loss"] == 0.5  # of the last application, before it moves


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (0, ValueError, "times: expected at least 1, got 0"),
        (True, TypeError, r"times: expected an int, got bool \(True\)"),
        (1.5, TypeError, r"times: expected an int, got float \(1\.5\)"),
    ],
)
def test_repeat_refuses(times, error, message):
    with pytest.raises(error, match=message):
        repeat(toy_update(), times)
    with pytest.raises(TypeError, match=r"update: expected a vaejax\.Update, got int"):
        repeat(3, 2)
