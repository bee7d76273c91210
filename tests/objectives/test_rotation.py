"""The Jacobian L1's claim: it prefers a basis of the latents where beta-VAE and L2 see none.

A linear decoder W whose singular values tie, with its exact posterior: a rotation R of the latents gives
W R and the encoder R^T A, the same model of x.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from vaejax import objectives
from vaejax.types import Draw

BETA, GAMMA, KEY = 1.5, 0.5, jax.random.key(0)
W = np.zeros((6, 3))
W[[0, 2, 5], [0, 1, 2]] = 2.0, -2.0, 2.0  # one pixel per latent, all of the same strength
B = np.zeros(6)
# two points on every axis of the data, with the covariance of the model exactly
X = np.concatenate([np.eye(6), -np.eye(6)]) @ np.sqrt(6 * (W @ W.T + oracle.SIGMA**2 * np.eye(6)))
L1, L2 = objectives.jacobian_l1(), objectives.jacobian_l2()


def rotations(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, 3, 3)))[0]


def turned(params, r):
    encoder, decoder = params["encoder"], params["decoder"]
    return {
        "encoder": {**encoder, "A": r.T @ encoder["A"], "a": r.T @ encoder["a"]},
        "decoder": {**decoder, "W": decoder["W"] @ r},
    }


def draws(params):
    """The model and draws z = m +- sqrt(d) s_j e_j: their mean is E_q of anything quadratic in z."""
    vae = oracle.linear_vae().bind(params)
    draw = vae.encode(KEY, {"x": jnp.asarray(X)})
    offsets = np.sqrt(3) * jnp.concatenate([jnp.eye(3), -jnp.eye(3)])

    def at(offset):
        z = draw.q.mean() + draw.q.stddev() * offset
        px = vae.decode(z)
        return draw._replace(z=z, px=px, log_px=px.log_prob(X))

    return vae, [at(offset) for offset in offsets]


@jax.jit
def beta_vae(params):
    """E_q[-log p(x|z)] + beta KL, in nats, exactly."""
    vae, at = draws(params)
    expected = sum(objectives.reconstruction(KEY, vae, draw).mean() for draw in at) / len(at)
    return expected + BETA * objectives.kl(KEY, vae, at[0]).mean()


def penalty(term, params):
    vae, at = draws(params)
    return term(KEY, vae, at[0]).mean()


@jax.jit
def costs(params):
    return beta_vae(params), penalty(L2, params), penalty(L1, params)


def test_only_l1_sees_a_rotation(x64):
    exact = oracle.exact_params(W, B)
    whole, l2, l1 = costs(exact)
    for r in rotations(5):
        *others, of_turned = costs(turned(exact, r))
        np.testing.assert_allclose(others, (whole, l2), rtol=1e-12)
        assert of_turned > 1.1 * l1
    signed = np.eye(3)[[2, 0, 1]] * [1, -1, 1]
    np.testing.assert_allclose(costs(turned(exact, signed)), (whole, l2, l1), rtol=1e-12)


def test_without_a_tie_the_beta_vae_sees_it_too(x64):
    """The control: a diagonal posterior aligns latents with the principal axes, where there are some."""
    exact = oracle.exact_params(W * [1.0, 0.6, 0.3], B)
    assert all(beta_vae(turned(exact, r)) > beta_vae(exact) + 1e-2 for r in rotations(5))


@pytest.mark.parametrize(
    ("term", "aligned"), [(L1, True), (L2, False), (None, False)], ids=["L1", "L2", "none"]
)
def test_gradient_descent_on_l1_finds_the_aligned_basis(term, aligned, x64):
    """All parameters of encoder and decoder, from a turned optimum; the others stay turned."""
    start = turned(oracle.exact_params(W, B), rotations(1, seed=3)[0])

    def loss(params):
        return beta_vae(params) + (0 if term is None else GAMMA * penalty(term, params))

    @jax.jit
    def descend(params):
        def step(params, rate):
            return jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params)), None

        return jax.lax.scan(step, params, 0.05 * jnp.linspace(1, 0, 3000))[0]

    w = np.abs(descend(start)["decoder"]["W"])
    w = w[[0, 2, 5]] / w.max()  # the other pixels carry nothing
    order = np.argmax(w, axis=1)
    aside = np.sort(w, axis=1)[:, :2].max()
    if aligned:
        assert sorted(order) == [0, 1, 2]  # one pixel per latent again
        assert aside < 1e-2
    else:
        assert aside > 0.3


def test_over_the_rotations_of_a_plane_l1_is_least_at_quarter_turns(x64):
    angles = np.linspace(0, np.pi, 13)
    exact = oracle.exact_params(np.array([[2.0, 0], [0, 2.0], [0, 0]]), np.zeros(3))

    def l1(angle):
        c, s = jnp.cos(angle), jnp.sin(angle)
        vae = oracle.linear_vae().bind(turned(exact, jnp.array([[c, -s], [s, c]])))
        z = jnp.zeros((1, 2))
        return L1(KEY, vae, Draw(z, None, None, None, None, {"x": jnp.zeros((1, 3))}))[0]

    expected = 4 * (np.abs(np.cos(angles)) + np.abs(np.sin(angles)))
    np.testing.assert_allclose(jax.jit(jax.vmap(l1))(angles), expected, rtol=1e-12)
    assert set(np.flatnonzero(expected < 4 + 1e-9)) == {0, 6, 12}
