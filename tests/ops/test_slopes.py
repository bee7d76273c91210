"""|x| and lengths where they are 0: the value of numpy, the slope 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import jacobian, metric, slopes

POINTS = np.array([0.0, -0.0, 1e-45, -1e-45, 2.5, -2.5, np.inf, -np.inf], np.float32)


def test_the_value_is_that_of_jax_bit_for_bit_also_for_nan():
    x = np.append(POINTS, np.float32(np.nan))
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        ours, theirs = slopes.absolute(jnp.asarray(x, dtype)), jnp.abs(jnp.asarray(x, dtype))
        assert ours.dtype == dtype
        assert ours.tobytes() == theirs.tobytes()


def test_the_slope_of_the_absolute_value_is_its_sign_in_every_mode():
    x = jnp.asarray(POINTS[[0, 1, 4, 5]])
    signs = [0, 0, 1, -1]
    total = lambda x: jnp.sum(slopes.absolute(x))  # noqa: E731
    modes = {
        "reverse": jax.grad(total),
        "forward": lambda x: jnp.diagonal(jax.jacfwd(slopes.absolute)(x)),
        "mapped": jax.vmap(jax.grad(slopes.absolute)),
        "linearised": lambda x: jax.linearize(slopes.absolute, x)[1](jnp.ones_like(x)),
    }
    for mode, slope in modes.items():
        np.testing.assert_array_equal(slope(x), signs, err_msg=mode)  # and without jit

    @jax.jit
    def run(x):
        curved = jax.hessian(lambda x: jnp.sum(slopes.absolute(x**3)))(x)  # |x^3|'' = 6 |x|
        return {mode: slope(x) for mode, slope in modes.items()}, jax.hessian(total)(x), curved

    jitted, flat, curved = run(x)
    for mode, slope in jitted.items():
        np.testing.assert_array_equal(slope, signs, err_msg=mode)
    np.testing.assert_array_equal(flat, np.zeros((4, 4)))
    np.testing.assert_array_equal(curved, np.diag([0, 0, 15, 15]))


def test_a_length_of_what_is_not_a_number_is_none():
    J = jnp.asarray([[[np.nan, 1.0], [0.0, 0.0]]])  # no column that does nothing
    lengths, group = jax.jit(lambda J: (slopes.safe_norm(J, 1), jacobian.column_group_l1(J)))(J)
    np.testing.assert_array_equal(lengths, [[np.nan, 1.0]])
    assert np.isnan(group).all()


def test_a_length_of_0_has_the_slope_0_and_others_their_direction():
    rows = jnp.array([[0.0, 0.0], [-0.0, 0.0], [3.0, -4.0]])
    norms, gradient = jax.jit(jax.vmap(jax.value_and_grad(lambda v: slopes.safe_norm(v, 0))))(rows)
    np.testing.assert_array_equal(norms, [0, 0, 5])
    np.testing.assert_allclose(gradient, [[0, 0], [0, 0], [0.6, -0.8]], rtol=1e-6)
    assert np.isfinite(jax.jit(jax.vmap(jax.hessian(lambda v: slopes.safe_norm(v, 0))))(rows)).all()


# J [1, 3, 2] with an entry, a row, a column of zeros, and all of it; -0.0 is a zero
MATRICES = {
    "entry": [[1.0, 0.0], [-2.0, 3.0], [0.5, -0.0]],
    "row": [[0.0, -0.0], [-2.0, 3.0], [0.5, 1.0]],
    "column": [[0.0, 1.0], [-0.0, 3.0], [0.0, -1.0]],
    "all": [[0.0, 0.0], [-0.0, 0.0], [0.0, -0.0]],
}


def first_pair(J):
    """u_1 v_1^T of the singular value decomposition."""
    u, _, v = np.linalg.svd(J)
    return np.outer(u[:, 0], v[0])


NORMS = {  # its subgradient that is 0 where the thing itself is
    "jacobian_l1": np.sign,
    "column_group_l1": lambda J: J / np.maximum(np.linalg.norm(J, axis=0, keepdims=True), 1e-30),
    "row_group_l1": lambda J: J / np.maximum(np.linalg.norm(J, axis=1, keepdims=True), 1e-30),
    "spectral_norm": lambda J: first_pair(J) if J.any() else 0 * J,
}


@pytest.mark.parametrize("name", NORMS)
def test_zeros_in_a_jacobian_do_not_move(name):
    J = jnp.asarray(list(MATRICES.values()), jnp.float32)
    gradient = jax.jit(jax.grad(lambda J: jnp.sum(getattr(jacobian, name)(J))))(J)
    for of_one, case, matrix in zip(gradient, MATRICES, J, strict=True):
        np.testing.assert_allclose(of_one, NORMS[name](np.asarray(matrix)), atol=1e-6, err_msg=case)


@pytest.mark.parametrize("measure", [metric.singular_values, metric.log_volume, metric.condition_number])
def test_the_geometry_of_a_latent_that_does_nothing_has_a_finite_gradient(measure):
    J = jnp.asarray(list(MATRICES.values()), jnp.float32)

    def finite_part(J):
        value = measure(J)
        return jnp.sum(jnp.where(jnp.isfinite(value), value, 0.0))

    assert np.isfinite(jax.jit(jax.grad(finite_part))(J)).all()
    with_nan = jax.jit(measure)(J.at[0, 0, 0].set(jnp.nan))
    assert np.isnan(with_nan[0]).all()  # never told as a degenerate direction
    assert not np.isnan(with_nan[1:]).any()
