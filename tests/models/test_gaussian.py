"""The Gaussian VAE as a builder: what it refuses, whose noise it draws, and its spec."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.monte_carlo import assert_mean_is
from vaejax import distributions, models, nets, objectives

KEY = jax.random.key(0)
EVENT, LATENTS = (2, 3), 2
PARTS = {
    "encoder": nets.MLPEncoder(latents=LATENTS, features=(5,), activation="tanh", event_ndims=2),
    "decoder": nets.MLP(features=(5,), output_shape=EVENT, activation="tanh"),
    "latents": LATENTS,
    "likelihood": distributions.gaussian(0.5),
}
MODEL = models.gaussian_vae(**PARTS)
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, *EVENT)), jnp.float32)


@pytest.fixture(scope="module")
def params():
    return init(MODEL)


def init(model, seed=1):
    return jax.jit(model.init)(jax.random.key(seed), {"x": X})[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"latents": 0}, ValueError, "latents: expected at least 1, got 0"),
        ({"latents": 2.0}, TypeError, "latents: expected an int, got float"),
        (
            {"encoder": nets.MLPEncoder},
            TypeError,
            "encoder: expected a flax.*Module, got the class MLPEncoder: call it",
        ),
        ({"decoder": lambda z: z}, TypeError, "decoder: expected a flax.linen.module.Module, got <function"),
        (
            {"likelihood": distributions.bernoulli},
            TypeError,
            "likelihood: expected a vaejax.*Likelihood, got",
        ),
        (
            {"likelihood": "bernoulli"},
            TypeError,
            "likelihood: expected a vaejax.*Likelihood, got 'bernoulli'",
        ),
    ],
)
def test_bad_arguments_are_refused_when_built(change, error, message):
    with pytest.raises(error, match=message):
        models.gaussian_vae(**(PARTS | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"latents": 3},
            r"encoder: expected outputs of shapes \(\(1, 3\), \(1, 3\)\) .* got shapes \(\(1, 2\), \(",
        ),
        (
            {"encoder": nets.MLP((), (2,), event_ndims=2)},
            r"encoder: expected outputs of shapes .* the posterior gaussian needs; got shapes \(1, 2\)",
        ),
        (
            {"decoder": nets.MLP((), (6,))},
            r"decoder: expected an output of shape \(1, 2, 3\) .* got \(1, 6\)",
        ),
        (
            {"decoder": nets.MLP((), (3, 2))},
            r"decoder: expected an output of shape \(1, 2, 3\) .* got \(1, 3, 2\)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_when_initialised(change, message):
    model = models.gaussian_vae(**(PARTS | change))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, KEY, {"x": X})


def test_bad_inputs_are_refused_when_bound(params):
    vae = MODEL.bind(params)
    z, c = jnp.zeros((4, LATENTS)), jnp.zeros((4, 1))
    for call, message in (
        (lambda: vae.decode(jnp.zeros((4, 3))), r"z: expected \[..., 2\], got \(4, 3\)"),
        (lambda: vae.decode(jnp.zeros(())), r"z: expected \[..., 2\], got \(\)"),
        (lambda: vae.decode(z, c), "c: expected None, this model has no condition"),
        (lambda: vae.sample_prior(KEY, 4, c), "c: expected None, this model has no condition"),
        (
            lambda: jax.eval_shape(lambda x: objectives.sample(KEY, vae, {"x": x, "c": c}), X),
            "c: expected None",
        ),
        (lambda: objectives.sample(KEY, vae, {"x": X[:, None]}), r"x: expected \[B, \*event\].* got shapes"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for call in (
        lambda: vae.encode(jax.random.PRNGKey(0), {"x": X}),
        lambda: vae.sample_prior(0, 4),
        lambda: MODEL.init(0, {"x": X}),
    ):
        with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
            call()


def test_the_draw_is_the_reparameterised_gaussian_that_its_densities_say(params):
    @jax.jit
    def run(params):
        vae = MODEL.bind(params)
        draw = objectives.sample(KEY, vae, {"x": X})
        densities = draw.q.mean(), draw.q.stddev(), draw.log_q, draw.log_p, draw.log_px
        heads = PARTS["encoder"].apply({"params": params["encoder"]}, X)
        mu = PARTS["decoder"].apply({"params": params["decoder"]}, draw.z)
        many = objectives.sample(KEY, vae, {"x": jnp.tile(X[:1], (5000, 1, 1))})
        return draw.z, densities, heads, mu, (many.z - many.q.mean()) / many.q.stddev()

    z, densities, (loc, logvar), mu, eps_of_many = jax.tree.map(np.asarray, run(params))
    mean, stddev, log_q, log_p, log_px = densities
    np.testing.assert_allclose(mean, loc, rtol=1e-6)
    np.testing.assert_allclose(stddev, np.exp(logvar / 2), rtol=1e-5)
    eps = (z - loc) / np.exp(logvar / 2)
    log_normal = lambda v: -0.5 * (v**2 + np.log(2 * np.pi)).sum(-1)  # noqa: E731
    np.testing.assert_allclose(log_q, log_normal(eps) - 0.5 * logvar.sum(-1), rtol=1e-5)
    np.testing.assert_allclose(log_p, log_normal(z), rtol=1e-5)
    expected = (log_normal((np.asarray(X) - mu) / 0.5) - 3 * np.log(0.5)).sum(-1)
    np.testing.assert_allclose(log_px, expected, rtol=1e-5)
    eps = eps_of_many
    assert_mean_is(eps, 0.0)
    assert_mean_is(eps**2, 1.0)
    assert_mean_is(eps[:, 0] * eps[:, 1], 0.0)


def test_slices_of_a_batch_draw_what_the_whole_batch_draws(params):
    draw = jax.jit(lambda batch: objectives.sample(KEY, MODEL.bind(params), batch))
    whole = draw({"x": X})
    for places in ([1, 2], [2, 0]):
        at = np.array(places)
        part = draw({"x": X[at], "index": at})
        np.testing.assert_allclose(part.z, whole.z[at], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(part.log_px, whole.log_px[at], rtol=1e-5)
    elsewhere = draw({"x": X[1:3], "index": np.array([0, 1])})  # the control: other places, other noise
    assert np.abs(elsewhere.z - whole.z[1:3]).min() > 1e-3


def test_a_bound_model_is_data(params):
    """Its parts can be stopped, and new parameters do not compile again."""

    def loss(params, stop):
        vae = MODEL.bind(params)
        if stop:
            vae = vae._replace(decode=jax.lax.stop_gradient(vae.decode))
        draw = objectives.sample(KEY, vae, {"x": X})
        return (objectives.kl(KEY, vae, draw) - draw.log_px).mean()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    free, stopped = gradient(params, False), gradient(params, True)
    assert all((np.asarray(g) == 0).all() for g in jax.tree.leaves(stopped["decoder"]))
    assert all((np.abs(g) > 1e-4).any() for g in jax.tree.leaves(free["decoder"]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        stopped["encoder"],
        free["encoder"],
    )

    kl = jax.jit(lambda vae: objectives.kl(KEY, vae, vae.encode(KEY, {"x": X})))
    first, second = kl(MODEL.bind(params)), kl(MODEL.bind(init(MODEL, seed=2)))
    assert kl._cache_size() == 1
    assert np.abs(first - second).min() > 1e-4


def test_the_prior_is_standard_normal(params):
    z = jax.jit(lambda params: MODEL.bind(params).sample_prior(KEY, 20_000))(params)
    assert z.shape == (20_000, LATENTS)
    assert_mean_is(z, 0.0)
    assert_mean_is(z**2, 1.0)
    assert_mean_is(z[:, 0] * z[:, 1], 0.0)


@pytest.mark.parametrize(
    "likelihood",
    [distributions.gaussian(0.5), distributions.bernoulli(cross_entropy=True)],
    ids=lambda l: l.name,
)
def test_a_model_built_from_its_spec_is_the_same_function(likelihood, params):
    model = models.gaussian_vae(**(PARTS | {"likelihood": likelihood}))
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    assert again.spec == model.spec
    assert again.support == model.support
    x = jax.nn.sigmoid(X)
    weight = lambda vae: objectives.log_weight(objectives.sample(KEY, vae, {"x": x}))  # noqa: E731
    np.testing.assert_array_equal(*jax.jit(lambda p: [weight(m.bind(p)) for m in (model, again)])(params))


class MLP(nn.Module):
    """A stranger that bears the name of a public net."""

    @nn.compact
    def __call__(self, z):
        return jnp.tile(z[..., None, :1], (1, 2, 3))


def _spec(**change):
    return json.loads(json.dumps(MODEL.spec)) | change


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (_spec(builder="os"), "expected a public name of vaejax.models, got 'os'"),
        (_spec(builder="net_spec"), "expected a public name of vaejax.models, got 'net_spec'"),
        (_spec(encoder={"name": "nn", "options": {}}), "expected a public name of vaejax.nets, got 'nn'"),
        (
            _spec(likelihood={"name": "distrax", "options": {}}),
            "public name of vaejax.distributions, got 'distrax'",
        ),
        ({}, "expected a public name of vaejax.models, got None"),
        (
            models.gaussian_vae(**(PARTS | {"decoder": MLP()})).spec,
            r"expected a public name of vaejax.nets, got 'tests.models.test_gaussian.MLP'; a model",
        ),
    ],
)
def test_a_spec_of_names_that_are_not_public_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        models.from_spec(spec)


def test_a_part_without_parameters_is_a_part():
    model = models.gaussian_vae(**(PARTS | {"decoder": MLP()}))
    params = init(model)
    assert params["decoder"] == {}
    px = model.bind(params).decode(jnp.array([[2.0, 7.0]]))
    np.testing.assert_array_equal(px.mean(), np.full((1, 2, 3), 2.0))
