"""Learned priors over codes: a known chain of codes, under a quantiser with state of its own."""

from __future__ import annotations

import itertools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from tests.monte_carlo import assert_counts
from vaejax import compose, distributions, evaluation, models, nets, objectives
from vaejax.distributions import CodePoint, Coding
from vaejax.fixed import Fixed
from vaejax.models import posteriors, priors
from vaejax.models.posteriors import Drawn, Posterior
from vaejax.models.spec import _option
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY = jax.random.key(0)
PLACES, P, V, D = (2, 2), 4, 3, 2
CODEBOOK = np.array([[0.0, 1.0], [2.0, 0.0], [-1.0, -1.0]], np.float32)
ALL = np.array(list(itertools.product(range(V), repeat=P)), np.int32).reshape(-1, *PLACES)

FIRST = np.array([0.5, 0.3, 0.2])
NEXT = np.array([[0.7, 0.2, 0.1], [0.05, 0.15, 0.8], [0.3, 0.6, 0.1]])
CHAIN = np.array([FIRST[a] * NEXT[a, b] * NEXT[b, c] * NEXT[c, d] for a, b, c, d in ALL.reshape(-1, P)])
ENTROPY = -np.sum(CHAIN * np.log(CHAIN))


def index_of(codebook, z):
    return jnp.argmin(jnp.sum(jnp.square(z[..., None, :] - codebook), -1), -1)


def vector_of(codebook, k):
    return jnp.asarray(codebook)[k]


def coding_of(places, own, state):
    return Coding(places, V, Partial(index_of, state["codebook"]), Partial(vector_of, state["codebook"]))


def start(key, parameters):
    return {}, {"codebook": jnp.asarray(CODEBOOK), "steps": jnp.zeros((), jnp.int32)}


def build(places, own, state, parameters):
    return CodePoint(coding_of(places, own, state), parameters)


def draw(self, own, state, parameters, key, batch, step):
    """The codebook moves in every step of training, as running means would."""
    q = self.build(own, state, parameters)
    moved = {"codebook": 0.9 * state["codebook"], "steps": state["steps"] + 1}
    return Drawn(q.mean(), q.log_prob(q.point), q, None if step is None else moved, point=q.point)


def quantiser(places):
    """The nearest vectors of the codebook, at every place."""
    event = (*places, D)
    shared = Fixed(coding_of, places)
    return Posterior("quantiser", event, event, Fixed(build, places), init=start, draw=draw, shared=shared)


class Vectors(nn.Module):
    """One-hot codes x [..., 2, 2, V] as the vectors of the codebook, times a parameter 1."""

    @nn.compact
    def __call__(self, x, *c):
        return self.param("scale", nn.initializers.ones, ()) * x @ CODEBOOK


def model_of(net=None, **change):
    parts = {
        "encoder": Vectors(),
        "decoder": nets.First(nets.MLP((), (*PLACES, V), event_ndims=3)),
        "posterior": quantiser(PLACES),
        "likelihood": distributions.bernoulli(),
        "prior": priors.codes(net),
    }
    return models.vae(**(parts | change))


def drawn_params(shapes, scale=1.5):
    """Of such a size that codes and conditions matter; the encoder gives the codebook's vectors."""
    rng = np.random.default_rng(3)

    def drawn(a):
        return jnp.float32(scale * rng.normal(size=a.shape) * (sum(a.shape[-1:]) / a.size) ** 0.5)

    return {**jax.tree.map(drawn, shapes), "encoder": {"scale": jnp.ones(())}}


def one_hot(k):
    return np.eye(V, dtype=np.float32)[k]


def number_of(z):
    """The place in `ALL` of vectors of the codebook."""
    k = np.asarray(jax.jit(index_of)(CODEBOOK, z)).reshape(len(z), P)
    return k @ V ** np.arange(P)[::-1]


TRANSFORMER = nets.CausalTransformer(PLACES, V, width=16, blocks=1, heads=2)
PIXELCNN = nets.CodePixelCNN(PLACES, V, features=8, kernels=(3,), embed=4)
BATCH = {"x": jnp.asarray(one_hot(ALL[::20]))}


def initialised(model, batch=BATCH):
    return jax.jit(model.init)(KEY, batch)


