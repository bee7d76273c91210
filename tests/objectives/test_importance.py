"""Bounds from K samples on linear-Gaussian models: by hand, by quadrature and by Monte Carlo."""

from __future__ import annotations

from functools import cache

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.monte_carlo import assert_mean_is
from tests.objectives import toy
from vaejax import distributions, models, nets, objectives
from vaejax.types import VAE, Draw

KEY = jax.random.key(0)


@cache
def toy_bounds(K):
    return toy.monte_carlo(objectives.iwae(K), seed=K)


def test_the_bound_rises_with_k_from_the_elbo_towards_the_evidence():
    bounds = {K: np.asarray(toy_bounds(K)[0]) for K in (6, 30)}
    error = {K: v.std(ddof=1) / np.sqrt(len(v)) for K, v in bounds.items()}
    assert bounds[6].mean() - toy.ELBO > 4 * error[6]
    assert bounds[30].mean() - bounds[6].mean() > 4 * np.hypot(error[6], error[30])
    assert bounds[30].mean() < toy.LOG_PX - 4 * error[30]
    assert abs(bounds[30].mean() - toy.LOG_PX) < 0.05


def test_value_and_gradient_of_six_samples_are_the_printed_ones():
    values, gradients = toy_bounds(6)
    assert_mean_is(values, -1.8323)
    assert_mean_is(gradients["a"], 0.37689)
    assert_mean_is(gradients["log_scale"], 0.27282)
    spread = np.std(np.asarray(gradients["a"]), ddof=1) * np.sqrt(500)  # of one sample of the gradient
    np.testing.assert_allclose(spread, 0.94, rtol=0.35)


EXPECTATIONS = {  # name: (the term at K = 2, the bound of two log-weights)
    "iwae": (objectives.iwae(2), lambda a: jnp.log(jnp.mean(jnp.exp(a), 0))),
    "miwae": (objectives.miwae(2, 1), lambda a: jnp.mean(a, 0)),
    "ciwae": (
        objectives.ciwae(2, 0.3),
        lambda a: 0.3 * jnp.mean(a, 0) + 0.7 * jnp.log(jnp.mean(jnp.exp(a), 0)),
    ),
    "renyi": (objectives.renyi(2, 0.5), lambda a: 2 * jnp.log(jnp.mean(jnp.exp(a / 2), 0))),
    "renyi_above_one": (objectives.renyi(2, 3), lambda a: -jnp.log(jnp.mean(jnp.exp(-2 * a), 0)) / 2),
}


@cache
def means_and_quadratures():
    """By name: the mean (value, gradient) of the term over the nodes, and those of the bound; one program."""
    weights = toy.grid(2, 12)[1]

    @jax.jit
    def run(params):
        def both(term, bound_of):
            at_nodes = toy.values_and_gradients(term, 2, 12, params)[:2]
            mean = jax.tree.map(lambda v: weights @ v, at_nodes)
            return mean, jax.value_and_grad(toy.expected_bound)(params, bound_of, 2, n=12)

        return {name: both(*case) for name, case in EXPECTATIONS.items()}

    return run(toy.PARAMS)


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_the_mean_of_value_and_gradient_is_that_of_the_quadrature(name, x64):
    mean, expected = means_and_quadratures()[name]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(-a, b, rtol=1e-11, atol=1e-13), mean, expected)
    if name == "miwae":
        np.testing.assert_allclose(-mean[0], toy.ELBO, atol=5e-8)
    else:
        assert -mean[0] < toy.LOG_PX - 0.1


def levels_vae():
    """Two levels of latents, the lower conditional on the top, and a decoder that sees a condition."""
    normal = lambda key, loc: loc + 0.5 * jax.random.normal(key, loc.shape, loc.dtype)  # noqa: E731
    gaussian = distributions.diagonal_gaussian

    def encode(key, batch):
        top_key, low_key = jax.random.split(key)
        loc = batch["x"][:, :1]
        top = normal(top_key, loc)
        low = normal(low_key, loc + top)
        q = tuple(gaussian(m, jnp.full_like(m, 0.5)) for m in (loc, loc + top))
        p = tuple(gaussian(m, jnp.ones_like(m)) for m in (0 * loc, 2 * top))
        z = (top, low)
        log_q, log_p = (tuple(d.log_prob(v) for d, v in zip(ds, z, strict=True)) for ds in (q, p))
        return Draw(z, log_q, log_p, q, p, batch)

    return VAE(encode, lambda z, c: distributions.Gaussian(z[0] - z[1] + c, 0.7, 1), None, {})


