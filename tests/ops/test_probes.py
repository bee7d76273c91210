"""Estimators against the mean over all their draws, and power iteration against the decomposition."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from vaejax.ops import jacobian, probes

RNG = np.random.default_rng(0)
D, d = 5, 3
W, OUT = RNG.normal(size=(4, d)), RNG.normal(size=(D, 4))
Z = RNG.normal(size=(2, d))
SIGNS = np.array([*itertools.product([-1.0, 1.0], repeat=d)])  # all 8 probes


def decoder(w):
    return lambda z: OUT @ jnp.tanh(w @ z)


def hessian(w, z):
    """The Hessian of every output, [B, D, d, d], by the formula."""
    t = jnp.tanh(z @ w.T)
    return jnp.einsum("oh,bh,hj,hk->bojk", OUT, -2 * t * (1 - t**2), w, w)


def off_diagonal_squares(a):
    return jnp.sum(jnp.square(a) * (1 - jnp.eye(a.shape[-1])), axis=(-2, -1))


def value_and_gradients(penalty):
    return penalty(W, Z), jax.jacrev(penalty, argnums=(0, 1))(W, Z)


def in_both(probe):
    """The same probes for both examples, [2, k, d]."""
    return jnp.broadcast_to(probe, (2, *probe.shape))


def l2(w, z):
    return jacobian.jacobian_l2(jacobian.decoder_jacobian(decoder(w), z))


def l2_of_probes(v):
    return lambda w, z: jacobian.jacobian_l2(jacobian.decoder_products(decoder(w), z, in_both(v))) / len(v)


def orthogonality(w, z):
    return jacobian.orthogonality(jacobian.decoder_jacobian(decoder(w), z))


def orthogonality_of_probes(v):
    def penalty(w, z):
        products = jacobian.decoder_products(decoder(w), z, in_both(v))
        return probes.off_diagonal(jnp.sum(products**2, axis=1))

    return penalty


def hessian_penalty(w, z):
    return off_diagonal_squares(hessian(w, z)).sum(1)


def hessian_penalty_of_probes(v):
    return lambda w, z: probes.off_diagonal(probes.quadratic_forms(decoder(w), z, in_both(v))).sum(1)


@pytest.mark.parametrize(
    ("exact", "estimate", "k"),
    [
        (l2, l2_of_probes, 1),
        (l2, l2_of_probes, 2),
        (orthogonality, orthogonality_of_probes, 2),
        (hessian_penalty, hessian_penalty_of_probes, 2),
        (hessian_penalty, hessian_penalty_of_probes, 3),
    ],
)
def test_the_mean_over_all_sign_vectors_is_the_exact_penalty_and_its_gradient(exact, estimate, k, x64):
    every = jnp.asarray([*itertools.product(SIGNS, repeat=k)])  # [8^k, k, d]

    @jax.jit
    def evaluate():
        estimates = jax.lax.map(lambda v: value_and_gradients(estimate(v)), every, batch_size=64)
        return value_and_gradients(exact), estimates

    truth, estimates = evaluate()
    assert (estimates[0].std(0) > 1e-2).all()
    jax.tree.map(lambda e, t: np.testing.assert_allclose(e.mean(0), t, atol=1e-11), estimates, truth)


def test_the_variance_of_the_squared_norm_is_that_of_the_documentation(x64):
    @jax.jit
    def both(signs):
        jac = jacobian.decoder_jacobian(decoder(W), Z)
        estimates = jax.vmap(lambda v: l2_of_probes(v)(W, Z))(signs)
        return estimates, off_diagonal_squares(jnp.einsum("bij,bik->bjk", jac, jac))

    estimates, squares = map(np.asarray, both(SIGNS[:, None]))
    np.testing.assert_allclose(estimates.var(0), 2 * squares, rtol=1e-12)


def test_a_product_of_two_latents_by_hand():
    """G = z1 z2: v^T H v = +-2, and the penalty 2 is the mean of 0 and 4 over pairs of probes."""

    @jax.jit
    def run(z, v):
        forms = probes.quadratic_forms(lambda z: z[0] * z[1], z, v)
        return forms, probes.off_diagonal(forms), probes.decoder_hessian(lambda z: z[0] * z[1], z)

    forms, penalty, dense = run(np.ones((1, 2), np.float32), np.float32([[[1.0, 1], [1, -1]]]))
    np.testing.assert_allclose(forms, [[[2, -2]]])
    np.testing.assert_allclose(penalty, [[4]])
    np.testing.assert_allclose(dense[0, 0], [[0, 1], [1, 0]])


def test_second_derivatives_have_the_formula(x64):
    v = np.random.default_rng(2).normal(size=(2, 4, d))

    @jax.jit
    def run(z, v):
        dense, forms = probes.decoder_hessian(decoder(W), z), probes.quadratic_forms(decoder(W), z, v)
        return dense, forms, hessian(W, z)

    dense, forms, expected = map(np.asarray, run(Z, v))
    np.testing.assert_allclose(dense, expected, rtol=1e-10)
    np.testing.assert_allclose(forms, np.einsum("bojl,bkj,bkl->bok", expected, v, v), rtol=1e-10)


def test_random_projections_of_l1_estimate_the_row_groups(x64):
    """For v ~ N(0, I), E||J v||_1 = sqrt(2/pi) sum_i ||J_i:||_2, which a rotation does not change."""
    jac = np.asarray(jax.jit(lambda z: jacobian.decoder_jacobian(decoder(W), z))(Z))[:, :, :2]
    # in two dimensions v = r (cos a, sin a) with E r = sqrt(pi/2) and a uniform: a mean over angles
    angles = 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    around = np.stack([np.cos(angles), np.sin(angles)])
    projected = np.sqrt(np.pi / 2) * np.abs(jac @ around).sum(1).mean(-1)
    rows, entries = jax.jit(lambda jac: (jacobian.row_group_l1(jac), jacobian.jacobian_l1(jac)))(jac)
    np.testing.assert_allclose(projected, np.sqrt(2 / np.pi) * rows, rtol=1e-6)
    assert (np.abs(projected / entries - 1) > 0.05).all()


def test_a_pullback_of_ones_is_no_norm(x64):
    """It is the gradient of the sum of the outputs: here 0, where J is not."""
    cancelling = np.array([[1.0, 2.0], [-1.0, -2.0]])
    (pulled,) = jax.vjp(lambda z: cancelling @ z, jnp.ones(2))[1](jnp.ones(2))
    np.testing.assert_allclose(pulled, 0)
    np.testing.assert_allclose(jacobian.jacobian_l1(cancelling[None]), [6])


def test_power_iteration_finds_the_singular_value_and_its_gradient(x64):
    def dense(w, z):
        return jacobian.spectral_norm(jacobian.decoder_jacobian(decoder(w), z))

    def iterated(n):
        return lambda w, z: probes.spectral_norm(decoder(w), z, n)

    @jax.jit
    def evaluate():
        below = [iterated(n)(W, Z) for n in (1, 2, 3, 5, 10)]
        return value_and_gradients(dense), value_and_gradients(iterated(60)), jnp.stack(below)

    truth, converged, below = evaluate()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8), converged, truth)
    assert (np.diff(below, axis=0) >= 0).all()
    assert (below[0] < truth[0] * (1 - 1e-4)).all()
    assert (below <= truth[0]).all()


def test_the_singular_value_at_any_scale_in_float32():
    scales = np.float32([1e-15, 1e-10, 1e5, 1e10, 1e15])
    A = scales[:, None, None] * np.diag(np.float32([1, 0.5, 0.1]))
    sigma = jax.jit(jax.vmap(lambda A: probes.spectral_norm(lambda z: A @ z, jnp.ones((1, 3)), 10)))(A)
    assert sigma.dtype == jnp.float32
    np.testing.assert_allclose(sigma[:, 0], scales, rtol=1e-5)


def test_the_start_is_not_orthogonal_to_simple_directions(x64):
    """Ten iterations on matrices diag(2, 1, 1) in turned bases."""
    u = np.array([[1, 0, 0], [0, 0, 1], [1, -1, 0], [0, 1, -1], [1, 1, 1], [1, -2, 1], [1, 1, -2]])
    u = u / np.linalg.norm(u, axis=1, keepdims=True)

    def value(u):
        return probes.spectral_norm(lambda z: z + u * (u @ z), jnp.zeros((1, 3)), 10)[0]

    np.testing.assert_allclose(jax.jit(jax.vmap(value))(u), 2, rtol=1e-8)


def test_power_iteration_on_a_dead_decoder_is_zero_with_zero_gradient():
    def penalty(w):
        return probes.spectral_norm(lambda z: w @ z, jnp.ones((2, d)), 5).sum()

    value, gradient = jax.jit(jax.value_and_grad(penalty))(jnp.zeros((D, d)))
    assert value == 0
    assert (gradient == 0).all()


def test_the_iterations_keep_nothing_for_the_gradient():
    """Their number does not show in what the backward pass holds."""

    def residuals(n):
        _, pull = jax.vjp(lambda w: probes.spectral_norm(decoder(w), jnp.asarray(Z), n), jnp.asarray(W))
        return sum(a.size for a in jax.tree.leaves(pull))

    assert residuals(5) == residuals(50)


def test_the_encoders_jacobian_by_reverse_mode(x64):
    rng = np.random.default_rng(1)  # the same whichever tests ran before
    x, weights = rng.normal(size=(3, 2, 2)), rng.normal(size=(d, 4))
    encode = lambda x: jnp.tanh(weights @ x.ravel())  # noqa: E731
    slope = 1 - np.tanh(x.reshape(3, 4) @ weights.T) ** 2
    expected = slope[:, :, None] * weights
    # 1 - tanh^2 of a large activation has few digits
    found = jax.jit(lambda x: probes.encoder_jacobian(encode, x))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_every_op_is_differentiable(x64):
    v = np.random.default_rng(3).normal(size=(2, 3, d))

    @jax.jit
    def everything(w, z):
        forms, dense = probes.quadratic_forms(decoder(w), z, v), probes.decoder_hessian(decoder(w), z)
        products, pulled = jacobian.decoder_products(decoder(w), z, v), probes.encoder_jacobian(decoder(w), z)
        return forms, dense, products, pulled, probes.off_diagonal(z @ w.T)

    check_grads(everything, (W, Z), order=1, modes=["rev"])


def test_a_wrong_rank_is_refused(x64):
    for call in (
        lambda: probes.quadratic_forms(decoder(W), Z, Z),
        lambda: probes.decoder_hessian(decoder(W), Z[None]),
        lambda: probes.spectral_norm(decoder(W), Z[None], 3),
    ):
        with pytest.raises(AssertionError, match="rank"):
            call()