def test_under_alike_codes_the_bound_is_the_reconstruction_and_p_log_v():
    model = model_of()
    assert model.groups == ("encoder", "decoder")
    vae = model.bind(*initialised(model))
    found = evaluation.elbo_parts(KEY, vae, Split({"x": one_hot(ALL)}, "binary"), aggregate=81)
    assert found["kl_is_analytic"]
    np.testing.assert_allclose(found["kl"], P * np.log(V), rtol=1e-6)
    np.testing.assert_allclose(found["neg_elbo"], found["reconstruction"] + P * np.log(V), rtol=1e-6)
    np.testing.assert_allclose(found["mutual_information"], np.log(81), rtol=1e-6)  # all codes are different
    np.testing.assert_array_equal(np.bincount(number_of(vae.represent({"x": one_hot(ALL)}))), np.ones(81))
    assert_counts(number_of(vae.sample_prior(KEY, 5000)), np.full(81, 1 / 81))


@pytest.fixture(scope="module", params=[TRANSFORMER, PIXELCNN], ids=["transformer", "pixelcnn"])
def fitted(request):
    """A prior fitted to the frozen codes of draws of the chain: (model, what it started from, the fit)."""
    model = model_of(request.param)
    params, variables = jax.device_get(initialised(model))
    frozen = {name: params[name] for name in ("encoder", "decoder")}
    rows = np.random.default_rng(0).choice(81, 4000, p=CHAIN)
    update = gradient_update(
        compose(codes=objectives.cross_entropy), model, optax.adam(optax.cosine_decay_schedule(0.02, 300)),
        wrt=("prior",),
    )  # fmt: skip
    variables = {"codebook": variables["codebook"], "steps": np.int32(5)}
    begun = models.starting_from(model, frozen, variables)
    data = Split({"x": one_hot(ALL[rows])}, "binary")
    found = fit(KEY, begun, update, data, 300, batch_size=250, chunk=100, progress=False)
    return model, (frozen, variables), found


def test_a_prior_fitted_to_frozen_codes_reaches_their_entropy_and_leaves_the_rest(fitted):
    model, (frozen, variables), found = fitted
    jax.tree.map(np.testing.assert_array_equal, frozen, {name: found.state.params[name] for name in frozen})
    jax.tree.map(np.testing.assert_array_equal, variables, found.state.variables)
    vae = model.bind(found.state.params, found.state.variables)
    every = Split({"x": one_hot(ALL)}, "binary")
    nats = -np.asarray(jax.jit(lambda vae, x: vae.encode(KEY, {"x": x}).log_p)(vae, one_hot(ALL)), np.float64)
    np.testing.assert_allclose(np.exp(-nats).sum(), 1, rtol=1e-5)
    excess = CHAIN @ nats - ENTROPY  # KL(chain || prior)
    assert 0 <= excess < 0.02
    parts = evaluation.elbo_parts(KEY, vae, every, aggregate=False)
    np.testing.assert_allclose(parts["kl"], nats.mean(), rtol=1e-6)
    np.testing.assert_allclose(parts["neg_elbo"] - parts["reconstruction"], nats.mean(), rtol=1e-5)


def test_samples_come_code_by_code_of_the_prior_in_batches_or_not(fitted):
    model, _, found = fitted
    vae = model.bind(found.state.params, found.state.variables)
    log_p = jax.jit(lambda vae, x: vae.encode(KEY, {"x": x}).log_p)(vae, one_hot(ALL))
    law = np.exp(np.asarray(log_p, np.float64))
    assert_counts(number_of(jax.jit(lambda vae: vae.sample_prior(KEY, 10_000))(vae)), law / law.sum())
    seen = []

    def progress(batches):
        seen.append(len(batches))
        return batches

    vae = model.bind({**found.state.params, "decoder": TELLING}, found.state.variables)
    x = evaluation.prior_samples(KEY, vae, 7001, prior_batch=4000, progress=progress)
    assert seen == [2]
    assert x.shape == (7001, *PLACES, V)
    numbers = np.asarray(x).argmax(-1).reshape(-1, P) @ V ** np.arange(P)[::-1]
    assert_counts(numbers, law / law.sum())
    with pytest.raises(ValueError, match="prior_batch: expected at least 1, got 0"):
        evaluation.prior_samples(KEY, vae, 3, prior_batch=0)


class Told(nn.Module):
    """A net of one's own: the code that c names, at every place."""

    autoregressive = True

    @nn.compact
    def __call__(self, k, c):
        weight = self.param("weight", nn.initializers.constant(50.0), ())
        return jnp.broadcast_to(weight * c[..., None, None, :], (*k.shape, V))


