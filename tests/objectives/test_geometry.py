"""The Jacobian penalty as a term: its value, its unbiased estimate, and whom its gradient reaches."""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from vaejax import distributions, objectives
from vaejax.types import VAE, Draw

KEY = jax.random.key(0)
D, LATENTS, HIDDEN = 5, 4, 6
RNG = np.random.default_rng(0)
METHODS = {
    "exact": {"method": "exact"},
    "columns": {"method": "columns", "columns": 2},
    "finite_difference": {"method": "finite_difference"},
}
X = np.array([[1.0, 0, 0, 1, 1], [0, 1.0, 0, 1, 0]])
PARAMS = {  # weights of order one
    "encoder": {
        "A": 0.5 * RNG.normal(size=(LATENTS, D)),
        "a": 0.3 * RNG.normal(size=LATENTS),
        "log_scale": np.full(LATENTS, -0.5),
    },
    "decoder": {"inner": RNG.normal(size=(HIDDEN, LATENTS)), "outer": RNG.normal(size=(D, HIDDEN))},
}


def decode(params, z, c=None):
    """A smooth decoder: a Bernoulli on softplus features, whose Jacobian moves with z."""
    return distributions.Bernoulli(jax.nn.softplus(z @ params["inner"].T) @ params["outer"].T, 1)


def smooth_vae(params):
    linear = oracle.linear_vae().bind(
        {"encoder": params["encoder"], "decoder": {"W": np.zeros((D, LATENTS))}}
    )
    return VAE(linear.encode, Partial(decode, params["decoder"]), linear.sample_prior, {})


def test_a_linear_decoder_is_charged_the_sum_of_its_weights(x64):
    terms = [
        objectives.jacobian_l1(**options) for options in ({}, {"method": "finite_difference", "eps": 0.25})
    ]
    columns = objectives.jacobian_l1(method="columns")
    batch = {"x": jnp.asarray(RNG.normal(size=(3, D)))}
    encoder = {"A": np.ones((2, D)), "a": np.zeros(2), "log_scale": np.zeros(2)}

    @jax.jit
    def penalties(w):
        vae = oracle.linear_vae().bind({"encoder": encoder, "decoder": {"W": w, "b": np.ones(D)}})
        draw = objectives.sample(KEY, vae, batch)
        whole = [term(KEY, vae, draw) for term in terms]
        return whole, jax.vmap(lambda key: columns(key, vae, draw))(jax.random.split(KEY, 10))

    pad = lambda w: np.pad(w, ((0, D - len(w)), (0, 2 - w.shape[1])))  # noqa: E731
    for w, expected in (
        (np.array([[1.0, 1, 0, 0, 0]]).T, 2.0),
        (np.full((5, 1), 0.4), 2.0),
        (np.eye(2), 2.0),
        (np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2), 2 * np.sqrt(2)),
        (oracle.W, np.abs(oracle.W).sum()),
    ):
        whole, by_key = penalties(pad(w))
        np.testing.assert_allclose(whole, np.full((2, 3), expected), rtol=1e-12)
        # the batch shares its offset, and its examples take the two columns in turn
        sums = 2 * np.abs(pad(w)).sum(0)
        offsets = [sums[[0, 1, 0]], sums[[1, 0, 1]]]
        nearest = [[np.allclose(row, offset, rtol=1e-12) for offset in offsets] for row in by_key]
        assert np.any(nearest, axis=1).all()
        assert np.any(nearest, axis=0).all()


def test_the_statistic_is_a_choice(x64):
    """For a Bernoulli on W z: J of the logits is W, of the mean diag(p (1 - p)) W."""
    w = RNG.normal(size=(D, LATENTS))
    vae = VAE(smooth_vae(PARAMS).encode, lambda z, c=None: distributions.Bernoulli(z @ w.T, 1), None, {})
    statistics = distributions.logits, distributions.mean, (lambda px: px.mean()[..., :2] ** 2)

    @jax.jit
    def run(x):
        draw = objectives.sample(KEY, vae, {"x": x})
        return [objectives.jacobian_l1(of=of)(KEY, vae, draw) for of in statistics], draw.z

    values, z = run(jnp.asarray(X))
    p = 1 / (1 + np.exp(-np.asarray(z) @ w.T))
    weighted = (p * (1 - p))[:, :, None] * np.abs(w)
    of_square = (2 * p[:, :, None] * weighted)[:, :2].sum((1, 2))
    np.testing.assert_allclose(
        values, [np.full(2, np.abs(w).sum()), weighted.sum((1, 2)), of_square], rtol=1e-12
    )


def test_the_condition_of_each_example_reaches_its_decoder(x64):
    c = jnp.array([[1.0], [-3.0]])
    vae = VAE(smooth_vae(PARAMS).encode, lambda z, c: distributions.Gaussian(c * z, 1.0, 1), None, {})
    z = jnp.asarray(RNG.normal(size=(2, LATENTS)))
    draw = Draw(z, None, None, None, None, {"x": z, "c": c}, None, None)
    penalty = jax.jit(lambda draw: objectives.jacobian_l1()(KEY, vae, draw))(draw)
    np.testing.assert_allclose(penalty, [LATENTS, 3 * LATENTS], rtol=1e-12)


