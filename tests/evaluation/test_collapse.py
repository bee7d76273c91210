"""The signs of collapse against exact numbers, and what is said of them."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.stats import norm

from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.evaluation import collapse, elbo_parts
from vaejax.keys import example_keys
from vaejax.types import VAE, Draw, Split

KEY = jax.random.key(0)
SIGMA, N = 0.5, 3000
X = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)


def _encode(params, key, batch):
    loc = batch["x"] * params["a"] + params["m"]
    q = diagonal_gaussian(loc, params["scale"] + 0 * loc)
    p = diagonal_gaussian(0 * loc, 1 + 0 * loc)
    eps = jax.vmap(lambda k: jax.random.normal(k, (2,)))(example_keys(key, batch))
    z = loc + params["scale"] * eps
    return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)


def _decode(w, z, c=None):
    return Gaussian(w * z, SIGMA, 1)


def _prior(key, n, c=None):
    return jax.random.normal(key, (n, 2))


def signs(a=(0.0, 0.0), scale=1.0, w=(0.0, 0.0), m=0.0, n=N, **options):
    """Of x ~ N(0, I), q(z|x) = N(a x + m, scale^2), p(x|z) = N(w z, SIGMA^2)."""
    a, w, scale, m = (jnp.broadcast_to(jnp.asarray(v, jnp.float32), 2) for v in (a, w, scale, m))
    vae = VAE(Partial(_encode, {"a": a, "scale": scale, "m": m}), Partial(_decode, w), Partial(_prior), {})
    return collapse(KEY, vae, Split({"x": X[:n]}, "real"), **options)


def expected_move(a, scale, w, n=200_000):
    """E |log p(x|z) - log p(x|z')| for one dimension, by Monte Carlo in NumPy; its standard error."""
    x, eps, z = np.random.default_rng(1).normal(size=(3, n))
    moved = np.abs(norm.logpdf(x, w * (a * x + scale * eps), SIGMA) - norm.logpdf(x, w * z, SIGMA))
    return moved.mean(), moved.std() / np.sqrt(n)


def test_of_a_collapsed_model_every_number_is_zero():
    of = signs()
    assert of["kl"] == of["decoder_sensitivity"] == of["active_units"] == 0
    assert of["mutual_information"] == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(of["kl_per_dimension"], [0, 0])
    assert (of["n"], of["latents"]) == (N, 2)
    assert of["mutual_information_limit"] == np.log(N)
    assert of["summary"] == (
        "Collapsed: q(z|x) is the prior for every x, and the decoder does without z. KL 0 nats; 0 of 2 "
        "latents active; I(x; z) 0 nats, of the 8.01 nats that 3000 examples can show; log p(x|z) moves by "
        "0 nats when z is redrawn from the prior."
    )


def test_of_a_model_that_uses_one_latent_the_numbers_are_those_of_its_closed_forms():
    # one latent with q(z) = N(0, 1): I = KL = -log scale
    of = signs(a=(0.8, 0.0), scale=(0.6, 1.0), w=(0.9, 0.0))
    kl = 0.5 * (0.64 * np.mean(X[:, 0].astype(np.float64) ** 2) + 0.36 - 1) - np.log(0.6)
    np.testing.assert_allclose(of["kl_per_dimension"], [kl, 0], rtol=1e-5, atol=1e-7)
    assert of["kl"] == pytest.approx(kl, rel=1e-5)
    assert of["active_units"] == 1
    assert of["mutual_information"] == pytest.approx(-np.log(0.6), abs=0.05)
    move, error = expected_move(0.8, 0.6, 0.9)
    assert abs(of["decoder_sensitivity"] - move) < 4 * np.hypot(error, of["decoder_sensitivity_se"])
    noise = signs(w=(0.9, 0.0))  # z says nothing of x: moves to either side cancel, and are counted
    move, error = expected_move(0.0, 1.0, 0.9)
    assert abs(noise["decoder_sensitivity"] - move) < 4 * np.hypot(error, noise["decoder_sensitivity_se"])
    assert of["summary"].startswith(
        "Partly collapsed: 1 of 2 latents do not vary with x; the others are used."
    )
    parts = elbo_parts(KEY, VAE(*_vae_of(0.8, 0.6)), Split({"x": X}, "real"))
    assert parts["kl"] == pytest.approx(of["kl"], rel=1e-6)


def _vae_of(a, scale):
    params = {"a": jnp.array([a, 0.0]), "scale": jnp.array([scale, 1.0]), "m": jnp.zeros(2)}
    return Partial(_encode, params), Partial(_decode, jnp.zeros(2)), Partial(_prior), {}


@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        ({"a": 0.9, "scale": 0.4, "w": 0.9}, "Not collapsed: every latent varies with x"),
        (
            {"m": 2.0},
            "Collapsed: q(z|x) is the same for every x, and the decoder does without z; the KL that",
        ),
        (
            {"w": 0.9},
            "Collapsed encoder: z says nothing of x; to the decoder, which answers to it, it is noise.",
        ),
        ({"a": 0.9, "scale": 0.4}, "Collapsed decoder: z tells of x, but the decoder does without it."),
        ({"a": 0.15, "scale": 0.98, "w": 0.9}, "On the verge of collapse: the KL is next to nothing, yet"),
        (
            {"a": 0.09, "scale": 0.005, "w": 9.0},
            "Not collapsed: z tells of x, though no posterior mean varies",
        ),
        ({"a": 0.09, "scale": 0.005}, "Collapsed decoder: z tells of x, but the decoder does without it."),
        (
            {"a": 0.12, "m": 2.0, "w": 0.9},
            "On the verge of collapse: the posterior means vary with x, but so little beside the noise",
        ),
    ],
)
def test_every_sign_alone_has_its_sentence(model, verdict):
    of = signs(n=400, **model)
    assert of["summary"].startswith(verdict)
    # the third sign is that of the decoder alone
    assert (of["decoder_sensitivity"] == 0) == ("w" not in model)


