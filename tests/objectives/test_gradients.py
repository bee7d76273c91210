"""Gradient estimators: against quadrature, autodiff at the same samples, and at the exact posterior."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from tests.monte_carlo import assert_mean_is
from tests.objectives import toy
from vaejax import objectives
from vaejax.keys import example_keys
from vaejax.objectives.gradients import direct_and_path
from vaejax.ops.bounds import importance_bound
from vaejax.types import Draw

KEY = jax.random.key(0)


def with_reconstruction(kl):
    return lambda key, vae, draw: objectives.reconstruction(key, vae, draw) + kl(key, vae, draw)


def moments(samples, weights):
    mean = weights @ np.asarray(samples)
    return mean, weights @ (np.asarray(samples) - mean) ** 2


def test_dreg_has_the_gradient_of_the_bound_as_its_mean_and_less_variance(x64):
    bound = lambda a: jnp.log(jnp.mean(jnp.exp(a), 0))  # noqa: E731
    found, (value, expected), weights = toy.at_nodes(
        2, bound, iwae=objectives.iwae(2), dreg=objectives.dreg(2)
    )
    (_, plain), (values, doubly) = found["iwae"], found["dreg"]
    np.testing.assert_allclose(-weights @ values, value, rtol=1e-11)
    for name, slope in expected["encoder"].items():
        mean, variance = moments(doubly["encoder"][name], weights)
        np.testing.assert_allclose(-mean, slope, rtol=2e-6)
        assert variance < 0.5 * moments(plain["encoder"][name], weights)[1]
    for group in ("decoder", "prior"):  # theta: the same numbers at every node, a learned prior among them
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), doubly[group], plain[group]
        )


def test_the_landing_is_stuck_to_without_bias_and_is_dreg_of_one_sample(x64):
    terms = {"stl": objectives.kl_stl, "plain": objectives.kl_sampled}
    terms = {name: with_reconstruction(kl) for name, kl in terms.items()} | {"dreg": objectives.dreg(1)}
    found, (_, expected), weights = toy.at_nodes(1, lambda a: a[0], **terms)
    (values, stl), (plain_values, plain), (dreg_values, dreg) = (
        found[name] for name in ("stl", "plain", "dreg")
    )
    np.testing.assert_allclose(values, plain_values, rtol=1e-12)
    np.testing.assert_allclose(dreg_values, values, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), dreg, stl)
    for got in (stl, plain):
        jax.tree.map(
            lambda s, e: np.testing.assert_allclose(-weights @ np.asarray(s), e, rtol=1e-9), got, expected
        )
    # not the same estimator: per node they differ, in q alone
    assert np.std(np.asarray(stl["encoder"]["log_scale"]) - np.asarray(plain["encoder"]["log_scale"])) > 0.1
    np.testing.assert_allclose(stl["decoder"]["w"], plain["decoder"]["w"], rtol=1e-12)


def test_dreg_of_six_samples_has_the_printed_mean_and_spread_and_sticking_is_biased():
    values, gradients = toy.monte_carlo(objectives.dreg(6), seed=1)
    assert_mean_is(values, -1.8323)
    assert_mean_is(gradients["a"], 0.37689)
    assert_mean_is(gradients["log_scale"], 0.27282)
    spread = np.std(np.asarray(gradients["a"]), ddof=1) * np.sqrt(500)  # of one sample of the gradient
    np.testing.assert_allclose(spread, 0.08, rtol=0.35)

    def stl_in_the_bound(key, vae, draw):  # what no term does: the gradient of another thing
        def log_w(k):
            own = objectives.sample(k, vae, draw.batch)
            direct, path = direct_and_path(own.q.log_prob, own.z)
            return own.log_px + own.log_p - jax.lax.stop_gradient(direct) - path

        return -importance_bound(jax.vmap(log_w)(jax.random.split(key, 6)))

    _, gradients = toy.monte_carlo(stl_in_the_bound, seed=2)
    np.testing.assert_allclose(gradients["a"].mean(), 1.392, atol=0.01)
    np.testing.assert_allclose(gradients["log_scale"].mean(), 0.578, atol=0.01)


def linear_gradients(terms, params, x):
    """Values [n] and the gradients of their sums, by name."""
    model = oracle.linear_vae()

    @jax.jit
    def run(params):
        def cost(params, term):
            vae = model.bind(params)
            values = term(KEY, vae, objectives.sample(KEY, vae, {"x": jnp.asarray(x)}))
            return values.sum(), values

        return {name: jax.grad(cost, has_aux=True)(params, term) for name, term in terms.items()}

    return run(params)


def test_at_the_exact_posterior_only_the_doubly_reparameterised_gradients_vanish(x64):
    terms = {
        "stl": with_reconstruction(objectives.kl_stl),
        "dreg": objectives.dreg(5),
        "sampled": with_reconstruction(objectives.kl_sampled),
        "iwae": objectives.iwae(5),
    }
    x = oracle.data(4)
    for name, (gradients, values) in linear_gradients(terms, oracle.exact_params(), x).items():
        np.testing.assert_allclose(-values, oracle.log_evidence(x), rtol=1e-9)
        largest = max(np.abs(g).max() for g in jax.tree.leaves(gradients["encoder"]))
        assert (largest < 1e-10) if name in ("stl", "dreg") else (largest > 0.1), name


def test_piwae_gives_each_side_the_gradient_of_its_own_bound(x64):
    params = oracle.exact_params(sigma=0.9)  # not the posterior of the model
    terms = {
        "piwae": objectives.piwae(2, 3),
        "all": objectives.iwae(6),
        "groups": objectives.miwae(2, 3),
        "one": objectives.piwae(1, 6),
    }
    got = linear_gradients(terms, params, oracle.data(4))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)  # noqa: E731
    np.testing.assert_allclose(got["piwae"][1], got["all"][1], rtol=1e-12)
    jax.tree.map(close, got["piwae"][0]["decoder"], got["all"][0]["decoder"])
    jax.tree.map(close, got["piwae"][0]["encoder"], got["groups"][0]["encoder"])
    jax.tree.map(close, got["one"], got["all"])
    for group in ("encoder", "decoder"):  # the two bounds do differ in both
        pairs = zip(*(jax.tree.leaves(got[name][0][group]) for name in ("all", "groups")), strict=True)
        assert max(np.abs(a - b).max() for a, b in pairs) > 1e-2


def test_piwae_counts_a_learned_prior_with_the_decoder(x64):
    terms = {"piwae": objectives.piwae(2, 2), "iwae": objectives.iwae(4), "miwae": objectives.miwae(2, 2)}
    found, _, _ = toy.at_nodes(4, n=4, **terms)
    piwae, iwae, miwae = (found[name][1] for name in terms)
    for group, expected in (("decoder", iwae), ("prior", iwae), ("encoder", miwae)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11),
            piwae[group],
            expected[group],
        )
    assert np.abs(np.asarray(iwae["prior"]["m"]) - np.asarray(miwae["prior"]["m"])).max() > 0.1


CONDITIONERS = {  # two ways to give a flow's conditioner its parameters
    "partial": lambda fn, params: Partial(fn, params),
    "closure": lambda fn, params: lambda z: fn(params, z),
}


def flow_draw(phi, make, key=KEY):
    """q = a coupling flow of N(loc, scale^2), its conditioner made by `make`; p = N(0, I)."""

    def shift_and_scale(params, z):
        return jnp.stack([params["u"] * jnp.sin(z[..., ::-1]), params["v"] * z[..., ::-1]], -1)

    base = distrax.Independent(distrax.Normal(phi["loc"], jnp.exp(phi["log_scale"])), 1)
    coupling = distrax.MaskedCoupling(
        jnp.array([True, False]),
        make(shift_and_scale, {"u": phi["u"], "v": phi["v"]}),
        lambda p: distrax.ScalarAffine(shift=p[..., 0], log_scale=p[..., 1]),
    )
    q = distrax.Transformed(base, coupling)
    p = distrax.Independent(distrax.Normal(jnp.zeros_like(phi["loc"]), jnp.ones_like(phi["loc"])), 1)
    eps = jax.vmap(lambda k: jax.random.normal(k, (2,)))(example_keys(key, {"x": phi["loc"]}))
    z = coupling.forward(phi["loc"] + jnp.exp(phi["log_scale"]) * eps)
    return Draw(z, q.log_prob(z), p.log_prob(z), q, p, {"x": phi["loc"]})


@pytest.mark.parametrize("conditioner", CONDITIONERS)
def test_parameters_that_stop_gradient_misses_are_held_all_the_same(conditioner, x64):
    make = CONDITIONERS[conditioner]
    phi = {
        "loc": jnp.asarray(oracle.data(3)[:, :2]),
        "log_scale": jnp.asarray(oracle.data(3, seed=1)[:, :2]) / 4,
        "u": jnp.array(0.7),
        "v": jnp.array(-0.4),
    }

    @jax.jit
    def gradients(phi, fixed):
        def stuck_by_hand(phi):
            draw = flow_draw(phi, make)
            return (flow_draw(fixed, make).q.log_prob(draw.z) - draw.log_p).sum()

        def by_stop_gradient(phi):
            draw = flow_draw(phi, make)
            return (jax.lax.stop_gradient(draw.q).log_prob(draw.z) - draw.log_p).sum()

        def by(kl):
            return lambda phi: kl(KEY, None, flow_draw(phi, make)).sum()

        costs = (by(objectives.kl_stl), stuck_by_hand, by_stop_gradient, by(objectives.kl_sampled))
        return [jax.value_and_grad(cost)(phi) for cost in costs]

    stl, expected, stopped, sampled = gradients(phi, phi)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)  # noqa: E731
    jax.tree.map(close, stl, expected)
    # the trap: what a closure holds, stop_gradient leaves as it is
    held = expected if conditioner == "partial" else sampled
    close(stopped[1]["v"], held[1]["v"])
    assert abs(expected[1]["v"] - sampled[1]["v"]) > 1e-2


def test_the_split_of_a_gradient(x64):
    a, z = jnp.array([2.0, 3.0]), jnp.array([[0.5, 1.0], [-1.0, 2.0]])

    def parts(a, z):
        return direct_and_path(lambda z: a * jnp.sum(z**2, -1), z)

    stacked = lambda *args: jnp.stack(parts(*args))  # noqa: E731
    (direct, path), (by_a, by_z) = jax.jit(
        lambda *args: (stacked(*args), jax.jacobian(stacked, (0, 1))(*args))
    )(a, z)
    np.testing.assert_allclose(direct, [2 * 1.25, 3 * 5.0])
    np.testing.assert_array_equal(path, 0)
    np.testing.assert_allclose(by_a[0], np.diag([1.25, 5.0]))
    np.testing.assert_array_equal(by_a[1], 0)
    np.testing.assert_array_equal(by_z[0], 0)
    np.testing.assert_allclose(by_z[1], np.einsum("ij,jd->ijd", np.eye(2), 2 * a[:, None] * z))
