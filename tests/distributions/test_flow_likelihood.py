"""p(x|z) by an invertible decoder: exact on real data, a bound on bytes."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from tests.monte_carlo import assert_mean_is
from vaejax import distributions, evaluation, models, nets, objectives
from vaejax.data import from_arrays
from vaejax.train import fit, gradient_update

KEY, LATENTS, D = jax.random.key(0), 2, 3


def model_of(decoder, dequantise=None, conditional=False):
    ndims = len(decoder.shape)
    encoder = nets.MLPEncoder(LATENTS, (), event_ndims=ndims)
    return models.vae(
        encoder=nets.FromBytes(encoder) if dequantise else encoder, decoder=decoder,
        posterior=models.posteriors.gaussian(LATENTS), likelihood=distributions.flow(dequantise),
        conditional=conditional,
    )  # fmt: skip


def bound_model(model, batch):
    params, _ = jax.eval_shape(model.init, KEY, batch)
    rng = np.random.default_rng(0)
    return model.bind(jax.tree.map(lambda a: rng.normal(size=a.shape, scale=0.3).astype(a.dtype), params))


def test_without_steps_it_is_the_gaussian_likelihood():
    start = nets.MLP((4,), (2 * D,))
    x, z = jax.random.normal(KEY, (5, D)), jax.random.normal(jax.random.key(1), (5, LATENTS))
    vae = bound_model(model_of(nets.FlatFlow(start, (D,), 0)), {"x": x})
    px = vae.decode(z)
    parameters = start.apply({"params": px._inverse.args[0]["start"]}, z)
    gaussian = distributions.gaussian_learned_scale().build(parameters, 1)
    np.testing.assert_allclose(distributions.score(KEY, px, x), gaussian.log_prob(x), rtol=1e-5)
    drawn = px.sample(seed=KEY, sample_shape=20_000)
    assert_mean_is(drawn, gaussian.mean(), errors=4.5)
    np.testing.assert_allclose(jnp.std(drawn, 0), gaussian.stddev(), rtol=0.03)


@pytest.mark.parametrize("noise", [False, True])
def test_the_exponential_of_the_bound_has_the_probability_of_the_byte_as_its_mean(noise):
    """One pixel of Gaussian density: E_q[exp(bound)] = P(x), and the bound is below its logarithm."""
    of_noise = nets.MLP((), (2,)) if noise else None
    decoder = nets.FlatFlow(nets.MLP((), (2,)), (1,), 0, noise=of_noise)
    vae = bound_model(model_of(decoder, "variational" if noise else "uniform"), {"x": jnp.zeros((1, 1))})
    px = vae.decode(jnp.zeros((4, LATENTS)))
    x = jnp.asarray([[0.0], [3.0], [200.0], [255.0]])
    bound = jax.jit(jax.vmap(lambda k: distributions.score(k, px, x)))(jax.random.split(KEY, 20_000))
    parameters = np.asarray(px._density._inverse.args[0]["start"]["out"]["bias"])
    density = stats.norm(parameters[0], np.exp(-6) + np.exp(parameters[1]))
    exact = density.cdf((x[:, 0] + 1) / 256) - density.cdf(x[:, 0] / 256)
    # the weight p / q of a logit-normal q has a finite variance, but a heavy tail
    assert_mean_is(jnp.exp(bound), exact, errors=5)
    assert (bound.mean(0) <= np.log(exact) + 1e-5).all()
    assert bound.std() > 1e-5


def test_a_closer_noise_makes_a_tighter_bound():
    """Where all of the density is in the lower part of a pixel's interval, uniform noise wastes nats."""
    key = jax.random.split(KEY, 4000)
    density = distributions.diagonal_gaussian(jnp.full(1, 100.2 / 256), jnp.full(1, 0.1 / 256))
    exact = stats.norm.logcdf(8) + np.log1p(-stats.norm.cdf(-2))  # from -2 to 8 standard deviations

    def logit_normal(eps, x):
        a = np.float32(np.log(0.25)) + 0.5 * eps
        log_slope = -jax.nn.softplus(a) - jax.nn.softplus(-a)
        log_q = stats_normal(eps) - np.log(0.5) - log_slope
        return jax.nn.sigmoid(a), log_q[..., 0]

    values = {}
    for name, noise in (("uniform", None), ("near", logit_normal)):
        px = distributions.Dequantised(density, noise)
        values[name] = jax.vmap(lambda k, px=px: distributions.score(k, px, jnp.full(1, 100.0)))(key).mean()
    assert values["uniform"] < values["near"] - 1 < exact - 1