@pytest.mark.parametrize("model", [{"a": np.nan}, {"a": 0.9, "w": np.nan}])
def test_numbers_that_are_not_finite_have_no_verdict(model):
    of = signs(n=400, **model)
    assert of["summary"].startswith("Nothing can be said: not finite are ")
    assert "decoder_sensitivity" in of["summary"]
    assert "nan nats" in of["summary"]


def test_a_prior_of_another_kind_has_no_kl_per_dimension():
    def mixture(params, key, batch):
        draw = _encode(params, key, batch)
        halves = distrax.Categorical(probs=jnp.full((*draw.z.shape[:1], 2), 0.5))
        loc = jnp.stack([0 * draw.z - 1, 0 * draw.z + 1], axis=1)
        parts = diagonal_gaussian(loc, 1 + 0 * loc)
        p = distrax.MixtureSameFamily(halves, parts)
        return draw._replace(p=p, log_p=p.log_prob(draw.z))

    encode, *others = _vae_of(0.8, 0.6)
    of = collapse(KEY, VAE(Partial(mixture, *encode.args), *others), Split({"x": X[:200]}, "real"))
    assert "kl_per_dimension" not in of
    assert (of["latents"], of["active_units"]) == (2, 1)
    assert 0.4 < of["mutual_information"] < 0.6  # -log .6 = .51


def test_a_posterior_that_is_not_one_gaussian_is_refused():
    def levels(params, key, batch):
        draw = _encode(params, key, batch)
        return draw._replace(q=(draw.q,), p=(draw.p,), log_q=(draw.log_q,), log_p=(draw.log_p,))

    encode, *others = _vae_of(0.8, 0.6)
    vae = VAE(Partial(levels, *encode.args), *others)
    with pytest.raises(TypeError, match="z: expected one array of real numbers"):
        collapse(KEY, vae, Split({"x": X[:8]}, "real"), progress=pytest.fail)  # before any batch
