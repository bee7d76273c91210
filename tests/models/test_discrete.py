"""One-hot latents in a model: exact in evaluation, relaxed in training."""

from __future__ import annotations

import itertools
import json
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_mean_is
from vaejax import distributions, models, nets, objectives
from vaejax.distributions import OneHot
from vaejax.keys import example_keys
from vaejax.models import posteriors, priors
from vaejax.objectives.draw import scored_at

KEY = jax.random.key(0)
D, M, V = 5, 2, 3
X = jnp.asarray(np.random.default_rng(0).random((4, D)) < 0.4, jnp.float32)


def build(**change: Any):
    parts = {
        "encoder": nets.MLP(features=(6,), output_shape=(M, V), activation="tanh"),
        "decoder": nets.MLP(features=(6,), output_shape=(D,), activation="tanh"),
        "posterior": posteriors.categorical(V, M),
        "likelihood": distributions.bernoulli(),
        "prior": priors.uniform(),
    }
    return models.vae(**(parts | change))


def init(model):
    return jax.jit(model.init)(KEY, {"x": X})[0]


def test_the_elbo_is_the_sum_over_all_values():
    """Of a learned prior; draws of evaluation have it as their mean, as the exact terms have it."""
    model = build(prior=priors.categorical())
    params = init(model)
    assert model.groups == ("encoder", "decoder", "prior")
    params["prior"] = {"logits": jnp.asarray(np.random.default_rng(1).normal(size=(M, V)), jnp.float32)}

    @jax.jit
    def run(params, keys):
        vae = model.bind(params)
        draw = objectives.sample(KEY, vae, {"x": X})
        exact = objectives.enumerated(KEY, vae, draw) + objectives.kl(KEY, vae, draw)
        sampled = jax.vmap(lambda k: objectives.log_weight(objectives.sample(k, vae, {"x": X})))(keys)
        total = 0.0
        for value in itertools.product(range(V), repeat=M):
            z = jnp.broadcast_to(jnp.eye(V)[jnp.array(value)], (4, M, V))
            log_q = draw.q.log_prob(z)
            total += jnp.exp(log_q) * (vae.decode(z).log_prob(X) + draw.p.log_prob(z) - log_q)
        return -exact, total, sampled

    exact, total, sampled = run(params, jax.random.split(KEY, 4000))
    np.testing.assert_allclose(exact, total, rtol=1e-5)
    assert_mean_is(sampled, total)


def test_draws_are_exact_in_evaluation_and_relaxed_by_the_temperature_of_the_step_in_training():
    family = posteriors.categorical(V, M, temperature=(1.0, 0.25, 10), hard=False)
    model, hard = build(posterior=family), build(posterior=posteriors.categorical(V, M, temperature=0.5))
    params = init(model)

    @jax.jit
    def run(params, step):
        draw = model.bind(params, step=step).encode(KEY, {"x": X})
        sharp = hard.bind(params, step=step).encode(KEY, {"x": X})
        keys = example_keys(KEY, {"x": X})
        tau = 4.0 ** -jnp.minimum(step / 10, 1)
        by_hand = jax.vmap(lambda k, a: OneHot(a).relaxed(k, tau, hard=False))(keys, draw.q.logits)
        masses = [
            (draw.log_q, draw.q.log_prob(scored_at(draw))),
            (draw.log_p, draw.p.log_prob(scored_at(draw))),
        ]
        return draw.z, by_hand, sharp.z, scored_at(draw), masses

    for step in (0, 5, 10, 1000):
        z, by_hand, sharp, point, masses = run(params, jnp.asarray(step, jnp.int32))
        np.testing.assert_allclose(z, by_hand, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(np.sort(sharp, -1), np.broadcast_to([0.0, 0.0, 1.0], sharp.shape))
        np.testing.assert_array_equal(point.argmax(-1), z.argmax(-1))
        np.testing.assert_array_equal(np.sort(point, -1), np.broadcast_to([0.0, 0.0, 1.0], point.shape))
        for taken, again in masses:
            np.testing.assert_allclose(taken, again, rtol=1e-5)
    assert run._cache_size() == 1
    assert (z.max(-1) < 1).any()
    exact = model.bind(params).encode(KEY, {"x": X})
    np.testing.assert_array_equal(np.sort(exact.z, -1), np.broadcast_to([0.0, 0.0, 1.0], exact.z.shape))
    np.testing.assert_array_equal(model.bind(params).represent({"x": X}), exact.q.mode())


def test_a_relaxed_draw_has_a_gradient_to_the_encoder_and_what_needs_a_path_refuses_it():
    model = build()
    params = init(model)

    def cost(params, step):
        vae = model.bind(params, step=step)
        return jnp.mean(objectives.reconstruction(KEY, vae, objectives.sample(KEY, vae, {"x": X})))

    slope = lambda step: jax.tree.leaves(jax.jit(jax.grad(cost))(params, step)["encoder"])  # noqa: E731
    assert all((np.asarray(g) != 0).any() for g in slope(3))
    assert all((np.asarray(g) == 0).all() for g in slope(None))  # an exact draw has none


def test_samples_of_the_prior_are_one_hots_of_its_probabilities():
    model = build(prior=priors.categorical())
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(M, V)), jnp.float32)
    params = {**init(model), "prior": {"logits": logits}}
    z = model.bind(params).sample_prior(KEY, 20_000)
    assert_mean_is(z, jax.nn.softmax(logits), errors=4.5)
    uniform = build()
    assert_mean_is(uniform.bind(init(uniform)).sample_prior(KEY, 20_000), np.full((M, V), 1 / V), errors=4.5)
    assert uniform.groups == ("encoder", "decoder")


