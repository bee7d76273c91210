"""A VAE with an autoregressive decoder on images so small that all of them can be counted."""

from __future__ import annotations

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.monte_carlo import assert_counts, assert_mean_is
from vaejax import compose, distributions, evaluation, models, nets, objectives
from vaejax.types import Split

KEY = jax.random.key(0)
LATENTS = 1


def build(shape, values=2, context=None):
    encoder = nets.MLPEncoder(latents=LATENTS, features=(4,), activation="tanh", event_ndims=3)
    return models.gaussian_vae(
        encoder=encoder if values == 2 else nets.FromBytes(encoder),
        decoder=nets.GatedPixelCNN(shape, 8, (3, 3), values, context),
        latents=LATENTS,
        likelihood=distributions.bernoulli() if values == 2 else distributions.categorical(),
    )


def init(model, shape, scale=2.0):
    """Parameters far enough from 0 for pixels that depend on each other and on z; nothing is compiled."""
    rng = np.random.default_rng(0)
    params, variables = jax.eval_shape(model.init, KEY, {"x": jnp.zeros((1, *shape))})
    assert variables is None

    def draw(a):
        return jnp.float32(scale * rng.normal(size=a.shape) * (a.shape[-1] / a.size) ** 0.5)

    decoder = jax.tree.map(draw, params["decoder"])
    encoder = jax.tree.map(lambda a: 0.2 * draw(a), params["encoder"])  # q near the prior: even weights
    return {"encoder": encoder, "decoder": decoder}


def all_images(shape, values=2):
    pixels = itertools.product(range(values), repeat=int(np.prod(shape)))
    return np.array(list(pixels), np.float32).reshape(-1, *shape)


def number_of(x):
    """The place of binary images in `all_images`."""
    bits = np.asarray(x).reshape(len(x), -1)
    return (bits @ 2 ** np.arange(bits.shape[1])[::-1]).astype(int)


SHAPE = (2, 3, 1)
IMAGES = all_images(SHAPE)
MODEL = build(SHAPE)


@pytest.fixture(scope="module")
def params():
    return init(MODEL, SHAPE)


@pytest.fixture(scope="module")
def table(params):
    """z on a fine grid, p(z) dz, and log p(x|z) [n, images]."""
    z = np.linspace(-8, 8, 401)
    log_px = jax.jit(jax.vmap(lambda z: MODEL.bind(params).decode(z).log_prob(IMAGES)))
    weights = stats.norm.pdf(z)
    return weights / weights.sum(), np.asarray(log_px(jnp.float32(z[:, None])), np.float64)


def test_it_sums_to_one_over_all_images_and_z_matters(table):
    p = np.exp(table[1])
    np.testing.assert_allclose(p.sum(1), 1, rtol=2e-5)
    assert p.max(1).min() > 0.04  # not uniform, which is 1 / 64
    assert np.abs(p[150] - p[250]).sum() > 0.1  # z = -2 and 2


@pytest.mark.parametrize("shape", [SHAPE, (1, 2, 2)])
def test_samples_have_the_chances_that_it_states(shape):
    """One z or a batch of them, one channel or several."""
    model, images = build(shape), all_images(shape)
    vae = model.bind(init(model, shape))
    z = jnp.array([[-2.0], [1.0]])

    @jax.jit
    def draw(z):
        px = vae.decode(z)
        return px.sample(seed=KEY, sample_shape=10_000), jax.vmap(px.log_prob)(
            jnp.broadcast_to(images[:, None], (len(images), len(z), *shape))
        )

    x, log_p = draw(z)
    assert x.shape == (10_000, 2, *shape)
    assert x.dtype == jnp.float32
    for b in range(2):
        assert_counts(number_of(x[:, b]), np.exp(np.asarray(log_p, np.float64)[:, b]))


def test_the_conditionals_make_the_chain(params):
    """log p(x) is sum_i log p(x_i|x_<i), where p(x_i|x_<i) is a ratio of sums over all images."""

    @jax.jit
    def both(params, images):
        px = MODEL.bind(params).decode(jnp.ones(1))
        return px.log_prob(images), px.conditionals(images[37]).logits

    p, logits = (np.asarray(a, np.float64) for a in both(params, IMAGES))
    p, logits, x = np.exp(p), logits.ravel(), IMAGES[37].ravel()
    flat = IMAGES.reshape(64, 6)
    for i in range(6):
        before = (flat[:, :i] == x[:i]).all(1)
        chance = p[before & (flat[:, i] == 1)].sum() / p[before].sum()
        np.testing.assert_allclose(1 / (1 + np.exp(-logits[i])), chance, rtol=1e-4)


