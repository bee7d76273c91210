"""The deterministic surrogate of the beta-VAE and the contractive penalty."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from tests.objectives.test_geometry import PARAMS as SMOOTH
from tests.objectives.test_geometry import smooth_vae
from vaejax import distributions, nets, objectives
from vaejax.objectives.posterior_mean import _parameter_and_curvature
from vaejax.types import VAE, Draw

KEY, BETA = jax.random.key(0), 1.7
RNG = np.random.default_rng(0)
W = np.array([[1.0, 0.6], [0.5, -1.0], [0.2, 2.0], [0.0, -0.5]])  # columns that are not orthogonal
PARAMS = {
    "encoder": {"A": RNG.normal(size=(2, 4)), "a": RNG.normal(size=2), "log_scale": np.zeros(2)},
    "decoder": {"W": W, "b": oracle.B},
}
X = oracle.data(3)


def gaussian_draw(m):
    q = distributions.diagonal_gaussian(m, jnp.ones_like(m))
    p = distributions.diagonal_gaussian(jnp.zeros_like(m), jnp.ones_like(m))
    return Draw(m, None, None, q, p, {"x": m}, None, None)


@partial(jax.jit, static_argnames="covariance")
def surrogate(params, covariance):
    """The cost and its gradient."""
    objective = objectives.compose(
        reconstruction=objectives.reconstruction_at_mean,
        regulariser=objectives.kumar_poole(beta=BETA, covariance=covariance),
    )

    def cost(params):
        return objective(KEY, oracle.linear_vae().bind(params), {"x": jnp.asarray(X)}, 0)[0]

    return jax.value_and_grad(cost)(params)


def beta_vae(params, covariance):
    """E_q[-log p(x|z)] + beta KL(q || N(0, I)) for q = N(A x + a, covariance), in closed form."""
    m = X @ params["encoder"]["A"].T + params["encoder"]["a"]
    w, b, s2 = params["decoder"]["W"], params["decoder"]["b"], oracle.SIGMA**2
    spread = np.trace(w @ covariance @ w.T)
    rec = 2 * np.log(2 * np.pi * s2) + (((X - m @ w.T - b) ** 2).sum(1) + spread) / (2 * s2)
    log_det = np.linalg.slogdet(covariance)[1]
    return (rec + BETA / 2 * ((m**2).sum(1) + np.trace(covariance) - 2 - log_det)).mean()


def test_it_is_the_beta_vae_cost_at_the_best_covariance(x64):
    precision = np.eye(2) + W.T @ W / (BETA * oracle.SIGMA**2)
    best = {"full": np.linalg.inv(precision), "diagonal": np.diag(1 / np.diag(precision))}
    cost = {kind: surrogate(PARAMS, kind)[0] for kind in best}
    for kind, covariance in best.items():
        np.testing.assert_allclose(cost[kind], beta_vae(PARAMS, covariance), rtol=1e-12)
        for step in (0.05, -0.05):  # no other scale does better
            assert beta_vae(PARAMS, covariance * (1 + step)) > cost[kind] + 1e-4
    assert cost["diagonal"] > cost["full"] + 1e-2  # Hadamard


def test_its_gradient_is_that_of_the_beta_vae_at_the_best_covariance(x64):
    """The envelope theorem: the covariance may be held fixed."""
    best = np.linalg.inv(np.eye(2) + W.T @ W / (BETA * oracle.SIGMA**2))
    _, gradient = surrogate(PARAMS, "full")
    for group, name in (("decoder", "W"), ("decoder", "b"), ("encoder", "A"), ("encoder", "a")):
        for i in np.ndindex(PARAMS[group][name].shape):
            step = np.zeros_like(PARAMS[group][name])
            step[i] = 1e-5
            moved = [
                {**PARAMS, group: {**PARAMS[group], name: PARAMS[group][name] + s}} for s in (step, -step)
            ]
            slope = (beta_vae(moved[0], best) - beta_vae(moved[1], best)) / 2e-5
            np.testing.assert_allclose(gradient[group][name][i], slope, rtol=1e-6, atol=1e-7)
    assert (gradient["encoder"]["log_scale"] == 0).all()


def test_the_log_determinant_by_hand(x64):
    vae = VAE(None, lambda z, c=None: distributions.Gaussian(z * jnp.array([2.0, 1.0]), 1.0, 1), None, {})
    terms = [objectives.kumar_poole(beta=1.0, covariance=kind) for kind in ("full", "diagonal")]
    both = jax.jit(lambda m: [term(KEY, vae, gaussian_draw(m)) for term in terms])
    for values in both(jnp.array([[0.0, 0.0], [3.0, -1.0]])):
        # 1.1512925, and ||m||^2 / 2 more away from 0
        np.testing.assert_allclose(values, [0.5 * np.log(10), 5 + 0.5 * np.log(10)], rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "x"),
    [
        (lambda t: distributions.Gaussian(t, 0.6, 1), np.array([0.3, -1.2, 0.8])),
        (lambda t: distributions.Bernoulli(t, 1), np.array([0.0, 1.0, 1.0])),
        (lambda t: distributions.ContinuousBernoulli(t, 1), np.array([0.2, 0.5, 0.9])),
    ],
    ids=["gaussian", "bernoulli", "continuous bernoulli"],
)
def test_the_curvature_is_minus_the_hessian_of_the_log_density(build, x, x64):
    t = jnp.array([0.1, -2.0, 1.3])
    hessian, (parameter, h) = jax.jit(
        lambda t: (jax.hessian(lambda t: build(t).log_prob(x))(t), _parameter_and_curvature(build(t)))
    )(t)
    np.testing.assert_allclose(parameter, t, rtol=1e-12)
    np.testing.assert_allclose(jnp.diag(h), -hessian, rtol=1e-6, atol=1e-9)


def test_a_bernoulli_has_the_formula_in_its_logits(x64):
    vae = VAE(None, lambda z, c=None: distributions.Bernoulli(z @ W.T, 1), None, {})
    m = RNG.normal(size=(3, 2))
    p = 1 / (1 + np.exp(-m @ W.T))
    g = np.eye(2) + np.einsum("ij,bi,ik->bjk", W, p * (1 - p), W) / BETA
    expected = BETA / 2 * ((m**2).sum(1) + np.linalg.slogdet(g)[1])
    value = jax.jit(lambda m: objectives.kumar_poole(beta=BETA)(KEY, vae, gaussian_draw(m)))(m)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_the_chunk_and_the_condition(x64):
    def decode(z, c):
        return distributions.Gaussian(jnp.tanh(c * z), 0.5, 1)

    m, c = RNG.normal(size=(5, 2)), RNG.normal(size=(5, 1))
    draw = gaussian_draw(jnp.asarray(m))._replace(batch={"x": jnp.asarray(m), "c": jnp.asarray(c)})
    vae = VAE(None, decode, None, {})
    slopes = c * (1 - np.tanh(c * m) ** 2)  # J is diagonal
    expected = BETA / 2 * ((m**2).sum(1) + np.log1p(slopes**2 / 0.25 / BETA).sum(1))

    @jax.jit
    def run(m, c):
        values = [objectives.kumar_poole(beta=BETA, chunk=n)(KEY, vae, draw) for n in (5, 2)]
        return values, objectives.reconstruction_at_mean(KEY, vae, draw), -decode(m, c).log_prob(m)

    values, rec, expected_rec = run(m, c)
    for value in values:
        np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(rec, expected_rec, rtol=1e-12)


def test_the_contractive_penalty_of_a_linear_encoder(x64):
    term = objectives.contractive()

    @jax.jit
    def evaluate(params):
        def penalty(params):
            vae = oracle.linear_vae().bind(params)
            return term(
                KEY, vae, objectives.sample(KEY, vae, {"x": jnp.asarray(X), "y": jnp.arange(3)})
            ).sum()

        return jax.value_and_grad(penalty)(params)

    value, gradient = evaluate(PARAMS)
    a = PARAMS["encoder"]["A"]
    np.testing.assert_allclose(value, 3 * (a**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(gradient["encoder"].pop("A"), 6 * a, rtol=1e-12)
    assert all((np.asarray(g) == 0).all() for g in jax.tree.leaves(gradient))  # all others


def test_the_contractive_penalty_through_the_convolutions(x64):
    net = nets.ConvEncoder(latents=2, width=0.04, activation="tanh")
    x = jnp.asarray(RNG.uniform(size=(3, 16, 16, 1)))
    params = jax.jit(
        lambda key: jax.tree.map(lambda p: 2.0 * p.astype(jnp.float64), net.init(key, x)["params"])
    )(KEY)

    def encode(params, key, batch):
        loc, logvar = net.apply({"params": params}, batch["x"])
        q = distributions.diagonal_gaussian(loc, jnp.exp(logvar / 2))
        return Draw(loc, None, None, q, q, batch)

    @jax.jit
    def evaluate(params):
        vae = VAE(Partial(encode, params), None, None, {})
        draw = vae.encode(KEY, {"x": x})
        forward = jax.vmap(jax.jacfwd(lambda x: net.apply({"params": params}, x)[0]))(x)
        dense = jnp.square(forward).sum((1, 2, 3, 4))
        return objectives.contractive(chunk=2)(KEY, vae, draw), dense

    np.testing.assert_allclose(*evaluate(params), rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beta": 0.0}, ValueError, "beta: expected a positive finite number, got 0.0"),
        ({"beta": float("nan")}, ValueError, "beta: .* got nan"),
        ({"beta": "4"}, TypeError, "beta: expected a number, got str"),
        ({"beta": True}, TypeError, "beta: expected a number, got bool"),
        (
            {"beta": 1.0, "covariance": "none"},
            ValueError,
            "covariance: expected one of 'full', 'diagonal'; got",
        ),
        ({"beta": 1.0, "chunk": 0}, ValueError, "chunk: expected at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        objectives.kumar_poole(**options)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_another_gaussian_prior_is_that_of_its_standardised_latents(x64, covariance):
    m, loc, scale = np.random.default_rng(5).normal(size=(3, 4, 4))
    scale = np.exp(scale)
    term, vae = objectives.kumar_poole(beta=BETA, covariance=covariance), smooth_vae(SMOOTH)

    @jax.jit
    def whole(m, loc, scale):
        prior = distributions.diagonal_gaussian(loc, scale)
        return term(KEY, vae, gaussian_draw(m)._replace(p=prior))

    @jax.jit
    @jax.vmap
    def one_by_one(m, loc, scale):  # z = loc + scale u, u ~ N(0, I)
        decode = lambda u, c=None: vae.decode(loc + scale * u, c)  # noqa: E731
        return term(KEY, VAE(None, decode, None, {}), gaussian_draw(((m - loc) / scale)[None]))[0]

    np.testing.assert_allclose(whole(m, loc, scale), one_by_one(m, loc, scale), rtol=1e-10)


def test_what_does_not_fit_is_refused_when_called():
    m = jnp.zeros((2, 3))
    draw, term = gaussian_draw(m), objectives.kumar_poole(beta=1.0)
    with pytest.raises(TypeError, match="p: expected a diagonal Gaussian prior, got Bernoulli"):
        term(KEY, smooth_vae(SMOOTH), draw._replace(p=distributions.Bernoulli(m, 1)))

    class Other:
        pass

    with pytest.raises(TypeError, match=r"kumar_poole: expected a Gaussian, Bernoulli or .*, got Other"):
        term(KEY, VAE(None, lambda z, c=None: Other(), None, {}), draw)
    for other in (term, objectives.contractive(), objectives.reconstruction_at_mean):
        with pytest.raises(TypeError, match="z: expected one array of latents"):
            other(KEY, None, draw._replace(z=(m, m)))
    with pytest.raises(TypeError, match="x: expected floating point data to differentiate by, got int32"):
        objectives.contractive()(KEY, None, draw._replace(batch={"x": jnp.zeros((2, 4), jnp.int32)}))
    with pytest.raises(ValueError, match="chunk: expected at least 1, got 0"):
        objectives.contractive(chunk=0)


def test_latents_may_be_numpys():
    m = np.random.default_rng(6).normal(size=(2, 4)).astype(np.float32)
    draw, term = gaussian_draw(jnp.asarray(m)), objectives.jacobian_l1()

    @jax.jit
    def both():
        return [term(KEY, smooth_vae(SMOOTH), draw._replace(z=z)) for z in (m, jnp.asarray(m))]

    np.testing.assert_array_equal(*both())
