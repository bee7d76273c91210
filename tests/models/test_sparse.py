"""The spike-and-slab lasso and the scales of features around a model: their EM by hand, and its law."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from vaejax import compose, distributions, models, nets, objectives, sample, train
from vaejax.types import Draw, TrainState

KEY = jax.random.key(3)
N, D, LATENTS = 40, 4, 3
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(N, 1)) * [1, 2, 0, 0] + RNG.normal(size=(N, 1)) * [0, 0, 3, 1])
X += jnp.asarray(0.3 * RNG.normal(size=(N, D)))
BATCH = {"x": X.astype(jnp.float32)}
LAM = {"lam0": 8.0, "lam1": 0.5}
LOSS = compose(reconstruction=objectives.reconstruction, sparse=objectives.spike_and_slab)


def linear(**parts):
    """x = (W * kernel^T) z + bias of codes z without noise: the loss is then the objective itself."""
    own = {
        "encoder": nets.MLP((), (LATENTS,)),
        "decoder": nets.SparseDecoder((), D),
        "posterior": models.posteriors.point(LATENTS),
        "likelihood": distributions.gaussian(),
    }
    return models.vae(**(own | parts))


MODEL = models.feature_scales(
    models.spike_and_slab(linear(), examples=N, a=1.5, **LAM), examples=N, nu=3.0, xi=0.5, decay=0.0
)


@pytest.fixture(scope="module")
def step():
    """One step of gradient descent on the whole set; the first state, and the step."""
    update = train.gradient_update(LOSS, MODEL, optax.sgd(0.002))
    params, variables = jax.jit(MODEL.init)(KEY, BATCH)
    state = TrainState(params, variables, update.init(params), jnp.int32(0))
    return state, jax.jit(lambda state: update.apply(state, KEY, BATCH, None))


def mean_of(params):
    """mu [N, D] by numpy."""
    encoder, decoder = (jax.tree.map(np.asarray, params[name]) for name in ("encoder", "decoder"))
    z = X @ encoder["out"]["kernel"] + encoder["out"]["bias"]
    return z @ (decoder["W"].T * decoder["out"]["kernel"]) + decoder["out"]["bias"]


def slab_of(params, variables):
    """p [D, d] by Bayes' rule."""
    W, eta = np.asarray(params["decoder"]["W"]), np.asarray(variables["model"]["eta"])
    slab = eta * stats.laplace(scale=1 / LAM["lam1"]).pdf(W)
    spike = (1 - eta) * stats.laplace(scale=1 / LAM["lam0"]).pdf(W)
    return slab / (slab + spike), slab + spike, eta


def variance_of(variables):
    return (N * np.asarray(variables["square"]) + 3 * 0.5) / (N + 3 + 2)


def negative_log_posterior(params, variables):
    """-log p(x | z, W, sigma) p(W | eta) p(eta) p(sigma^2), nats, by scipy."""
    _, density, eta = slab_of(params, variables)
    sigma2 = variance_of(variables)
    log_px = stats.norm(mean_of(params), np.sqrt(sigma2)).logpdf(X).sum()
    log_eta = stats.beta(1.5, D).logpdf(eta).sum()
    log_sigma = stats.invgamma(1.5, scale=3 * 0.5 / 2).logpdf(sigma2).sum()
    return -(log_px + np.log(density).sum() + log_eta + log_sigma)


def test_one_step_of_em_is_that_by_hand(step):
    state, move = step
    for _ in range(2):  # from scales and shares that are not those of the start
        before, (state, metrics) = state, move(state)
    p, density, _ = slab_of(before.params, before.variables)
    eta = state.variables["model"]["eta"]
    np.testing.assert_allclose(eta, (0.5 + p.sum(axis=0)) / (1.5 + D + D - 2), rtol=1e-5)
    square = np.mean((X - mean_of(before.params)) ** 2, axis=0)
    np.testing.assert_allclose(state.variables["square"], square, rtol=1e-4)
    # the loss is of the scales and shares before the step, an N-th of all
    np.testing.assert_allclose(metrics["sparse"], -np.log(density).sum() / N, rtol=1e-5)
    of = stats.norm(mean_of(before.params), np.sqrt(variance_of(before.variables)))
    np.testing.assert_allclose(metrics["reconstruction"], -of.logpdf(X).sum() / N, rtol=1e-4)


def test_the_objective_of_a_linear_model_never_rises(step):
    state, move = step
    path = [negative_log_posterior(state.params, state.variables)]
    for _ in range(60):
        state, _ = move(state)
        path.append(negative_log_posterior(state.params, state.variables))
    assert np.diff(path).max() < 1e-3  # float32, of some hundred nats
    assert path[-1] < path[0] - 20
    for name, changed in {
        "eta": 0.8 * state.variables["model"]["eta"],
        "square": 1.2 * state.variables["square"],
    }.items():
        other = {"square": state.variables["square"], "model": state.variables["model"]}
        other = other | ({"square": changed} if name == "square" else {"model": {"eta": changed}})
        assert negative_log_posterior(state.params, other) > path[-1], name