def own_weights(key, vae, batch, K):
    keys = jax.random.split(key, K)
    return jnp.stack([objectives.log_weight(objectives.sample(keys[k], vae, batch)) for k in range(K)])


def lme(a, axis=0):
    return np.log(np.mean(np.exp(a), axis))


GROUPS = lambda w: w.reshape(2, 3, -1)  # noqa: E731  M = 2 groups of K = 3
VALUES = {  # every term of six samples, and its bound by hand
    "iwae": (objectives.iwae(6), lme),
    "miwae": (objectives.miwae(2, 3), lambda w: (lme(GROUPS(w)[0]) + lme(GROUPS(w)[1])) / 2),
    "miwae_of_one_group": (objectives.miwae(1, 6), lme),
    "miwae_of_one_sample": (objectives.miwae(6, 1), lambda w: w.mean(0)),
    "ciwae": (objectives.ciwae(6, 0.3), lambda w: 0.3 * w.mean(0) + 0.7 * lme(w)),
    "ciwae_0": (objectives.ciwae(6, 0), lme),
    "ciwae_1": (objectives.ciwae(6, 1.0), lambda w: w.mean(0)),
    "renyi": (objectives.renyi(6, -1.5), lambda w: lme(2.5 * w) / 2.5),
    "renyi_0": (objectives.renyi(6, 0), lme),
    "renyi_1": (objectives.renyi(6, 1), lambda w: w.mean(0)),
    "renyi_largest": (objectives.renyi(6, -np.inf), lambda w: w.max(0)),
    "iwae_in_chunks": (objectives.iwae(6, chunk=4), lme),
}
ONE_LEVEL = {
    "dreg": (objectives.dreg(6), lme),
    "piwae": (objectives.piwae(2, 3), lme),
}


@pytest.mark.parametrize("levels", [1, 2])
def test_the_value_is_the_bound_of_the_terms_own_samples(levels, x64):
    terms = VALUES | ONE_LEVEL if levels == 1 else VALUES
    vae = oracle.linear_vae().bind(oracle.exact_params(sigma=0.9)) if levels == 1 else levels_vae()
    batch = {"x": jnp.asarray(oracle.data(3))}
    if levels == 2:
        batch = {"x": batch["x"][:, :1], "c": jnp.array([[0.5], [-1.0], [2.0]])}

    @jax.jit
    def run(batch):
        draw = objectives.sample(jax.random.key(1), vae, batch)
        costs = {name: term(KEY, vae, draw) for name, (term, _) in terms.items()}
        return costs, own_weights(KEY, vae, batch, 6)

    costs, log_w = jax.tree.map(np.asarray, run(batch))
    assert (log_w.std(0) > 0.1).all()
    for name, (_, bound_of) in terms.items():
        np.testing.assert_allclose(-costs[name], bound_of(log_w), rtol=1e-10, err_msg=name)


def linear_cost(*terms):
    """The sum of some terms, each with its own weight, on a linear-Gaussian model."""
    model, batch = oracle.linear_vae(0.9), {"x": jnp.asarray(oracle.data(3))}

    def cost(params):
        vae = model.bind(params)
        draw = objectives.sample(KEY, vae, batch)
        return sum(i * term(KEY, vae, draw).sum() for i, term in enumerate(terms, 1))

    return cost


def test_chunks_change_neither_value_nor_gradient(x64):
    whole, chunked = (
        jax.jit(jax.value_and_grad(linear_cost(objectives.iwae(7, **o), objectives.dreg(7, **o))))
        for o in ({}, {"chunk": 3})  # 3 and 3 and 1
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)  # noqa: E731
    jax.tree.map(close, chunked(oracle.exact_params()), whole(oracle.exact_params()))