def stats_normal(eps):
    return -0.5 * (eps**2 + np.log(2 * np.pi))


def test_noise_costs_eight_bits_and_the_flow_learns_it():
    """Bytes of two independent uniform pixels: no model is below 8 bits/dim, and a spline gets near it."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(6000, 2)).astype(np.uint8)
    decoder = nets.FlatFlow(nets.MLP((), (4,)), (2,), 2, "spline", alpha=1e-2, features=(8,))
    model = model_of(decoder, "uniform")
    data = from_arrays(x, x[:2000], support="bytes")
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = gradient_update(objective, model, optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)))
    fitted = fit(KEY, model, update, data.train, 300, batch_size=100, chunk=300, progress=False)
    vae = model.bind(fitted.state.params)
    parts = evaluation.elbo_parts(KEY, vae, data.test, aggregate=False)
    bits = parts["neg_elbo"] / (2 * np.log(2))
    assert 8 - 0.02 < bits < 8.06  # its standard error is .007
    images = np.asarray(evaluation.prior_samples(KEY, vae, 500, batch_size=500))
    assert ((images >= 0) & (images <= 255)).all()
    assert (images == np.round(images)).all()
    assert abs(images.mean() - 127.5) < 12
    with pytest.raises(TypeError, match="bound"):
        evaluation.marginal_log_likelihood(KEY, vae, data.test, num_samples=2)
    iwae = objectives.compose(iwae=objectives.iwae(2))
    with pytest.raises(TypeError, match="bound"):
        jax.eval_shape(lambda: iwae(KEY, vae, {"x": jnp.zeros((2, 2)), "index": jnp.arange(2)}, 0))


@pytest.mark.parametrize("dequantise", [None, "variational"])
def test_in_a_model_with_a_condition(dequantise):
    """Spec, gradients of every group, slices as the whole, and reconstructions as samples."""
    shape = (4, 4, 1)
    noise = nets.Conv(2, (1, 1)) if dequantise else None
    decoder = nets.ImageFlow(nets.MLP((), (4, 4, 2), event_ndims=1), shape, 1, features=4, noise=noise)
    model = model_of(decoder, dequantise, conditional=True)
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    assert again.spec == model.spec
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(3, *shape)).astype(np.float32) / (1 if dequantise else 256)
    batch = {"x": x, "c": rng.normal(size=(3, 2)).astype(np.float32), "index": np.arange(3)}
    vae = bound_model(model, batch)

    @jax.jit
    def run(vae, batch):
        def loss(vae):
            draw = objectives.sample(KEY, vae, batch)
            return -draw.log_px.sum(), draw.log_px

        return jax.value_and_grad(loss, has_aux=True)(vae)

    (_, log_px), grads = run(vae, batch)
    assert log_px.shape == (3,)
    assert all(
        np.abs(g).max() > 0 and np.isfinite(g).all()
        for g in jax.tree.leaves((grads.encode, grads.decode))[2:]
    )
    part = jax.tree.map(lambda a: a[1:2], batch)
    (_, of_part), _ = run(vae, part)
    np.testing.assert_allclose(of_part, log_px[1:2], rtol=2e-5)
    with pytest.raises(TypeError, match="mean"):
        evaluation.reconstruct(vae, x, c=batch["c"])
    assert evaluation.reconstruct(vae, x, c=batch["c"], key=KEY).shape == x.shape


@pytest.mark.parametrize(
    ("decoder", "likelihood", "error", "message"),
    [
        (nets.MLP((), (D,)), distributions.flow(), TypeError, "decoder: expected an invertible net"),
        (
            nets.FlatFlow(nets.MLP((), (6,)), (D,)),
            distributions.gaussian(1.0),
            TypeError,
            "a net of parameters",
        ),
        (
            nets.FlatFlow(nets.MLP((), (6,)), (D,)),
            distributions.flow("variational"),
            ValueError,
            "noise: expected a net",
        ),
        (
            nets.FlatFlow(nets.MLP((), (6,)), (D,), noise=nets.MLP((), (6,))),
            distributions.flow("uniform"),
            ValueError,
            "noise: expected None",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(decoder, likelihood, error, message):
    encoder = nets.MLPEncoder(LATENTS, ())
    with pytest.raises(error, match=message):
        models.gaussian_vae(encoder=encoder, decoder=decoder, latents=LATENTS, likelihood=likelihood)


def test_another_dequantisation_is_refused():
    with pytest.raises(ValueError, match="dequantise: expected one of 'uniform', 'variational'"):
        distributions.flow("some")
