"""Mixture posteriors and priors on exact models: every draw has the evidence as its weight."""

from __future__ import annotations

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests import oracle
from tests.monte_carlo import assert_mean_is
from tests.oracle import linear_of as linear
from vaejax import distributions, models, nets, objectives
from vaejax.models import posteriors, priors
from vaejax.ops import aggregate

KEY = jax.random.key(0)
W, B, SIGMA = oracle.W, oracle.B, oracle.SIGMA
D, d = W.shape
PI = np.array([0.2, 0.5, 0.3])
LOC = np.array([[-2.0, 1.0], [1.5, 0.5], [0.0, -2.0]])
SCALE = np.array([[0.5, 1.0], [0.7, 0.4], [1.2, 0.6]])
OF_X = [
    stats.multivariate_normal(W @ m + B, (W * s**2) @ W.T + SIGMA**2 * np.eye(D))
    for m, s in zip(LOC, SCALE, strict=True)
]
X = np.random.default_rng(0).normal(size=(5, D)) * 2


class Exact(nn.Module):
    """p(z|x) under the mixture prior: a Gaussian for each component, diagonal as W has orthogonal columns."""

    @nn.compact
    def __call__(self, x):
        precision = 1 / SCALE**2 + np.sum(W**2, axis=0) / SIGMA**2  # [R, d]
        loc = (LOC / SCALE**2 + ((x - B) @ W / SIGMA**2)[..., None, :]) / precision
        logvar = jnp.broadcast_to(-jnp.log(precision), loc.shape)
        logits = []
        for pi, of_x in zip(PI, OF_X, strict=True):
            standard = jnp.linalg.solve(jnp.linalg.cholesky(of_x.cov), (x - of_x.mean)[..., None])[..., 0]
            logits.append(np.log(pi) - 0.5 * jnp.sum(standard**2, -1) - 0.5 * np.linalg.slogdet(of_x.cov)[1])
        flat = (a.reshape(*x.shape[:-1], -1) for a in (loc, logvar))
        return (*flat, jnp.stack(logits, -1))


class Split(nn.Module):
    """Dense layers that give arrays of several sizes."""

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x, *c):
        h = nn.tanh(nn.Dense(6)(jnp.concatenate([x, *c], -1)))
        return tuple(nn.Dense(size)(h) for size in self.sizes)


def test_under_the_exact_posterior_every_draw_has_the_closed_evidence_as_its_weight(x64):
    """A Gaussian mixture as prior, one as posterior; so is every bound of it."""
    model = linear(encoder=Exact(), posterior=posteriors.mixture(d, 3), prior=priors.gaussian_mixture(3))
    params = {
        "encoder": {},
        "decoder": {"out": {"kernel": W.T, "bias": B}},
        "prior": {"logits": np.log(PI) + 1.0, "loc": LOC, "logvar": 2 * np.log(SCALE)},
    }
    params = jax.tree.map(jnp.asarray, params)

    @jax.jit
    def run(params, keys):
        vae, batch = model.bind(params), {"x": jnp.asarray(X)}
        draws = jax.vmap(lambda k: objectives.log_weight(objectives.sample(k, vae, batch)))(keys)
        draw = objectives.sample(KEY, vae, batch)
        terms = objectives.stratified(2), objectives.siwae(), objectives.iwae(2)
        return draws, [term(KEY, vae, draw) for term in terms], vae.represent(batch), draw.q.mean()

    log_w, bounds, code, mean = run(params, jax.random.split(KEY, 20))
    evidence = np.log(np.exp([of_x.logpdf(X) for of_x in OF_X]).T @ PI)
    np.testing.assert_allclose(log_w, np.broadcast_to(evidence, (20, 5)), atol=1e-9)
    for bound in bounds:
        np.testing.assert_allclose(-bound, evidence, atol=1e-9)
    np.testing.assert_array_equal(code, mean)


def moments(weights, loc, scale):
    """Mean, and mean of z z^T, of a mixture."""
    second = np.einsum("r,ri,rj->ij", weights, loc, loc) + np.diag(weights @ scale**2)
    return weights @ loc, second


def test_samples_of_the_mixture_prior_have_its_moments():
    model = linear(prior=priors.gaussian_mixture(3))
    params = jax.jit(model.init)(KEY, {"x": jnp.asarray(X, jnp.float32)})[0]
    assert (params["prior"]["loc"] != params["prior"]["loc"][:1]).any()
    params["prior"] = jax.tree.map(
        lambda a: jnp.asarray(a, jnp.float32), {"logits": np.log(PI), "loc": LOC, "logvar": 2 * np.log(SCALE)}
    )
    z = jax.jit(lambda p: model.bind(p).sample_prior(KEY, 20_000))(params)
    mean, second = moments(PI, LOC, SCALE)
    assert_mean_is(z, mean)
    assert_mean_is(z[:, :, None] * z[:, None], second)


