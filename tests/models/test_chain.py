"""Parts that follow one another: Gaussian ones, whose joint law is known, and two grids of codes."""

from __future__ import annotations

import itertools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from tests.models.test_code_priors import CODEBOOK, V, drawn_params, index_of, one_hot, quantiser
from tests.monte_carlo import assert_counts
from vaejax import compose, distributions, models, nets, objectives
from vaejax.models import posteriors, priors
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY, D = jax.random.key(0), 4
X = jnp.asarray(np.random.default_rng(0).random((3, D)) < 0.5, jnp.float32)
C = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)), jnp.float32)


def gaussians(first=None, conditional=False, chain=None):
    linear = nets.MLPEncoder(3, (), logvar_bias=-1.0)
    return models.vae(
        encoder=nets.Heads(nets.MLP((), (6,)), (nets.GaussianHead(2), nets.GaussianHead(3))),
        decoder=nets.MLP((), (D,)),
        posterior=posteriors.product(posteriors.gaussian(2), posteriors.gaussian(3)),
        likelihood=distributions.bernoulli(),
        prior=priors.chain(*(chain or (first or priors.standard(), priors.conditional(linear)))),
        conditional=conditional,
    )


def test_the_joint_of_a_linear_chain_is_one_gaussian():
    """log p along the path, and samples; the KL of the second part is under the drawn first."""
    model = gaussians()
    params = jax.jit(model.init)(KEY, {"x": X})[0]
    params["prior"] = jax.tree.map(lambda a: a + 0.2 * jax.random.normal(KEY, a.shape), params["prior"])
    head = jax.tree.map(np.asarray, params["prior"]["1"]["head"])
    head["logvar"]["kernel"] = np.zeros((2, 3))  # one variance, so that the joint is Gaussian
    params["prior"]["1"]["head"] = jax.tree.map(jnp.float32, head)

    @jax.jit
    def run(params):
        vae = model.bind(params)
        draw = objectives.sample(KEY, vae, {"x": X})
        kls = [distributions.kl_divergence(q, p) for q, p in zip(draw.q, draw.p, strict=True)]
        return draw.z, draw.log_p, objectives.kl(KEY, vae, draw), kls, vae.sample_prior(KEY, 20_000)

    z, log_p, kl, kls, samples = run(params)
    A, b = head["loc"]["kernel"].T, head["loc"]["bias"]
    noise = np.diag(np.exp(head["logvar"]["bias"]))
    covariance = np.block([[np.eye(2), A.T], [A, A @ A.T + noise]])
    mean = np.concatenate([np.zeros(2), b])
    joint = stats.multivariate_normal(mean, covariance)
    np.testing.assert_allclose(sum(log_p), joint.logpdf(np.concatenate(z, axis=1)), rtol=1e-4)
    np.testing.assert_allclose(kl, sum(kls), rtol=1e-6)
    row = np.concatenate(samples, axis=1)
    np.testing.assert_allclose(row.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(row.T), covariance, atol=0.05 * np.abs(covariance).max())


def test_the_first_part_sees_the_condition():
    model = gaussians(priors.conditional(nets.MLPEncoder(2, ())), conditional=True)
    batch = {"x": jnp.broadcast_to(X[0], X.shape), "c": C}

    @jax.jit
    def run(key):
        params, _ = model.init(key, batch)
        vae = model.bind(params)
        draw = vae.encode(key, batch)
        return [p.mean() for p in draw.p], draw.z, vae.sample_prior(key, 3, C), params

    means, z, samples, params = run(KEY)
    of_c, of_z = (params["prior"][i]["head"]["loc"] for i in "01")
    np.testing.assert_allclose(means[0], C @ of_c["kernel"] + of_c["bias"], rtol=1e-5)
    np.testing.assert_allclose(means[1], z[0] @ of_z["kernel"] + of_z["bias"], rtol=1e-5)
    assert [a.shape for a in samples] == [(3, 2), (3, 3)]