@pytest.mark.parametrize(
    ("make", "looped"),
    [
        (lambda **o: objectives.iwae(6, **o), None),
        (lambda **o: objectives.miwae(2, 3, **o), None),
        (lambda **o: objectives.ciwae(6, 0.5, **o), None),
        (lambda **o: objectives.renyi(6, 0.5, **o), None),
        (lambda **o: objectives.dreg(6, **o), None),
        (lambda **o: objectives.piwae(2, 3, **o), None),
        (lambda **o: objectives.iwae(64), False),
        (lambda **o: objectives.iwae(65), True),
    ],
)
def test_fewer_at_once_than_there_are_means_a_loop(make, looped):
    has_loop = lambda term: " scan[" in str(jax.make_jaxpr(linear_cost(term))(oracle.exact_params()))  # noqa: E731
    if looped is None:
        assert has_loop(make(chunk=2))
        assert not has_loop(make(chunk=6))
    else:
        assert has_loop(make()) == looped


def lowered_step(encoder=(), decoder=(), **terms):
    """The gradient of an objective on 16 pixels and 2 latents, lowered."""
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=2, features=encoder, activation="tanh"),
        decoder=nets.MLP(features=decoder, output_shape=(16,), activation="tanh"),
        latents=2,
        likelihood=distributions.bernoulli(),
    )
    batch, objective = {"x": jnp.zeros((4, 16))}, objectives.compose(**terms)
    params, _ = jax.eval_shape(model.init, KEY, batch)
    step = jax.jit(jax.grad(lambda p, key: objective(key, model.bind(p), batch, 0)[0]))
    return step.lower(params, KEY)


def flops(lowered):
    return lowered.cost_analysis()["flops"]


def test_the_encoder_runs_once_for_all_samples():
    one, ten = (flops(lowered_step(encoder=(128, 128), bound=objectives.iwae(K))) for K in (1, 10))
    assert ten < 1.3 * one
    chunked = lowered_step(encoder=(128, 128), bound=objectives.iwae(10, chunk=5))
    assert flops(chunked) < 1.3 * one


def test_the_shared_draw_is_not_decoded_in_vain():
    elbo = lowered_step(decoder=(128, 128), rec=objectives.reconstruction, kl=objectives.kl)
    bound = lowered_step(decoder=(128, 128), bound=objectives.iwae(1))
    np.testing.assert_allclose(flops(bound), flops(elbo), rtol=0.1)


def test_taking_the_two_sides_apart_costs_one_more_pass_backward():
    plain, dreg, piwae = (
        flops(lowered_step(decoder=(128, 128), bound=term))
        for term in (objectives.iwae(6), objectives.dreg(6), objectives.piwae(2, 3))
    )
    np.testing.assert_allclose([dreg / plain, piwae / plain], 4 / 3, rtol=0.03)


