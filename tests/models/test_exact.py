"""Families whose q can be the exact posterior of a linear model: log w = log p(x) for every draw.

x|z ~ N(W z + b, sigma^2 I), z|c ~ N(m, S), m = A c + a, S diagonal: x|c ~ N(W m + b, W S W^T + sigma^2 I).
The columns of W are not orthogonal, so that z given x is correlated.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vaejax import distributions, models, nets, objectives
from vaejax.models import posteriors, priors

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
B, D, LATENTS, C, SIGMA = 6, 4, 3, 2, 0.6
W, BIAS = RNG.normal(size=(D, LATENTS)), RNG.normal(size=D)
A, SHIFT, SCALE = RNG.normal(size=(LATENTS, C)), RNG.normal(size=LATENTS), np.array([0.5, 1.0, 2.0])
X, CONDITION = RNG.normal(size=(B, D)), RNG.normal(size=(B, C))


def linear(of_x=None, bias=None):
    """Parameters of a dense layer."""
    return {"kernel": np.asarray(of_x).T, "bias": np.asarray(bias, np.float64)}


def exact(a, shift, scale):
    """The posterior ([M N], n, tril): its mean is M x + N c + n where z ~ N(a c + shift, diag(scale)^2)."""
    covariance = np.linalg.inv(np.diag(scale**-2) + W.T @ W / SIGMA**2)
    of_x = covariance @ W.T / SIGMA**2
    rest = covariance @ np.diag(scale**-2)
    return np.hstack([of_x, rest @ a]), rest @ shift - of_x @ BIAS, np.linalg.cholesky(covariance)


def evidence(a, shift, scale, c):
    means = (c @ a.T + shift) @ W.T + BIAS
    covariance = W @ np.diag(scale**2) @ W.T + SIGMA**2 * np.eye(D)
    return [stats.multivariate_normal(m, covariance).logpdf(x) for m, x in zip(means, X, strict=True)]


def encoder_params(loc, bias, tril):
    inputs, lower = loc.shape[1], tril[np.tril_indices(LATENTS, -1)]
    zeros = lambda n: np.zeros((n, inputs))  # noqa: E731
    return {
        "head": {
            "loc": linear(loc, bias),
            "logvar": linear(zeros(LATENTS), 2 * np.log(np.diag(tril))),
            "context": linear(zeros(len(lower)), lower),
        }
    }


def model_of(conditional):
    return models.vae(
        encoder=nets.MLPEncoder(latents=LATENTS, features=(), context=3),
        decoder=nets.MLP(features=(), output_shape=(D,)),
        posterior=posteriors.full(LATENTS),
        likelihood=distributions.gaussian(SIGMA),
        prior=priors.conditional(nets.MLPEncoder(latents=LATENTS, features=())) if conditional else None,
        conditional=conditional,
    )


@pytest.mark.parametrize("conditional", [False, True])
def test_with_a_full_covariance_every_weight_is_the_evidence_and_only_stuck_landings_are_still(
    conditional, x64
):
    """Under a learned linear prior of c the decoder does not see c: its weights for c are 0."""
    a, shift, scale = (A, SHIFT, SCALE) if conditional else (np.zeros((LATENTS, 0)), np.zeros(3), np.ones(3))
    of_decoder = np.hstack([W, np.zeros((D, C))]) if conditional else W
    params = {
        "encoder": encoder_params(*exact(a, shift, scale)),
        "decoder": {"out": linear(of_decoder, BIAS)},
    }
    batch = {"x": X}
    if conditional:
        batch["c"] = CONDITION
        logvar = linear(np.zeros((LATENTS, C)), 2 * np.log(SCALE))
        params["prior"] = {"head": {"loc": linear(A, SHIFT), "logvar": logvar}}
    model = model_of(conditional)
    shapes = jax.eval_shape(model.init, KEY, jax.tree.map(jnp.float32, batch))[0]
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, shapes)
    terms = {
        "stl": lambda *a: objectives.reconstruction(*a) + objectives.kl_stl(*a),
        "dreg": objectives.dreg(3),
        "plain": lambda *a: objectives.reconstruction(*a) + objectives.kl_sampled(*a),
    }

    @jax.jit
    def run(params):
        def cost(params, term):
            vae = model.bind(params)
            draw = objectives.sample(KEY, vae, batch)
            return jnp.mean(term(KEY, vae, draw)), (
                objectives.log_weight(draw),
                draw.log_q,
                draw.q.log_prob(draw.z),
            )

        return {name: jax.value_and_grad(cost, has_aux=True)(params, term) for name, term in terms.items()}

    found = run(params)
    expected = evidence(a, shift, scale, batch.get("c", np.zeros((B, 0))))
    for name, ((value, (log_w, log_q, again)), grads) in found.items():
        np.testing.assert_allclose(log_w, expected, rtol=1e-12)
        np.testing.assert_allclose(log_q, again, rtol=1e-11)
        np.testing.assert_allclose(value, -np.mean(expected), rtol=1e-12)
        size = max(np.abs(g).max() for g in jax.tree.leaves(grads["encoder"]))
        assert size < 1e-12 if name != "plain" else size > 1e-2
        assert max(np.abs(g).max() for g in jax.tree.leaves(grads["decoder"])) > 1e-3
