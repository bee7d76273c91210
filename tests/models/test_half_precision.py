"""Nets in half precision, whoever wrote them: noise, latents and densities are in float32 all the same."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.catalogue import EVENTS, LIKELIHOODS, D
from tests.monte_carlo import assert_mean_is
from vaejax import distributions, models, nets, objectives

KEY = jax.random.key(0)
HALVES = ("bfloat16", "float16")
RARE = 1e-3
LOGIT = float(np.log(RARE / (1 - RARE)))


class Encoder(nn.Module):
    latents: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        def layer(width):
            return nn.Dense(width, dtype=self.dtype, param_dtype=self.param_dtype)

        h = nn.relu(layer(8)(x.astype(self.dtype)))
        return layer(self.latents)(h), layer(self.latents)(h) - 2


class Rare(nn.Module):
    """Logits of probability .001, for every pixel and every z; a decoder of either kind."""

    shape: tuple[int, ...]
    dtype: Any
    autoregressive: bool = False

    @nn.compact
    def __call__(self, z, *x):
        return jnp.full((*z.shape[:-1], *self.shape), LOGIT, self.dtype)


class Affine(nn.Module):
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, z):
        return nn.Dense(self.width, dtype=self.dtype)(z)


def vae(encoder=None, decoder=None, latents=2, likelihood=None):
    return models.gaussian_vae(
        encoder=encoder or nets.MLPEncoder(latents=latents, features=()),
        decoder=decoder or nets.MLP(features=(), output_shape=(3,)),
        latents=latents,
        likelihood=likelihood or distributions.bernoulli(),
    )


@pytest.mark.parametrize(
    ("dtype", "param_dtype"), [("bfloat16", "float32"), ("float16", "float32"), ("bfloat16", "bfloat16")]
)
def test_a_million_draws_behind_an_encoder_in_half_precision(dtype, param_dtype):
    latents = 500
    model = vae(Encoder(latents, dtype, param_dtype), latents=latents)
    x = jnp.asarray(np.random.default_rng(0).random((2000, 3)) < 0.5, jnp.float32)

    @jax.jit
    def draw(key):
        params, _ = model.init(jax.random.key(1), {"x": x})
        out = objectives.sample(key, model.bind(params), {"x": x})
        return out.z, out.q.mean(), out.q.stddev(), out.log_q, out.log_p, out.log_px

    out = draw(KEY)
    assert {a.dtype for a in out} == {jnp.dtype("float32")}
    z, loc, scale, log_q, log_p, _ = (np.asarray(a, np.float64) for a in out)
    eps = (z - loc) / scale
    for power, moment in enumerate((0, 1, 0, 3, 0, 15), start=1):
        assert_mean_is(eps.ravel() ** power, moment)
    assert_mean_is(np.abs(eps).ravel() > 3, 0.0026998)
    assert len(np.unique(eps)) > 500_000  # bfloat16 has 128
    expected = -0.5 * (eps**2 + np.log(2 * np.pi)).sum(1)
    np.testing.assert_allclose(log_q, expected - np.log(scale).sum(1), rtol=1e-5)
    np.testing.assert_allclose(log_p, -0.5 * (z**2 + np.log(2 * np.pi)).sum(1), rtol=1e-5)


@pytest.mark.parametrize("autoregressive", [False, True])
def test_a_rare_pixel_comes_at_its_rate(autoregressive):
    model = vae(decoder=Rare((2, 2, 1), "bfloat16", autoregressive))
    z = jnp.zeros((500_000, 2))
    drawn = jax.jit(lambda key: model.bind({"encoder": {}, "decoder": {}}).decode(z).sample(seed=key))(KEY)
    rate = 1 / (1 + np.exp(-float(jnp.asarray(LOGIT, jnp.bfloat16))))  # .0010006, what the net said
    assert_mean_is(np.asarray(drawn).ravel(), rate)


def test_heads_and_models_around_a_model_leave_half_precision_too():
    inner = vae(decoder=Affine(3, "bfloat16"), likelihood=distributions.gaussian())
    model = models.with_heads(models.optimal_scale(inner), critic=Affine(1, "float16"))
    batch = {"x": jnp.ones((4, 3))}

    @jax.jit
    def all_parts(key):
        params, _ = model.init(key, batch)
        bound = model.bind(params, {"scale": jnp.float32(0.1)}, step=0)
        draw = objectives.sample(key, bound, batch)
        return bound.heads["critic"](draw.z), draw.px.stddev(), draw.log_px, draw.variables["scale"]

    critic, scale, *others = all_parts(KEY)
    assert {a.dtype for a in (critic, scale, *others)} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(scale, np.full((4, 3), np.float32(0.1)))  # bfloat16: .1001
    assert (np.asarray(critic, np.float16) == critic).all()  # the net itself computed in its own dtype


def test_a_shared_scale_is_not_rounded_to_its_decoder():
    net = nets.SharedScale(Affine(2, "bfloat16"), start=-1.2345)
    out = jax.jit(lambda z: net.init_with_output(KEY, z)[0])(jnp.ones((3, 2)))
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out[:, 2:], np.full((3, 2), np.float32(-1.2345)))


def test_float64_stays(x64):
    batch = {"x": jnp.ones((4, 3))}
    model = models.with_heads(vae(decoder=Affine(3, None)), critic=Affine(1, None))

    def parts(key):
        bound = model.bind(model.init(key, batch)[0])
        draw = objectives.sample(key, bound, batch)
        return draw.z, draw.log_q, draw.log_p, draw.log_px, bound.heads["critic"](draw.z)

    assert {a.dtype for a in jax.eval_shape(parts, KEY)} == {jnp.dtype("float64")}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_of_parameters_in_half_precision_are_those_of_the_same_numbers(name):
    """Where a VAE is written by hand, no builder stands between the net and the likelihood."""
    likelihood = LIKELIHOODS[name]()
    event = EVENTS.get(name, (D,))
    rng = np.random.default_rng(0)
    parameters = jnp.asarray(rng.normal(size=(2, *likelihood.parameter_shape(event))), jnp.bfloat16)
    x = (
        rng.integers(0, 256, (2, *event))
        if likelihood.support == "bytes"
        else rng.integers(0, 2, (2, *event))
    )
    x = x + (0.25 if likelihood.support == "unit_interval" else 0) * (1 - 2 * x)

    dtypes = ["float32", "bfloat16"] + ["uint8"] * (likelihood.support != "unit_interval")

    @jax.jit
    def all_of(parameters, key):
        def of(parameters):
            px = likelihood.build(parameters, len(event))
            # and so is x: bytes and bits have room in 16 bits, and in 8 where they are whole
            return [px.mean(), px.sample(seed=key), *(px.log_prob(jnp.asarray(x, t)) for t in dtypes)]

        return of(parameters), of(parameters.astype(jnp.float32))

    half, full = all_of(parameters, KEY)
    for a, b in zip(half, full, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    for log_px in half[2:]:
        assert log_px.dtype == jnp.float32
        np.testing.assert_allclose(log_px, half[2], rtol=1e-6)


def test_latent_gaussians_of_half_precision_are_float32():
    q = distributions.diagonal_gaussian(jnp.ones((3, 2), jnp.bfloat16), jnp.ones((3, 2), jnp.bfloat16))
    p = distributions.diagonal_gaussian(jnp.zeros((3, 2)), jnp.ones((3, 2)))
    assert q.sample(seed=KEY).dtype == q.log_prob(jnp.zeros((3, 2))).dtype == jnp.float32
    np.testing.assert_array_equal(distributions.kl_divergence(q, p), np.ones(3))


def test_images_of_bytes_in_any_dtype_are_the_same_images():
    """bfloat16 holds 0..255; x / 127.5 - 1 has to be taken in more."""
    model = models.gaussian_vae(
        encoder=nets.FromBytes(nets.MLPEncoder(latents=2, features=(), event_ndims=3)),
        decoder=nets.GatedPixelCNN((1, 3, 1), 2, (3,), 256),
        latents=2,
        likelihood=distributions.categorical(),
    )
    x = np.array([[[[0], [77], [255]]], [[[201], [3], [128]]]], np.float32)
    rng = np.random.default_rng(1)
    shapes, _ = jax.eval_shape(model.init, KEY, {"x": jnp.asarray(x)})
    bound = model.bind(jax.tree.map(lambda a: jnp.float32(rng.normal(size=a.shape)), shapes))

    @jax.jit
    def draws(key):
        batches = [{"x": jnp.asarray(x, dtype)} for dtype in ("float32", "uint8", *HALVES)]
        out = [objectives.sample(key, bound, batch) for batch in batches]
        return jnp.stack([draw.z for draw in out]), jnp.stack([draw.log_px for draw in out])

    for values in map(np.asarray, draws(KEY)):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values[1:], np.broadcast_to(values[0], values[1:].shape), rtol=1e-6)


def test_integers_are_refused_by_nets_that_take_numbers():
    with pytest.raises(TypeError, match="x: expected floating point values; got dtype uint8"):
        jax.eval_shape(vae().init, KEY, {"x": jnp.ones((1, 3), jnp.uint8)})
