"""A mixture posterior on one latent: every bound and every gradient by quadrature."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests.monte_carlo import assert_mean_is
from vaejax import objectives
from vaejax.distributions import Gaussian, GaussianMixture, diagonal_gaussian
from vaejax.keys import example_keys
from vaejax.ops import bounds
from vaejax.types import VAE, Draw

# q = .3 N(-1, .5^2) + .7 N(1.5, .8^2), p(x, z) = e^-1.7 [.5 N(z; -1, .6^2) + .5 N(z; 1, .6^2)]
KEY = jax.random.key(0)
Q = {"logits": np.log([0.3, 0.7]), "loc": np.array([[-1.0], [1.5]]), "scale": np.array([[0.5], [0.8]])}
P = {"logits": np.zeros(2), "loc": np.array([[-1.0], [1.0]]), "scale": np.full((2, 1), 0.6)}
LOG_PX = -1.7
MU = np.sqrt(2 * (-LOG_PX - 0.5 * np.log(2 * np.pi)))  # log N(0; MU, 1) = log p(x)
NAMES = ("logits", "loc", "scale")


def mixture(parameters, *lead):
    return GaussianMixture(*(jnp.broadcast_to(parameters[n], (*lead, *parameters[n].shape)) for n in NAMES))


def encode(parameters, key, batch):
    keys = example_keys(key, batch)
    z, log_q = jax.vmap(lambda k: mixture(parameters).sample_and_log_prob(seed=k))(keys)
    p = mixture(jax.tree.map(lambda a: jnp.asarray(a, z.dtype), P))
    return Draw(z, log_q, p.log_prob(z), mixture(parameters, len(z)), p, batch)


def vae_of(parameters):
    return VAE(Partial(encode, parameters), lambda z, c=None: Gaussian(0 * z + MU, 1.0, 1), None, {})


def log_normal(z, parameters):
    loc, scale = parameters["loc"][:, 0], parameters["scale"][:, 0]
    each = -0.5 * ((z[..., None] - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * np.log(2 * np.pi)
    return jax.nn.logsumexp(jax.nn.log_softmax(parameters["logits"]) + each, axis=-1)


def log_w(z, q):
    return LOG_PX + log_normal(z, P) - log_normal(z, q)


def elbo(q):
    z = jnp.linspace(-7.0, 8.0, 3001)
    return jnp.sum(jnp.exp(log_normal(z, q)) * log_w(z, q)) * (z[1] - z[0])


def iwae_2(q):
    z = jnp.linspace(-5.0, 6.5, 460)
    density, a = jnp.exp(log_normal(z, q)), log_w(z, q)
    bound = jnp.logaddexp(a[:, None], a) - jnp.log(2)
    return density @ bound @ density * (z[1] - z[0]) ** 2


def strata(q):
    """log pi_r + log w of a sample of each component at the nodes of its noise, [2, n], and their weights."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    z = q["loc"] + q["scale"] * nodes  # [2, n]
    return jax.nn.log_softmax(q["logits"])[:, None] + log_w(z, q), weights / weights.sum()


def siwae(q):
    (a, b), weights = strata(q)
    return weights @ jnp.logaddexp(a[:, None], b) @ weights


TERMS = {  # name: (the cost of one example, the bound that it is the negative of)
    "stratified": (objectives.stratified(2), elbo),
    "siwae": (objectives.siwae(), siwae),
    "sampled": (lambda *a: objectives.reconstruction(*a) + objectives.kl_sampled(*a), elbo),
    "kl": (lambda *a: objectives.reconstruction(*a) + objectives.kl(*a), elbo),
    "kl_stl": (lambda *a: objectives.reconstruction(*a) + objectives.kl_stl(*a), elbo),
    "iwae": (objectives.iwae(2), iwae_2),
    "dreg": (objectives.dreg(2), iwae_2),
}


@cache
def monte_carlo(keys=40, copies=500):
    """By name: values and gradients of the bound, one mean over copies of x per key, [keys]."""
    batch = {"x": jnp.zeros((copies, 1))}

    def bounds_of(q, key):
        vae = vae_of(q)
        draw = objectives.sample(key, vae, batch)
        return {name: -jnp.mean(term(key, vae, draw)) for name, (term, _) in TERMS.items()}

    def both(q, key):
        return bounds_of(q, key), jax.jacrev(bounds_of)(q, key)

    run = jax.jit(lambda q, keys: jax.lax.map(lambda key: both(q, key), keys))
    return run(jax.tree.map(jnp.asarray, Q), jax.random.split(KEY, keys))


