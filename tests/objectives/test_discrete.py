"""Terms of one-hot latents against the sum over all values, written out."""

from __future__ import annotations

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests.monte_carlo import assert_mean_is
from vaejax import objectives
from vaejax.distributions import Gaussian, OneHot, diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.keys import example_keys
from vaejax.types import VAE, Draw

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
M, V, D = 2, 3, 4
X = RNG.normal(size=(2, D))
PARAMS = {
    "logits": RNG.normal(size=(2, M, V)),  # one row for each example
    "loc": RNG.normal(size=(2, 2)),
    "values": RNG.normal(size=(M * V, D)),
    "w": RNG.normal(size=(2, D)),
}


def encode(mixed, params, key, batch):
    y = batch["y"]
    q, p = OneHot(params["logits"][y]), OneHot(jnp.zeros((M, V)))
    z = jax.vmap(lambda k, a: OneHot(a).relaxed(k, 0.5, hard=False))(example_keys(key, batch), q.logits)
    if not mixed:
        return Draw(z, q.log_prob(z), p.log_prob(z), q, p, batch)
    loc = params["loc"][y]
    normal, standard = diagonal_gaussian(loc, 0.5 + 0 * loc), diagonal_gaussian(0 * loc, 1 + 0 * loc)
    u = loc + 0.5 * jax.vmap(lambda k: jax.random.normal(k, (2,)))(
        example_keys(jax.random.fold_in(key, 1), batch)
    )
    qs, ps, zs = (normal, q), (standard, p), (u, z)
    log_q, log_p = (tuple(d.log_prob(a) for d, a in zip(ds, zs, strict=True)) for ds in (qs, ps))
    return Draw(zs, log_q, log_p, qs, ps, batch)


def mean_of(params, z):
    u, one_hot = z if isinstance(z, tuple) else (None, z)
    own = one_hot.reshape(*one_hot.shape[:-2], M * V) @ params["values"]
    return jnp.tanh(own if u is None else own + u @ params["w"])


def vae_of(params, mixed=False):
    decode = Partial(lambda params, z, c=None: Gaussian(mean_of(params, z), 0.7, 1), params)
    return VAE(Partial(Fixed(encode, mixed), params), decode, None, {})


def batch_of(y):
    return {"x": jnp.asarray(X)[y], "y": jnp.asarray(y)}


def by_hand(params, draw):
    """sum_v q(v|x) (-log p(x|v)), [B], a value at a time."""
    mixed = isinstance(draw.z, tuple)
    q = jax.nn.softmax(params["logits"][draw.batch["y"]])
    total = 0.0
    for i, j in itertools.product(range(V), repeat=2):
        value = jnp.broadcast_to(jnp.eye(V)[jnp.array([i, j])], q.shape)
        mean = mean_of(params, (draw.z[0], value) if mixed else value)
        cost = jnp.sum((draw.batch["x"] - mean) ** 2, -1) / (2 * 0.49) + D * jnp.log(
            0.7 * jnp.sqrt(2 * jnp.pi)
        )
        total += q[:, 0, i] * q[:, 1, j] * cost
    return total


@pytest.mark.parametrize("mixed", [False, True])
def test_enumeration_is_the_sum_over_all_values_with_its_gradient(mixed, x64):
    def both(params):
        vae = vae_of(params, mixed)
        draw = objectives.sample(KEY, vae, batch_of(np.array([0, 1, 0])))
        return objectives.enumerated(KEY, vae, draw), by_hand(params, draw)

    found, expected = jax.jit(lambda p: (both(p), jax.jacrev(both)(p)))(jax.tree.map(jnp.asarray, PARAMS))
    np.testing.assert_allclose(*found, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), *expected)


@cache
def estimates(mixed, keys=60, copies=200):
    """Values and gradients of three costs, relaxed and exact among them: a mean over copies per key."""
    batch = batch_of(np.zeros(copies, int))

    def means(params, key):
        vae = vae_of(params, mixed)
        draw = objectives.sample(key, vae, batch)
        terms = (objectives.leave_one_out(3), objectives.reconstruction, objectives.enumerated)
        return tuple(jnp.mean(term(key, vae, draw)) for term in terms)

    run = jax.jit(lambda p, ks: jax.lax.map(lambda k: (means(p, k), jax.jacrev(means)(p, k)), ks))
    return run(jax.tree.map(jnp.asarray, PARAMS), jax.random.split(KEY, keys))