def test_any_leading_axes_one_by_one(params):
    vae = MODEL.bind(params)
    z = jax.random.normal(KEY, (2, 3, 1))
    x = jnp.asarray(IMAGES[[0, 5, 17, 40, 41, 63]]).reshape(2, 3, *SHAPE)

    @jax.jit
    def every_way(z, x):
        def log_prob(z, x):
            return vae.decode(z).log_prob(x)

        one_by_one = jax.lax.map(lambda a: log_prob(*a), (z.reshape(6, 1), x.reshape(6, *SHAPE)))
        return log_prob(z, x), one_by_one.reshape(2, 3), jax.vmap(lambda z: log_prob(z, x[0]))(z)

    whole, one_by_one, mapped = every_way(z, x)
    np.testing.assert_allclose(whole, one_by_one, rtol=1e-5)
    np.testing.assert_allclose(mapped[0], whole[0], rtol=1e-5)
    px = vae.decode(z)
    assert (px.batch_shape, px.event_shape, px.support) == ((2, 3), SHAPE, "binary")
    with pytest.raises(ValueError, match=r"x: expected the shape of p\(x\|z\), \(2, 3, 2, 3, 1\)"):
        distributions.score(KEY, px, x[0])


def test_the_marginal_likelihood_is_that_of_the_quadrature(params, table):
    weights, log_px = table
    log_p = np.log(weights @ np.exp(log_px))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=2e-5)
    split = Split({"x": IMAGES}, "binary")
    found = evaluation.marginal_log_likelihood(KEY, MODEL.bind(params), split, num_samples=2000, curve=())
    error = found["per_example"]["log_likelihood"] - log_p
    assert (found["per_example"]["ess"] > 100).all()
    spread = np.sqrt(1 / found["per_example"]["ess"])
    assert (np.abs(error) < 4.5 * spread).all()


def test_where_the_decoder_does_without_z_every_bound_is_log_p(params):
    """q = p(z) and p(x|z) = p(x): the KL is 0, all weights are p(x), and the signs say collapsed."""

    def without(path, a):
        z = "encoder" in jax.tree_util.keystr(path) or "_z_" in jax.tree_util.keystr(path)
        return jnp.zeros_like(a) if z else a

    vae = MODEL.bind(jax.tree_util.tree_map_with_path(without, params))
    batch = {"x": jnp.asarray(IMAGES[:10])}

    @jax.jit
    def bounds(key):
        draw = objectives.sample(key, vae, batch)
        costs = [term(key, vae, draw) for term in (objectives.reconstruction, objectives.iwae(5))]
        return costs, vae.decode(jnp.zeros((10, 1))).log_prob(batch["x"])

    costs, log_p = bounds(KEY)
    for cost in costs:
        np.testing.assert_allclose(cost, -log_p, rtol=1e-5)
    signs = evaluation.collapse(KEY, vae, Split({"x": IMAGES}, "binary"))
    assert signs["summary"].startswith("Collapsed: q(z|x) is the prior for every x")
    assert signs["decoder_sensitivity"] < 1e-5


def test_the_gradient_reaches_z_and_every_parameter_that_no_mask_hides(params):
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    batch = {"x": jnp.asarray(IMAGES)}

    @jax.jit
    def gradients(params, z):
        loss = jax.grad(lambda p: objective(KEY, MODEL.bind(p), batch, 0)[0])(params)
        vae = MODEL.bind(params)
        return loss, jax.grad(lambda z: vae.decode(z).log_prob(batch["x"][:1])[0])(z)

    of_params, of_z = gradients(params, jnp.ones((1, 1)))
    assert of_z[0, 0] != 0
    of_params["decoder"]["horizontal_0"]["kernel"] = of_params["decoder"]["horizontal_0"]["kernel"][:, :-1]
    for path, g in jax.tree_util.tree_leaves_with_path(of_params):
        assert np.isfinite(g).all()
        assert np.abs(g).max() > 1e-7, jax.tree_util.keystr(path)


def test_prior_samples_are_draws_of_the_marginal(params, table):
    weights, log_px = table
    vae, seen = MODEL.bind(params), []

    def progress(batches):
        seen.append(len(batches))
        return batches

    x = evaluation.prior_samples(KEY, vae, 6000, batch_size=4000, progress=progress)
    assert seen == [2]
    assert_counts(number_of(x), weights @ np.exp(log_px))
    z = np.linspace(-2, 2, 7, dtype=np.float32)[:, None]
    whole, parts = (evaluation.decoder_samples(KEY, vae, z, batch_size=b) for b in (7, 3))
    np.testing.assert_array_equal(whole, parts)
    assert any(len(np.unique(a)) == 2 for a in whole)
    assert not np.array_equal(whole, evaluation.decoder_samples(jax.random.key(1), vae, z))
    seen = evaluation.reconstruct(vae, IMAGES[:7], key=KEY)
    z = evaluation.posterior_mean(vae, {"x": IMAGES[:7]})
    np.testing.assert_array_equal(seen, evaluation.decoder_samples(KEY, vae, z))