def test_columns_have_the_exact_penalty_and_gradient_as_their_mean(x64):
    """Keys that share a draw and differ in the offset: the mean over the d offsets is the exact penalty."""

    @jax.jit
    def evaluate(params):
        def value_and_grad(key, **options):
            def penalty(params):
                vae = smooth_vae(params)
                draw = objectives.sample(KEY, vae, {"x": jnp.asarray(X)})
                return objectives.jacobian_l1(**options, stop_gradient=False)(key, vae, draw).mean()

            return jax.value_and_grad(penalty)(params)

        def by_key(m):
            keys = jax.random.split(KEY, 40)
            return jax.vmap(lambda key: value_and_grad(key, method="columns", columns=m))(keys)

        return value_and_grad(KEY), [by_key(m) for m in (1, 2, 3)]

    (value, gradient), estimates = evaluate(PARAMS)
    for values, gradients in estimates:
        _, one_of_each = np.unique(np.round(values, 9), return_index=True)
        assert len(one_of_each) == LATENTS
        np.testing.assert_allclose(values[one_of_each].mean(), value, rtol=1e-12)
        mean = jax.tree.map(lambda g: g[one_of_each].mean(0), gradients)  # noqa: B023
        jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, atol=1e-12), mean, gradient)


def test_finite_differences_tend_to_the_exact_penalty_and_gradient(x64):
    options = [{}, *({"method": "finite_difference", "eps": eps} for eps in (1e-3, 1e-5))]

    @jax.jit
    def evaluate(params):
        vae = smooth_vae(params)
        draw = objectives.sample(KEY, vae, {"x": jnp.asarray(X)})

        def penalty(term, decoder):
            return term(KEY, vae._replace(decode=Partial(decode, decoder)), draw).sum()

        terms = [objectives.jacobian_l1(**o) for o in options]
        return [jax.value_and_grad(partial(penalty, term))(params["decoder"]) for term in terms]

    exact, coarse, fine = evaluate(PARAMS)
    for a, b, truth in zip(*map(jax.tree.leaves, (coarse, fine, exact)), strict=True):
        error, finer = np.abs(a - truth).max(), np.abs(b - truth).max()
        assert 1e-6 < error < 1e-1
        np.testing.assert_allclose(error / finer, 100, rtol=0.1)


@cache
def whole_gradients(method=None, stop_gradient=True):
    """Of the composed objective, compiled; without a penalty where there is no method."""
    terms = {"reconstruction": objectives.reconstruction, "kl": objectives.kl}
    if method is not None:
        term = objectives.jacobian_l1(**METHODS[method], stop_gradient=stop_gradient)
        terms["jac"] = objectives.scaled(0.7, term)
    objective = objectives.compose(**terms)
    return jax.jit(jax.grad(lambda p: objective(KEY, smooth_vae(p), {"x": jnp.asarray(X)}, 0)[0]))(PARAMS)


@pytest.mark.parametrize("method", METHODS)
def test_a_detached_penalty_leaves_the_encoder_alone_in_the_whole_objective(method, x64):
    """XLA may merge the forward passes of the penalty and the reconstruction: it must not show."""
    plain, detached, full = whole_gradients(), whole_gradients(method, True), whole_gradients(method, False)
    for name, gradient in plain["encoder"].items():
        np.testing.assert_allclose(detached["encoder"][name], gradient, rtol=1e-13, atol=1e-14, err_msg=name)
        assert np.abs(full["encoder"][name] - gradient).max() > 1e-3, name  # the control
    for name, gradient in plain["decoder"].items():  # z does not depend on the decoder
        np.testing.assert_allclose(detached["decoder"][name], full["decoder"][name], rtol=1e-12)
        assert np.abs(detached["decoder"][name] - gradient).max() > 1e-3


def test_a_detached_penalty_alone_gives_the_encoder_exact_zeros_without_jit_too(x64):
    term = objectives.jacobian_l1()

    def penalty(params):
        vae = smooth_vae(params)
        return term(KEY, vae, objectives.sample(KEY, vae, {"x": jnp.asarray(X)})).sum()

    gradients = jax.grad(penalty)(PARAMS)
    assert all((np.asarray(g) == 0).all() for g in gradients["encoder"].values())
    assert all((np.abs(g) > 1e-3).any() for g in gradients["decoder"].values())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "hutchinson"}, ValueError, "method: expected one of 'exact', 'columns', .*'hutchinson'"),
        ({"method": "columns", "columns": 0}, ValueError, "columns: expected at least 1, got 0"),
        ({"method": "columns", "columns": 2.0}, TypeError, "columns: expected an int, got float"),
        ({"method": "columns", "columns": True}, TypeError, "columns: expected an int, got bool"),
        (
            {"columns": 2},
            ValueError,
            "columns: only method=\"columns\" has them; got columns=2, method='exact'",
        ),
        ({"eps": 1e-2}, ValueError, 'eps: only method="finite_difference" has a step'),
        ({"method": "finite_difference", "eps": 0.0}, ValueError, "eps: expected a positive finite number"),
        ({"method": "finite_difference", "eps": float("nan")}, ValueError, "eps: .* got nan"),
        ({"method": "finite_difference", "eps": float("inf")}, ValueError, "eps: .* got inf"),
        ({"of": "mean"}, TypeError, r"of: expected a function of p\(x\|z\) to an array, got 'mean'"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        objectives.jacobian_l1(**options)


@pytest.mark.parametrize(
    ("z", "columns", "error", "message"),
    [
        (jnp.zeros((2, 3)), 4, ValueError, "columns: expected at most the number of latents, 3; got 4"),
        (jnp.zeros((2, 3, 3)), 1, TypeError, r"z: expected one array of latents \[B, d\]; got .*\(2, 3, 3\)"),
        ((jnp.zeros((2, 3)), jnp.zeros((2, 1))), 1, TypeError, r"z: expected one array .*\(2, 3\), \(2, 1\)"),
    ],
)
def test_latents_that_do_not_fit_are_refused_when_called(z, columns, error, message):
    draw = Draw(z, None, None, None, None, {})
    with pytest.raises(error, match=message):
        objectives.jacobian_l1(method="columns", columns=columns)(KEY, None, draw)
