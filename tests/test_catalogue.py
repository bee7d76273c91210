"""The laws that every public term, likelihood and net obeys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import BATCH, EVENTS, LIKELIHOODS, NETS, SCHEDULES, TERMS, D, small_vae
from tests.monte_carlo import assert_mean_is
from vaejax import distributions, nets, objectives
from vaejax.keys import named_key
from vaejax.types import SUPPORTS

COMBINATORS = {"compose", "log_weight", "logs", "mixes_examples", "sample", "scaled", "sees_step"}
KEY = jax.random.key(0)


def _batch(x, index=None):
    return {"x": jnp.asarray(x), "index": jnp.arange(len(x)) if index is None else jnp.asarray(index)}


def _value_fn(entry):
    term = entry.make()
    model, x = small_vae(entry.likelihood(), entry.heads())
    params, _ = model.init(jax.random.key(1), _batch(x))

    def value(params, draw_key, term_key, batch):
        vae = model.bind(params)
        return term(term_key, vae, objectives.sample(draw_key, vae, batch))

    return value, params, x


def test_every_public_term_is_catalogued():
    terms = {entry.public for entry in TERMS.values()}
    assert terms == set(objectives.__all__) - COMBINATORS - set(SCHEDULES)
    assert set(SCHEDULES) == {name for name in objectives.__all__ if name.endswith("_schedule")}


def test_every_likelihood_and_net_is_catalogued():
    factories = {n for n in distributions.__all__ if n.islower() and n in LIKELIHOODS}
    built = {make().name for make in LIKELIHOODS.values()}
    assert built == factories
    returning = {
        n
        for n in distributions.__all__
        if getattr(getattr(distributions, n), "__annotations__", {}).get("return") == "Likelihood"
    }
    assert built == returning
    assert set(NETS) == {n for n in nets.__all__ if isinstance(getattr(nets, n), type)}


@pytest.mark.parametrize("name", TERMS)
def test_laws_of_terms(name):
    entry = TERMS[name]
    value, params, x = _value_fn(entry)
    jitted = jax.jit(value)
    batch = _batch(x)
    out = jitted(params, KEY, KEY, batch)
    assert out.shape in ((), (BATCH,))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, value(params, KEY, KEY, batch), rtol=2e-5, atol=1e-6)  # jit equals eager
    np.testing.assert_array_equal(out, jitted(params, KEY, KEY, batch))  # same key, same value
    others = [jitted(params, KEY, jax.random.key(s), batch) for s in range(1, 5)]
    assert any(not np.array_equal(out, o) for o in others) == entry.random
    assert jitted._cache_size() == 1  # no second compile


@pytest.mark.parametrize("name", TERMS)
def test_terms_see_examples_alone_unless_marked(name):
    entry = TERMS[name]
    assert getattr(entry.make(), "mixes_examples", False) == entry.mixes
    value, params, x = _value_fn(entry)
    jitted = jax.jit(value)
    out = jitted(params, KEY, KEY, _batch(x))
    if entry.mixes or out.shape == ():
        return
    order = np.array([2, 0, 1])
    permuted = jitted(params, KEY, KEY, _batch(x[order], order))
    np.testing.assert_allclose(permuted, out[order], rtol=1e-5, atol=1e-6)
    changed = jitted(params, KEY, KEY, _batch(np.stack([x[0], 1 - x[1], 1 - x[2]])))
    np.testing.assert_allclose(changed[0], out[0], rtol=1e-5, atol=1e-6)
    single = value(params, KEY, KEY, _batch(x[1:2], [1]))  # B = 1: a slice draws what the whole draws
    np.testing.assert_allclose(single[0], out[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TERMS)
def test_gradients_of_terms(name):
    entry = TERMS[name]
    value, params, x = _value_fn(entry)
    grads = jax.jit(jax.grad(lambda p: jnp.mean(value(p, KEY, KEY, _batch(x)))))(params)
    assert all(np.isfinite(g).all() and g.dtype == jnp.float32 for g in jax.tree.leaves(grads))
    for group, grad in grads.items():
        zero = all((np.asarray(g) == 0).all() for g in jax.tree.leaves(grad))
        assert zero == (group in entry.untouched), group


@pytest.mark.parametrize("name", TERMS)
def test_terms_compose_beside_another(name):
    model, x = small_vae(TERMS[name].likelihood(), TERMS[name].heads())
    params, _ = model.init(jax.random.key(1), _batch(x))
    vae = model.bind(params)
    term = TERMS[name].make()
    objective = objectives.compose(other=objectives.kl_sampled, mine=objectives.scaled(0.5, term))
    loss, (metrics, _) = objective(KEY, vae, _batch(x), 0)
    draw = objectives.sample(named_key(KEY, "/draw"), vae, _batch(x))
    mine = jnp.mean(term(named_key(KEY, "mine"), vae, draw))
    np.testing.assert_allclose(metrics["mine"], mine, rtol=1e-6)
    np.testing.assert_allclose(loss, metrics["other"] + 0.5 * metrics["mine"], rtol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_laws_of_schedules(name):
    make, first, last = SCHEDULES[name]
    schedule, jitted = make(), jax.jit(make())
    for step in (0, 3, 7, 1000):
        value = jitted(jnp.asarray(step, jnp.int32))
        assert (value.shape, value.dtype) == ((), jnp.float32)
        np.testing.assert_allclose(value, schedule(step), rtol=1e-6)  # jit equals eager, an int a traced step
    assert jitted._cache_size() == 1
    np.testing.assert_allclose([schedule(0), schedule(1000)], [first, last], rtol=1e-6)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_laws_of_likelihoods(name):
    likelihood, event = LIKELIHOODS[name](), EVENTS.get(name, (D,))
    shape = likelihood.parameter_shape(event)
    parameters = jax.random.normal(jax.random.key(1), (BATCH, *shape))
    px = likelihood.build(parameters, len(event))
    assert likelihood.support in SUPPORTS
    assert px.support == likelihood.support
    assert px.batch_shape == (BATCH,)
    assert px.event_shape == event

    def sample(parameters, n):
        px = likelihood.build(parameters, len(event))
        return px.sample(seed=KEY, sample_shape=n), px.mean()

    sample = jax.jit(sample, static_argnums=1)
    x, mean = sample(parameters, ())
    assert x.shape == mean.shape == (BATCH, *event)
    top = 255 if likelihood.support == "bytes" else 1
    if likelihood.support != "real":
        assert ((x >= 0) & (x <= top)).all()
    if likelihood.support in ("binary", "bytes"):
        assert (x == jnp.round(x)).all()
    x = x.astype(jnp.float32)

    def log_px(parameters, x):
        return distributions.score(KEY, likelihood.build(parameters, len(event)), x)

    jitted = jax.jit(log_px)
    out = jitted(parameters, x)
    assert out.shape == (BATCH,)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, log_px(parameters, x), rtol=1e-5, atol=1e-6)
    rows = [jitted(parameters[i : i + 1], x[i : i + 1])[0] for i in range(BATCH)]  # B = 1
    np.testing.assert_allclose(out, rows, rtol=1e-5, atol=1e-6)

    def log_px_and_mean(p):
        mean = likelihood.build(p, len(event)).mean()
        return log_px(p, x[:1]).sum() + mean.sum(), mean

    value_and_grad = jax.jit(jax.value_and_grad(log_px_and_mean, has_aux=True))
    for extreme in (0.0, 60.0, -60.0):
        (value, mean), grad = value_and_grad(jnp.full((1, *shape), extreme))
        assert np.isfinite(value)
        assert np.isfinite(grad).all()
        assert likelihood.support == "real" or ((mean >= 0) & (mean <= top)).all()
    # many samples have the stated mean, and are of the density that is scored: E d/dp log p(x) = 0
    at = jnp.resize(jnp.asarray([-3.0, -0.2, 0.0, 1e-4, 2.0]), shape)
    samples, mean = sample(at[None], 20_000)
    assert_mean_is(samples, mean, errors=4.5)
    slopes = jax.jit(jax.vmap(jax.grad(lambda p, x: log_px(p[None], x)[0]), (None, 0)))
    scores = np.asarray(slopes(at, samples[:5000].astype(jnp.float32)))
    directions = np.random.default_rng(0).normal(size=(at.size, 8))  # a rare value alone is no Gaussian mean
    assert_mean_is(scores.reshape(5000, -1) @ directions, 0.0, errors=4.5)


@pytest.mark.parametrize("name", NETS)
def test_laws_of_nets(name):
    make, *shapes = NETS[name]
    net = make()
    inputs = [jax.random.uniform(KEY, (2, BATCH, *shape)) for shape in shapes]
    variables = jax.jit(net.init)(jax.random.key(1), *(x[0] for x in inputs))
    assert set(variables) == {"params"}
    apply = jax.jit(net.apply)
    whole = apply(variables, *inputs)
    for k, b in ((0, 0), (1, 2)):
        one = apply(variables, *(x[k, b] for x in inputs))  # any leading axes, none among them
        jax.tree.map(lambda w, o: np.testing.assert_allclose(w[k, b], o, rtol=2e-5, atol=2e-6), whole, one)  # noqa: B023
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(whole))
    hash(net)  # a plain frozen dataclass