def test_decoder_samples_of_other_likelihoods_have_their_mean():
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(LATENTS, (4,), event_ndims=3),
        decoder=nets.MLP((), SHAPE),
        latents=LATENTS,
        likelihood=distributions.bernoulli(),
    )
    vae = model.bind(init(model, SHAPE))
    x = evaluation.decoder_samples(KEY, vae, np.ones((3000, 1), np.float32), batch_size=3000)
    assert_mean_is(x, jax.jit(lambda z: vae.decode(z).mean())(jnp.ones(1)))
    kept = evaluation.reconstruct(vae, IMAGES[:2], key=KEY)  # there is a mean, and nothing is drawn
    np.testing.assert_array_equal(kept, evaluation.reconstruct(vae, IMAGES[:2]))


def test_bytes():
    """Two pixels: over all 65536 images it sums to 1; draws have the means and covariance of the table."""
    shape = (1, 2, 1)
    model = build(shape, 256)
    params = init(model, shape)
    # a slope over the bytes for every feature, so that the mean of the second follows the first
    slopes = np.random.default_rng(0).normal(size=(1, 1, 8, 1))
    params["decoder"]["head"]["kernel"] = jnp.float32(np.linspace(-0.5, 0.5, 256) * slopes)
    px = model.bind(params).decode(jnp.ones(1))
    images = all_images(shape, 256).reshape(256, 256, *shape)

    @jax.jit
    def run(px):
        between = px.log_prob(jnp.full(shape, 0.5))
        return jax.lax.map(px.log_prob, images), px.sample(seed=KEY, sample_shape=10_000), between

    log_p, x, between = run(px)
    p = np.exp(np.asarray(log_p, np.float64))  # [first, second]
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-4)
    assert px.support == "bytes"
    assert x.shape == (10_000, *shape)
    a, b = np.asarray(x, np.float64).reshape(-1, 2).T
    np.testing.assert_array_equal([a, b], np.round([a, b]))
    grid = np.arange(256.0)
    m_a, m_b = grid @ p.sum(1), grid @ p.sum(0)
    covariance = (grid - m_a) @ p @ (grid - m_b)
    assert_mean_is(np.stack([a, b, (a - m_a) * (b - m_b)], 1), [m_a, m_b, covariance])
    assert abs(covariance) > 100  # the second depends on the first
    assert between == -jnp.inf


def test_a_model_built_from_its_spec_is_the_same_function():
    model = build(SHAPE, context=nets.MLP((), (2, 3, 4)))
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    batch = {"x": jnp.asarray(IMAGES[:5])}

    params = init(model, SHAPE)

    def log_px(model):
        return objectives.sample(KEY, model.bind(params), batch).log_px

    np.testing.assert_array_equal(*jax.jit(lambda: (log_px(model), log_px(again)))())
    assert jax.tree.structure(jax.eval_shape(again.init, KEY, batch)[0]) == jax.tree.structure(params)
    assert jax.tree.structure(model.bind({"encoder": 0, "decoder": 0})) == jax.tree.structure(
        model.bind({"encoder": 1, "decoder": 1})
    )


def build_mixed():
    """One logit a value, for a likelihood of bytes."""
    return models.gaussian_vae(
        encoder=nets.FromBytes(nets.MLPEncoder(LATENTS, (), event_ndims=3)),
        decoder=nets.GatedPixelCNN(SHAPE, 4, (3,)),
        latents=LATENTS,
        likelihood=distributions.categorical(),
    )


def test_what_it_has_not_is_said(params):
    vae = MODEL.bind(params)
    with pytest.raises(TypeError, match=r"p\(x\|z\): expected one with a mean; an autoregressive one has"):
        evaluation.reconstruct(vae, IMAGES[:2])
    with pytest.raises(TypeError, match="expected a likelihood on logits, got Autoregressive"):
        distributions.logits(vae.decode(jnp.ones(1)))
    with pytest.raises(
        ValueError, match=r"decoder: expected an output of shape \(1, 2, 3, 256\).* got \(1, 2, 3, 1\)"
    ):
        jax.eval_shape(build_mixed().init, KEY, {"x": jnp.zeros((1, *SHAPE))})
    with pytest.raises(ValueError, match=r"x: expected \[..., 2, 3, 1\], got \(1, 3, 2, 1\)"):
        jax.eval_shape(MODEL.init, KEY, {"x": jnp.zeros((1, 3, 2, 1))})
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        evaluation.decoder_samples(KEY, vae, np.ones((2, 1)), batch_size=0)
    with pytest.raises(ValueError, match=r"z: expected .* one number at least, got \[0, 1\]"):
        evaluation.decoder_samples(KEY, vae, np.ones((0, 1)))
