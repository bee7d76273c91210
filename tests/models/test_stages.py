"""Second stages on linear data, whose codes have a covariance in closed form; codes without noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import oracle
from tests.monte_carlo import assert_mean_is
from tests.oracle import linear_of as linear
from vaejax import distributions, models, nets, objectives
from vaejax.models import posteriors, priors
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY = jax.random.key(0)
W, B, SIGMA = oracle.W, oracle.B, oracle.SIGMA
D, d = W.shape
RNG = np.random.default_rng(0)
# latents of another covariance than the prior's: the aggregate posterior is not N(0, I)
TRUE_Z = RNG.normal(size=(2000, d)) @ np.array([[1.5, 0.9], [0.0, 0.6]]) + [1.0, -0.5]
X = (TRUE_Z @ W.T + B + SIGMA * RNG.normal(size=(2000, D))).astype(np.float32)
DATA = Split({"x": X, "y": np.arange(2000)}, "real")


DETERMINISTIC = {"encoder": nets.MLP((), (d,)), "posterior": posteriors.point(d)}


def exact(model, **groups):
    """The parameters of the exact encoder and decoder, the rest as it starts."""
    params = jax.jit(model.init)(KEY, {"x": jnp.asarray(X[:1])})[0]
    of = oracle.exact_params()
    zeros = jnp.zeros((D, d))
    head = {
        "loc": {"kernel": of["encoder"]["A"].T, "bias": of["encoder"]["a"]},
        "logvar": {"kernel": zeros, "bias": 2 * of["encoder"]["log_scale"]},
    }
    known = {"encoder": {"head": head}, "decoder": {"out": {"kernel": W.T, "bias": B}}}
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), {**params, **known, **groups})


def of_codes():
    """Mean and covariance of z ~ q(z|x) over the rows of the data."""
    of = jax.tree.map(np.asarray, oracle.exact_params()["encoder"])
    loc = X @ of["A"].T + of["a"]
    return loc.mean(0), np.cov(loc.T, bias=True) + np.diag(np.exp(2 * of["log_scale"]))


def assert_moments(z, mean, covariance):
    z = np.asarray(z, np.float64)
    np.testing.assert_allclose(z.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.08 * np.abs(covariance).max())


def trained(model, data, objective, steps, rate, wrt=None):
    options = {} if wrt is None else {"wrt": wrt}
    update = gradient_update(
        objective, model, optax.adam(optax.cosine_decay_schedule(rate, steps)), **options
    )
    return fit(KEY, model, update, data, steps, batch_size=500, chunk=100, progress=False).state.params


def test_codes_are_fresh_samples_of_the_posterior_of_every_row():
    model = linear()
    vae = model.bind(exact(model))
    codes = models.codes_of(vae, DATA)
    assert (codes.support, codes.size) == ("real", 2000)
    run = jax.jit(lambda key, batch: codes.transform(key, batch))
    batch = {"x": jnp.asarray(X), "y": jnp.arange(2000), "index": jnp.arange(2000)}
    made, other = run(KEY, batch), run(jax.random.key(1), batch)
    q = vae.encode(KEY, batch).q
    assert_mean_is((made["x"] - q.mean()) / q.stddev(), 0.0)
    assert_mean_is(((made["x"] - q.mean()) / q.stddev()) ** 2, 1.0)
    assert (made["x"] != other["x"]).all()
    np.testing.assert_array_equal(made["y"], batch["y"])
    means = models.codes_of(vae, DATA, at="mean")
    np.testing.assert_array_equal(means.transform(KEY, batch)["x"], vae.represent(batch))
    assert set(means.transform(KEY, batch)) == {"x", "y", "index"}
    with pytest.raises(ValueError, match="at: expected one of 'sample', 'mean'; got 'mode'"):
        models.codes_of(vae, DATA, at="mode")


def test_a_second_vae_recovers_the_covariance_of_the_codes_and_samples_through_the_first():
    """A linear one with a learned scale is probabilistic PCA of the codes."""
    model = linear()
    vae = model.bind(exact(model))
    second = models.vae(
        encoder=nets.MLPEncoder(latents=d, features=()),
        decoder=nets.SharedScale(nets.MLP(features=(), output_shape=(d,))),
        posterior=posteriors.gaussian(d),
        likelihood=distributions.gaussian_learned_scale(),
    )
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    params = trained(second, models.codes_of(vae, DATA), objective, 800, 0.03)
    both = models.two_stage(vae, second.bind(params))
    mean, covariance = of_codes()
    z = jax.jit(lambda vae: vae.sample_prior(KEY, 20_000))(both)
    assert_moments(z, mean, covariance)
    x = both.decode(z).sample(seed=KEY)
    np.testing.assert_allclose(np.cov(x.T), W @ covariance @ W.T + SIGMA**2 * np.eye(D), atol=0.8)
    with pytest.raises(ValueError, match="c: expected None, the second stage has no condition"):
        both.sample_prior(KEY, 2, jnp.zeros((2, 1)))


@pytest.mark.parametrize("noise", [True, False])
def test_a_mixture_fitted_to_frozen_codes_has_their_moments(noise):
    """The same model with another prior, which alone moves; also of a deterministic encoder's codes."""
    of, (mean, covariance) = oracle.exact_params()["encoder"], of_codes()
    if noise:
        parts, params = {}, exact(linear())
    else:
        parts = DETERMINISTIC
        params = {"encoder": {"out": {"kernel": of["A"].T, "bias": of["a"]}}}
        covariance = covariance - np.diag(np.exp(2 * np.asarray(of["log_scale"])))
    frozen = {"encoder": jax.tree.map(lambda a: np.asarray(a, np.float32), params["encoder"])}
    later = linear(**parts, prior=priors.gaussian_mixture(8))
    objective = objectives.compose(codes=objectives.cross_entropy)
    found = trained(models.starting_from(later, frozen), DATA, objective, 600, 0.05, wrt=("prior",))
    jax.tree.map(np.testing.assert_array_equal, frozen["encoder"], found["encoder"])
    z = jax.jit(lambda p: later.bind(p).sample_prior(KEY, 20_000))(found)
    assert_moments(z, mean, covariance)


