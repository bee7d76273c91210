"""The combinator of terms: one draw, named randomness, weights, the one mean."""

from __future__ import annotations

import functools
import inspect
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.catalogue import small_vae
from vaejax import objectives
from vaejax.keys import example_keys, named_key

KEY = jax.random.key(7)
MODEL, X = small_vae()
BATCH = {"x": jnp.asarray(X)}


@pytest.fixture(scope="module")
def params():
    return jax.jit(MODEL.init)(jax.random.key(1), BATCH)[0]


def constant(value):
    return lambda key, vae, draw: jnp.asarray(value)


def run(params, step=0, **terms):
    return jax.jit(lambda params: objectives.compose(**terms)(KEY, MODEL.bind(params), BATCH, step))(params)


def test_the_loss_is_the_weighted_sum_of_means(params):
    schedule = lambda step: 0.5 * step  # noqa: E731
    loss, (metrics, variables) = run(
        params,
        step=6,
        bare=constant([1.0, 2.0, 6.0]),
        scalar=constant(4.0),
        number=lambda key, vae, draw: 0.25,
        scaled=objectives.scaled(-2, constant([0.0, 0.0, 1.5])),
        scheduled=objectives.scaled(schedule, constant([10.0, 20.0, 30.0])),
    )
    assert variables is None
    np.testing.assert_allclose(loss, 3 + 4 + 0.25 - 2 * 0.5 + 3 * 20)
    expected = {"loss": 66.25, "bare": 3, "scalar": 4, "number": 0.25, "scaled": 0.5, "scheduled": 20}
    expected |= {"weight/scaled": -2, "weight/scheduled": 3}  # every metric but the loss is unweighted
    assert {k: float(v) for k, v in metrics.items()} == expected


def test_a_loss_written_by_hand_is_the_same(params):
    objective = objectives.compose(
        reconstruction=objectives.reconstruction, kl=objectives.scaled(4.0, objectives.kl)
    )

    def by_hand(params):
        vae, key = MODEL.bind(params), named_key(KEY, "/draw")
        draw = objectives.sample(key, vae, BATCH)
        loc, scale = draw.q.mean(), draw.q.stddev()
        eps = jax.vmap(lambda k: jax.random.normal(k, (3,)))(example_keys(named_key(key, "encode"), BATCH))
        l, x = vae.decode(loc + scale * eps).logits, BATCH["x"]
        rec = jnp.sum(jax.nn.softplus(l) - x * l, axis=-1)
        kl = 0.5 * jnp.sum(loc**2 + scale**2 - 1 - 2 * jnp.log(scale), axis=-1)
        return jnp.mean(rec + 4.0 * kl)

    losses = (lambda p: objective(KEY, MODEL.bind(p), BATCH, 0)[0]), by_hand
    composed, hand = jax.jit(lambda p: [jax.value_and_grad(loss)(p) for loss in losses])(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), composed, hand)


def test_adding_and_reordering_terms_leaves_the_others_bit_for_bit(params):
    terms = {
        "reconstruction": objectives.reconstruction,
        "iwae": objectives.iwae(2),
        "jacobian": objectives.jacobian_l1(method="columns"),
    }

    def metrics(names):
        objective = objectives.compose(**{name: terms[name] for name in names})
        return jax.jit(lambda p: objective(KEY, MODEL.bind(p), BATCH, 0)[1][0])(params)

    runs = [metrics(names) for names in ([*terms], ["jacobian", "iwae", "reconstruction"], ["iwae"])]
    for one, other in itertools.combinations(runs, 2):
        for name in (one.keys() & other.keys()) - {"loss"}:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_term_has_the_randomness_of_its_name(params):
    noise = lambda key, vae, draw: jax.random.normal(key, (3,))  # noqa: E731
    _, (metrics, _) = run(params, a=noise, b=noise)
    assert metrics["a"] == jax.jit(lambda key: jnp.mean(jax.random.normal(key, (3,))))(named_key(KEY, "a"))
    assert metrics["a"] != metrics["b"]