def test_a_learned_prior_ends_at_the_mean_of_the_posteriors():
    """Which is the minimum of the mean KL over it."""
    model = build(prior=priors.categorical())
    params = init(model)
    mean = model.bind(params).encode(KEY, {"x": X}).q.mean().mean(0)

    def rate(logits):
        vae = model.bind({**params, "prior": {"logits": logits}})
        return jnp.mean(objectives.kl(KEY, vae, vae.encode(KEY, {"x": X})))

    np.testing.assert_allclose(jax.jit(jax.grad(rate))(jnp.log(mean)), 0, atol=1e-6)


def test_families_are_plain_data():
    for family in (posteriors.categorical(V, M), posteriors.categorical(V, M, (1.0, 0.5, 9), False)):
        for prior in (priors.uniform(), priors.categorical()):
            model = build(posterior=family, prior=prior)
            again = models.from_spec(json.loads(json.dumps(model.spec)))
            assert again.spec == model.spec
            assert jax.tree.structure(again.bind(init(again))) == jax.tree.structure(model.bind(init(model)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: posteriors.categorical(1), ValueError, "values: expected at least 2, got 1"),
        (lambda: posteriors.categorical(2.0), TypeError, "values: expected an int, got float"),
        (lambda: posteriors.categorical(2, 0), ValueError, "variables: expected at least 1, got 0"),
        (lambda: posteriors.categorical(2, temperature=0.0), ValueError, "temperature: expected a positive"),
        (
            lambda: posteriors.categorical(2, temperature=(1.0, 0.5)),
            ValueError,
            r"or \(start, end, steps\), got",
        ),
        (
            lambda: posteriors.categorical(2, temperature=(1.0, 0.0, 5)),
            ValueError,
            "end of temperature: expected",
        ),
        (
            lambda: posteriors.categorical(2, temperature=(1.0, 0.5, 0)),
            ValueError,
            "steps of temperature: expected",
        ),
        (lambda: posteriors.categorical(2, hard=1), TypeError, r"hard: expected a bool, got int \(1\)"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Maps(nn.Module):
    """(loc, logvar) of latents [M, V]."""

    @nn.compact
    def __call__(self, x):
        return tuple(nn.Dense(M * V)(x).reshape(*x.shape[:-1], M, V) for _ in range(2))


def test_a_prior_of_other_latents_is_refused():
    for model, message in (
        (build(prior=priors.standard()), "prior: expected one of latents without a path"),
        (
            build(
                encoder=nets.MLPEncoder(latents=3, features=()), posterior=posteriors.gaussian(3),
                decoder=nets.MLP(features=(), output_shape=(D,)),
            ),
            r"prior: uniform\(\) expected one-hot latents \[variables, values\], got \[3\]",
        ),
        (
            build(
                encoder=Maps(), posterior=posteriors.gaussian((M, V)), prior=priors.categorical(),
                decoder=nets.MLP(features=(), output_shape=(D,), event_ndims=2),
            ),
            "prior: expected one for the latents that Independent draws; got OneHot",
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda: model.init(KEY, {"x": X})[0])  # noqa: B023