def test_a_point_has_no_bound_and_what_asks_for_one_says_so():
    model = linear(**DETERMINISTIC)
    params = jax.jit(model.init)(KEY, {"x": jnp.asarray(X[:1])})[0]

    @jax.jit
    def run(params, key):
        vae, batch = model.bind(params), {"x": jnp.asarray(X[:3])}
        draw = objectives.sample(key, vae, batch)
        names = ("cross_entropy", "kl", "kl_sampled")
        terms = {name: getattr(objectives, name)(key, vae, draw) for name in names}
        terms["iwae"] = objectives.iwae(2)(key, vae, draw)
        return draw.z, vae.represent(batch), terms

    z, code, terms = run(params, KEY)
    np.testing.assert_array_equal(z, code)
    np.testing.assert_array_equal(z, run(params, jax.random.key(1))[0])  # no noise
    np.testing.assert_allclose(
        terms["cross_entropy"], 0.5 * np.sum(np.square(z), -1) + d / 2 * np.log(2 * np.pi), rtol=1e-5
    )
    assert all((np.asarray(terms[name]) == np.inf).all() for name in ("kl", "kl_sampled", "iwae"))


def test_a_regularised_autoencoder_is_three_terms_whose_penalty_is_the_norm_of_a_linear_decoder():
    model = linear(**DETERMINISTIC)
    params = jax.jit(model.init)(KEY, {"x": jnp.asarray(X[:1])})[0]
    params["decoder"] = {
        "out": {"kernel": jnp.asarray(W.T, jnp.float32), "bias": jnp.asarray(B, jnp.float32)}
    }
    objective = objectives.compose(
        reconstruction=objectives.reconstruction,
        codes=objectives.scaled(0.01, objectives.cross_entropy),
        smooth=objectives.scaled(0.1, objectives.jacobian_l2()),
    )
    gradient = jax.jit(
        jax.value_and_grad(lambda p: objective(KEY, model.bind(p), {"x": X[:8]}, 0), has_aux=True)
    )
    (loss, (metrics, _)), grads = gradient(params)
    np.testing.assert_allclose(metrics["smooth"], np.sum(W**2), rtol=1e-5)
    assert np.isfinite(loss)
    assert all((np.asarray(g) != 0).any() for g in jax.tree.leaves(grads))


def test_what_is_no_model_is_refused():
    model = linear()
    vae = model.bind(exact(model))
    with pytest.raises(TypeError, match=r"vae: expected a vaejax.VAE, got Model"):
        models.codes_of(model, DATA)
    with pytest.raises(TypeError, match="split: expected a vaejax Split, got dict"):
        models.codes_of(vae, {})
    with pytest.raises(TypeError, match=r"second: expected a vaejax.VAE, got Model"):
        models.two_stage(vae, model)