def test_in_batches_each_sample_has_the_condition_of_its_place():
    model = model_of(Told(), conditional=True)
    named = np.array([0, 2, 1, 1, 2])
    c = np.eye(V, dtype=np.float32)[named]
    params, variables = initialised(model, {**BATCH, "c": c[:1]})
    vae = model.bind({**params, "decoder": TELLING}, variables)
    for prior_batch in (None, 2, 9):
        x = evaluation.prior_samples(KEY, vae, 5, c=c, prior_batch=prior_batch)
        np.testing.assert_array_equal(
            np.asarray(x).argmax(-1), np.broadcast_to(named[:, None, None], (5, *PLACES))
        )


def _telling():
    """A linear map of the vectors of all places to logits whose largest is the code's, [P D, P V]."""
    centred = CODEBOOK - CODEBOOK.mean(0)
    kernel = np.zeros((P * D, P * V), np.float32)
    for i in range(P):
        kernel[i * D : (i + 1) * D, i * V : (i + 1) * V] = 3 * centred.T
    return kernel


TELLING = {
    "net": {"out": {"kernel": jnp.asarray(_telling()), "bias": jnp.zeros(P * V)}}
}  # a mean that tells z


@pytest.mark.parametrize("net", [TRANSFORMER, PIXELCNN], ids=["transformer", "pixelcnn"])
def test_under_a_condition_each_c_has_a_law_of_its_own(net):
    """The same in scoring and in samples; a net that is to see k alone has one law."""
    c = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    model, alone = (model_of(of, conditional=True) for of in (net, nets.First(net)))
    x = np.repeat(one_hot(ALL), 2, 0)
    batch = {"x": x, "c": np.tile(c, (81, 1))}
    params, variables = jax.eval_shape(model.init, KEY, batch)
    params = drawn_params(params)
    variables = {"codebook": jnp.asarray(CODEBOOK), "steps": jnp.zeros((), jnp.int32)}

    @jax.jit
    def run(params, variables, batch):
        vae, without = (
            model.bind(params, variables),
            alone.bind(params | {"prior": {"net": params["prior"]}}, variables),
        )
        of_both = jnp.repeat(jnp.asarray(c), 6000, 0)
        return (
            vae.encode(KEY, batch).log_p,
            without.encode(KEY, batch).log_p,
            vae.sample_prior(KEY, 12_000, of_both),
        )

    log_p, same, z = run(params, variables, batch)
    laws = np.exp(np.asarray(log_p, np.float64)).reshape(81, 2).T
    np.testing.assert_allclose(laws.sum(1), 1, rtol=1e-5)
    assert np.abs(laws[0] - laws[1]).sum() > 0.2
    for law, draws in zip(laws, np.split(number_of(z), 2), strict=True):
        assert_counts(draws, law / law.sum())
    same = np.asarray(same).reshape(81, 2)
    np.testing.assert_allclose(same[:, 0], same[:, 1], rtol=1e-5)


@pytest.mark.parametrize("net", [None, TRANSFORMER, PIXELCNN], ids=["uniform", "transformer", "pixelcnn"])
def test_it_is_plain_data(net):
    prior = priors.codes(net)
    assert prior == priors.codes(None if net is None else net.clone())
    spec = json.loads(json.dumps(model_of(net).spec["prior"]))
    assert _option(priors, spec) == prior


class Leaky(nn.Module):
    """Not autoregressive."""

    def __call__(self, k):
        return jnp.zeros((*k.shape, V))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: priors.codes(3), TypeError, "net: expected a flax.linen.Module or None, got 3"),
        (
            lambda: priors.codes(Leaky()),
            ValueError,
            "net: expected an autoregressive one, .*got Leaky",
        ),
        (
            lambda: model_of(TRANSFORMER.clone(values=4)),
            ValueError,
            r"prior: expected logits of shape \(1, 2, 2, 3\) from its net for one code, got \(1, 2, 2, 4\)",
        ),
        (
            lambda: model_of(posterior=posteriors.gaussian((*PLACES, D)), encoder=Gaussians()),
            ValueError,
            r"prior: codes\(\) expected a posterior of codes.*got NoneType shared",
        ),
        (
            lambda: model_of(prior=priors.standard()),
            ValueError,
            "prior: expected one of latents without a path derivative, as CodePoint draws them; got Indep",
        ),
        (
            lambda: model_of(prior=priors.gaussian_mixture(2)),
            ValueError,
            "prior: expected one .*CodePoint draws",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        jax.eval_shape(lambda: make().init(KEY, BATCH)[0])


class Gaussians(nn.Module):
    def __call__(self, x):
        z = x @ CODEBOOK
        return z, z