def test_chunks_save_memory():
    steps = (lowered_step(decoder=(64,), bound=objectives.iwae(256, chunk=chunk)) for chunk in (256, 16))
    whole, chunked = (step.compile().memory_analysis() for step in steps)
    assert chunked.temp_size_in_bytes < 0.4 * whole.temp_size_in_bytes


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: objectives.iwae(0), ValueError, "K: expected at least 1, got 0"),
        (lambda: objectives.iwae(True), TypeError, r"K: expected an int, got bool \(True\)"),
        (lambda: objectives.iwae(2.0), TypeError, r"K: expected an int, got float \(2.0\)"),
        (lambda: objectives.iwae(2, chunk=0), ValueError, "chunk: expected at least 1, got 0"),
        (lambda: objectives.miwae(0, 2), ValueError, "M: expected at least 1, got 0"),
        (lambda: objectives.miwae(2, -1), ValueError, "K: expected at least 1, got -1"),
        (lambda: objectives.piwae(0, 2), ValueError, "M: expected at least 1, got 0"),
        (lambda: objectives.dreg(0), ValueError, "K: expected at least 1, got 0"),
        (lambda: objectives.ciwae(2, 1.5), ValueError, r"beta: expected a number in \[0, 1\], got 1.5"),
        (lambda: objectives.ciwae(2, float("nan")), ValueError, r"beta: expected .* got nan"),
        (lambda: objectives.ciwae(2, "1"), TypeError, r"beta: expected .* got str \('1'\)"),
        (lambda: objectives.ciwae(0, 0.5), ValueError, "K: expected at least 1, got 0"),
        (lambda: objectives.renyi(0, 0.5), ValueError, "K: expected at least 1, got 0"),
        (lambda: objectives.renyi(2, float("nan")), ValueError, "alpha: expected a finite number"),
        (lambda: objectives.renyi(2, None), TypeError, "alpha: expected a number, got NoneType"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Bounded(distributions.Gaussian):
    is_bound = True

    def log_prob_bound(self, key, x):
        return self.log_prob(x)


@pytest.mark.parametrize(
    ("name", "term"),
    [
        ("iwae", objectives.iwae(4)),
        ("miwae", objectives.miwae(2, 2)),
        ("ciwae", objectives.ciwae(4, 0.5)),
        ("renyi", objectives.renyi(4, 0.5)),
        ("dreg", objectives.dreg(4)),
        ("piwae", objectives.piwae(2, 2)),
    ],
)
def test_a_likelihood_that_is_a_bound_is_refused(name, term):
    vae = oracle.linear_vae().bind(oracle.exact_params())
    bounded = vae._replace(decode=lambda z, c=None: Bounded(z @ jnp.asarray(oracle.W, z.dtype).T, 1.0, 1))
    batch = {"x": jnp.asarray(oracle.data(3), jnp.float32)}
    draw = jax.eval_shape(lambda: objectives.sample(KEY, bounded, batch))
    with pytest.raises(TypeError, match=rf"{name}: expected an exact log p\(x\|z\), got a bound \(Bounded\)"):
        jax.eval_shape(lambda draw: term(KEY, bounded, draw), draw)


@pytest.mark.parametrize(
    ("name", "term"),
    [("dreg", objectives.dreg(2)), ("piwae", objectives.piwae(2, 2)), ("kl_stl", objectives.kl_stl)],
)
def test_a_q_that_is_not_reparameterised_is_refused_where_a_path_is_needed(name, term):
    """On codes DReG shrinks the encoder's gradient by exactly K: there is no path."""

    class Codes(distrax.Independent):
        reparameterised = False

    vae = oracle.linear_vae().bind(oracle.exact_params())
    batch = {"x": jnp.asarray(oracle.data(3), jnp.float32)}

    def evaluate():
        draw = objectives.sample(KEY, vae, batch)
        return term(KEY, vae, draw._replace(q=Codes(draw.q.distribution, 1)))

    with pytest.raises(TypeError, match=f"{name}: expected a reparameterised q, .*; got Codes, discrete"):
        jax.eval_shape(evaluate)


@pytest.mark.parametrize(
    ("name", "term"),
    [("dreg", objectives.dreg(2)), ("piwae", objectives.piwae(2, 2)), ("kl_stl", objectives.kl_stl)],
)
def test_hierarchies_are_refused_where_the_estimator_would_be_wrong(name, term):
    vae, batch = levels_vae(), {"x": jnp.ones((3, 1)), "c": jnp.zeros((3, 1))}
    draw = jax.eval_shape(lambda: objectives.sample(KEY, vae, batch))
    got = r"\('float32\[3, 1\]', 'float32\[3, 1\]'\)"
    why = r"\(of several the generalised estimator, GDReG, would be right, which is not here\)"
    with pytest.raises(TypeError, match=rf"{name}: expected latents of one level, .* {why}; got {got}"):
        jax.eval_shape(lambda draw: term(KEY, vae, draw), draw)
    codes = draw._replace(z=jax.ShapeDtypeStruct((3, 2), jnp.int32))
    with pytest.raises(TypeError, match=rf"{name}: .* got int32\[3, 2\]"):
        jax.eval_shape(lambda draw: term(KEY, vae, draw), codes)