TWO = priors.chain(priors.standard(), priors.standard())
TOP, BOTTOM = (1, 1), (1, 2)
EVERY = [np.array(k, np.int32) for k in itertools.product(range(V), repeat=3)]  # top, then the bottom two


class Both(nn.Module):
    """One-hot codes [..., 3, V]: the vectors of the first at the top, of the others below."""

    @nn.compact
    def __call__(self, x):
        z = self.param("scale", nn.initializers.ones, ()) * x @ CODEBOOK
        lead = x.shape[:-2]
        return z[..., :1, :].reshape(*lead, *TOP, -1), z[..., 1:, :].reshape(*lead, *BOTTOM, -1)


class Wider(nn.Module):
    """The top's vectors at each place below."""

    @nn.compact
    def __call__(self, z):
        return nn.Dense(4)(jnp.repeat(z, 2, axis=-2))


def two_levels(bottom):
    return models.vae(
        encoder=Both(),
        decoder=nets.MLP((), (3, V)),
        posterior=posteriors.product(quantiser(TOP), quantiser(BOTTOM)),
        likelihood=distributions.bernoulli(),
        prior=priors.chain(priors.codes(nets.CausalTransformer(TOP, V, 4, 1, heads=1)), priors.codes(bottom)),
    )


@pytest.mark.parametrize(
    "bottom",
    [
        nets.CausalTransformer(BOTTOM, V, 8, 1, heads=2),
        nets.CodePixelCNN(BOTTOM, V, 16, (3,), embed=4, context=Wider()),
    ],
    ids=["transformer", "pixelcnn"],
)
def test_two_grids_of_codes_have_one_law_that_samples_follow(bottom):
    model, x = two_levels(bottom), one_hot(np.array(EVERY))
    shapes, variables = jax.eval_shape(model.init, KEY, {"x": x})
    params = drawn_params(shapes)
    variables = {i: {"codebook": jnp.asarray(CODEBOOK), "steps": jnp.zeros((), jnp.int32)} for i in variables}

    @jax.jit
    def run(params, variables, x):
        vae = model.bind(params, variables)
        draw = vae.encode(KEY, {"x": x})
        return draw.log_p, objectives.kl(KEY, vae, draw), vae.sample_prior(KEY, 10_000)

    log_p, kl, (top, below) = run(params, variables, x)
    law = np.exp(np.asarray(sum(log_p), np.float64))
    np.testing.assert_allclose(law.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(kl, -sum(log_p), rtol=1e-6)
    k = [np.asarray(index_of(CODEBOOK, z)).reshape(len(z), -1) for z in (top, below)]
    assert_counts(np.concatenate(k, axis=1) @ [9, 3, 1], law / law.sum())
    of_bottom = np.exp(np.asarray(log_p[1], np.float64)).reshape(3, 9)  # depends on the top
    assert min(np.abs(of_bottom[a] - of_bottom[b]).sum() for a, b in ((0, 1), (0, 2), (1, 2))) > 0.05


def test_it_is_plain_data_and_a_part_is_fitted_with_the_rest():
    model = gaussians()
    assert models.from_spec(json.loads(json.dumps(model.spec))).spec == model.spec
    assert model.groups == ("encoder", "decoder", "prior")
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    data = Split({"x": np.asarray(X)}, "binary")
    update = gradient_update(objective, model, optax.adam(0.01))
    found = fit(KEY, model, update, data, 2, batch_size=3, chunk=2, progress=False)
    before = jax.jit(model.init)(KEY, {"x": X})[0]["prior"]
    assert set(before) == set(found.state.params["prior"]) == {"1"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.chain(priors.standard()), "parts: expected at least two, got 1"),
        (
            lambda: priors.chain(priors.standard(), priors.chain(*[priors.standard()] * 2)),
            "got a chain among",
        ),
        (
            lambda: priors.product(priors.standard(), priors.chain(*[priors.standard()] * 2)),
            "got a chain among",
        ),
        (
            lambda: gaussians(chain=[priors.standard()] * 3).init(KEY, {"x": X}),
            "prior: expected latents in 3 parts, as posteriors.product; got 2 parts",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
