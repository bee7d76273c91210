"""The laws that every public term, likelihood and net obeys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import (
    BATCH,
    EVENTS,
    LIKELIHOODS,
    NETS,
    OF_NETWORKS,
    SCHEDULES,
    TERMS,
    D,
    net_inputs,
    small_vae,
)
from tests.monte_carlo import assert_mean_is
from vaejax import distributions, nets, objectives
from vaejax.keys import named_key
from vaejax.types import SUPPORTS

COMBINATORS = {"compose", "log_weight", "logs", "mixes_examples", "sample", "scaled", "sees_step"}
KEY = jax.random.key(0)


def _batch(x, index=None):
    return {"x": jnp.asarray(x), "index": jnp.arange(len(x)) if index is None else jnp.asarray(index)}


_PARAMS = {}  # of each model; most terms share one


class _Term:
    """A term on a small model: eager, and as the one program that serves all its laws."""

    def __init__(self, entry):
        self.entry, self.term = entry, entry.make()
        self.model, self.x = small_vae(entry.likelihood(), entry.heads(), entry.parts())
        self.model = entry.wrap(self.model)
        if (name := str(self.model.spec)) not in _PARAMS:
            _PARAMS[name] = jax.jit(self.model.init)(jax.random.key(1), self.batch(self.x))
        self.params, self.variables = _PARAMS[name]
        self._program = jax.jit(self._run)

    def batch(self, x, index=None):
        return self.entry.batch(_batch(x, index))

    def eager_batch(self):
        """One example of three where examples are alone, so that both laws of slices and of jit are seen."""
        return self.batch(self.x) if self.entry.mixes else self.batch(self.x[1:2], [1])

    def eager(self):
        return self._value(self.params, KEY, self.eager_batch())

    def __call__(self, batch, key=KEY):
        """(the term's value, the gradient of its mean) under the draw of `KEY`."""
        value, grads, *_ = self._program(self.params, key, batch)
        return value, grads

    def composed(self):
        """Beside another term: the mean of its value, the words of its key, loss and metrics."""
        value, _, words, loss, metrics = self._program(self.params, KEY, self.batch(self.x))
        return np.mean(value), words, loss, metrics

    def _value(self, params, key, batch):
        vae = self.model.bind(params, self.variables)
        draw = objectives.sample(named_key(KEY, "/draw"), vae, batch)
        time = (0,) if getattr(self.term, "sees_step", False) else ()
        return self.term(named_key(key, "mine"), vae, draw, *time)

    def _run(self, params, key, batch):
        """Composed, so that it is evaluated once; its own key is that of `key`, all else is of `KEY`."""

        def mean(params):
            seen = []

            @functools.wraps(self.term)  # with its marks, and what it logs
            def mine(given, *arguments):
                value = self.term(named_key(key, "mine"), *arguments)
                seen.extend((value, jax.random.key_data(given)))
                return value

            objective = objectives.compose(other=objectives.kl_sampled, mine=objectives.scaled(0.5, mine))
            loss, (metrics, _) = objective(KEY, self.model.bind(params, self.variables), batch, 0)
            return metrics["mine"], (*seen, loss, metrics)

        (_, (value, *composed)), grads = jax.value_and_grad(mean, has_aux=True)(params)
        return value, grads, *composed


@pytest.fixture(scope="module", params=TERMS)
def term(request):
    """One for all laws of it."""
    return _Term(TERMS[request.param])


def test_every_public_term_is_catalogued():
    terms = {entry.public for entry in TERMS.values()}
    assert terms == set(objectives.__all__) - COMBINATORS - set(SCHEDULES)
    assert set(SCHEDULES) == {name for name in objectives.__all__ if name.endswith("_schedule")}


def test_every_likelihood_and_net_is_catalogued():
    everything = LIKELIHOODS | OF_NETWORKS
    factories = {n for n in distributions.__all__ if n.islower() and n in everything}
    built = {make().name for make in everything.values()}
    assert built == factories
    returning = {
        n
        for n in distributions.__all__
        if getattr(getattr(distributions, n), "__annotations__", {}).get("return") == "Likelihood"
    }
    assert built == returning - {"joint"}  # of several arrays: tests/models/test_modalities.py
    assert set(NETS) == {n for n in nets.__all__ if isinstance(getattr(nets, n), type)}


def test_laws_of_terms(term):
    entry, batch = term.entry, term.batch(term.x)
    out, grads = term(batch)
    assert out.shape in ((), (BATCH,))
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, term(batch)[0])  # same key, same value
    others = [term(batch, jax.random.key(s))[0] for s in range(1, 5)]
    assert any(not np.array_equal(out, o) for o in others) == entry.random
    _check_gradients(grads, entry.untouched)
    assert getattr(term.term, "mixes_examples", False) == entry.mixes
    if not entry.mixes:
        _check_examples_are_alone(term, out)
    assert term._program._cache_size() == 1  # no second compile


def test_terms_outside_jit(term):
    """Jit equals eager, and a slice draws what the whole draws."""
    out, _ = term(term.batch(term.x))
    np.testing.assert_allclose(out if term.entry.mixes else out[1:2], term.eager(), rtol=2e-5, atol=1e-6)


