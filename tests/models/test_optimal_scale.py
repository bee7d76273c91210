"""The optimal Gaussian scale: its value and gradient in training, and the density that is evaluated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import oracle
from tests.catalogue import D, small_vae
from vaejax import distributions, evaluation, models, objectives, runs
from vaejax.train import fit, gradient_update
from vaejax.types import Draw, Split

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
OBJECTIVE = objectives.compose(reconstruction=objectives.optimal_gaussian_reconstruction, kl=objectives.kl)


def term(mu, x, scale=1.0):
    """The term on means mu and data x, [B, ...]."""
    px = distributions.Gaussian(mu, scale, mu.ndim - 1)
    draw = Draw(None, None, None, None, None, {"x": x}, px, px.log_prob(x))
    return objectives.optimal_gaussian_reconstruction(KEY, None, draw)  # pyright: ignore[reportArgumentType]


def test_the_printed_value(x64):
    mu = RNG.normal(size=(4, 5, 2))
    error = RNG.normal(size=(4, 5, 2))
    error *= np.sqrt(0.04 / np.mean(error**2))  # MSE .04 over batch and dimensions, D = 10
    out = term(jnp.asarray(mu), jnp.asarray(mu + error), scale=7.0)
    assert out.shape == (4,)
    np.testing.assert_allclose(out.mean(), -1.9049938, atol=5e-8)
    each = 5 * np.log(2 * np.pi * 0.04) + (error**2).sum((1, 2)) / 0.08
    np.testing.assert_allclose(out, each, rtol=1e-12)


def test_the_gradient_is_that_of_the_fixed_form_and_of_the_profile(x64):
    mu, x = jnp.asarray(RNG.normal(size=(2, 4, 10)))

    def profile(mu):
        return 5 * (jnp.log(2 * jnp.pi * jnp.mean((x - mu) ** 2)) + 1)

    each, of_profile = jax.jit(lambda mu: (jax.jacobian(term)(mu, x), jax.grad(profile)(mu)))(mu)
    np.testing.assert_allclose(each.mean(axis=0), of_profile, rtol=1e-12)
    fixed = (mu - x) / jnp.mean((x - mu) ** 2)
    np.testing.assert_allclose(each[np.arange(4), np.arange(4)], fixed, rtol=1e-12)
    np.testing.assert_allclose(each[0, 1], 0, atol=1e-15)  # sigma is a constant


def test_another_likelihood_is_refused():
    model, x = small_vae()
    params = jax.jit(model.init)(KEY, {"x": x})[0]
    with pytest.raises(
        TypeError, match=r"optimal_gaussian_reconstruction: expected a Gaussian .* got Bernoulli"
    ):
        jax.eval_shape(OBJECTIVE, KEY, model.bind(params), {"x": x}, 0)
    with pytest.raises(ValueError, match=r"model: expected the likelihood gaussian\(\), got bernoulli\(\)"):
        models.optimal_scale(model)
    with pytest.raises(TypeError, match=r"model: expected a vaejax.Model, got str"):
        models.optimal_scale("model")  # pyright: ignore[reportArgumentType]
    hidden = models.optimal_scale(model._replace(spec={}))
    with pytest.raises(TypeError, match=r"model: expected a Gaussian p\(x\|z\), got Bernoulli"):
        jax.eval_shape(hidden.bind(params, {"scale": 1.0}).decode, jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"variables: expected a mapping with 'scale', .* got None"):
        models.optimal_scale(small_vae(distributions.gaussian())[0]).bind({})


def test_in_training_the_scale_is_that_of_the_batch_and_then_it_is_kept(x64):
    model = models.optimal_scale(oracle.linear_vae())
    params, batch = oracle.exact_params(), {"x": jnp.asarray(oracle.data(6))}
    variables = {"scale": jnp.asarray(0.7)}
    sample = jax.jit(objectives.sample)
    vae = model.bind(params, variables, step=0)
    draw = sample(KEY, vae, batch)
    error = np.sqrt(np.mean((batch["x"] - (draw.z @ oracle.W.T + oracle.B)) ** 2))
    np.testing.assert_allclose(draw.variables["scale"], error, rtol=1e-12)
    np.testing.assert_allclose(draw.px.stddev(), 0.7)  # p(x|z) itself is one step behind
    _, (metrics, new) = jax.jit(OBJECTIVE)(KEY, vae, batch, 0)
    mean = 2 * (np.log(2 * np.pi * new["scale"] ** 2) + 1)
    np.testing.assert_allclose(metrics["reconstruction"], mean, rtol=1e-12)

    vae = model.bind(params, new)
    draw = sample(KEY, vae, batch)
    assert draw.variables is None  # evaluation changes nothing
    np.testing.assert_allclose(draw.px.stddev(), new["scale"])
    plain = oracle.linear_vae(float(new["scale"])).bind(params)
    np.testing.assert_allclose(draw.log_px, sample(KEY, plain, batch).log_px, rtol=1e-12)


def test_a_density_that_encode_has_made_is_made_anew():
    """A hierarchy decodes while it encodes; p(x|z) must have the scale that decode gives it all the same."""
    inner, x = small_vae(distributions.gaussian(0.5))

    def bind(params, variables=None, *, step=None):
        vae = inner.bind(params)

        def encode(key, batch):
            draw = vae.encode(key, batch)
            return draw._replace(px=vae.decode(draw.z))

        return vae._replace(encode=jax.tree_util.Partial(encode))

    decoding = inner._replace(bind=bind)
    model = models.optimal_scale(decoding)
    params = jax.jit(model.init)(KEY, {"x": x})[0]

    @jax.jit
    def log_px(params):
        bound = model.bind(params, {"scale": 2.0}), model.bind(params, {"scale": 2.0}, step=0)
        draws = [
            objectives.sample(KEY, vae, {"x": x})
            for vae in (*bound, decoding.bind(params), inner.bind(params))
        ]
        return [d.log_px for d in draws], bound[0].decode(draws[0].z).log_prob(x)

    (evaluated, trained, with_px, without), expected = log_px(params)
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5)
    np.testing.assert_allclose(trained, expected, rtol=1e-5)
    np.testing.assert_allclose(with_px, without, rtol=1e-5)  # what encode has decoded is scored
    assert np.abs(evaluated - without).min() > 0.1


def test_variables_of_the_model_inside_live_on():
    inner, x = small_vae(distributions.gaussian())

    def bind(params, variables=None, *, step=None):
        vae = inner.bind(params)

        def encode(key, batch):
            return vae.encode(key, batch)._replace(
                variables={"count": variables["count"] + 1} if step is not None else None
            )

        return vae._replace(encode=jax.tree_util.Partial(encode))

    def init(key, batch):
        return inner.init(key, batch)[0], {"count": jnp.zeros(())}

    model = models.optimal_scale(inner._replace(init=init, bind=bind))
    params, variables = jax.jit(model.init)(KEY, {"x": x})
    assert variables == {"scale": 1, "model": {"count": 0}}
    new = model.bind(params, variables, step=0).encode(KEY, {"x": jnp.asarray(x)}).variables
    assert new["model"] == {"count": 1}
    assert new["scale"] != 1


def test_a_run_is_saved_and_evaluated_with_its_last_scale(tmp_path):
    model = models.optimal_scale(small_vae(distributions.gaussian())[0])
    data = Split({"x": (0.2 * RNG.normal(size=(12, D)) + 3).astype(np.float32)}, "real")
    runs.create(tmp_path, {}, model)
    update = gradient_update(OBJECTIVE, model, optax.adam(0.05))
    fitted = fit(KEY, model, update, data, 40, batch_size=12, chunk=20, folder=tmp_path, progress=False)
    sigma = float(fitted.state.variables["scale"])
    assert sigma < 0.4  # from 3 at the start
    last = D / 2 * (np.log(2 * np.pi * sigma**2) + 1)
    np.testing.assert_allclose(fitted.metrics["reconstruction"][-1], last, rtol=1e-5)
    assert last < fitted.metrics["reconstruction"][0] - 5

    run = runs.load(tmp_path)
    assert run.model.spec == model.spec
    plain = small_vae(distributions.gaussian(sigma))[0].bind(run.params)
    one, other = (evaluation.elbo_parts(KEY, vae, data, aggregate=False) for vae in (run.vae, plain))
    np.testing.assert_allclose(one["reconstruction"], other["reconstruction"], rtol=1e-6)

    with pytest.raises(ValueError, match="microbatch: expected None, since these terms mix examples"):
        gradient_update(OBJECTIVE, model, optax.adam(0.05), microbatch=4)