def vamp_at(rows, R=None):
    """A linear model whose pseudo-inputs are these rows, and its parameters."""
    model = linear(prior=priors.vamp(len(rows)))
    params = jax.jit(model.init)(KEY, {"x": jnp.asarray(X, jnp.float32)})[0]
    assert params["prior"]["inputs"].shape == rows.shape
    return model, {**params, "prior": {"inputs": jnp.asarray(rows, jnp.float32)}}


def test_with_the_data_as_pseudo_inputs_it_is_the_aggregate_posterior():
    rows = np.random.default_rng(1).normal(size=(40, D)).astype(np.float32)  # more than are held at once
    model, params = vamp_at(rows)

    @jax.jit
    def run(params):
        draw = model.bind(params).encode(KEY, {"x": rows})
        return draw.log_p, aggregate.streamed_log_density(draw.z, draw.q.mean(), draw.q.stddev())

    np.testing.assert_allclose(*run(params), rtol=1e-5)


def test_it_samples_every_pseudo_input_alike_with_the_variance_of_its_posterior():
    """Of 50, far from each other, in 20000 draws; the first ones alone would not do."""
    rows = 200 * np.random.default_rng(2).normal(size=(50, D))
    model, params = vamp_at(rows)
    head = params["encoder"]["head"]
    head["logvar"] = {"kernel": 0.001 * head["logvar"]["kernel"], "bias": jnp.array([-1.0, 0.5])}

    @jax.jit
    def run(params):
        q = model.bind(params).encode(KEY, {"x": jnp.asarray(rows, jnp.float32)}).q
        return model.bind(params).sample_prior(KEY, 20_000), q.mean(), q.stddev()

    z, loc, scale = map(np.asarray, run(params))
    nearest = np.argmin((((z[:, None] - loc) / scale) ** 2).sum(-1), axis=1)
    assert stats.chisquare(np.bincount(nearest, minlength=50)).pvalue > 1e-3
    assert_mean_is(((z - loc[nearest]) / scale[nearest]) ** 2, 1.0, errors=4.5)
    mean, second = moments(np.full(50, 1 / 50), loc, scale)
    assert_mean_is(z, mean)
    assert_mean_is(z[:, :, None] * z[:, None], second)


@pytest.mark.parametrize(
    ("likelihood", "low", "high"),
    [
        (distributions.bernoulli(), 0, 1),
        (distributions.bernoulli(cross_entropy=True), 0, 1),
        (distributions.continuous_bernoulli(), 0, 1),
        (distributions.discretised_logistic(), 0, 255),
    ],
)
def test_pseudo_inputs_stay_in_the_range_of_the_data_and_start_at_its_rows(likelihood, low, high):
    seen = []

    class Spy(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen.append(x)
            return Split((d, d))(x)

    decoder = nets.MLP(features=(), output_shape=likelihood.parameter_shape((D,)))
    model = linear(encoder=Spy(), decoder=decoder, likelihood=likelihood, prior=priors.vamp(4))
    rows = np.random.default_rng(3).choice([low, high, 0.3 * high], size=(9, D)).astype(np.float32)
    started = models.pseudo_inputs_from(model, rows)
    init = jax.jit(started.init)
    params = init(KEY, {"x": rows})[0]
    u = priors.mixture.in_range(model.support, params["prior"]["inputs"])
    margin = 0.01 * high + 1e-4
    distance = np.abs(np.asarray(u)[:, None] - rows).max(-1)
    assert (distance.min(1) < margin).all()
    assert len(set(distance.argmin(1))) == 4
    assert ((u > low) & (u < high)).all()
    far = {**params, "prior": {"inputs": 1e3 * params["prior"]["inputs"]}}
    seen.clear()
    model.bind(far).sample_prior(KEY, 2)
    assert ((seen[-1] >= low) & (seen[-1] <= high)).all()
    other = init(jax.random.key(1), {"x": rows})[0]
    assert (other["prior"]["inputs"] != params["prior"]["inputs"]).any()


def test_gradients_reach_pseudo_inputs_and_through_the_prior_the_encoder():
    model, params = vamp_at(X / 4)

    def log_p(params):
        p = model.bind(params).encode(KEY, {"x": jnp.zeros((1, D))}).p
        return p.log_prob(jnp.ones(d))

    slopes = jax.jit(jax.grad(log_p))(params)
    assert (np.asarray(slopes["prior"]["inputs"]) != 0).all()
    assert (np.asarray(slopes["encoder"]["head"]["loc"]["kernel"]) != 0).all()


def test_a_condition_goes_with_every_pseudo_input():
    """p(z|c) is the mean of q(z|u_r, c): one component after the other, by hand."""

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, z, c):
            return nn.Dense(D)(jnp.concatenate([z, c], -1))

    model = linear(encoder=Split((d, d)), decoder=Decoder(), prior=priors.vamp(3), conditional=True)
    x, c = jnp.asarray(X, jnp.float32), jnp.asarray(X[:, :2], jnp.float32)
    params = jax.jit(model.init)(KEY, {"x": x, "c": c})[0]

    @jax.jit
    def run(params):
        vae = model.bind(params)
        draw = vae.encode(KEY, {"x": x, "c": c})
        others = [vae.encode(KEY, {"x": jnp.tile(u, (5, 1)), "c": c}).q for u in params["prior"]["inputs"]]
        by_hand = jnp.stack([q.log_prob(draw.z) for q in others])
        return draw.log_p, jax.nn.logsumexp(by_hand, axis=0) - jnp.log(3), vae.sample_prior(KEY, 5, c), draw.p

    log_p, by_hand, z, p = run(params)
    np.testing.assert_allclose(log_p, by_hand, rtol=1e-5)
    assert (z.shape, p.batch_shape) == ((5, d), (5,))