def _check_gradients(grads, untouched):
    assert all(np.isfinite(g).all() and g.dtype == jnp.float32 for g in jax.tree.leaves(grads))
    for group, grad in grads.items():
        zero = all((np.asarray(g) == 0).all() for g in jax.tree.leaves(grad))
        assert zero == (group in untouched), group


def _check_examples_are_alone(term, out):
    """A term that is not marked does not change when the rest of the batch does."""
    x, order = term.x, np.array([2, 0, 1])
    permuted, _ = term(term.batch(x[order], order))
    np.testing.assert_allclose(permuted, out[order], rtol=1e-5, atol=1e-6)
    changed, _ = term(term.batch(np.stack([x[0], 1 - x[1], 1 - x[2]])))
    np.testing.assert_allclose(changed[0], out[0], rtol=1e-5, atol=1e-6)


def test_terms_compose_beside_another(term):
    alone, words, loss, metrics = term.composed()
    np.testing.assert_array_equal(words, jax.random.key_data(named_key(KEY, "mine")))
    np.testing.assert_allclose(metrics["mine"], alone, rtol=1e-6)
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


def _likelihood_programs(likelihood, event):
    """(parameters, n) -> n samples and the mean; (parameters, x) -> log p(x), the mean and both gradients."""

    def build(parameters):
        return likelihood.build(parameters, len(event))

    def sampled(parameters, n):
        return build(parameters).sample(seed=KEY, sample_shape=n), build(parameters).mean()

    def scored(parameters, x):
        def log_px(p):
            out = distributions.score(KEY, build(p), x)
            return out.sum(), out

        def mean(p):
            return build(p).mean().sum(), build(p).mean()

        of_log_px, of_mean = (jax.value_and_grad(f, has_aux=True)(parameters) for f in (log_px, mean))
        return of_log_px[0][1], of_mean[0][1], of_log_px[1], of_mean[1]

    return jax.jit(sampled, static_argnums=1), jax.jit(scored)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_laws_of_likelihoods(name):
    likelihood, event = LIKELIHOODS[name](), EVENTS.get(name, (D,))
    shape = likelihood.parameter_shape(event)
    sampled, scored = _likelihood_programs(likelihood, event)
    random = jax.random.normal(jax.random.key(1), (BATCH, *shape))
    px = likelihood.build(random, len(event))
    assert likelihood.support in SUPPORTS
    assert (px.support, px.batch_shape, px.event_shape) == (likelihood.support, (BATCH,), event)
    at = jnp.resize(jnp.asarray([-3.0, -0.2, 0.0, 1e-4, 2.0]), shape)
    x, mean = sampled(at, 20_000)
    assert (x.shape, mean.shape) == ((20_000, *event), event)
    top = {"bytes": 255, "counts": np.inf}.get(likelihood.support, 1)
    if likelihood.support not in ("real", "mixed"):
        assert ((x >= 0) & (x <= top)).all()
    if likelihood.support in ("binary", "bytes", "counts", "one_hot"):
        assert (x == jnp.round(x)).all()
    # many samples have the stated mean
    assert_mean_is(x, mean, errors=4.5)
    # three random rows, three extreme ones, and the samples: one program
    extremes = jnp.stack([jnp.full(shape, value) for value in (0.0, 60.0, -60.0)])
    rows = jnp.concatenate([random, extremes, jnp.broadcast_to(at, (5000, *shape))])
    x = jnp.concatenate([x[:BATCH], x[:1], x[:1], x[:1], x[:5000]]).astype(jnp.float32)
    log_px, mean, slope, slope_of_mean = scored(rows, x)
    assert log_px.shape == (len(rows),)
    assert log_px.dtype == jnp.float32
    eager = [distributions.score(KEY, likelihood.build(random[:1], len(event)), x[:1])[0]]  # B = 1
    np.testing.assert_allclose(log_px[:1], eager, rtol=1e-5, atol=1e-6)
    extreme = slice(BATCH, BATCH + 3)
    assert all(np.isfinite(a[extreme]).all() for a in (log_px, mean, slope, slope_of_mean))
    assert likelihood.support in ("real", "mixed") or ((mean[extreme] >= 0) & (mean[extreme] <= top)).all()
    # samples are of the density that is scored: E d/dp log p(x) = 0
    scores = np.asarray(slope[BATCH + 3 :]).reshape(5000, -1)
    directions = np.random.default_rng(0).normal(size=(at.size, 8))  # a rare value alone is no Gaussian mean
    assert_mean_is(scores @ directions, 0.0, errors=4.5)


@pytest.mark.parametrize("name", NETS)
def test_laws_of_nets(name):
    net, inputs = NETS[name][0](), net_inputs(name, 2, BATCH)
    variables = jax.jit(net.init)(jax.random.key(1), *jax.tree.map(lambda a: a[0], inputs))
    assert set(variables) == {"params"}
    apply = jax.jit(net.apply)
    whole = apply(variables, *inputs)
    for k, b in ((0, 0), (1, 2)):
        one = apply(variables, *jax.tree.map(lambda a: a[k, b], inputs))  # noqa: B023 - any leading axes, none among them
        jax.tree.map(lambda w, o: np.testing.assert_allclose(w[k, b], o, rtol=2e-5, atol=2e-6), whole, one)  # noqa: B023
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(whole))
    hash(net)  # a plain frozen dataclass