def test_the_quadratures_are_the_printed_values():
    q = jax.tree.map(jnp.asarray, Q)
    found = jax.jit(lambda q: (elbo(q), iwae_2(q), siwae(q)))(q)
    np.testing.assert_allclose(found, [-2.098, -1.841, -1.780], atol=3e-3)


@pytest.mark.parametrize("name", TERMS)
def test_value_and_gradient_are_those_of_the_quadrature(name, x64):
    values, gradients = monte_carlo()
    value, gradient = jax.jit(jax.value_and_grad(TERMS[name][1]))(jax.tree.map(jnp.asarray, Q))
    assert_mean_is(values[name], value)
    assert abs(gradient["logits"][0]) > 0.01
    for part, expected in gradient.items():
        assert_mean_is(gradients[name][part], expected)


def test_strata_leave_less_noise_than_samples_of_the_mixture(x64):
    spread = {name: np.std(monte_carlo()[0][name]) for name in TERMS}
    assert spread["stratified"] < 0.8 * spread["sampled"]
    assert spread["siwae"] < spread["iwae"]


def one_gaussian():
    loc, scale = jnp.array([[[0.2, -0.1]]]), jnp.array([[[0.7, 1.2]]])

    def encode(key, batch):
        q = GaussianMixture(jnp.zeros((3, 1)), *(jnp.broadcast_to(a, (3, 1, 2)) for a in (loc, scale)))
        z, p = jnp.zeros((3, 2)), diagonal_gaussian(jnp.zeros(2), jnp.ones(2))
        return Draw(z, q.log_prob(z), p.log_prob(z), q, p, batch)

    return VAE(encode, lambda z, c=None: Gaussian(z, 0.5, 1), None, {})


def test_with_one_component_they_are_the_elbo_and_the_importance_weighted_bound():
    """Of the same noise, examples' own and of any chunk."""
    batch, vae = {"x": jnp.array([[1.0, 2.0], [0.0, -1.0], [0.3, 0.3]])}, one_gaussian()

    @jax.jit
    def run(key):
        draw = objectives.sample(key, vae, batch)
        noise = jax.vmap(lambda k: jax.random.normal(k, (4, 1, 2)))(example_keys(key, batch))
        z = draw.q.stratified(jnp.moveaxis(noise, 0, 1))[:, :, 0]
        log_px = vae.decode(z).log_prob(batch["x"])
        log_w = log_px + draw.p.log_prob(z) - draw.q.log_prob(z)  # [4, B]
        terms = (objectives.stratified(4), objectives.siwae(4), objectives.siwae(4, chunk=3))
        return log_w, [term(key, vae, draw) for term in terms]

    log_w, (stratified, siwae, chunked) = run(KEY)
    np.testing.assert_allclose(-stratified, log_w.mean(0), rtol=1e-5)
    np.testing.assert_allclose(-siwae, bounds.importance_bound(log_w), rtol=1e-5)
    np.testing.assert_allclose(chunked, siwae, rtol=1e-6)


class Bounded(Gaussian):
    is_bound = True

    def log_prob_bound(self, key, x):
        return self.log_prob(x)


@pytest.mark.parametrize("name", ["stratified", "siwae"])
def test_other_posteriors_are_refused(name):
    term, vae = getattr(objectives, name)(), one_gaussian()
    draw = objectives.sample(KEY, vae, {"x": jnp.zeros((3, 2))})
    expected = rf"{name}: expected a mixture of Gaussians for q\(z\|x\), one GaussianMixture; got"
    with pytest.raises(TypeError, match=f"{expected} Independent"):
        term(KEY, vae, draw._replace(q=diagonal_gaussian(draw.z, jnp.ones_like(draw.z))))
    with pytest.raises(TypeError, match=f"{expected} tuple"):
        term(KEY, vae, draw._replace(q=(draw.q, draw.q)))


def test_a_likelihood_that_is_a_bound_has_an_elbo_and_no_weights():
    vae = one_gaussian()._replace(decode=lambda z, c=None: Bounded(z, 0.5, 1))
    draw = objectives.sample(KEY, vae, {"x": jnp.zeros((3, 2))})
    assert objectives.stratified()(KEY, vae, draw).shape == (3,)
    with pytest.raises(TypeError, match=r"siwae: expected an exact log p\(x\|z\), got a bound \(Bounded\)"):
        objectives.siwae()(KEY, vae, draw)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: objectives.stratified(0), ValueError, "T: expected at least 1, got 0"),
        (lambda: objectives.siwae(2.0), TypeError, r"T: expected an int, got float"),
        (lambda: objectives.siwae(2, chunk=0), ValueError, "chunk: expected at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