def test_terms_that_mix_examples_are_on_record():
    @objectives.mixes_examples
    def spread(key, vae, draw):
        return jnp.var(draw.z)

    alone = objectives.compose(kl=objectives.kl, iwae=objectives.iwae(2))
    assert alone.mixes_examples == ()
    mixed = objectives.compose(kl=objectives.kl, a=spread, b=objectives.scaled(2.0, spread))
    assert mixed.mixes_examples == ("a", "b")


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: objectives.compose(), ValueError, "terms: expected at least one"),
        (lambda: objectives.compose(loss=objectives.kl), ValueError, "terms: expected names .* got 'loss'"),
        (lambda: objectives.compose(step=objectives.kl), ValueError, "terms: expected names .* got 'step'"),
        (lambda: objectives.compose(seed=objectives.kl), ValueError, "terms: .* got 'seed'"),
        (lambda: objectives.compose(validation=objectives.kl), ValueError, "terms: .* got 'validation'"),
        (lambda: objectives.compose(grad_norm=objectives.kl), ValueError, "terms: .* got 'grad_norm'"),
        (
            lambda: objectives.compose(kl=objectives.logs(lambda *a: 0.0, step=objectives.kl)),
            ValueError,
            "terms: 'kl' logs 'step'; expected names other than",
        ),
        (lambda: objectives.compose(**{"/draw": objectives.kl}), ValueError, "terms: .* got '/draw'"),
        (lambda: objectives.compose(**{"weight/kl": objectives.kl}), ValueError, "terms: .* got 'weight/kl'"),
        (lambda: objectives.compose(kl=3.0), TypeError, "term: expected a function .* got float"),
        (lambda: objectives.scaled(1.0, None), TypeError, "term: expected a function .* got NoneType"),
        (
            lambda: objectives.scaled(1.0, objectives.scaled(2.0, objectives.kl)),
            TypeError,
            "term: expected a function .* got Scaled",
        ),
        (
            lambda: objectives.scaled("2", objectives.kl),
            TypeError,
            "weight: expected a float or a schedule.*'2'",
        ),
        (lambda: objectives.scaled(True, objectives.kl), TypeError, "weight: expected a float .* got True"),
        (
            lambda: objectives.scaled(float("nan"), objectives.kl),
            ValueError,
            "weight: expected a finite number, got nan",
        ),
        (lambda: objectives.scaled(float("inf"), objectives.kl), ValueError, "weight: .* got inf"),
        (lambda: objectives.scaled(jnp.asarray(jnp.nan), objectives.kl), ValueError, "weight: .* nan"),
    ],
)
def test_bad_arguments_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 3)])
def test_a_term_of_another_shape_is_refused_by_name(params, shape):
    message = re.escape(f"term 'mine': expected nats of shape (3,) or (), got {shape}")
    with pytest.raises(ValueError, match=message):
        run(params, mine=constant(np.zeros(shape)))


@pytest.mark.parametrize(
    ("key", "got"),
    [
        (0, "got int"),
        (jax.random.PRNGKey(0), "of dtype uint32"),
        (jax.random.split(KEY, 2), r"an array of keys of shape \(2,\)"),
    ],
)
def test_only_one_typed_key_will_do(params, key, got):
    vae = MODEL.bind(params)
    with pytest.raises(TypeError, match=f"key: expected .*{got}"):
        objectives.compose(kl=objectives.kl)(key, vae, BATCH, 0)
    with pytest.raises(TypeError, match=f"key: expected .*{got}"):
        objectives.sample(key, vae, BATCH)


def test_a_measure_sees_the_draws_of_its_term():
    def noise(key, vae, draw):
        return jax.random.uniform(key)

    def twice(key, vae, draw):
        return 2 * jax.random.uniform(key)

    model = oracle.linear_vae()
    vae, batch = model.bind(oracle.exact_params()), {"x": jnp.asarray(oracle.data(6), jnp.float32)}
    objective = objectives.compose(a=objectives.logs(noise, **{"a/twice": twice}), b=objectives.kl)
    _, (metrics, _) = jax.jit(lambda key: objective(key, vae, batch, 0))(jax.random.key(0))
    assert metrics["a/twice"] == 2 * metrics["a"]


# a factory that was not called


FACTORIES = [
    name
    for name in objectives.__all__
    if inspect.signature(getattr(objectives, name)).return_annotation == "Term"
]


@pytest.mark.parametrize("name", FACTORIES)
def test_a_factory_that_was_not_called_is_named(name):
    factory = getattr(objectives, name)
    message = rf"term 'mine': expected .* called, as {name}\(\.\.\.\)"
    for term in (factory, objectives.scaled(2.0, factory)):
        with pytest.raises(TypeError, match=message):
            objectives.compose(mine=term)


def test_what_takes_other_arguments_than_a_term_is_named():
    assert len(FACTORIES) > 30
    message = r"term 'mine': expected a function \(key, vae, draw\) -> nats, got"
    for term in (lambda draw: draw, functools.partial(lambda a, b: a, 1), lambda key, vae, draw, step: 0.0):
        with pytest.raises(TypeError, match=message):
            objectives.compose(mine=term)
    objectives.compose(mine=objectives.sees_step(lambda key, vae, draw, step: 0.0))
    objectives.compose(mine=lambda *arguments: 0.0)


def test_a_term_that_gives_a_function_is_named(params):
    def factory(key, vae, draw):
        return lambda key, vae, draw: 0.0

    message = r"term 'mine': expected nats, got a function; .* as factory\(\.\.\.\)"
    with pytest.raises(TypeError, match=message):
        run(params, mine=factory)
