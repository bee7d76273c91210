"""The terms of the ELBO on the exact linear-Gaussian VAE."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import objectives
from vaejax.keys import named_key
from vaejax.types import Draw

KEY = jax.random.key(0)
OFF = {"A": 0.2, "a": -0.3, "log_scale": 0.25}  # how far the perturbed encoder is from the exact one


def perturbed_params():
    params = oracle.exact_params()
    rng = np.random.default_rng(1)
    encoder = {k: v + OFF[k] * rng.normal(size=v.shape) for k, v in params["encoder"].items()}
    return {"encoder": encoder, "decoder": params["decoder"]}


def batch_of(x):
    return {"x": jnp.asarray(x), "index": jnp.arange(len(x))}


def bound_model(params):
    return oracle.linear_vae().bind(params)


def neg_elbo(params, x):
    """-ELBO of every x [n, D] in closed form: E_q[-log p(x|z)] + KL(q||p)."""
    encoder, decoder = params["encoder"], params["decoder"]
    loc, s = x @ encoder["A"].T + encoder["a"], encoder["log_scale"]
    gap = x - loc @ decoder["W"].T - decoder["b"]
    spread = jnp.sum(jnp.sum(decoder["W"] ** 2, axis=0) * jnp.exp(2 * s))
    variance = oracle.SIGMA**2
    rec = 0.5 * x.shape[1] * jnp.log(2 * jnp.pi * variance) + (jnp.sum(gap**2, -1) + spread) / (2 * variance)
    return rec + 0.5 * jnp.sum(loc**2 + jnp.exp(2 * s) - 1 - 2 * s, -1)


@pytest.mark.parametrize(
    ("w", "b", "sigma", "x", "expected", "posterior"),
    [([[1.0], [0.5]], [0.0, 0.0], 0.5, [1.0, 1.0], -2.3474624, (1.0, 1 / 6))],
)
def test_the_printed_evidence_and_posterior(w, b, sigma, x, expected, posterior, x64):
    w, b, x = np.array(w), np.array(b), np.array([x])
    np.testing.assert_allclose(oracle.log_evidence(x, w, b, sigma), expected, atol=5e-8)
    vae = oracle.linear_vae(sigma).bind(oracle.exact_params(w, b, sigma))

    @jax.jit
    def of(batch):
        draw = objectives.sample(KEY, vae, batch)
        return draw.q.mean(), draw.q.variance(), objectives.log_weight(draw)

    mean, variance, log_w = of(batch_of(x))
    np.testing.assert_allclose(mean[0], posterior[0], rtol=1e-12)
    np.testing.assert_allclose(variance[0], posterior[1], rtol=1e-12)
    np.testing.assert_allclose(log_w, expected, atol=5e-8)


@pytest.mark.parametrize("K", [1, 8])
def test_every_weight_is_the_evidence_at_the_exact_posterior(K, x64):
    x = oracle.data(6)
    vae, batch = bound_model(oracle.exact_params()), batch_of(x)

    @jax.jit
    def weights_and_bound(keys):
        draws = jax.vmap(lambda k: objectives.log_weight(objectives.sample(k, vae, batch)))
        return draws(keys), objectives.iwae(K)(KEY, vae, objectives.sample(KEY, vae, batch))

    log_w, bound = weights_and_bound(jax.random.split(KEY, K))  # [K, B], [B]
    np.testing.assert_allclose(log_w, np.tile(oracle.log_evidence(x), (K, 1)), rtol=1e-12)
    w = np.exp(log_w - log_w.max(0))
    np.testing.assert_allclose(w.sum(0) ** 2 / (w**2).sum(0), K, rtol=1e-12)  # effective sample size
    np.testing.assert_allclose(-bound, oracle.log_evidence(x), rtol=1e-12)


def test_the_terms_are_the_parts_of_the_weight(x64):
    x = oracle.data(5)

    @jax.jit
    def of(params, batch):
        vae = bound_model(params)
        draw = objectives.sample(KEY, vae, batch)
        terms = (objectives.reconstruction, objectives.kl, objectives.kl_sampled)
        costs = [term(KEY, vae, draw) for term in terms]
        return costs, objectives.log_weight(draw), (draw.z, draw.q.mean(), draw.q.variance())

    found = of(perturbed_params(), batch_of(x))
    (rec, kl, sampled), log_w, (z, loc, variance) = jax.tree.map(np.asarray, found)
    np.testing.assert_allclose(rec + sampled, -log_w, rtol=1e-12)
    np.testing.assert_allclose(kl, 0.5 * (loc**2 + variance - 1 - np.log(variance)).sum(-1), rtol=1e-12)
    mu = z @ oracle.W.T + oracle.B
    variance = oracle.SIGMA**2
    expected = ((x - mu) ** 2).sum(-1) / (2 * variance) + 2 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(rec, expected, rtol=1e-12)


def test_value_and_gradients_have_the_closed_form_as_their_mean(x64):
    params, x = perturbed_params(), oracle.data(4)
    batch = batch_of(np.tile(x, (250, 1)))  # every example with noise of its own

    @jax.jit
    def evaluate(params, keys):
        def by_key(kl):
            objective = objectives.compose(reconstruction=objectives.reconstruction, kl=kl)
            loss = lambda p, key: objective(key, bound_model(p), batch, 0)[0]  # noqa: E731
            return jax.vmap(jax.value_and_grad(loss), (None, 0))(params, keys)

        truth = jax.value_and_grad(lambda p: neg_elbo(p, x).mean())(params)
        return [by_key(kl) for kl in (objectives.kl, objectives.kl_sampled)], truth

    estimates, truth = evaluate(params, jax.random.split(KEY, 60))
    for estimate in estimates:
        jax.tree.map(assert_mean_is, estimate, truth)


def test_gradients_at_one_draw_are_the_analytic_ones(x64):
    params, x = perturbed_params(), oracle.data(4)
    encoder, w = params["encoder"], np.asarray(params["decoder"]["W"])
    batch = batch_of(x)
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)

    @jax.jit
    def run(params):
        draw = objectives.sample(named_key(KEY, "/draw"), bound_model(params), batch)
        of_loss = jax.grad(lambda p: objective(KEY, bound_model(p), batch, 0)[0])(params)
        return of_loss, (draw.z, draw.q.mean(), draw.q.stddev())

    gradients, drawn = run(params)
    # z = loc + scale eps; d rec / d mu_x = -(x - mu_x) / sigma^2; the rest by the chain rule
    z, loc, scale = map(np.asarray, drawn)
    slope = -(x - z @ w.T - oracle.B) / oracle.SIGMA**2  # [n, D]
    pull = slope @ w + loc  # [n, d], with d KL / d loc = loc
    n = len(x)
    expected = {
        "encoder": {
            "A": pull.T @ x / n,
            "a": pull.mean(0),
            "log_scale": ((slope @ w) * (z - loc) + scale**2 - 1).mean(0),
        },
        "decoder": {"W": slope.T @ z / n, "b": slope.mean(0)},
    }
    assert encoder.keys() == expected["encoder"].keys()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), gradients, expected)


def test_the_bound_is_below_the_evidence_and_the_gap_is_the_posterior_divergence(x64):
    params, x = perturbed_params(), oracle.data(4)
    exact = oracle.exact_params()["encoder"]
    loc, true_loc = (x @ np.asarray(e["A"]).T + np.asarray(e["a"]) for e in (params["encoder"], exact))
    scale, true_scale = (np.exp(np.asarray(e["log_scale"])) for e in (params["encoder"], exact))
    gap = np.log(true_scale / scale) + (scale**2 + (loc - true_loc) ** 2) / (2 * true_scale**2) - 0.5
    cost = jax.jit(neg_elbo)(params, jnp.asarray(x))
    np.testing.assert_allclose(oracle.log_evidence(x) + cost, gap.sum(-1), rtol=1e-9)
    assert (gap.sum(-1) > 0.05).all()


def test_levels_of_a_hierarchy_are_summed(x64):
    """Two levels, the lower conditional on the sampled top, and a level outside the table."""
    normal = lambda loc, scale: distrax.Independent(distrax.Normal(jnp.asarray(loc), jnp.asarray(scale)), 1)  # noqa: E731
    q = (normal(np.ones((3, 2)), np.full((3, 2), 0.5)), normal(np.zeros((3, 1)), np.full((3, 1), 2.0)))
    p = (
        normal(np.zeros((3, 2)), np.ones((3, 2))),
        distrax.Independent(distrax.Laplace(jnp.zeros((3, 1)), 1.0), 1),
    )

    @jax.jit
    def of(q, p):
        z = tuple(level.sample(seed=KEY) for level in q)
        log_q, log_p = (tuple(d.log_prob(z_l) for d, z_l in zip(ds, z, strict=True)) for ds in (q, p))
        draw = Draw(z, log_q, log_p, q, p, {}, None, jnp.array([1.0, 2.0, 3.0]))
        costs = objectives.kl(KEY, None, draw), objectives.kl_sampled(KEY, None, draw)
        return costs, objectives.log_weight(draw), log_q, log_p

    (kl, kl_sampled), log_w, log_q, log_p = jax.tree.map(np.asarray, of(q, p))
    top = 2 * (np.log(2) + (0.25 + 1) / 2 - 0.5)
    np.testing.assert_allclose(kl, top + log_q[1] - log_p[1], rtol=1e-12)
    sampled = sum(log_q) - sum(log_p)
    np.testing.assert_allclose(kl_sampled, sampled, rtol=1e-12)
    np.testing.assert_allclose(log_w, np.array([1, 2, 3]) - sampled, rtol=1e-12)