def test_in_evaluation_nothing_moves_and_the_heads_show_mask_and_shares(step):
    state, move = step
    state, _ = move(state)
    vae = MODEL.bind(state.params, state.variables)
    draw = jax.jit(sample)(KEY, vae, BATCH)
    assert draw.variables is None
    np.testing.assert_allclose(draw.px.stddev()[0], np.sqrt(variance_of(state.variables)), rtol=1e-5)
    np.testing.assert_array_equal(vae.heads["W"](), state.params["decoder"]["W"])
    np.testing.assert_array_equal(vae.heads["eta"](), state.variables["model"]["eta"])
    np.testing.assert_allclose(vae.heads["slab"](), slab_of(state.params, state.variables)[0], rtol=1e-4)
    one = vae.decode(jnp.zeros(LATENTS))  # a latent by itself, as a Jacobian takes it
    assert (one.batch_shape, one.event_shape) == ((), (D,))


def test_the_scale_follows_a_running_mean(step):
    slow = models.feature_scales(linear(), examples=N, decay=0.75)
    params = step[0].params
    draw = jax.jit(lambda v: slow.bind(params, v, step=0).encode(KEY, BATCH).variables)(
        {"square": jnp.full(D, 2.0)}
    )
    np.testing.assert_allclose(
        draw["square"], 1.5 + np.mean((X - mean_of(params)) ** 2, axis=0) / 4, rtol=1e-4
    )


def test_it_composes_moves_once_a_step_with_the_encoder_and_compiles_once(step):
    state, _ = step
    players = models.with_heads(MODEL, critic=nets.Critic(features=(3,)))
    loss = compose(cross_entropy=objectives.adversarial_critic())
    update = train.sequence(
        vae=train.gradient_update(LOSS, players, optax.sgd(0.002), wrt=("encoder", "decoder")),
        critic=train.gradient_update(loss, players, optax.sgd(0.1), wrt=("critic",)),
    )
    params = jax.jit(players.init)(KEY, BATCH)[0]
    start = TrainState(params, state.variables, update.init(params), jnp.int32(0))
    run = jax.jit(lambda s: update.apply(s, KEY, BATCH, None)[0])
    moved = run(run(start))
    assert run._cache_size() == 1
    expected, density, _ = slab_of(run(start).params, run(start).variables)
    np.testing.assert_allclose(
        moved.variables["model"]["eta"], (0.5 + expected.sum(axis=0)) / (D + D - 0.5), rtol=1e-5
    )
    assert density.shape == (D, LATENTS)


def test_a_model_from_its_spec_is_the_same(step):
    again = models.from_spec(MODEL.spec)
    assert again.spec == MODEL.spec
    assert again.groups == MODEL.groups == ("encoder", "decoder")
    bound = [jax.tree.structure(m.bind(step[0].params, step[0].variables, step=0)) for m in (again, MODEL)]
    assert bound[0] == bound[1]  # equal functions: nothing compiles again


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: models.spike_and_slab("model", examples=N), TypeError, "model: expected a vaejax.Model"),
        (lambda: models.spike_and_slab(linear(), examples=0), ValueError, "examples: expected at least 1"),
        (
            lambda: models.spike_and_slab(linear(), examples=N, lam0=1.0, lam1=1.0),
            ValueError,
            "lam1: expected less than lam0 = 1.0, got 1.0",
        ),
        (lambda: models.spike_and_slab(linear(), examples=N, a=0.0), ValueError, "a: expected a positive"),
        (lambda: models.spike_and_slab(linear(), examples=N, b=0.5), ValueError, "b: expected at least 1"),
        (lambda: models.feature_scales("model", examples=N), TypeError, "model: expected a vaejax.Model"),
        (
            lambda: models.feature_scales(linear(likelihood=distributions.laplace()), examples=N),
            ValueError,
            r"model: expected the likelihood gaussian\(\), got laplace\(\)",
        ),
        (lambda: models.feature_scales(linear(), examples=N, nu=-1.0), ValueError, "nu: expected a positive"),
        (lambda: models.feature_scales(linear(), examples=N, decay=1.0), ValueError, r"decay: .* \[0, 1\)"),
        (lambda: MODEL.bind({}, {"model": {}}), ValueError, "variables: expected a mapping with 'square'"),
        (
            lambda: models.spike_and_slab(linear(), examples=N).bind({}, None),
            ValueError,
            "variables: expected a mapping with 'eta'",
        ),
        (
            lambda: jax.eval_shape(
                models.spike_and_slab(linear(decoder=nets.MLP((), (D,))), examples=N).init, KEY, BATCH
            ),
            ValueError,
            r"model: expected a decoder with a parameter W \[D, d\], as nets.SparseDecoder; got \['out'\]",
        ),
        (
            lambda: objectives.spike_and_slab(KEY, None, Draw(*[None] * 6)),
            ValueError,
            "draw: expected `extra` with 'spike_and_slab'",
        ),
    ],
)
def test_what_is_wrong_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
