"""Group VAEs on the linear-Gaussian model: the cost in closed form, for every rule of sharing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import objectives
from vaejax.ops import pairs

KEY, N = jax.random.key(0), 3
X, X2 = oracle.data(N, seed=1).astype(np.float32), oracle.data(N, seed=2).astype(np.float32)
BATCH = {"x": jnp.asarray(X), "x2": jnp.asarray(X2)}
PARAMS = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), oracle.exact_params())
# no longer exact, and with another variance for each latent
PARAMS["encoder"]["log_scale"] = PARAMS["encoder"]["log_scale"] + jnp.array([0.3, -0.2])
RULES = {
    "mean": ("mean", None),
    "precision": ("precision", None),
    "apart": ("mean", 0),
    "one": ("precision", 1),
    "all": ("mean", 2),
}


def closed_form(average, shared, beta=1.0):
    """1/2 sum_i E_q[-log p(x_i|z)] + beta KL, with q merged by the definitions, [N]."""
    A, a, s = (np.asarray(PARAMS["encoder"][k], np.float64) for k in ("A", "a", "log_scale"))
    v = np.broadcast_to(np.exp(2 * s), (N, len(s)))
    mu = [x @ A.T + a for x in (X, X2)]
    delta = 0.5 * (mu[0] - mu[1]) ** 2 / v
    mask = delta < (delta.max(1, keepdims=True) + delta.min(1, keepdims=True)) / 2
    if shared is not None:
        mask = np.argsort(np.argsort(delta, axis=1), axis=1) < shared
    middle = sum(mu) / 2  # both averages have it, and v, where the variances are equal
    total = 0.0
    for x, m in zip((X, X2), mu, strict=True):
        loc = np.where(mask, middle, m)
        error = ((x - loc @ oracle.W.T - oracle.B) ** 2).sum(1) + (v * (oracle.W**2).sum(0)).sum(1)
        D = x.shape[1]
        rec = error / (2 * oracle.SIGMA**2) + D / 2 * np.log(2 * np.pi * oracle.SIGMA**2)
        total += rec + beta * 0.5 * (v + loc**2 - 1 - np.log(v)).sum(1)
    return total / 2


def test_the_cost_is_the_mean_of_both_bounds_of_the_merged_posteriors():
    terms = {name: objectives.group(average, shared=n) for name, (average, n) in RULES.items()}
    terms["beta"] = objectives.group("mean", beta=3.0)
    vae = oracle.linear_vae().bind(PARAMS)

    def costs(key):
        draw = objectives.sample(key, vae, BATCH)
        return {name: term(key, vae, draw) for name, term in terms.items()}

    found = jax.jit(jax.vmap(costs))(jax.random.split(KEY, 4000))
    for name, rule in RULES.items():
        assert_mean_is(found[name], closed_form(*rule))
    assert_mean_is(found["beta"], closed_form("mean", None, 3.0))
    assert np.ptp([closed_form(*rule).sum() for rule in RULES.values()]) > 1  # the rules differ


def test_averages_of_unequal_variances_are_those_of_ops_and_no_gradient_goes_through_the_choice():
    """By two encoders' outputs: the one merged latent has the ops' moments, the other its own."""
    loc = jnp.array([[0.0, 0.0], [0.2, 3.0]])
    log_scale = jnp.array([[0.0, 0.0], [0.5, 0.0]])

    def total(average, loc, log_scale):
        from vaejax.distributions import diagonal_gaussian
        from vaejax.objectives.pairs import _merged

        q = [diagonal_gaussian(m[None], jnp.exp(s)[None]) for m, s in zip(loc, log_scale, strict=True)]
        return [(one.mean(), one.stddev()) for one in _merged(average, None, *q)]

    for average, of in (("mean", pairs.mean_average), ("precision", pairs.precision_average)):
        (m1, s1), (m2, s2) = total(average, loc, log_scale)
        expected = of(loc[0, :1], jnp.exp(log_scale[0, :1]), loc[1, :1], jnp.exp(log_scale[1, :1]))
        for m, s, own in ((m1, s1, 0), (m2, s2, 1)):
            np.testing.assert_allclose([m[0, 0], s[0, 0]], np.ravel(expected), rtol=1e-6)
            np.testing.assert_allclose([m[0, 1], s[0, 1]], [loc[own, 1], 1.0], rtol=1e-6)
    # the second mean of the shared latent moves by half of what the first encoder's does, whatever delta does
    grad = jax.grad(lambda loc: total("mean", loc, log_scale)[1][0][0, 0])(loc)
    np.testing.assert_allclose(grad, [[0.5, 0.0], [0.5, 0.0]])


def test_both_examples_have_noise_of_their_own_and_a_schedule_is_followed():
    vae = oracle.linear_vae().bind(PARAMS)
    same = {"x": BATCH["x"], "x2": BATCH["x"]}
    objective = objectives.compose(group=objectives.group(beta=lambda step: 2.0 * step))
    run = jax.jit(lambda batch, step: objective(KEY, vae, batch, step)[1][0])
    metrics = [run(BATCH, step) for step in (0, 1)]
    draw = objectives.sample(KEY, vae, BATCH)
    assert metrics[1]["group"] - metrics[0]["group"] > 0.1
    np.testing.assert_allclose(metrics[0]["kl"], objectives.kl(KEY, vae, draw).mean(), rtol=1e-5)
    # of two equal examples no latent is below the middle, and the two reconstructions differ by their noise
    assert run(same, 0)["shared"] == 0.0
    alone = jax.jit(
        lambda key, batch: objectives.group(shared=0)(key, vae, objectives.sample(key, vae, batch))
    )
    whole, swapped = alone(KEY, BATCH), alone(KEY, {"x": BATCH["x2"], "x2": BATCH["x"]})
    assert (whole != swapped).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: objectives.group("median"), ValueError, "average: expected one of 'mean', 'precision'"),
        (lambda: objectives.group(shared=-1), ValueError, "shared: expected at least 0"),
        (lambda: objectives.group(shared=1.0), TypeError, "shared: expected an int or None"),
        (lambda: objectives.group(beta=-1.0), ValueError, "beta: expected a finite number of at least 0"),
        (lambda: run(objectives.group(), {"x": X}), ValueError, "batch: expected x2, the second example"),
        (
            lambda: run(objectives.group(), {"x": X, "x2": X2[:, :3]}),
            ValueError,
            r"x2: expected pairs of equal sets",
        ),
        (
            lambda: run(objectives.group(shared=3), BATCH),
            ValueError,
            "shared: expected at most the number of latents, 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def run(term, batch):
    vae = oracle.linear_vae().bind(PARAMS)
    batch = jax.tree.map(jnp.asarray, batch)
    jax.eval_shape(lambda: term(KEY, vae, objectives.sample(KEY, vae, batch)))