def test_it_stands_over_posteriors_that_are_no_gaussians():
    """A mixture of mixtures: its density is that of all components side by side."""
    model = linear(encoder=Split((2 * d, 2 * d, 2)), posterior=posteriors.mixture(d, 2), prior=priors.vamp(3))
    params = jax.jit(model.init)(KEY, {"x": jnp.asarray(X, jnp.float32)})[0]

    @jax.jit
    def run(params):
        vae = model.bind(params)
        q = vae.encode(KEY, {"x": params["prior"]["inputs"]}).q
        log_w = (q.log_weights - jnp.log(3)).reshape(6)
        loc, scale = (a.reshape(6, d) for a in (q.components.mean(), q.components.stddev()))
        z = vae.sample_prior(KEY, 20_000)
        whole = distributions.GaussianMixture(log_w, loc, scale)
        return z, vae.encode(KEY, {"x": jnp.zeros((1, D))}).p.log_prob(z), whole.log_prob(z), whole.mean()

    z, log_p, expected, mean = run(params)
    np.testing.assert_allclose(log_p, expected, rtol=1e-4, atol=1e-4)
    assert_mean_is(z, mean)


def test_families_are_plain_data_and_equal_where_their_options_are():
    for prior in (priors.gaussian_mixture(4), priors.vamp(4)):
        model = linear(
            encoder=nets.MLPEncoder(latents=2 * d, features=(3,)),
            posterior=posteriors.gaussian(2 * d),
            prior=prior,
        )
        assert models.from_spec(json.loads(json.dumps(model.spec))).spec == model.spec
        assert model.groups == ("encoder", "decoder", "prior")
    assert posteriors.mixture(2, 3) == posteriors.mixture(np.int64(2), 3) != posteriors.mixture(3, 2)
    assert priors.vamp(3) == priors.vamp(3) != priors.vamp(4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: posteriors.mixture(0, 2), ValueError, "latents: expected at least 1, got 0"),
        (lambda: posteriors.mixture(2, 1.5), TypeError, "components: expected an int, got float"),
        (lambda: priors.gaussian_mixture(0), ValueError, "components: expected at least 1, got 0"),
        (lambda: priors.vamp(True), TypeError, "pseudo_inputs: expected an int, got bool"),
        (lambda: models.pseudo_inputs_from("vamp", X), TypeError, "model: expected a vaejax.Model, got str"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_what_does_not_fit_is_refused_when_initialised():
    batch, model = {"x": jnp.asarray(X, jnp.float32)}, linear(prior=priors.vamp(6))

    def fails(model, message):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda: model.init(KEY, batch)[0])

    fails(models.pseudo_inputs_from(linear(), X), "model: expected one with priors.vamp, got groups")
    fails(models.pseudo_inputs_from(model, X), r"x: expected at least 6 rows \[4\], got shape \(5, 4\)")
    fails(models.pseudo_inputs_from(model, np.zeros((7, 3))), r"x: expected at least 6 rows \[4\], got")
    fails(linear(posterior=posteriors.mixture(d, 2)), "encoder: expected outputs of shapes")

    def relative(parameters, p):
        return parameters

    of_points = {"encoder": nets.MLP((), (d,)), "posterior": posteriors.point(d)}
    fails(
        linear(**of_points, prior=priors.vamp(2)), r"vamp\(\) expected a posterior with a density; got points"
    )
    of_prior = posteriors.Posterior(
        "own", (d,), ((d,), (d,)), posteriors.gaussian(d).build, relative=relative
    )
    fails(
        linear(posterior=of_prior, prior=priors.vamp(2)),
        "pseudo-inputs want a q without a prior; own is relative to it",
    )