@pytest.mark.parametrize("mixed", [False, True])
def test_the_score_function_is_unbiased_for_every_parameter_and_a_relaxed_sample_is_not(mixed, x64):
    (value, _, exact), (gradient, relaxed, of_exact) = estimates(mixed)
    assert_mean_is(value - exact, 0.0)
    for name in PARAMS:
        assert_mean_is(gradient[name] - of_exact[name], np.zeros_like(PARAMS[name]))
    with pytest.raises(AssertionError, match="standard errors"):
        assert_mean_is(relaxed["logits"] - of_exact["logits"], np.zeros_like(PARAMS["logits"]))


def test_samples_of_the_score_function_are_the_examples_own():
    """A slice of a batch has the values of the whole, and chunks change nothing."""
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), PARAMS)
    vae = vae_of(params)

    @jax.jit
    def run(batch):
        draw = objectives.sample(KEY, vae, batch)
        return [objectives.leave_one_out(4, chunk=chunk)(KEY, vae, draw) for chunk in (None, 3)]

    whole, chunked = run(batch_of(np.array([0, 1, 0, 1])))
    np.testing.assert_allclose(chunked, whole, rtol=1e-6)
    part = {**batch_of(np.array([0, 1])), "index": jnp.array([2, 3])}
    np.testing.assert_allclose(run(part)[0], whole[2:], rtol=1e-6)
    assert whole[0] != whole[2]  # the same x, other noise
    assert whole.dtype == jnp.float32


def test_what_does_not_fit_is_refused():
    params = jax.tree.map(jnp.asarray, PARAMS)
    vae = vae_of(params, True)
    draw = objectives.sample(KEY, vae, batch_of(np.array([0, 1])))
    gaussian = draw._replace(q=draw.q[0], z=draw.z[0])
    for name, term in (("enumerated", objectives.enumerated), ("leave_one_out", objectives.leave_one_out(2))):
        with pytest.raises(TypeError, match=f"{name}: expected one-hot latents, .* got Independent"):
            term(KEY, vae, gaussian)
    many = draw._replace(q=OneHot(jnp.zeros((2, 11, 2))), z=jnp.zeros((2, 11, 2)))
    with pytest.raises(
        ValueError, match=r"enumerated: expected at most 1024 values .* got 2048; use leave_one_out"
    ):
        objectives.enumerated(KEY, vae, many)
    with pytest.raises(ValueError, match=r"K: expected at least 2, .* got 1"):
        objectives.leave_one_out(1)
    with pytest.raises(TypeError, match=r"K: expected an int, got float"):
        objectives.leave_one_out(2.0)


def test_a_capacity_of_a_part_holds_its_kl_and_logs_what_it_tells_of_x():
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), PARAMS)
    capacity, scaled = objectives.capacity, objectives.scaled
    objective = objectives.compose(
        rec=objectives.reconstruction,
        z=scaled(2.0, capacity(1.0, part=0)),
        c=capacity(lambda step: 0.1 * step, part=1),
    )
    loss, (metrics, _) = jax.jit(objective)(KEY, vae_of(params, True), batch_of(np.array([0, 1])), 3)
    probabilities = np.exp(PARAMS["logits"]) / np.exp(PARAMS["logits"]).sum(-1, keepdims=True)
    entropy = lambda p: -np.sum(p * np.log(p), axis=(-2, -1))  # noqa: E731
    kl_z = 0.5 * np.sum(PARAMS["loc"] ** 2 + 0.25 - 1 - np.log(0.25), -1).mean()
    kl_c = (M * np.log(V) - entropy(probabilities)).mean()
    information = entropy(probabilities.mean(0)) - entropy(probabilities).mean()
    expected = {"kl_0": kl_z, "kl_1": kl_c, "kl": kl_z + kl_c, "information_1": information}
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    assert "information_0" not in metrics
    cost = metrics["rec"] + 2 * abs(kl_z - 1) + abs(kl_c - 0.3)
    np.testing.assert_allclose(loss, cost, rtol=1e-5)


def test_parts_that_are_not_there_are_refused():
    vae = vae_of(jax.tree.map(jnp.asarray, PARAMS), True)
    draw = objectives.sample(KEY, vae, batch_of(np.array([0, 1])))
    with pytest.raises(ValueError, match="part: expected one of the 2 parts of the latents, got 2"):
        objectives.capacity(1.0, part=2)(KEY, vae, draw)
    with pytest.raises(ValueError, match="part: expected at least 0, got -1"):
        objectives.capacity(1.0, part=-1)
    with pytest.raises(TypeError, match="part: expected an int, got bool"):
        objectives.capacity(1.0, part=True)
